//! Files in UTF-16, as tools of Windows write them, read as UTF-8.

use encoding_rs::{Decoder, UTF_16BE, UTF_16LE};

/// Makes a reader of a file give UTF-8 where the file is UTF-16: by its byte order mark, or without one by its first two
/// bytes, of which one is zero. Other files come through unchanged. A unit that is no character becomes U+FFFD.
pub struct Utf16<R: FnMut(u32) -> Vec<u8>> {
    read: R,
    state: State,
}

enum State {
    Beginning,
    Plain,
    Decoding(Box<Decoder>),
    Ended,
}

impl<R: FnMut(u32) -> Vec<u8>> Utf16<R> {
    pub fn new(read: R) -> Self {
        Self { read, state: State::Beginning }
    }

    /// The next bytes, some more or less than `max`; none at the end.
    pub fn read(&mut self, max: u32) -> Vec<u8> {
        if matches!(self.state, State::Beginning) {
            let mut first = (self.read)(max);
            if first.len() == 1 {
                first.extend((self.read)(max));
            }
            let encoding = match first.get(..2) {
                Some([0xFF, 0xFE] | [1..=0x7F, 0]) => Some(UTF_16LE),
                Some([0xFE, 0xFF] | [0, 1..=0x7F]) => Some(UTF_16BE),
                _ => None,
            };
            let Some(encoding) = encoding else {
                self.state = State::Plain;
                return first;
            };
            self.state = State::Decoding(Box::new(encoding.new_decoder_with_bom_removal()));
            let text = self.decode(&first);
            if !text.is_empty() || first.is_empty() {
                return text;
            }
        }
        match self.state {
            State::Plain => (self.read)(max),
            State::Ended | State::Beginning => Vec::new(),
            State::Decoding(_) => loop {
                let bytes = (self.read)(max);
                let text = self.decode(&bytes);
                if !text.is_empty() || bytes.is_empty() {
                    return text;
                }
            },
        }
    }

    fn decode(&mut self, bytes: &[u8]) -> Vec<u8> {
        let State::Decoding(decoder) = &mut self.state else { return Vec::new() };
        let room = decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len() * 3 + 16);
        let mut text = String::with_capacity(room);
        let _ = decoder.decode_to_string(bytes, &mut text, bytes.is_empty());
        if bytes.is_empty() {
            self.state = State::Ended;
        }
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], chunk: usize) -> Vec<u8> {
        let mut chunks = bytes.chunks(chunk);
        let mut reader = Utf16::new(|_| chunks.next().unwrap_or_default().to_vec());
        let mut all = Vec::new();
        loop {
            let some = reader.read(64);
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }

    #[test]
    fn each_order_with_and_without_a_mark_at_any_border() {
        let text = "dn: CN=Громова 😀\r\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let marked: Vec<u16> = std::iter::once(0xFEFF).chain(units.iter().copied()).collect();
        for units in [units, marked] {
            let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
            for chunk in 1..=little.len() {
                assert_eq!(read(&little, chunk), text.as_bytes(), "chunks of {chunk}");
                assert_eq!(read(&big, chunk), text.as_bytes(), "chunks of {chunk}");
            }
        }
    }

    #[test]
    fn other_files_are_left_alone() {
        for bytes in [&b"dn: x\n"[..], b"\xEF\xBB\xBFdn", b"d", b"", b"\xC4\xC0\x00\x00", b"\0\0"] {
            assert_eq!(read(bytes, 1), bytes);
        }
        assert_eq!(read(b"\xFF\xFEa\0b", 64), "a\u{FFFD}".as_bytes());
    }
}
