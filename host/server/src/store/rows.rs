//! Rows as they are written.

use super::internal;
use super::text::read;
use busbar_core::{Attempted, DeliveryState, ErrorRecord, Message, NewMessage, Problem, Shards, StoredDelivery};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// SHA-256 over parts that hold no NUL, or of which only the last may; the first and the next 64 bits of it.
fn short(parts: &[&str]) -> (i64, i64) {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let number = |bytes: &[u8]| bytes.iter().take(8).fold(0i64, |number, byte| (number << 8) | i64::from(*byte));
    (number(&digest), digest.get(8..).map_or(0, number))
}

/// What tells one message from another. In the database the id stands beside the first half.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair(pub i64, pub i64);

impl Pair {
    pub fn of(message: &Message) -> Self {
        Self::named(&message.source, &message.id)
    }

    pub fn named(source: &str, id: &str) -> Self {
        let (first, second) = short(&[source, id]);
        Self(first, second)
    }
}

pub fn type_hash(name: &str) -> i64 {
    short(&[name]).0
}

/// A record of what was accepted.
pub struct SeenRow {
    pub seq: i64,
    pub message: Arc<Message>,
    pub pair: Pair,
    pub content: i64,
    pub r#type: i64,
}

/// Tells a repeat from a reused id.
pub fn content(new: &NewMessage) -> i64 {
    short(&[&new.digest]).0
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

/// A delivery that is not finished, or was not when the batch began.
#[derive(Clone)]
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
    pub changed: bool,
}

/// [`OpenRow`] as the database gives it: in groups, because a tuple has sixteen columns at most.
#[derive(sqlx::FromRow)]
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
}

impl OpenRecord {
    pub const COLUMNS: &str = "open.id, open.message_seq, open.type, open.system, open.key, open.state, open.attempts, \
        open.tries, open.next_at_ms, open.updated_at_ms, open.operated, open.version, open.error, open.code, open.edited, open.by_whom";

    pub fn row(self) -> Result<OpenRow, Problem> {
        let state = parse_state(&self.state)?;
        Ok(OpenRow {
            id: self.id,
            message_seq: self.message_seq,
            r#type: read(self.r#type),
            system: read(self.system),
            key: self.key.map(read),
            state,
            attempts: self.attempts.try_into().map_err(internal)?,
            tries: self.tries.try_into().map_err(internal)?,
            next_at_ms: self.next_at_ms,
            updated_at_ms: self.updated_at_ms,
            judged: judged(self.operated),
            version: self.version.try_into().map_err(internal)?,
            error: self.error,
            code: self.code.map(read),
            edited: self.edited,
            by: self.by_whom.map(read),
            was: Some(state),
            changed: false,
        })
    }
}

/// The column `operated`: 0, or 1 more than the attempts made when a person last decided.
pub fn judged(operated: i64) -> Option<u32> {
    u32::try_from(operated.checked_sub(1)?).ok()
}

pub fn parse_state(text: &str) -> Result<DeliveryState, Problem> {
    DeliveryState::parse(text).ok_or_else(|| internal(format!("a delivery in state `{text}`")))
}

/// Whether nothing more will happen to a delivery in this state: it moves from `open` to `deliveries`.
pub fn finished(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Done | DeliveryState::Skipped)
}

impl OpenRow {
    pub fn new(stored: &StoredDelivery, error: Option<&ErrorRecord>, at_ms: i64) -> Result<Self, Problem> {
        Ok(Self {
            id: stored.id,
            message_seq: stored.message_seq,
            r#type: stored.message.r#type.clone(),
            system: stored.system.clone(),
            key: stored.key.clone(),
            state: stored.state,
            attempts: stored.attempts,
            tries: stored.tries,
            next_at_ms: stored.next_at_ms,
            updated_at_ms: at_ms,
            judged: None,
            version: stored.version,
            error: record(error)?,
            code: error.map(|e| e.code.clone()),
            edited: None,
            by: None,
            was: None,
            changed: true,
        })
    }

    pub fn attempted(&mut self, attempted: &Attempted) -> Result<(), Problem> {
        self.state = attempted.state;
        self.attempts = attempted.attempts;
        self.tries = attempted.tries;
        self.next_at_ms = attempted.next_at_ms;
        self.updated_at_ms = attempted.at_ms;
        self.version += 1;
        self.error = record(attempted.error.as_ref())?;
        self.code = attempted.error.as_ref().map(|e| e.code.clone());
        self.changed = true;
        Ok(())
    }

    pub fn shard(&self) -> i64 {
        Shards::of(&self.system, self.key.as_deref(), self.message_seq).into()
    }
}

pub fn record<T: Serialize>(record: Option<&T>) -> Result<Option<String>, Problem> {
    record.map(serde_json::to_string).transpose().map_err(internal)
}
