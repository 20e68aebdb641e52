//! A message: one CloudEvents 1.0 event with JSON data (CloudEvents 1.0.2, sections 2 to 4).
//!
//! The crate `cloudevents-sdk` was tried: it turns `time` into UTC, so that the offset stated by the
//! source is lost, and accepts an empty `id`; both matter here. See host/README.md, Decisions.

use crate::data::Data;
use crate::error::{Code, Problem};
use crate::json::parse_json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const ATTRIBUTE_CHARS_MAX: usize = 1024;
const EXTENSIONS_MAX: usize = 32;
/// Names and values together: half of what one AMQP header frame of the usual 128 KiB carries.
const ATTRIBUTES_BYTES_MAX: usize = 65_536;

/// One CloudEvents 1.0 event.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Unique within `source`; (source, id) is what deduplicates.
    pub id: String,
    /// URI reference of the system that stated it.
    pub source: String,
    /// Canonical type with its major version, e.g. `payment.received.v1`.
    pub r#type: String,
    pub subject: Option<String>,
    /// RFC 3339 with the offset that the source stated.
    pub time: Option<String>,
    pub dataschema: Option<String>,
    /// W3C trace context (CloudEvents extension "distributed tracing").
    pub traceparent: Option<String>,
    /// CloudEvents extension "partitioning".
    pub partitionkey: Option<String>,
    pub correlationid: Option<String>,
    pub causationid: Option<String>,
    /// Other extension attributes, carried along untouched.
    pub extensions: BTreeMap<String, String>,
    pub data: Data,
}

/// What came over a transport that has attributes apart from the body (binary mode).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// Attribute names without prefix (`id`, `source`, …).
    pub attributes: Vec<(String, String)>,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

impl Message {
    /// Binary mode, or structured mode when the content type says so.
    ///
    /// # Errors
    /// `invalid-event` naming the attribute, `invalid-json` with line and column,
    /// `unsupported-media-type`.
    pub fn from_payload(payload: &Payload) -> Result<Self, Problem> {
        let media = payload.content_type.as_deref().unwrap_or("application/json");
        let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media == "application/cloudevents+json" {
            return Self::from_structured(parse_json(&payload.body)?);
        }
        if media == "application/cloudevents-batch+json" {
            let text = "a batch is taken over HTTP alone: send each event as a message of its own";
            return Err(Problem::new(Code::UnsupportedMediaType, text));
        }
        if media != "application/json" && !media.ends_with("+json") {
            return Err(Problem::new(Code::UnsupportedMediaType, format!("content type `{media}`")));
        }
        let mut event = StructuredEvent { data: Some(parse_json(&payload.body)?), ..StructuredEvent::default() };
        for (name, value) in payload.attributes.iter().filter(|(name, _)| name != "datacontenttype") {
            event.attribute(name.to_ascii_lowercase(), Value::String(value.clone()))?;
        }
        event.message()
    }

    /// The JSON event format: one object with the attributes and `data`.
    ///
    /// # Errors
    /// `invalid-event` naming the attribute.
    pub fn from_structured(event: Value) -> Result<Self, Problem> {
        let Value::Object(map) = event else {
            return Err(Problem::new(Code::InvalidEvent, "the event must be a JSON object"));
        };
        let mut event = StructuredEvent::default();
        for (name, value) in map {
            if name == "data" {
                event.data = Some(value);
            } else {
                event.attribute(name, value)?;
            }
        }
        event.message()
    }

    /// The attributes' own rules, whoever made the message.
    ///
    /// # Errors
    /// `invalid-event` naming the attribute.
    pub fn check(&self) -> Result<(), Problem> {
        if self.id.trim().is_empty() {
            return Err(bad("id", "must not be empty"));
        }
        let in_no_uri = |b: u8| b.is_ascii_whitespace() || b"<>\"{}|\\^`".contains(&b);
        if self.source.is_empty() || self.source.bytes().any(in_no_uri) {
            return Err(bad("source", "must be a URI reference"));
        }
        if !valid_type(&self.r#type) {
            return Err(bad(
                "type",
                "must be lower-case words joined by `.` and end in a major version, e.g. `payment.received.v1`",
            ));
        }
        if let Some(time) = &self.time
            && OffsetDateTime::parse(time, &Rfc3339).is_err()
        {
            return Err(bad("time", format!("`{time}` is not RFC 3339 with an offset")));
        }
        let mut bytes = 0;
        for (name, value) in self.each_attribute() {
            bytes += name.len() + value.len();
            if bytes > ATTRIBUTES_BYTES_MAX {
                let text = format!("the attributes have over {ATTRIBUTES_BYTES_MAX} bytes together");
                return Err(Problem::new(Code::TooLarge, text).at(name));
            }
            // Characters are counted only where there may be too many.
            let is_long = value.len() > ATTRIBUTE_CHARS_MAX && value.chars().count() > ATTRIBUTE_CHARS_MAX;
            if is_long || value.chars().any(char::is_control) {
                return Err(bad(name, format!("over {ATTRIBUTE_CHARS_MAX} characters, or has control characters")));
            }
        }
        Ok(())
    }

    /// Every attribute but `data`, by name, `specversion` first.
    pub fn attributes(&self) -> Vec<(String, String)> {
        self.each_attribute().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// The same, not copied.
    pub fn each_attribute(&self) -> impl Iterator<Item = (&str, &str)> {
        let required = [("specversion", "1.0"), ("id", &self.id), ("source", &self.source), ("type", &self.r#type)];
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("dataschema", &self.dataschema),
            ("traceparent", &self.traceparent),
            ("partitionkey", &self.partitionkey),
            ("correlationid", &self.correlationid),
            ("causationid", &self.causationid),
        ];
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        required.into_iter().chain(optional).chain(self.extensions.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    }

    /// The JSON event format.
    pub fn to_structured(&self) -> Value {
        let mut map = Map::new();
        for (name, value) in self.attributes() {
            map.insert(name, Value::String(value));
        }
        map.insert("datacontenttype".into(), "application/json".into());
        map.insert("data".into(), Value::clone(&self.data));
        Value::Object(map)
    }

    /// The key that orders deliveries where a route names none.
    pub fn default_key(&self) -> Option<&str> {
        self.partitionkey.as_deref().or(self.subject.as_deref())
    }
}

/// Whether `name` is a canonical type: lower-case words joined by `.`, ending in `.v<major>`.
pub fn valid_type(name: &str) -> bool {
    let Some((words, version)) = name.rsplit_once(".v") else { return false };
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    words.split('.').all(word)
        && !version.is_empty()
        && version.bytes().all(|b| b.is_ascii_digit())
        && !version.starts_with('0')
}

fn from_base64(value: &Value) -> Result<Vec<u8>, Problem> {
    let text = value.as_str().ok_or_else(|| bad("data_base64", "must be a string"))?;
    STANDARD.decode(text).map_err(|e| bad("data_base64", format!("is no base64: {e}")))
}

fn bad(attribute: &str, detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidEvent, format!("attribute `{attribute}`: {}", detail.into())).at(attribute)
}

/// An event as it is gathered, attribute by attribute.
#[derive(Default)]
struct StructuredEvent {
    specversion: Option<String>,
    known: [Option<String>; KNOWN.len()],
    extensions: BTreeMap<String, String>,
    data: Option<Value>,
    /// `data_base64`, decoded. SDKs put JSON there too when they were given its bytes (JSON format 1.0.2, section 3.1.1).
    encoded: Option<Vec<u8>>,
}

const KNOWN: [&str; 10] = [
    "id",
    "source",
    "type",
    "subject",
    "time",
    "dataschema",
    "traceparent",
    "partitionkey",
    "correlationid",
    "causationid",
];

impl StructuredEvent {
    fn attribute(&mut self, name: String, value: Value) -> Result<(), Problem> {
        if name == "data_base64" {
            if value != Value::Null {
                self.encoded = Some(from_base64(&value)?);
            }
            return Ok(());
        }
        let known = KNOWN.iter().zip(&mut self.known).find(|(known, _)| **known == name);
        if let Some((_, slot)) = known {
            *slot = text(&name, value)?;
        } else if name == "specversion" {
            self.specversion = text(&name, value)?;
        } else if name == "datacontenttype" {
            if let Some(kind) = text(&name, value)?.filter(|kind| !kind.to_ascii_lowercase().contains("json")) {
                return Err(bad(&name, format!("`{kind}` is not JSON")));
            }
        } else {
            self.extension(name, value)?;
        }
        Ok(())
    }

    fn extension(&mut self, name: String, value: Value) -> Result<(), Problem> {
        // CloudEvents 1.0.2, section 3.1: lower-case letters and digits.
        if name.is_empty() || name.len() > 40 || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(bad(&name, "an attribute name has only lower-case letters and digits"));
        }
        let text = match value {
            Value::Null => return Ok(()),
            Value::String(text) => text,
            Value::Bool(_) => value.to_string(),
            Value::Number(ref number) if !number.is_f64() => value.to_string(),
            // The type system has no fractions: their text would depend on who writes it.
            _ => return Err(bad(&name, "an extension must be a string, an integer or a boolean")),
        };
        self.extensions.insert(name, text);
        if self.extensions.len() > EXTENSIONS_MAX {
            return Err(Problem::new(Code::TooLarge, format!("over {EXTENSIONS_MAX} extension attributes")));
        }
        Ok(())
    }

    fn message(self) -> Result<Message, Problem> {
        match self.specversion.as_deref() {
            Some("1.0") => {}
            Some(other) => return Err(bad("specversion", format!("`{other}` is not supported, use `1.0`"))),
            None => return Err(bad("specversion", "is missing; it must be `1.0`")),
        }
        let required = |name: &str, value: Option<String>| value.ok_or_else(|| bad(name, "is missing"));
        let data = match (self.data, self.encoded) {
            (Some(_), Some(_)) => return Err(bad("data_base64", "stands beside `data`: only one of them may")),
            (None, Some(encoded)) => parse_json(&encoded)?,
            (data, None) => data.ok_or_else(|| bad("data", "is missing"))?,
        };
        let [id, source, r#type, subject, time, dataschema, traceparent, partitionkey, correlationid, causationid] =
            self.known;
        let message = Message {
            id: required("id", id)?,
            source: required("source", source)?,
            r#type: required("type", r#type)?,
            subject,
            time,
            dataschema,
            traceparent,
            partitionkey,
            correlationid,
            causationid,
            extensions: self.extensions,
            data: data.into(),
        };
        message.check()?;
        Ok(message)
    }
}

fn text(name: &str, value: Value) -> Result<Option<String>, Problem> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(bad(name, "must be a string")),
    }
}
