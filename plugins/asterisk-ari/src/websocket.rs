//! The client's side of a WebSocket: its opening and its frames, cut anywhere.
//!
//! Source: RFC 6455, sections 4.1 and 5.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use busbar_sdk::{Failure, Pending, Rejection, rejected, rejection, transient};

/// Joined to the key before it is hashed.
pub const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Of a message, in however many frames.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Opened,
    Text(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// With its code, where it has one.
    Close(Option<u16>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Close = 8,
    Ping = 9,
    Pong = 10,
}

#[derive(Default)]
pub struct Websocket {
    pending: Pending,
    /// What the server must answer to the key.
    accept: String,
    is_open: bool,
    /// Frames that came whole.
    number: u64,
    /// A text whose last fragment has not come.
    text: Option<Vec<u8>>,
}

impl Websocket {
    /// For a connection: the key that is sent, and the SHA-1 of it with [`GUID`].
    pub fn opening(hash: &[u8]) -> Self {
        Self { accept: BASE64_STANDARD.encode(hash), ..Self::default() }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.push(bytes);
    }

    /// Bytes that are not read yet.
    pub fn waiting(&self) -> usize {
        self.pending.rest().len()
    }

    /// Of what is being read, since the connection was made.
    pub fn place(&self) -> String {
        if self.is_open { format!("frame {}", self.number + 1) } else { "the opening".to_owned() }
    }

    /// The next that has come whole.
    ///
    /// # Errors
    /// What breaks the protocol; how the server refuses the opening.
    pub fn take_next(&mut self) -> Result<Option<Item>, Failure> {
        if !self.is_open {
            return self.opened();
        }
        while let Some((is_last, opcode, payload)) = self.frame()? {
            self.number += 1;
            match opcode {
                8 => return Ok(Some(Item::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))))),
                9 => return Ok(Some(Item::Ping(payload))),
                10 => return Ok(Some(Item::Pong)),
                _ => {}
            }
            let mut text = self.text.take().unwrap_or_default();
            text.extend_from_slice(&payload);
            if is_last {
                return Ok(Some(Item::Text(text)));
            }
            self.text = Some(text);
        }
        Ok(None)
    }

    fn opened(&mut self) -> Result<Option<Item>, Failure> {
        let rest = self.pending.rest();
        let head = rest.get(..HEAD_BYTES_MAX).unwrap_or(rest);
        // What is no HTTP at all is known before it has ended.
        let known = head.len().min(7);
        if head.get(..known) != b"HTTP/1.".get(..known) {
            return Err(rejected("not-http", "the answer is no HTTP/1.1", self.place()));
        }
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return match rest.len() > HEAD_BYTES_MAX {
                true => Err(rejected("too-large", "a head without an end", self.place())),
                false => Ok(None),
            };
        };
        let head = self.pending.take(end + 4).unwrap_or_default();
        check_head(&String::from_utf8_lossy(&head), &self.accept)?;
        self.is_open = true;
        Ok(Some(Item::Opened))
    }

    /// Whether it is a message's last, its opcode, and what it carries. Lengths are looked at before anything is waited for.
    fn frame(&mut self) -> Result<Option<(bool, u8, Vec<u8>)>, Rejection> {
        let rest = self.pending.rest();
        let Some([first, second]) = rest.first_chunk() else { return Ok(None) };
        let (is_last, opcode) = (first & 0x80 != 0, first & 0x0f);
        let bad = |reason: &str| Err(rejection("bad-frame", reason, self.place()));
        if first & 0x70 != 0 || second & 0x80 != 0 {
            return bad("bits of an extension, or a mask, from a server");
        }
        match (opcode, &self.text) {
            (0, Some(_)) | (1, None) => {}
            (8..=10, _) if is_last && second & 0x7f <= 125 => {}
            (0 | 1, _) => return bad("a fragment that does not follow the one before it"),
            (8..=10, _) => return bad("a control frame in fragments, or too long"),
            _ => return bad("neither text nor control"),
        }
        let after = |from: usize| rest.get(from..).unwrap_or_default();
        let (header, length) = match second & 0x7f {
            126 => (4, after(2).first_chunk().map(|length| u64::from(u16::from_be_bytes(*length)))),
            127 => (10, after(2).first_chunk().map(|length| u64::from_be_bytes(*length))),
            short => (2, Some(u64::from(short))),
        };
        let Some(length) = length else { return Ok(None) };
        let before = self.text.as_ref().map_or(0, Vec::len);
        let length = usize::try_from(length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX - before);
        let Some(length) = length else {
            return Err(rejection("too-large", "a message over 1 MiB", self.place()));
        };
        if rest.len() < header + length {
            return Ok(None);
        }
        self.pending.take(header);
        Ok(self.pending.take(length).map(|payload| (is_last, opcode, payload)))
    }
}

/// Whether the server agrees to open it.
fn check_head(head: &str, accept: &str) -> Result<(), Failure> {
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default().split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    let answer = || head.lines().next().unwrap_or_default().to_owned();
    match status {
        Some(101) => {}
        Some(401 | 403) => return Err(Failure::Unauthorized(answer())),
        Some(408 | 429 | 500..=599) => return Err(transient(answer(), None)),
        _ => return Err(rejected("not-opened", answer(), "the opening")),
    }
    let headers: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim()))
        .collect();
    let get = |name: &str| headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| *value);
    let has = |name: &str, word: &str| get(name).split(',').any(|found| found.trim().eq_ignore_ascii_case(word));
    if !has("upgrade", "websocket") || !has("connection", "upgrade") {
        return Err(rejected("not-opened", "101, but not to a WebSocket", "the opening"));
    }
    if get("sec-websocket-accept") != accept {
        return Err(rejected("not-opened", "the answer to the key is wrong", "the opening"));
    }
    Ok(())
}

/// A key for an opening.
pub fn key(random: &[u8]) -> String {
    BASE64_STANDARD.encode(random)
}

/// A frame of at most 125 bytes, masked as a client's must be.
pub fn frame(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let payload = payload.get(..125).unwrap_or(payload);
    let length = u8::try_from(payload.len()).unwrap_or(125);
    let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [0x80 | opcode as u8, 0x80 | length].into_iter().chain(mask).chain(masked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 6455, section 1.3: the key of its example, and section 5.7.
    const HASH: [u8; 20] = [
        0xb3, 0x7a, 0x4f, 0x2c, 0xc0, 0x62, 0x4f, 0x16, 0x90, 0xf6, 0x46, 0x06, 0xcf, 0x38, 0x59, 0x45, 0xb2, 0xbe,
        0xc4, 0xea,
    ];
    const HEAD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn all(parts: &[&[u8]]) -> Result<Vec<Item>, Failure> {
        let mut socket = Websocket::opening(&HASH);
        let mut items = Vec::new();
        for part in parts {
            socket.push(part);
            while let Some(item) = socket.take_next()? {
                items.push(item);
            }
        }
        Ok(items)
    }

    fn code(bytes: &[u8]) -> String {
        match all(&[HEAD.as_bytes(), bytes]) {
            Err(Failure::Rejected(rejection)) => rejection.code,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn frames_of_the_specification() {
        let frames: &[&[u8]] = &[
            b"\x81\x05Hello",
            b"\x01\x03Hel",
            b"\x89\x05Hello",
            b"\x80\x02lo",
            b"\x8a\0",
            b"\x81\x7e\x01\x00",
            &[b'x'; 256],
            b"\x81\x7f\0\0\0\0\0\x01\0\0",
            &[b'y'; 65536],
            b"\x88\x02\x03\xe8",
        ];
        let trace = [HEAD.as_bytes(), &frames.concat()].concat();
        let text = |text: &[u8]| Item::Text(text.to_vec());
        let expected = [
            Item::Opened,
            text(b"Hello"),
            Item::Ping(b"Hello".to_vec()),
            text(b"Hello"),
            Item::Pong,
            text(&[b'x'; 256]),
            text(&[b'y'; 65536]),
            Item::Close(Some(1000)),
        ];
        assert_eq!(all(&[&trace]).unwrap(), expected);
        let cuts = (0..600).chain((600..trace.len()).step_by(4999)).chain(trace.len() - 6..trace.len());
        for cut in cuts {
            let (one, other) = trace.split_at(cut);
            assert_eq!(all(&[one, other]).unwrap(), expected, "{cut}");
        }
        assert_eq!(
            frame(Opcode::Pong, b"Hello", [0x37, 0xfa, 0x21, 0x3d]),
            b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
        );
    }

    #[test]
    fn what_is_refused() {
        for bytes in
            [&b"\xc1\0"[..], b"\x81\x80", b"\x82\0", b"\x80\0", b"\x01\0\x01\0", b"\x09\0", b"\x89\x7e", b"\x83\0"]
        {
            assert_eq!(code(bytes), "bad-frame", "{bytes:?}");
        }
        assert_eq!(code(b"\x81\x7f\0\0\0\0\0\x10\0\x01"), "too-large");
        assert_eq!(code(b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), "too-large");
        let half = [&b"\x01\x7f\0\0\0\0\0\x0f\xff\xff"[..], &[b'x'; 0xf_ffff], b"\x80\x02"].concat();
        assert_eq!(code(&half), "too-large");
        for (from, to, expected) in [
            ("HTTP", "SSH-", "not-http"),
            ("101", "404", "not-opened"),
            ("xOo=", "xOp=", "not-opened"),
            ("websocket", "h2c", "not-opened"),
            ("101", "401", "Unauthorized"),
            ("101", "503", "Transient"),
        ] {
            let error = all(&[HEAD.replacen(from, to, 1).as_bytes()]).unwrap_err();
            assert!(format!("{error:?}").contains(expected), "{error:?}");
        }
        assert!(all(&[b"HTTP/1.1 ", &[b'x'; HEAD_BYTES_MAX]]).is_err());
        assert!(all(&[b"HTT"]).unwrap().is_empty() && all(&[b"x"]).is_err());
    }
}
