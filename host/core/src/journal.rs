//! Records of the journal: what the store keeps of messages, deliveries, calls and intakes.

use crate::admit::Planned;
use crate::error::ErrorRecord;
use crate::message::Message;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// State of a delivery. `Parked` failed for good and holds its key, or waits behind one that does;
/// `Dead` failed for good and had no key, so nothing waits behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    Ready,
    Done,
    Parked,
    Dead,
}

impl DeliveryState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Done => "done",
            Self::Parked => "parked",
            Self::Dead => "dead",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ready, Self::Done, Self::Parked, Self::Dead].into_iter().find(|s| s.as_str() == text)
    }
}

/// Where an input came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntakeKind {
    File,
    Hook,
    Poll,
    Rest,
    Amqp,
    Question,
}

impl IntakeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Hook => "hook",
            Self::Poll => "poll",
            Self::Rest => "rest",
            Self::Amqp => "amqp",
            Self::Question => "question",
        }
    }
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntakeOutcome {
    Accepted,
    /// Everything in it was known already; nothing changed.
    Repeated,
    Refused,
}

impl IntakeOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
        }
    }
}

/// One input from outside that is not itself a message: a file, a hook request, a question, or a
/// message that was refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Intake {
    /// UUIDv7.
    pub id: String,
    pub kind: IntakeKind,
    /// The system, or the API key's name.
    pub system: String,
    /// File name, path or routing key.
    pub name: String,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// Set by the store when the messages are known to be new or not.
    pub outcome: IntakeOutcome,
    pub messages: u64,
    pub duplicates: u64,
    /// Known messages whose content differs now; the first one stands.
    pub differing: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorRecord>,
}

/// A message with the deliveries planned for it, on its way into the store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    pub message: Arc<Message>,
    /// Hex SHA-256 of type and data; tells a repeat from a reused id.
    pub digest: String,
    pub deliveries: Vec<Planned>,
    /// Where in the input it was found.
    pub place: Option<String>,
}

/// What to do with a known (source, id) whose content differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDiffering {
    /// Refuse the whole commit: a publisher reused an id.
    Refuse,
    /// The first one stands and the intake counts it: a bank states a document again with more in it.
    Keep,
}

/// One effect of an adapter with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Call {
    pub attempt: u32,
    /// Position within the attempt, from 0.
    pub ordinal: u32,
    /// `http`, `ask`, `state`, `publish` or `file`.
    pub kind: String,
    pub request: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// `ok`, `recorded` (answered from the record), or what went wrong; see [`crate::record`].
    pub outcome: String,
    pub started_at_ms: i64,
    pub duration_us: u64,
}

/// A write to a system's state; `None` deletes.
#[derive(Clone, Debug, PartialEq)]
pub struct StateWrite {
    pub system: String,
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// How one attempt of a delivery ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempted {
    pub delivery: i64,
    pub state: DeliveryState,
    /// Attempts made so far, this one included.
    pub attempts: u32,
    /// Not before, while `Ready`.
    pub next_at_ms: i64,
    pub error: Option<ErrorRecord>,
    pub at_ms: i64,
}

/// What is written together or not at all. The store may write several commits in one transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    pub intake: Option<Intake>,
    pub messages: Vec<NewMessage>,
    pub on_differing: Option<OnDiffering>,
    pub state: Vec<StateWrite>,
    pub calls: Vec<Call>,
    pub attempted: Option<Attempted>,
    pub at_ms: i64,
}

/// What became of one message of a commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    pub seq: i64,
    pub duplicate: bool,
    pub differs: bool,
    /// The new deliveries, in the order they must be made.
    pub deliveries: Vec<StoredDelivery>,
}

/// A commit's result, message by message; or the index of the message that reused an id.
pub type Committed = Result<Vec<Accepted>, IdReused>;

/// The commit was not written: this message has a known (source, id) and other content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdReused {
    pub index: usize,
}

/// A delivery in the store, ready to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDelivery {
    pub id: i64,
    pub message_seq: i64,
    pub system: String,
    pub key: Option<String>,
    pub state: DeliveryState,
    pub attempts: u32,
    pub next_at_ms: i64,
    pub message: Arc<Message>,
}

/// Which messages to show. All given conditions hold together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageFilter {
    pub r#type: Option<String>,
    pub source: Option<String>,
    pub subject: Option<String>,
    pub id: Option<String>,
    pub system: Option<String>,
    pub state: Option<DeliveryState>,
    /// Only those with a smaller `seq`: newest first.
    pub before: Option<i64>,
    pub limit: u32,
}

/// A delivery as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryView {
    pub id: i64,
    pub system: String,
    pub key: Option<String>,
    pub state: DeliveryState,
    pub attempts: u32,
    pub next_at_ms: i64,
    pub updated_at_ms: i64,
    pub error: Option<ErrorRecord>,
    pub calls: Vec<Call>,
}

/// A message as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageView {
    pub seq: i64,
    pub message: Message,
    pub received_at_ms: i64,
    pub place: Option<String>,
    pub intake: Option<String>,
    pub deliveries: Vec<DeliveryView>,
}

/// Which intakes to show, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntakeFilter {
    pub id: Option<String>,
    pub system: Option<String>,
    pub outcome: Option<String>,
    pub limit: u32,
}

/// An intake as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IntakeView {
    #[serde(flatten)]
    pub intake: Intake,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Call>,
}

/// How many deliveries a system has in each state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Depth {
    pub system: String,
    pub state: DeliveryState,
    pub count: i64,
}
