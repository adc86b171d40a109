use bytes::{Bytes, BytesMut};

/// The parts of a body as one. A body that comes in one part stays as it came. One that comes in many is copied as it comes: a list of parts would take
/// more memory than what they hold, where a sender makes each a byte long.
#[derive(Debug, Default)]
pub struct Gathered {
    first: Bytes,
    copied: BytesMut,
}

impl Gathered {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.first.len() + self.copied.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a part.
    pub fn push(&mut self, part: Bytes) {
        if self.is_empty() {
            self.first = part;
            return;
        }
        if self.copied.is_empty() {
            self.copied.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.copied.extend_from_slice(&part);
    }

    /// All of it, without room to spare: a queue may keep it for long.
    pub fn into_bytes(self) -> Bytes {
        match self.copied.len() {
            0 => self.first,
            length if length < self.copied.capacity() / 4 * 3 => Bytes::copy_from_slice(&self.copied),
            _ => self.copied.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_one_in_their_order_and_one_part_is_not_copied() {
        let mut gathered = Gathered::default();
        assert!(gathered.is_empty() && Gathered::default().into_bytes().is_empty());
        let whole = Bytes::from(vec![7; 100]);
        gathered.push(whole.clone());
        assert_eq!(gathered.into_bytes().as_ptr(), whole.as_ptr());
        let mut gathered = Gathered::default();
        for byte in 0..=255_u8 {
            gathered.push(Bytes::new());
            gathered.push(Bytes::copy_from_slice(&[byte]));
        }
        assert_eq!(gathered.len(), 256);
        assert_eq!(gathered.into_bytes(), (0..=255_u8).collect::<Vec<_>>());
    }
}
