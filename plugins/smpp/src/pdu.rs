//! PDUs of SMPP 3.4 (section 3.2): a header of four numbers, a body of fields, and optional parameters. Pure.

use std::collections::BTreeMap;

use busbar_sdk::{Pending, Rejection, rejection};

/// Header alone to the longest text there is, in `message_payload`.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=(68 << 10);

pub const GENERIC_NACK: u32 = 0x8000_0000;
pub const BIND_TRANSCEIVER: u32 = 9;
pub const SUBMIT_SM: u32 = 4;
pub const DELIVER_SM: u32 = 5;
pub const UNBIND: u32 = 6;
pub const OUTBIND: u32 = 0x0B;
pub const ENQUIRE_LINK: u32 = 0x15;
pub const ALERT_NOTIFICATION: u32 = 0x102;
pub const DATA_SM: u32 = 0x103;
/// Of the command that answers.
pub const RESPONSE: u32 = 0x8000_0000;

pub mod status {
    pub const OK: u32 = 0;
    pub const INVALID_LENGTH: u32 = 0x01;
    pub const INVALID_COMMAND: u32 = 0x03;
    pub const WRONG_BIND: u32 = 0x04;
    pub const ALREADY_BOUND: u32 = 0x05;
    pub const SYSTEM_ERROR: u32 = 0x08;
    pub const INVALID_DESTINATION: u32 = 0x0B;
    pub const BIND_FAILED: u32 = 0x0D;
    pub const INVALID_PASSWORD: u32 = 0x0E;
    pub const INVALID_SYSTEM_ID: u32 = 0x0F;
    pub const QUEUE_FULL: u32 = 0x14;
    pub const THROTTLED: u32 = 0x58;
    /// The ESME cannot take it now.
    pub const LATER: u32 = 0x64;
    /// The ESME never takes it.
    pub const NEVER: u32 = 0x65;
    pub const INVALID_PARAMETERS: u32 = 0xC0;

    /// For a person (section 5.1.3).
    pub fn text(status: u32) -> String {
        let words = match status {
            INVALID_LENGTH => "invalid message length",
            0x02 => "invalid command length",
            INVALID_COMMAND => "invalid command",
            WRONG_BIND => "not bound for it",
            ALREADY_BOUND => "already bound",
            SYSTEM_ERROR => "system error",
            0x0A => "invalid source address",
            INVALID_DESTINATION => "invalid destination address",
            BIND_FAILED => "bind failed",
            INVALID_PASSWORD => "invalid password",
            INVALID_SYSTEM_ID => "invalid system id",
            QUEUE_FULL => "message queue full",
            0x45 => "submit failed",
            0x48 => "invalid type of source address",
            0x50 => "invalid type of destination address",
            THROTTLED => "throttled",
            0x61 => "invalid scheduled time",
            0x62 => "invalid validity period",
            0x66 | 0xFF => "unknown error",
            _ => "an error",
        };
        format!("status 0x{status:02x}, {words}")
    }
}

pub mod tag {
    pub const RECEIPTED_MESSAGE_ID: u16 = 0x001E;
    pub const SAR_REFERENCE: u16 = 0x020C;
    pub const SAR_TOTAL: u16 = 0x020E;
    pub const SAR_NUMBER: u16 = 0x020F;
    pub const MESSAGE_PAYLOAD: u16 = 0x0424;
    pub const MESSAGE_STATE: u16 = 0x0427;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    pub command: u32,
    pub status: u32,
    pub sequence: u32,
    pub body: Vec<u8>,
}

/// The next PDU; nothing while it has not come whole. `number`: its own, from 1, since the connection was made.
///
/// # Errors
/// `bad-length`: what follows cannot be told apart any more.
pub fn next(pending: &mut Pending, number: u64) -> Result<Option<Pdu>, Rejection> {
    let Some(length) = pending.rest().first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if !LENGTH.contains(&length) {
        let reason = format!("a PDU of {length} bytes; {} to {} are allowed", LENGTH.start(), LENGTH.end());
        return Err(rejection("bad-length", reason, format!("PDU {number}")));
    }
    let Some(bytes) = pending.take(length) else { return Ok(None) };
    let number_at =
        |at: usize| bytes.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
    let [command, status, sequence] = [4, 8, 12].map(|at| u32::from_be_bytes(number_at(at)));
    Ok(Some(Pdu { command, status, sequence, body: bytes.get(16..).unwrap_or_default().to_vec() }))
}

pub fn encode(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let head = [length, command, status, sequence];
    head.iter().flat_map(|number| number.to_be_bytes()).chain(body.iter().copied()).collect()
}

/// Text with its final zero; what is no ASCII becomes `?`.
pub fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend(text.chars().map(|c| if c.is_ascii() && c != '\0' { c as u8 } else { b'?' }));
    body.push(0);
}

pub fn put_parameter(body: &mut Vec<u8>, tag: u16, value: &[u8]) {
    body.extend(tag.to_be_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    body.extend(value);
}

/// Reads a body from its beginning.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// To its final zero, or to the end where that is forgotten.
    pub fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let (bytes, rest) = self.0.split_at_checked(end).unwrap_or_default();
        self.0 = rest.get(1..).unwrap_or_default();
        bytes.iter().map(|byte| char::from(*byte)).collect()
    }

    /// Up to the first that is longer than what is left; and whether there was one.
    fn parameters(&mut self) -> (BTreeMap<u16, Vec<u8>>, bool) {
        let mut parameters = BTreeMap::new();
        while !self.0.is_empty() {
            let Some((tag, value)) = self.parameter() else { return (parameters, true) };
            parameters.insert(tag, value);
        }
        (parameters, false)
    }

    fn parameter(&mut self) -> Option<(u16, Vec<u8>)> {
        let tag = u16::from_be_bytes(*self.bytes(2)?.first_chunk()?);
        let length = u16::from_be_bytes(*self.bytes(2)?.first_chunk()?);
        Some((tag, self.bytes(usize::from(length))?.to_vec()))
    }
}

/// What deliver_sm and data_sm bring.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Type of number of the source.
    pub source_ton: u8,
    pub source: String,
    pub destination: String,
    pub esm_class: u8,
    pub coding: u8,
    pub message: Vec<u8>,
    pub parameters: BTreeMap<u16, Vec<u8>>,
    /// An optional parameter is longer than what is left, and they end before it: seen of a real centre.
    pub is_damaged: bool,
}

impl Delivered {
    /// # Errors
    /// The status to answer with.
    pub fn parse(command: u32, body: &[u8]) -> Result<Self, u32> {
        let mut fields = Fields(body);
        let mut delivered = Self::default();
        let read = match command {
            DATA_SM => delivered.read_data(&mut fields),
            _ => delivered.read_deliver(&mut fields),
        };
        read.ok_or(status::INVALID_LENGTH)?;
        (delivered.parameters, delivered.is_damaged) = fields.parameters();
        if delivered.message.is_empty() {
            delivered.message = delivered.parameters.remove(&tag::MESSAGE_PAYLOAD).unwrap_or_default();
        }
        if delivered.is_damaged && delivered.message.is_empty() {
            return Err(status::INVALID_PARAMETERS);
        }
        Ok(delivered)
    }

    fn read_addresses(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        fields.text();
        self.source_ton = fields.byte()?;
        fields.byte()?;
        self.source = fields.text();
        fields.bytes(2)?;
        self.destination = fields.text();
        self.esm_class = fields.byte()?;
        Some(())
    }

    fn read_deliver(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        self.read_addresses(fields)?;
        // Protocol, priority; when; receipts, replacing.
        fields.bytes(2)?;
        fields.text();
        fields.text();
        fields.bytes(2)?;
        self.coding = fields.byte()?;
        fields.byte()?;
        let length = fields.byte()?;
        self.message = fields.bytes(usize::from(length))?.to_vec();
        Some(())
    }

    fn read_data(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        self.read_addresses(fields)?;
        fields.byte()?;
        self.coding = fields.byte()?;
        Some(())
    }

    /// A one-byte parameter.
    pub fn number(&self, tag: u16) -> Option<u8> {
        self.parameters.get(&tag).filter(|value| value.len() == 1)?.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_or_not_at_all() {
        let mut pending = Pending::default();
        let link = encode(ENQUIRE_LINK, 0, 0x0a34_2ee7, b"");
        assert_eq!(link, [0, 0, 0, 16, 0, 0, 0, 0x15, 0, 0, 0, 0, 0x0a, 0x34, 0x2e, 0xe7]);
        pending.push(&link[..15]);
        assert_eq!(next(&mut pending, 1).unwrap(), None);
        pending.push(&link[15..]);
        let pdu = next(&mut pending, 1).unwrap().unwrap();
        assert_eq!((pdu.command, pdu.sequence, pdu.body.len()), (ENQUIRE_LINK, 0x0a34_2ee7, 0));
        for length in [0, 15, (68 << 10) + 1, u32::MAX] {
            pending.push(&length.to_be_bytes());
            assert_eq!(next(&mut pending, 7).unwrap_err().place.as_deref(), Some("PDU 7"), "{length}");
            pending.clear();
        }
    }

    #[test]
    fn what_deliver_sm_brings() {
        let mut body = Vec::new();
        put_text(&mut body, "");
        body.extend([1, 1]);
        put_text(&mut body, "79161234567");
        body.extend([0, 1]);
        put_text(&mut body, "4040");
        body.extend([0x40, 0, 0]);
        put_text(&mut body, "");
        put_text(&mut body, "");
        body.extend([0, 0, 8, 0, 2, 0x04, 0x2f]);
        put_parameter(&mut body, tag::MESSAGE_STATE, &[2]);
        let delivered = Delivered::parse(DELIVER_SM, &body).unwrap();
        assert_eq!((delivered.source.as_str(), delivered.destination.as_str()), ("79161234567", "4040"));
        assert_eq!((delivered.esm_class, delivered.coding, delivered.message.as_slice()), (0x40, 8, &[4, 0x2f][..]));
        assert_eq!(delivered.number(tag::MESSAGE_STATE), Some(2));
        body.pop();
        let damaged = Delivered::parse(DELIVER_SM, &body).unwrap();
        assert_eq!((damaged.is_damaged, damaged.parameters.len(), damaged.message.len()), (true, 0, 2));
        assert_eq!(Delivered::parse(DELIVER_SM, &body[..30]), Err(status::INVALID_LENGTH));
    }
}
