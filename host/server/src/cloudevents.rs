//! CloudEvents over HTTP and AMQP: attribute names and their encoding.

use busbar_core::{Message, Payload};
use std::borrow::Cow;

/// Prefix of attributes in HTTP headers (CloudEvents HTTP binding 1.0.2, section 3.1.3).
pub const HTTP_PREFIX: &str = "ce-";

/// A message in binary mode.
pub fn payload(message: &Message) -> Payload {
    Payload {
        attributes: message.attributes(),
        content_type: Some("application/json".into()),
        body: message.data.text().into(),
    }
}

/// Attributes as HTTP headers.
pub fn http_headers(message: &Message) -> Vec<(String, String)> {
    let header = |(name, value): (&str, &str)| (format!("{HTTP_PREFIX}{name}"), encode(value));
    let mut headers: Vec<_> = message.each_attribute().map(header).collect();
    headers.push(("content-type".into(), "application/json".into()));
    headers
}

/// Attributes from HTTP headers.
pub fn from_http<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>, body: Vec<u8>) -> Payload {
    let mut payload = Payload { body, ..Payload::default() };
    for (name, value) in headers {
        if let Some(attribute) = name.strip_prefix(HTTP_PREFIX) {
            payload.attributes.push((attribute.to_string(), decode(&unquoted(value))));
        } else if name == "content-type" {
            payload.content_type = Some(value.to_string());
        }
    }
    payload
}

// Section 3.1.3.2: a value may be a quoted string; its backslashes are taken away before anything is decoded.
fn unquoted(value: &str) -> Cow<'_, str> {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else { return value.into() };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => out.extend(chars.next()),
            // A quotation mark in the middle: this was no quoted string.
            '"' => return value.into(),
            other => out.push(other),
        }
    }
    out.into()
}

// Section 3.1.3.2: space, `"`, `%` and everything outside printable ASCII are percent-encoded.
fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if (0x21..=0x7e).contains(&byte) && byte != b'"' && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn decode(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (byte, hex) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
