//! JSON from outside: bounded, and each name once. Programs disagree about which of two values with one name counts (RFC 8259,
//! section 4), so that what one of them checked would not be what the next one does.

use crate::{Code, Problem};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};
use std::fmt;

const DEPTH_MAX: usize = 64;
/// Of a name that stands twice; in a problem more is of no use.
const NAME_CHARS_MAX: usize = 100;

/// JSON from bytes, nested at most 64 deep. A byte order mark before it is passed over: several platforms write one.
///
/// # Errors
/// `invalid-json` or `repeated-name`, naming line and column, or the depth.
pub fn parse_json(bytes: &[u8]) -> Result<Value, Problem> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    check_depth(bytes)?;
    let parsed: Result<Unique, _> = serde_json::from_slice(bytes);
    parsed.map(|Unique(value)| value).map_err(|e| {
        let text = e.to_string();
        let text = text.rsplit_once(" at line").map_or(text.as_str(), |(text, _)| text);
        // Any other JSON fits a value.
        let code = if e.classify() == Category::Data { Code::RepeatedName } else { Code::InvalidJson };
        Problem::new(code, text).at(format!("line {}, column {}", e.line(), e.column()))
    })
}

// Counted on the bytes, so that a deep body costs nothing before it is refused.
fn check_depth(bytes: &[u8]) -> Result<(), Problem> {
    let (mut depth, mut in_text, mut escaped, mut line) = (0usize, false, false, 1usize);
    for byte in bytes {
        match byte {
            b'\n' => line += 1,
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(Problem::new(Code::InvalidJson, format!("nested more than {DEPTH_MAX} deep"))
                .at(format!("line {line}")));
        }
    }
    Ok(())
}

/// A value in whose objects no name stands twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values).map(Self)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(value)) = items.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                let name: String = name.chars().take(NAME_CHARS_MAX).collect();
                return Err(de::Error::custom(format_args!("`{name}` stands twice in one object")));
            }
            let Unique(value) = members.next_value()?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
