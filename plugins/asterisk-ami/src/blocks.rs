//! Blocks of `Key: Value` lines, cut anywhere.
//!
//! Source: Asterisk documentation, "AMI Protocol".

use busbar_sdk::{Pending, Rejection, rejection};

const LINE_BYTES_MAX: usize = 64 << 10;
const BLOCK_BYTES_MAX: usize = 1 << 20;
const BLOCK_LINES_MAX: usize = 2000;
/// Ends the output of a command in versions before 14, in which there may be empty lines.
const END_OF_OUTPUT: &str = "--END COMMAND--";

#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// The first line of a connection.
    Banner(String),
    Block(Block),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Block(Vec<(String, String)>);

impl Block {
    /// The first value under this key, in any case; empty where it is not there.
    pub fn get(&self, key: &str) -> &str {
        let found = self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The first of the keys that says something.
    pub fn first(&self, keys: &[&str]) -> &str {
        keys.iter().map(|key| self.get(key)).find(|value| !value.is_empty()).unwrap_or("")
    }
}

#[derive(Default)]
pub struct Blocks {
    pending: Pending,
    has_banner: bool,
    /// Blocks that came whole.
    number: u64,
    block: Block,
    lines: usize,
    bytes: usize,
    /// Within the output of a command.
    is_output: bool,
}

impl Blocks {
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.push(bytes);
    }

    /// Bytes that are not read yet.
    pub fn waiting(&self) -> usize {
        self.pending.rest().len()
    }

    /// Of the block that is being read, since the connection was made.
    pub fn place(&self) -> String {
        if self.has_banner { format!("block {}", self.number + 1) } else { "line 1".to_owned() }
    }

    /// The next that has come whole.
    ///
    /// # Errors
    /// `too-long` for a line, `too-large` for a block.
    pub fn take_next(&mut self) -> Result<Option<Item>, Rejection> {
        while let Some(line) = self.line()? {
            if !self.has_banner {
                self.has_banner = true;
                return Ok(Some(Item::Banner(line)));
            }
            if line.is_empty() && !self.is_output {
                // Some versions end a block with two.
                if self.lines > 0 {
                    self.number += 1;
                    (self.lines, self.bytes) = (0, 0);
                    return Ok(Some(Item::Block(std::mem::take(&mut self.block))));
                }
                continue;
            }
            self.take(&line)?;
        }
        Ok(None)
    }

    fn line(&mut self) -> Result<Option<String>, Rejection> {
        let rest = self.pending.rest();
        let end = rest.iter().take(LINE_BYTES_MAX + 1).position(|byte| *byte == b'\n');
        let Some(end) = end else {
            return match rest.len() > LINE_BYTES_MAX {
                true => Err(rejection("too-long", "a line without an end", self.place())),
                false => Ok(None),
            };
        };
        let line = self.pending.take(end + 1).unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        Ok(Some(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()))
    }

    fn take(&mut self, line: &str) -> Result<(), Rejection> {
        self.lines += 1;
        self.bytes += line.len() + 2;
        if self.bytes > BLOCK_BYTES_MAX || (self.lines > BLOCK_LINES_MAX && !self.is_output) {
            return Err(rejection("too-large", "a block without an end", self.place()));
        }
        let pair = line.split_once(':').map(|(key, value)| (key.trim(), value.trim()));
        let is_ours = |key: &str| key.eq_ignore_ascii_case("ActionID") || key.eq_ignore_ascii_case("Privilege");
        if self.is_output {
            self.is_output = !line.ends_with(END_OF_OUTPUT);
            let Some((key, value)) = pair.filter(|(key, _)| is_ours(key)) else { return Ok(()) };
            self.block.0.push((key.to_owned(), value.to_owned()));
        } else if let Some((key, value)) = pair {
            self.is_output = key.eq_ignore_ascii_case("Response") && value == "Follows";
            self.block.0.push((key.to_owned(), value.to_owned()));
        }
        // A line without a colon goes on with a value that has several; none of those is used.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(parts: &[&[u8]]) -> Result<Vec<Item>, Rejection> {
        let mut blocks = Blocks::default();
        let mut items = Vec::new();
        for part in parts {
            blocks.push(part);
            while let Some(item) = blocks.take_next()? {
                items.push(item);
            }
        }
        Ok(items)
    }

    const TRACE: &[u8] = b"Asterisk Call Manager/5.0.2\r\nResponse: Success\r\nChallenge: 17\r\n\r\n\r\n\
        Response: Follows\r\nActionID: x\r\nName: a: b\r\n\r\nlast--END COMMAND--\r\n\r\n\
        Event: VarSet\r\nVariable: a\r\nValue: one\nmore\r\nvariable: b\r\n\r\n";

    #[test]
    fn as_it_comes() {
        let items = all(&[TRACE]).unwrap();
        let Some(Item::Banner(banner)) = items.first() else { panic!() };
        assert_eq!(banner, "Asterisk Call Manager/5.0.2");
        let blocks: Vec<&Block> =
            items.iter().filter_map(|item| if let Item::Block(block) = item { Some(block) } else { None }).collect();
        assert_eq!(blocks.len(), 3);
        assert_eq!((blocks[0].get("challenge"), blocks[1].get("ActionID"), blocks[1].get("Name")), ("17", "x", ""));
        assert_eq!((blocks[2].get("Variable"), blocks[2].get("Value"), blocks[2].get("none")), ("a", "one", ""));
        for cut in 0..TRACE.len() {
            let (one, other) = TRACE.split_at(cut);
            assert_eq!(all(&[one, other]).unwrap(), items, "{cut}");
        }
    }

    #[test]
    fn nothing_grows_without_end() {
        assert_eq!(all(&[&[b'x'; LINE_BYTES_MAX + 1]]).unwrap_err().code, "too-long");
        let lines = b"Key: Value\r\n".repeat(BLOCK_LINES_MAX);
        assert_eq!(all(&[b"banner\n", &lines]).unwrap().len(), 1);
        let error = all(&[b"banner\n\n", b"Event: x\n\n", &lines, b"Key: Value\n"]).unwrap_err();
        assert_eq!((error.code.as_str(), error.place.as_deref()), ("too-large", Some("block 2")));
        let output = [b"banner\nResponse: Follows\n", &b"output\n".repeat(BLOCK_BYTES_MAX / 8 + 100)[..]].concat();
        assert_eq!(all(&[&output]).unwrap_err().code, "too-large");
    }
}
