//! JSON from outside: bounded, and each name once. Programs disagree about which of two values with one name counts (RFC 8259,
//! section 4), so that what one of them checked would not be what the next one does.

use crate::{Code, Problem};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

const DEPTH_MAX: usize = 64;
/// Of a name that stands twice; in a problem more is of no use.
const NAME_CHARS_MAX: usize = 100;

/// JSON from bytes, nested at most 64 deep. A byte order mark before it is passed over: several platforms write one.
///
/// # Errors
/// `invalid-json` or `repeated-name`, naming line and column.
pub fn parse_json(bytes: &[u8]) -> Result<Value, Problem> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let fault = Cell::new(Code::InvalidJson);
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let parsed = Values { deeper: DEPTH_MAX, fault: &fault }.deserialize(&mut parser);
    parsed.and_then(|value| parser.end().map(|()| value)).map_err(|e| {
        let text = e.to_string();
        let text = text.rsplit_once(" at line").map_or(text.as_str(), |(text, _)| text);
        Problem::new(fault.get(), text).at(format!("line {}, column {}", e.line(), e.column()))
    })
}

/// A value in whose objects no name stands twice, and how much deeper it may go.
#[derive(Clone, Copy)]
struct Values<'a> {
    deeper: usize,
    /// What is wrong where the text is JSON.
    fault: &'a Cell<Code>,
}

impl Values<'_> {
    /// For what is one level further in.
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        match self.deeper.checked_sub(1) {
            Some(deeper) => Ok(Self { deeper, ..self }),
            None => Err(E::custom(format_args!("nested more than {DEPTH_MAX} deep"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
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
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(value) = items.next_element_seed(inner)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match map.entry(name) {
                Entry::Vacant(place) => drop(place.insert(members.next_value_seed(inner)?)),
                Entry::Occupied(known) => {
                    let name: String = known.key().chars().take(NAME_CHARS_MAX).collect();
                    self.fault.set(Code::RepeatedName);
                    return Err(de::Error::custom(format_args!("`{name}` stands twice in one object")));
                }
            }
        }
        Ok(Value::Object(map))
    }
}
/// A text as it stands within a string of compact JSON.
pub fn in_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_string()
}
