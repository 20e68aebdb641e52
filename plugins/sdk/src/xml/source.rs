use std::io::{self, BufRead, Read};

use super::Limits;

const CHUNK_BYTES: u32 = 64 * 1024;

/// Chunks as a buffered reader that counts lines and refuses to go on beyond the limits.
pub struct Source<R: FnMut(u32) -> Vec<u8>> {
    read: R,
    chunk: Vec<u8>,
    start: usize,
    begun: bool,
    ended: bool,
    line: u64,
    event_bytes: usize,
    event_bytes_max: usize,
    total_bytes: u64,
    total_bytes_max: u64,
    problem: Option<(&'static str, &'static str)>,
}

impl<R: FnMut(u32) -> Vec<u8>> Source<R> {
    pub fn new(read: R, limits: &Limits) -> Self {
        Self {
            read,
            chunk: Vec::new(),
            start: 0,
            begun: false,
            ended: false,
            line: 1,
            event_bytes: 0,
            event_bytes_max: limits.text_bytes,
            total_bytes: 0,
            total_bytes_max: limits.total_bytes,
            problem: None,
        }
    }

    /// The line of the next byte, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// What follows is another tag or text.
    pub fn begin_event(&mut self) {
        self.event_bytes = 0;
    }

    /// Code and reason of the refusal to read on.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        self.problem
    }

    fn refuse(&mut self, code: &'static str, reason: &'static str) -> io::Error {
        self.problem = Some((code, reason));
        io::ErrorKind::InvalidData.into()
    }

    fn fill(&mut self) -> io::Result<()> {
        self.chunk = (self.read)(CHUNK_BYTES);
        self.start = 0;
        self.ended = self.chunk.is_empty();
        self.total_bytes += self.chunk.len() as u64;
        if self.total_bytes > self.total_bytes_max {
            return Err(self.refuse("xml-limit", "the document is too large"));
        }
        Ok(())
    }

    /// The byte order mark, which the first chunk need not hold whole.
    fn begin(&mut self) -> io::Result<()> {
        self.begun = true;
        let mut head = Vec::new();
        while head.len() < 3 && !self.ended {
            self.fill()?;
            head.append(&mut self.chunk);
        }
        self.ended = head.is_empty();
        self.chunk = head;
        self.start = if self.chunk.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        let wide = [[0xFF, 0xFE], [0xFE, 0xFF], [0, b'<'], [b'<', 0]];
        if wide.iter().any(|mark| self.chunk.starts_with(mark)) {
            return Err(self.refuse("xml-encoding", "UTF-16 and UTF-32 are not read"));
        }
        Ok(())
    }
}

impl<R: FnMut(u32) -> Vec<u8>> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !self.begun {
            self.begin()?;
        }
        if self.event_bytes > self.event_bytes_max {
            return Err(self.refuse("xml-limit", "a tag, comment or text is too long"));
        }
        if self.start >= self.chunk.len() && !self.ended {
            self.fill()?;
        }
        Ok(self.chunk.get(self.start..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        let end = self.start.saturating_add(amount).min(self.chunk.len());
        let used = self.chunk.get(self.start..end).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', used).count() as u64;
        self.event_bytes += used.len();
        self.start = end;
    }
}

impl<R: FnMut(u32) -> Vec<u8>> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let amount = self.fill_buf()?.read(into)?;
        self.consume(amount);
        Ok(amount)
    }
}
