//! Rows as they are written.

use super::internal;
use super::text::read;
use busbar_core::commit::{Open, short_hash};
use busbar_core::{Cause, DeliveryState, ErrorRecord, Message, Problem, Shards};
use serde::Serialize;
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

pub fn type_hash(name: &str) -> i64 {
    short_hash(&[name]).0
}

pub struct MessageRow {
    pub seq: i64,
    pub until: i64,
    pub message: Arc<Message>,
    pub received_at_ms: i64,
    pub sweep: bool,
    pub place: Option<String>,
    pub stated_by: Option<String>,
    pub intake: Option<String>,
    pub attributes: String,
    pub data: Option<String>,
}

/// The attributes that have no column of their own.
#[derive(Serialize)]
struct Attributes<'a> {
    /// An empty one: in its column that means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataschema: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitionkey: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<&'a str>,
    #[serde(flatten)]
    extensions: &'a BTreeMap<String, String>,
}

/// The same as a JSON object.
pub fn attributes(message: &Message) -> Result<String, Problem> {
    let attributes = Attributes {
        subject: message.subject.as_deref().filter(|subject| subject.is_empty()),
        time: message.time.as_deref(),
        dataschema: message.dataschema.as_deref(),
        traceparent: message.traceparent.as_deref(),
        partitionkey: message.partitionkey.as_deref(),
        correlationid: message.correlationid.as_deref(),
        causationid: message.causationid.as_deref(),
        extensions: &message.extensions,
    };
    serde_json::to_string(&attributes).map_err(internal)
}

/// A delivery as it is written.
pub struct OpenRow {
    pub id: i64,
    pub message_seq: i64,
    pub r#type: String,
    pub system: String,
    pub key: Option<String>,
    pub state: DeliveryState,
    pub attempts: u32,
    pub tries: u32,
    pub next_at_ms: i64,
    pub updated_at_ms: i64,
    /// Attempts made when a person last decided about it; `None`: nobody has.
    pub judged: Option<u32>,
    pub version: u32,
    pub error: Option<String>,
    pub code: Option<String>,
    /// The whole message, as a person edited it for this delivery.
    pub edited: Option<String>,
    pub by: Option<String>,
    /// Its state in the database; new ones are not there.
    pub was: Option<DeliveryState>,
    /// Why it fails, with the id of that; and what the database says there, or 0.
    pub cause: Option<(i64, Cause)>,
    pub was_cause: i64,
}

/// What no rule asks for: it stays in the database as it is, unless it is replaced.
#[derive(Default)]
pub struct Texts {
    r#type: String,
    error: Option<String>,
    code: Option<String>,
    edited: Option<String>,
    by: Option<String>,
    cause: i64,
}

/// A row of `open` as the database gives it.
pub struct OpenRecord {
    id: i64,
    message_seq: i64,
    r#type: String,
    system: String,
    key: Option<String>,
    state: String,
    attempts: i64,
    tries: i64,
    next_at_ms: i64,
    updated_at_ms: i64,
    operated: i64,
    version: i64,
    error: Option<String>,
    code: Option<String>,
    edited: Option<String>,
    by_whom: Option<String>,
    cause: i64,
}

/// By hand: the derive macro would have both drivers compiled a second time, for the compiler's own use.
impl<'r, R: Row> FromRow<'r, R> for OpenRecord
where
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            message_seq: row.try_get("message_seq")?,
            r#type: row.try_get("type")?,
            system: row.try_get("system")?,
            key: row.try_get("key")?,
            state: row.try_get("state")?,
            attempts: row.try_get("attempts")?,
            tries: row.try_get("tries")?,
            next_at_ms: row.try_get("next_at_ms")?,
            updated_at_ms: row.try_get("updated_at_ms")?,
            operated: row.try_get("operated")?,
            version: row.try_get("version")?,
            error: row.try_get("error")?,
            code: row.try_get("code")?,
            edited: row.try_get("edited")?,
            by_whom: row.try_get("by_whom")?,
            cause: row.try_get("cause")?,
        })
    }
}

impl OpenRecord {
    pub const COLUMNS: &str = "open.id, open.message_seq, open.type, open.system, open.key, open.state, open.attempts, \
        open.tries, open.next_at_ms, open.updated_at_ms, open.operated, open.version, open.error, open.code, open.edited, open.by_whom, open.cause";

    pub fn parts(self) -> Result<(Open, Texts), Problem> {
        let state = parse_state(&self.state)?;
        let open = Open {
            id: self.id,
            message_seq: self.message_seq,
            system: read(self.system),
            key: self.key.map(read),
            state,
            attempts: self.attempts.try_into().map_err(internal)?,
            tries: self.tries.try_into().map_err(internal)?,
            next_at_ms: self.next_at_ms,
            updated_at_ms: self.updated_at_ms,
            judged: judged(self.operated),
            version: self.version.try_into().map_err(internal)?,
            error: None,
            edited: None,
            by: None,
            new: None,
            was: Some(state),
            changed: false,
        };
        let (r#type, code, by) = (read(self.r#type), self.code.map(read), self.by_whom.map(read));
        Ok((open, Texts { r#type, error: self.error, code, edited: self.edited, by, cause: self.cause }))
    }
}

/// The column `operated`: 0, or 1 more than the attempts made when a person last decided.
pub fn judged(operated: i64) -> Option<u32> {
    u32::try_from(operated.checked_sub(1)?).ok()
}

pub fn parse_state(text: &str) -> Result<DeliveryState, Problem> {
    DeliveryState::parse(text).ok_or_else(|| internal(format!("a delivery in state `{text}`")))
}

impl OpenRow {
    /// A planned delivery with what only the database knows of it, where it is there.
    pub fn planned(open: Open, found: Option<Texts>) -> Result<Self, Problem> {
        let Texts { r#type, error, code, edited, by, cause: was_cause } = found.unwrap_or_default();
        let r#type = open.new.map_or(r#type, |message| message.r#type.clone());
        let failed = match &open.error {
            Some(error) => error.clone(),
            None => error.as_deref().map(serde_json::from_str).transpose().map_err(internal)?,
        };
        let cause = failed.map(|error: ErrorRecord| Cause::of(&open.system, &r#type, &error));
        let (error, code) = match open.error {
            None => (error, code),
            Some(error) => (record(error.as_ref())?, error.map(|e| e.code)),
        };
        Ok(Self {
            id: open.id,
            message_seq: open.message_seq,
            r#type,
            system: open.system,
            key: open.key,
            state: open.state,
            attempts: open.attempts,
            tries: open.tries,
            next_at_ms: open.next_at_ms,
            updated_at_ms: open.updated_at_ms,
            judged: open.judged,
            version: open.version,
            error,
            code,
            edited: open.edited.map(|message| message.to_structured().to_string()).or(edited),
            by: open.by.or(by),
            was: open.was,
            cause: cause.map(|cause| (cause.id(), cause)),
            was_cause,
        })
    }

    pub fn shard(&self) -> i64 {
        Shards::of(&self.system, self.key.as_deref(), self.message_seq).into()
    }
}

pub fn record<T: Serialize>(record: Option<&T>) -> Result<Option<String>, Problem> {
    record.map(serde_json::to_string).transpose().map_err(internal)
}
