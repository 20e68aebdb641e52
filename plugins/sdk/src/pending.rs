/// Bytes of a connection that have come and are not read yet: frames are cut anywhere.
#[derive(Debug, Default)]
pub struct Pending {
    bytes: Vec<u8>,
    read: usize,
}

impl Pending {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// What is not read.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }

    /// The next `len` bytes, which are then read; nothing while they have not all come.
    pub fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let taken = self.rest().get(..len)?.to_vec();
        self.read += len;
        Some(taken)
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.read = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_gone() {
        let mut pending = Pending::default();
        pending.push(b"abc");
        assert_eq!((pending.take(4), pending.take(2)), (None, Some(b"ab".to_vec())));
        pending.push(b"de");
        assert_eq!((pending.rest(), pending.bytes.len()), (b"cde".as_slice(), 3));
        assert_eq!(pending.take(3), Some(b"cde".to_vec()));
        pending.push(b"f");
        pending.clear();
        assert_eq!(pending.rest(), b"");
    }
}
