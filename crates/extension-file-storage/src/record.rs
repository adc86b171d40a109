//! How a record lies in the store: a header, then the payload, made smaller where it can be.

use bytes::Bytes;
use lz4_flex::block;
use twox_hash::XxHash3_64;

/// The version of this form. Another one is not guessed at.
const VERSION: u8 = 2;
/// Version, packing, two bytes that are 0, checksum, items, bytes of the payload: little-endian.
const HEADER: usize = 4 + 8 + 8 + 8;
/// The payload as it was handed in.
const PLAIN: u8 = 0;
/// As a block of LZ4.
const LZ4: u8 = 1;
/// What is shorter takes the same page whether it is packed or not.
const SHORTEST: usize = 1024;
/// What is longer is stored as it is.
const LONGEST: usize = 1 << 30;

/// A payload as it is stored. Packing takes time, so it is done by those who store, not by the one thread that writes.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    packing: u8,
    /// What the payload has.
    pub(crate) bytes: u64,
    data: Bytes,
}

/// Bytes that are no record, or not this one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it is cut short ({0} bytes)")]
    Short(usize),
    #[error("its format is version {0}, and this program knows {VERSION}")]
    Version(u8),
    #[error("its checksum does not fit what it holds")]
    Checksum,
    #[error("its payload cannot be unpacked")]
    Packing,
}

impl Packed {
    pub(crate) fn new(payload: Bytes) -> Self {
        let bytes = payload.len() as u64;
        if (SHORTEST..=LONGEST).contains(&payload.len()) {
            let mut data = block::compress(&payload);
            if data.len() < payload.len() - payload.len() / 8 {
                data.shrink_to_fit();
                return Self { packing: LZ4, bytes, data: data.into() };
            }
        }
        Self { packing: PLAIN, bytes, data: payload }
    }

    /// How many bytes are stored.
    pub(crate) fn stored(&self) -> u64 {
        self.data.len() as u64
    }
}

/// A queue as keys name it.
pub(crate) fn queue_key(name: &str) -> u64 {
    XxHash3_64::oneshot(name.as_bytes())
}

/// Makes `into` the record.
pub(crate) fn write(into: &mut Vec<u8>, key: (u64, u64), items: u64, payload: &Packed) {
    let Packed { packing, bytes, data } = payload;
    into.clear();
    into.reserve(HEADER + data.len());
    into.extend([VERSION, *packing, 0, 0]);
    into.extend(checksum(key, items, *packing, *bytes, data).to_le_bytes());
    into.extend(items.to_le_bytes());
    into.extend(bytes.to_le_bytes());
    into.extend_from_slice(data);
}

/// What a record says whose checksum fits.
struct Verified<'a> {
    packing: u8,
    items: u64,
    bytes: u64,
    data: &'a [u8],
}

/// Items and payload of the record that is stored at `key`.
pub(crate) fn read(record: &[u8], key: (u64, u64)) -> Result<(u64, Bytes), Malformed> {
    let Verified { packing, items, bytes, data } = verify(record, key)?;
    Ok((items, unpack(packing, bytes, data)?))
}

/// Items, payload bytes and stored bytes of that record, where its checksum fits.
pub(crate) fn sizes(record: &[u8], key: (u64, u64)) -> Option<(u64, u64, u64)> {
    let Verified { items, bytes, data, .. } = verify(record, key).ok()?;
    Some((items, bytes, data.len() as u64))
}

fn verify(record: &[u8], key: (u64, u64)) -> Result<Verified<'_>, Malformed> {
    let Some((header, data)) = record.split_at_checked(HEADER) else { return Err(Malformed::Short(record.len())) };
    if header[0] != VERSION {
        return Err(Malformed::Version(header[0]));
    }
    let (packing, told) = (header[1], number(&header[4..12]));
    let (items, bytes) = (number(&header[12..20]), number(&header[20..]));
    if header[2..4] != [0, 0] || told != checksum(key, items, packing, bytes, data) {
        return Err(Malformed::Checksum);
    }
    Ok(Verified { packing, items, bytes, data })
}

fn unpack(packing: u8, bytes: u64, data: &[u8]) -> Result<Bytes, Malformed> {
    let payload = match packing {
        PLAIN => Bytes::copy_from_slice(data),
        LZ4 => {
            // Nothing is made of more than so little can hold.
            let most = data.len().saturating_mul(255).min(LONGEST);
            let length = usize::try_from(bytes).ok().filter(|length| *length <= most).ok_or(Malformed::Packing)?;
            block::decompress(data, length).map_err(|_| Malformed::Packing)?.into()
        }
        _ => return Err(Malformed::Packing),
    };
    if payload.len() as u64 == bytes { Ok(payload) } else { Err(Malformed::Packing) }
}

/// The place belongs to it: a record that strayed to another one is not taken for it.
fn checksum(key: (u64, u64), items: u64, packing: u8, bytes: u64, data: &[u8]) -> u64 {
    let mut place = [0; 40];
    for (part, number) in place.chunks_exact_mut(8).zip([key.0, key.1, items, u64::from(packing), bytes]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot(&place), data)
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

    fn written(payload: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        write(&mut record, (7, 9), 3, &Packed::new(Bytes::copy_from_slice(payload)));
        record
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_changed_bit_shows_wherever_it_is() {
        let long = b"some bytes of OTLP, again and again; ".repeat(100);
        for payload in [&b"some bytes of OTLP"[..], b"", &long] {
            let record = written(payload);
            assert_eq!(read(&record, (7, 9)), Ok((3, Bytes::copy_from_slice(payload))));
            for bit in 0..record.len() * 8 {
                let mut changed = record.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(read(&changed, (7, 9)).is_err(), "bit {bit}");
            }
            assert_eq!(read(&record, (7, 10)), Err(Malformed::Checksum), "it lies in another one's place");
            assert_eq!(read(&record[..5], (7, 9)), Err(Malformed::Short(5)));
            assert!(read(&record[..record.len() - 1], (7, 9)).is_err());
        }
    }

    #[test]
    fn what_compresses_is_made_smaller_and_nothing_is_made_larger() {
        let long = b"some bytes of OTLP, again and again; ".repeat(100);
        assert!(written(&long).len() < long.len() / 10);
        let random: Vec<u8> =
            (0..5_000_u64).map(|at| XxHash3_64::oneshot(&at.to_le_bytes()).to_le_bytes()[0]).collect();
        assert_eq!(written(&random).len(), HEADER + random.len());
    }

    #[test]
    fn a_record_that_promises_more_than_it_can_hold_is_refused_before_anything_is_made_of_it() {
        for (packing, bytes) in [(LZ4, u64::MAX), (LZ4, 1 << 29), (LZ4, 3), (PLAIN, 17), (2, 18)] {
            let payload = Packed { packing, bytes, data: Bytes::from_static(b"some bytes of OTLP") };
            let mut record = Vec::new();
            write(&mut record, (7, 9), 3, &payload);
            assert_eq!(read(&record, (7, 9)), Err(Malformed::Packing), "{payload:?}");
        }
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
