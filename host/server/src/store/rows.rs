//! Rows as they are passed to the database: JSON objects whose fields are the columns.

use super::dialect::Column::{self, Int, Text};
use super::text::stored;
use busbar_core::{Attempted, Call, ErrorRecord, Intake, Message, NewMessage, StoredDelivery};
use serde::Serialize;
use serde_json::Error;

/// About how much is passed in one statement.
const BYTES_MAX: usize = 4 << 20;

#[derive(Serialize)]
pub struct SeenRow {
    pub id: String,
    pub source: String,
    pub seq: i64,
    pub digest: String,
}

impl SeenRow {
    pub const COLUMNS: &[Column] = &[Text("id"), Text("source"), Int("seq"), Text("digest")];
}

/// What deduplicates a message, to select by.
#[derive(Serialize)]
pub struct SeenKey {
    pub id: String,
    pub source: String,
}

impl SeenKey {
    pub const COLUMNS: &[Column] = &[Text("id"), Text("source")];
}

#[derive(Serialize)]
pub struct MessageRow {
    seq: i64,
    source: String,
    id: String,
    r#type: String,
    subject: String,
    time: Option<String>,
    received_at_ms: i64,
    place: Option<String>,
    intake: Option<String>,
    event: String,
}

impl MessageRow {
    pub const COLUMNS: &[Column] = &[
        Int("seq"),
        Text("source"),
        Text("id"),
        Text("type"),
        Text("subject"),
        Text("time"),
        Int("received_at_ms"),
        Text("place"),
        Text("intake"),
        Text("event"),
    ];

    pub fn new(seq: i64, new: &NewMessage, intake: Option<&str>, at_ms: i64) -> Self {
        let Message { id, source, r#type, subject, time, .. } = &*new.message;
        Self {
            seq,
            source: text(source),
            id: text(id),
            r#type: text(r#type),
            subject: subject.as_deref().map(text).unwrap_or_default(),
            time: time.as_deref().map(text),
            received_at_ms: at_ms,
            place: new.place.as_deref().map(text),
            intake: intake.map(text),
            event: new.message.to_structured().to_string(),
        }
    }
}

#[derive(Serialize)]
pub struct DeliveryRow {
    id: i64,
    message_seq: i64,
    system: String,
    key: Option<String>,
    state: &'static str,
    attempts: u32,
    next_at_ms: i64,
    updated_at_ms: i64,
    error: Option<String>,
}

impl DeliveryRow {
    pub const COLUMNS: &[Column] = &[
        Int("id"),
        Int("message_seq"),
        Text("system"),
        Text("key"),
        Text("state"),
        Int("attempts"),
        Int("next_at_ms"),
        Int("updated_at_ms"),
        Text("error"),
    ];

    pub fn new(delivery: &StoredDelivery, error: Option<&ErrorRecord>, at_ms: i64) -> Result<Self, Error> {
        Ok(Self {
            id: delivery.id,
            message_seq: delivery.message_seq,
            system: text(&delivery.system),
            key: delivery.key.as_deref().map(text),
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            next_at_ms: delivery.next_at_ms,
            updated_at_ms: at_ms,
            error: record(error)?,
        })
    }
}

#[derive(Serialize)]
pub struct AttemptedRow {
    pub id: i64,
    pub state: &'static str,
    attempts: u32,
    next_at_ms: i64,
    updated_at_ms: i64,
    error: Option<String>,
}

impl AttemptedRow {
    pub const COLUMNS: &[Column] =
        &[Int("id"), Text("state"), Int("attempts"), Int("next_at_ms"), Int("updated_at_ms"), Text("error")];

    pub fn new(attempted: &Attempted) -> Result<Self, Error> {
        Ok(Self {
            id: attempted.delivery,
            state: attempted.state.as_str(),
            attempts: attempted.attempts,
            next_at_ms: attempted.next_at_ms,
            updated_at_ms: attempted.at_ms,
            error: record(attempted.error.as_ref())?,
        })
    }
}

#[derive(Serialize)]
pub struct CallRow {
    seq: i64,
    owner_kind: &'static str,
    owner: String,
    attempt: u32,
    ordinal: u32,
    record: String,
}

impl CallRow {
    pub const COLUMNS: &[Column] =
        &[Int("seq"), Text("owner_kind"), Text("owner"), Int("attempt"), Int("ordinal"), Text("record")];

    pub fn new(seq: i64, owner_kind: &'static str, owner: &str, call: &Call) -> Result<Self, Error> {
        let record = serde_json::to_string(call)?;
        Ok(Self { seq, owner_kind, owner: text(owner), attempt: call.attempt, ordinal: call.ordinal, record })
    }
}

#[derive(Serialize)]
pub struct IntakeRow {
    seq: i64,
    id: String,
    kind: &'static str,
    system: String,
    name: String,
    at_ms: i64,
    outcome: &'static str,
    messages: u64,
    duplicates: u64,
    differing: u64,
    error: Option<String>,
}

impl IntakeRow {
    pub const COLUMNS: &[Column] = &[
        Int("seq"),
        Text("id"),
        Text("kind"),
        Text("system"),
        Text("name"),
        Int("at_ms"),
        Text("outcome"),
        Int("messages"),
        Int("duplicates"),
        Int("differing"),
        Text("error"),
    ];

    pub fn new(seq: i64, intake: &Intake) -> Result<Self, Error> {
        Ok(Self {
            seq,
            id: text(&intake.id),
            kind: intake.kind.as_str(),
            system: text(&intake.system),
            name: text(&intake.name),
            at_ms: intake.at_ms,
            outcome: intake.outcome.as_str(),
            messages: intake.messages,
            duplicates: intake.duplicates,
            differing: intake.differing,
            error: record(intake.error.as_ref())?,
        })
    }
}

#[derive(Serialize)]
pub struct StateRow {
    pub system: String,
    pub key: String,
    /// Base64.
    pub value: Option<String>,
}

impl StateRow {
    pub const KEY: &[Column] = &[Text("system"), Text("key")];
    pub const COLUMNS: &[Column] = &[Text("system"), Text("key"), Text("value")];
}

#[derive(Serialize)]
pub struct DepthRow {
    pub system: String,
    pub state: &'static str,
    /// How many more.
    pub total: i64,
}

impl DepthRow {
    pub const COLUMNS: &[Column] = &[Text("system"), Text("state"), Int("total")];
}

/// One id, to select by.
#[derive(Serialize)]
pub struct IdRow {
    pub id: i64,
}

impl IdRow {
    pub const COLUMNS: &[Column] = &[Int("id")];
}

/// An owner of calls, to select by.
#[derive(Serialize)]
pub struct OwnerRow {
    pub owner: String,
}

impl OwnerRow {
    pub const COLUMNS: &[Column] = &[Text("owner")];
}

pub fn text(text: &str) -> String {
    stored(text).into_owned()
}

fn record(error: Option<&ErrorRecord>) -> Result<Option<String>, Error> {
    error.map(serde_json::to_string).transpose()
}

/// The rows as JSON arrays, none much longer than [`BYTES_MAX`] unless one row is.
pub fn arrays<T: Serialize>(rows: &[T]) -> Result<Vec<String>, Error> {
    let mut arrays = Vec::new();
    let mut open = String::new();
    for row in rows {
        open.push(if open.is_empty() { '[' } else { ',' });
        open.push_str(&serde_json::to_string(row)?);
        if open.len() >= BYTES_MAX {
            open.push(']');
            arrays.push(std::mem::take(&mut open));
        }
    }
    if !open.is_empty() {
        open.push(']');
        arrays.push(open);
    }
    Ok(arrays)
}
