//! How a record lies in the store: a header, then the payload as it was handed in.

use bytes::Bytes;
use twox_hash::XxHash3_64;

/// The version of this form. Another one is not guessed at.
const VERSION: u8 = 1;
/// Version, three bytes that are 0, checksum, items: little-endian.
pub(crate) const HEADER: usize = 4 + 8 + 8;

/// Bytes that are no record, or not this one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it is cut short ({0} bytes)")]
    Short(usize),
    #[error("its format is version {0}, and this program knows {VERSION}")]
    Version(u8),
    #[error("its checksum does not fit what it holds")]
    Checksum,
}

/// A queue as keys name it.
pub(crate) fn queue_key(name: &str) -> u64 {
    XxHash3_64::oneshot(name.as_bytes())
}

/// Writes a record of `payload` into `into`, which is [`HEADER`] bytes longer.
pub(crate) fn write(into: &mut [u8], key: (u64, u64), items: u64, payload: &[u8]) {
    let (header, rest) = into.split_at_mut(HEADER);
    rest.copy_from_slice(payload);
    header[..4].copy_from_slice(&[VERSION, 0, 0, 0]);
    header[4..12].copy_from_slice(&checksum(key, items, payload).to_le_bytes());
    header[12..].copy_from_slice(&items.to_le_bytes());
}

/// Items and payload of the record that is stored at `key`.
pub(crate) fn read(record: &[u8], key: (u64, u64)) -> Result<(u64, Bytes), Malformed> {
    let Some((header, payload)) = record.split_at_checked(HEADER) else { return Err(Malformed::Short(record.len())) };
    if header[..4] != [VERSION, 0, 0, 0] {
        return Err(Malformed::Version(header[0]));
    }
    let (told, items) = (number(&header[4..12]), number(&header[12..]));
    if told != checksum(key, items, payload) {
        return Err(Malformed::Checksum);
    }
    Ok((items, Bytes::copy_from_slice(payload)))
}

/// The place belongs to it: a record that strayed to another one is not taken for it.
fn checksum(key: (u64, u64), items: u64, payload: &[u8]) -> u64 {
    let mut place = [0; 24];
    for (part, number) in place.chunks_exact_mut(8).zip([key.0, key.1, items]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot(&place), payload)
}

/// Numbers with a checksum behind them: how small rows lie in the store.
pub(crate) fn seal<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    let mut row: Vec<u8> = numbers.iter().flat_map(|one| one.to_le_bytes()).collect();
    row.extend(XxHash3_64::oneshot(&row).to_le_bytes());
    row
}

/// The numbers of a row that [`seal`] made; `None` where they are not what they were.
pub(crate) fn unseal<const N: usize>(row: &[u8]) -> Option<[u64; N]> {
    let (numbers, sum) = row.split_at_checked(N * 8)?;
    if sum.len() != 8 || number(sum) != XxHash3_64::oneshot(numbers) {
        return None;
    }
    let mut values = [0; N];
    values.iter_mut().zip(numbers.chunks_exact(8)).for_each(|(value, bytes)| *value = number(bytes));
    Some(values)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_changed_bit_shows_wherever_it_is() {
        let payload = b"some bytes of OTLP";
        let mut record = vec![0; HEADER + payload.len()];
        write(&mut record, (7, 9), 3, payload);
        assert_eq!(read(&record, (7, 9)), Ok((3, Bytes::from_static(payload))));
        for bit in 0..record.len() * 8 {
            let mut changed = record.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&changed, (7, 9)).is_err(), "bit {bit}");
        }
        assert_eq!(read(&record, (7, 10)), Err(Malformed::Checksum), "it lies in another one's place");
        assert_eq!(read(&record[..5], (7, 9)), Err(Malformed::Short(5)));
        assert_eq!(read(&record[..record.len() - 1], (7, 9)), Err(Malformed::Checksum));
    }

    #[test]
    fn a_row_is_read_as_it_was_sealed() {
        let row = seal([1, u64::MAX, 3]);
        assert_eq!(unseal(&row), Some([1, u64::MAX, 3]));
        assert_eq!(unseal::<2>(&row), None);
        for bit in 0..row.len() * 8 {
            let mut changed = row.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal::<3>(&changed), None);
        }
    }
}
