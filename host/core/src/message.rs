//! A message: one CloudEvents 1.0 event with JSON data (CloudEvents 1.0.2, sections 2 to 4).
//!
//! The crate `cloudevents-sdk` was tried: it turns `time` into UTC, so that the offset stated by the
//! source is lost, and accepts an empty `id`; both matter here. See host/README.md, Decisions.

use crate::error::{Code, Problem};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const ATTRIBUTE_CHARS_MAX: usize = 1024;
const EXTENSIONS_MAX: usize = 32;
const DEPTH_MAX: usize = 64;

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
    pub data: Value,
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
        if media != "application/json" && !media.ends_with("+json") {
            return Err(Problem::new(Code::UnsupportedMediaType, format!("content type `{media}`")));
        }
        let mut attributes = Map::new();
        for (name, value) in &payload.attributes {
            attributes.insert(name.to_ascii_lowercase(), Value::String(value.clone()));
        }
        attributes.remove("datacontenttype");
        attributes.insert("data".into(), parse_json(&payload.body)?);
        Self::from_structured(Value::Object(attributes))
    }

    /// The JSON event format: one object with the attributes and `data`.
    ///
    /// # Errors
    /// `invalid-event` naming the attribute.
    pub fn from_structured(event: Value) -> Result<Self, Problem> {
        let Value::Object(mut map) = event else {
            return Err(Problem::new(Code::InvalidEvent, "the event must be a JSON object"));
        };
        match take(&mut map, "specversion")?.as_deref() {
            Some("1.0") => {}
            Some(other) => return Err(bad("specversion", format!("`{other}` is not supported, use `1.0`"))),
            None => return Err(bad("specversion", "is missing; it must be `1.0`")),
        }
        if map.contains_key("data_base64") {
            return Err(bad("data_base64", "binary data is not supported; send JSON in `data`"));
        }
        if let Some(kind) = take(&mut map, "datacontenttype")?
            && !kind.to_ascii_lowercase().contains("json")
        {
            return Err(bad("datacontenttype", format!("`{kind}` is not JSON")));
        }
        let data = map.remove("data").ok_or_else(|| bad("data", "is missing"))?;
        let message = Self {
            id: required(&mut map, "id")?,
            source: required(&mut map, "source")?,
            r#type: required(&mut map, "type")?,
            subject: take(&mut map, "subject")?,
            time: take(&mut map, "time")?,
            dataschema: take(&mut map, "dataschema")?,
            traceparent: take(&mut map, "traceparent")?,
            partitionkey: take(&mut map, "partitionkey")?,
            correlationid: take(&mut map, "correlationid")?,
            causationid: take(&mut map, "causationid")?,
            extensions: extensions(map)?,
            data,
        };
        message.check()?;
        Ok(message)
    }

    /// The attributes' own rules, whoever made the message.
    ///
    /// # Errors
    /// `invalid-event` naming the attribute.
    pub fn check(&self) -> Result<(), Problem> {
        if self.id.trim().is_empty() {
            return Err(bad("id", "must not be empty"));
        }
        if self.source.is_empty() || self.source.contains(|c: char| c.is_whitespace() || "<>\"{}|\\^`".contains(c)) {
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
        for (name, value) in self.attributes() {
            if value.chars().count() > ATTRIBUTE_CHARS_MAX || value.chars().any(char::is_control) {
                return Err(bad(&name, format!("over {ATTRIBUTE_CHARS_MAX} characters, or has control characters")));
            }
        }
        Ok(())
    }

    /// Every attribute but `data`, by name, `specversion` first.
    pub fn attributes(&self) -> Vec<(String, String)> {
        let mut all = vec![
            ("specversion".to_string(), "1.0".to_string()),
            ("id".to_string(), self.id.clone()),
            ("source".to_string(), self.source.clone()),
            ("type".to_string(), self.r#type.clone()),
        ];
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("dataschema", &self.dataschema),
            ("traceparent", &self.traceparent),
            ("partitionkey", &self.partitionkey),
            ("correlationid", &self.correlationid),
            ("causationid", &self.causationid),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                all.push((name.to_string(), value.clone()));
            }
        }
        all.extend(self.extensions.iter().map(|(n, v)| (n.clone(), v.clone())));
        all
    }

    /// The JSON event format.
    pub fn to_structured(&self) -> Value {
        let mut map = Map::new();
        for (name, value) in self.attributes() {
            map.insert(name, Value::String(value));
        }
        map.insert("datacontenttype".into(), "application/json".into());
        map.insert("data".into(), self.data.clone());
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

/// JSON from bytes, nested at most 64 deep.
///
/// # Errors
/// `invalid-json` naming line and column, or the depth.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    check_depth(bytes)?;
    serde_json::from_slice(bytes).map_err(|e| {
        let text = e.to_string();
        let text = text.split(" at line").next().unwrap_or_default().to_string();
        Problem::new(Code::InvalidJson, text).at(format!("line {}, column {}", e.line(), e.column()))
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

fn bad(attribute: &str, detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidEvent, format!("attribute `{attribute}`: {}", detail.into())).at(attribute)
}

fn take(map: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Problem> {
    match map.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(bad(name, "must be a string")),
    }
}

fn required(map: &mut Map<String, Value>, name: &str) -> Result<String, Problem> {
    take(map, name)?.ok_or_else(|| bad(name, "is missing"))
}

fn extensions(map: Map<String, Value>) -> Result<BTreeMap<String, String>, Problem> {
    let mut all = BTreeMap::new();
    for (name, value) in map {
        // CloudEvents 1.0.2, section 3.1: lower-case letters and digits.
        if name.is_empty() || name.len() > 40 || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(bad(&name, "an attribute name has only lower-case letters and digits"));
        }
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            _ => return Err(bad(&name, "an extension must be a string, a number or a boolean")),
        };
        all.insert(name, text);
        if all.len() > EXTENSIONS_MAX {
            return Err(Problem::new(Code::TooLarge, format!("over {EXTENSIONS_MAX} extension attributes")));
        }
    }
    Ok(all)
}
