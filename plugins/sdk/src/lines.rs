use crate::{Rejection, input, rejection};

/// Bytes of one line, its end not counted. Longer lines are refused: they are no lines of any
/// format here, and memory must stay flat.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

const CHUNK_BYTES: u32 = 64 * 1024;

/// The lines of a file read in chunks. `\n`, `\r\n` and a lone `\r` end a line, mixed as they come.
pub struct Lines<R: FnMut(u32) -> Vec<u8>> {
    read: R,
    buffer: Vec<u8>,
    start: usize,
    number: u64,
    after_cr: bool,
    ended: bool,
    cut: bool,
}

/// A line without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// From 1.
    pub number: u64,
    pub bytes: &'a [u8],
}

impl Lines<fn(u32) -> Vec<u8>> {
    /// The lines of the file being decoded.
    pub fn of_input() -> Self {
        Self::new(input::read)
    }
}

impl<R: FnMut(u32) -> Vec<u8>> Lines<R> {
    /// `read` gives the next bytes, at most as many as asked for; none at the end.
    pub fn new(read: R) -> Self {
        Self { read, buffer: Vec::new(), start: 0, number: 0, after_cr: false, ended: false, cut: false }
    }

    /// The number of the line last given.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the line last given had no end: the file ends in it, and may have been cut there.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The next line; nothing at the end of the file.
    ///
    /// # Errors
    /// `line-too-long` beyond [`MAX_LINE_BYTES`].
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, Rejection> {
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            if self.after_cr && !rest.is_empty() {
                self.after_cr = false;
                self.start += usize::from(rest.first() == Some(&b'\n'));
                continue;
            }
            let found = memchr::memchr2(b'\n', b'\r', rest);
            let line_bytes = found.unwrap_or(rest.len());
            if line_bytes > MAX_LINE_BYTES {
                let reason = format!("a line is longer than {MAX_LINE_BYTES} bytes");
                return Err(rejection("line-too-long", reason, format!("line {}", self.number + 1)));
            }
            if found.is_some() || (self.ended && line_bytes > 0) {
                let line_start = self.start;
                self.after_cr = rest.get(line_bytes) == Some(&b'\r');
                self.start += line_bytes + usize::from(found.is_some());
                self.number += 1;
                self.cut = found.is_none();
                let bytes = self.buffer.get(line_start..line_start + line_bytes).unwrap_or_default();
                return Ok(Some(Line { number: self.number, bytes }));
            }
            if self.ended {
                return Ok(None);
            }
            self.fill();
        }
    }

    fn fill(&mut self) {
        let chunk = (self.read)(CHUNK_BYTES);
        self.ended = chunk.is_empty();
        if self.start >= self.buffer.len() {
            self.buffer = chunk;
        } else {
            self.buffer.drain(..self.start);
            self.buffer.extend_from_slice(&chunk);
        }
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], chunk: usize) -> Vec<(u64, String)> {
        let mut chunks = text.chunks(chunk);
        let mut lines = Lines::new(|_| chunks.next().unwrap_or_default().to_vec());
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push((line.number, String::from_utf8(line.bytes.to_vec()).unwrap()));
        }
        found
    }

    #[test]
    fn mixed_ends_at_any_chunk_border() {
        let text = b"a\r\nbb\n\rccc\r\r\nlast";
        let expected: Vec<_> = ["a", "bb", "", "ccc", "", "last"]
            .iter()
            .zip(1..)
            .map(|(text, number)| (number, (*text).to_owned()))
            .collect();
        for chunk in 1..=text.len() {
            assert_eq!(lines(text, chunk), expected, "chunks of {chunk}");
        }
    }

    #[test]
    fn an_end_at_the_end_adds_no_line() {
        assert_eq!(lines(b"a\r\n", 2).len(), 1);
        assert_eq!(lines(b"a\n", 2).len(), 1);
        assert_eq!(lines(b"", 2).len(), 0);
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut given = 0_u64;
        let mut lines = Lines::new(|max| {
            given += u64::from(max);
            vec![b'x'; max as usize]
        });
        let rejection = lines.next_line().unwrap_err();
        assert_eq!(rejection.code, "line-too-long");
        assert_eq!(rejection.place.as_deref(), Some("line 1"));
        assert!(given <= 3 * u64::from(CHUNK_BYTES));
    }
}
