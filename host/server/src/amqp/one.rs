//! What AMQP 1.0 clients publish, as RabbitMQ hands it to AMQP 0-9-1: bodies that are no bytes stay encoded, the plugin of
//! RabbitMQ 3 leaves application properties encoded as well, `reply_to` is an address instead of a queue's name, and bytes of JMS
//! have a content type that says nothing.

use super::attributes::rfc3339;
use busbar_core::{Code, Problem};
use lapin::types::{AMQPValue, FieldTable};
use std::borrow::Cow;

/// Property `type` of a message whose body is a section of AMQP 1.0.
const ENCODED: &str = "amqp-1.0";
/// Header in which RabbitMQ 3 leaves the application properties.
const PROPERTIES: &str = "x-amqp-1.0-app-properties";
/// Descriptors of sections (AMQP 1.0, part 3, section 3.2).
const APPLICATION_PROPERTIES: u64 = 0x74;
const DATA: u64 = 0x75;
const VALUE: u64 = 0x77;
/// The content type of bytes of any kind (RFC 2046, section 4.5.1).
const ANY_BYTES: &str = "application/octet-stream";

/// The queue that an address names; anything else is the name of a queue.
pub fn queue(address: &str) -> String {
    match address.strip_prefix("/queues/") {
        // RabbitMQ 4, "AMQP addresses", version 2: percent-encoded.
        Some(name) => percent_decoded(name),
        None => ["/queue/", "/amq/queue/"].iter().find_map(|p| address.strip_prefix(p)).unwrap_or(address).to_string(),
    }
}

/// The content type, where it says something. JMS has no way to state one: its clients state [`ANY_BYTES`] for each
/// BytesMessage, and nothing for a TextMessage.
pub fn content_type(stated: Option<&str>) -> Option<String> {
    stated.filter(|stated| !stated.trim().eq_ignore_ascii_case(ANY_BYTES)).map(ToString::to_string)
}

fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(part.bytes().skip(2));
            }
            None => bytes.extend([b"%", part.as_bytes()].concat()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The bytes of a body: of a value section its text, as JMS sends a TextMessage.
///
/// # Errors
/// `unsupported-media-type`: a map, a list or another value that is neither text nor bytes.
pub fn body(kind: Option<&str>, body: Vec<u8>) -> Result<Vec<u8>, (Problem, Vec<u8>)> {
    if kind != Some(ENCODED) {
        return Ok(body);
    }
    let (mut bytes, mut rest) = (Vec::new(), body.as_slice());
    while let Some((descriptor, value, after)) = section(rest) {
        let is_text = matches!(value.code, 0xa0 | 0xa1 | 0xb0 | 0xb1);
        if !is_text || ![DATA, VALUE].contains(&descriptor) {
            break;
        }
        bytes.extend_from_slice(value.bytes);
        rest = after;
    }
    if rest.is_empty() {
        return Ok(bytes);
    }
    let text = "the body is a value of AMQP 1.0 that is neither text nor bytes: send the JSON as a `data` section";
    Err((Problem::new(Code::UnsupportedMediaType, text), body))
}

/// The headers, and the application properties that stand among them encoded.
pub fn headers(headers: &FieldTable) -> Cow<'_, FieldTable> {
    let Some(AMQPValue::LongString(encoded)) = headers.inner().get(PROPERTIES) else { return Cow::Borrowed(headers) };
    let Some((APPLICATION_PROPERTIES, map, _)) = section(encoded.as_bytes()) else { return Cow::Borrowed(headers) };
    let mut all = headers.clone();
    // A count of keys and values comes first, as wide as the map's size.
    let mut rest = map.bytes.get(if map.code == 0xc1 { 1 } else { 4 }..).unwrap_or_default();
    while let Some((name, after)) = primitive(rest)
        && let Some((value, after)) = primitive(after)
    {
        all.insert(String::from_utf8_lossy(name.bytes).into_owned().into(), value.header());
        rest = after;
    }
    Cow::Owned(all)
}

/// A value as it is encoded: the format code, and what comes after code and size (AMQP 1.0, part 1, section 1.2).
struct Encoded<'a> {
    code: u8,
    bytes: &'a [u8],
}

fn primitive(input: &[u8]) -> Option<(Encoded<'_>, &[u8])> {
    let (code, rest) = input.split_first()?;
    // The first half of the code says how wide the value is, or how wide its size.
    let (width, sized) = match code >> 4 {
        4 => (0, false),
        5 => (1, false),
        6 => (2, false),
        7 => (4, false),
        8 => (8, false),
        9 => (16, false),
        0xa | 0xc | 0xe => (1, true),
        0xb | 0xd | 0xf => (4, true),
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(width)?;
    let (bytes, rest) =
        if sized { rest.split_at_checked(usize::try_from(unsigned(bytes)).ok()?)? } else { (bytes, rest) };
    Some((Encoded { code: *code, bytes }, rest))
}

/// A described value: zero, the descriptor as a number, and the value.
fn section(input: &[u8]) -> Option<(u64, Encoded<'_>, &[u8])> {
    let (descriptor, rest) = primitive(input.strip_prefix(&[0])?)?;
    let (value, rest) = primitive(rest)?;
    matches!(descriptor.code, 0x53 | 0x80).then(|| (unsigned(descriptor.bytes), value, rest))
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Encoded<'_> {
    fn signed(&self) -> i64 {
        let unused = 64 - 8 * u32::try_from(self.bytes.len()).unwrap_or(8).clamp(1, 8);
        (unsigned(self.bytes) << unused).cast_signed() >> unused
    }

    /// The value as a header of AMQP 0-9-1. What has no form there is bytes, which no attribute may be.
    fn header(&self) -> AMQPValue {
        let number = unsigned(self.bytes);
        match self.code {
            0x40 => AMQPValue::Void,
            0x41 | 0x42 => AMQPValue::Boolean(self.code == 0x41),
            0x56 => AMQPValue::Boolean(number != 0),
            0xa1 | 0xa3 | 0xb1 | 0xb3 => AMQPValue::LongString(self.bytes.to_vec().into()),
            0x43 | 0x44 | 0x50 | 0x52 | 0x53 | 0x60 | 0x70 | 0x80 => match i64::try_from(number) {
                Ok(number) => AMQPValue::LongLongInt(number),
                Err(_) => AMQPValue::LongString(number.to_string().into()),
            },
            0x51 | 0x54 | 0x55 | 0x61 | 0x71 | 0x81 => AMQPValue::LongLongInt(self.signed()),
            0x83 => match rfc3339(i128::from(self.signed()) * 1_000_000) {
                Some(time) => AMQPValue::LongString(time.into()),
                None => AMQPValue::ByteArray(self.bytes.to_vec().into()),
            },
            _ => AMQPValue::ByteArray(self.bytes.to_vec().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        for (address, expected) in [
            ("/queues/my%20answers", "my answers"),
            ("/queues/100%25%", "100%%"),
            ("/queue/a/b", "a/b"),
            ("/amq/queue/q", "q"),
            ("plain", "plain"),
            ("amq.rabbitmq.reply-to.g1h2", "amq.rabbitmq.reply-to.g1h2"),
        ] {
            assert_eq!(queue(address), expected);
        }
    }

    #[test]
    fn content_types_that_say_something() {
        for (stated, expected) in [
            (None, None),
            (Some("application/octet-stream"), None),
            (Some("Application/Octet-Stream"), None),
            (Some("application/json"), Some("application/json")),
            (Some("text/xml"), Some("text/xml")),
        ] {
            assert_eq!(content_type(stated).as_deref(), expected, "{stated:?}");
        }
    }

    #[test]
    fn bodies_that_are_sections() {
        let encoded = |bytes: &[u8]| body(Some(ENCODED), bytes.to_vec()).map_err(|(problem, _)| problem.code);
        assert_eq!(encoded(b"\0Sw\xa1\x02{}").as_deref(), Ok(b"{}".as_slice()));
        assert_eq!(encoded(b"\0Sw\xb1\0\0\0\x02{}").as_deref(), Ok(b"{}".as_slice()));
        assert_eq!(encoded(b"\0Su\xa0\x01{\0Su\xa0\x01}").as_deref(), Ok(b"{}".as_slice()));
        // A map, a list, a number, a symbol, one cut off, and text that only says to be encoded.
        for other in [
            b"\0Sw\xd1\0\0\0\x09\0\0\0\x02\xa1\x01aR\x01".as_slice(),
            b"\0Sv\xd0\0\0\0\x07\0\0\0\x01\xa1\x01x",
            b"\0SwR\x01",
            b"\0Sw\xa3\x03sym",
            b"\0Sw\xb1\xff\xff\xff\xff{}",
            b"{}",
        ] {
            assert_eq!(encoded(other), Err(Code::UnsupportedMediaType), "{other:?}");
        }
        assert_eq!(body(None, b"{}".to_vec()).ok().as_deref(), Some(b"{}".as_slice()));
    }

    #[test]
    fn application_properties_of_the_plugin() {
        let pairs: &[(&str, &[u8], AMQPValue)] = &[
            ("ce-id", b"\xa1\x011", AMQPValue::LongString("1".into())),
            ("ce-num", b"T\xff", AMQPValue::LongLongInt(-1)),
            ("ce-large", b"\x80\xff\xff\xff\xff\xff\xff\xff\xff", AMQPValue::LongString("18446744073709551615".into())),
            ("ce-flag", b"A", AMQPValue::Boolean(true)),
            ("ce-time", b"\x83\0\0\x01\xa2\x20\xf4\x21\xfb", AMQPValue::LongString("2026-11-28T07:00:00.123Z".into())),
            ("ce-half", b"\x82\x3f\xf8\0\0\0\0\0\0", AMQPValue::ByteArray(b"\x3f\xf8\0\0\0\0\0\0".to_vec().into())),
        ];
        let mut map = vec![0, 0, 0, 12];
        for (name, value, _) in pairs {
            map.extend([&[0xa1, u8::try_from(name.len()).unwrap_or(0)], name.as_bytes(), value].concat());
        }
        let size = u32::try_from(map.len()).unwrap_or(0).to_be_bytes();
        let encoded = [b"\0St\xd1".as_slice(), &size, &map].concat();
        let mut table = FieldTable::default();
        table.insert(PROPERTIES.into(), AMQPValue::LongString(encoded.into()));
        let all = headers(&table);
        for (name, _, expected) in pairs {
            assert_eq!(all.inner().get(*name), Some(expected), "{name}");
        }
    }
}
