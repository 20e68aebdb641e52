//! Records of the journal: what the store keeps of messages, deliveries, calls and intakes.

use crate::audit::{Decider, Deed, Hold};
use crate::calls::Call;
use crate::error::ErrorRecord;
use crate::intakes::{Decided, Intake, Recurred};
use crate::marks::Marks;
use crate::message::Message;
use crate::stated::StatedBy;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// State of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// To be made, now or at its time.
    Ready,
    Done,
    /// Failed for good and holds its key: a person retries, edits or skips it.
    Parked,
    /// Waits behind a parked one of the same system and key; goes on by itself when that one is settled.
    Waiting,
    /// Failed for good and had no key, so nothing waits behind it.
    Dead,
    /// A person decided that it is not made.
    Skipped,
}

impl DeliveryState {
    pub const ALL: [Self; 6] = [Self::Ready, Self::Done, Self::Parked, Self::Waiting, Self::Dead, Self::Skipped];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Done => "done",
            Self::Parked => "parked",
            Self::Waiting => "waiting",
            Self::Dead => "dead",
            Self::Skipped => "skipped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// A message with the deliveries planned for it, on its way into the store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    pub message: Arc<Message>,
    pub marks: Marks,
    pub deliveries: Vec<Planned>,
    /// Where in the input it was found.
    pub place: Option<String>,
    /// The key or publisher that stated it; none of what a system states, whose source names it.
    pub stated_by: Option<StatedBy>,
    pub journal: Journal,
}

/// A delivery planned at admission.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub system: String,
    pub key: Option<String>,
    /// Set when it was made already. The store writes it `done` with what it made, unless an unfinished delivery of
    /// the same system and key comes before it: then it is written `ready`, and nothing of this is.
    #[serde(skip)]
    pub made: Option<Made>,
    /// Set when a route's expression failed: the delivery starts parked, so that nothing is lost.
    pub error: Option<ErrorRecord>,
}

/// How much of a message the journal keeps, by the routes that cover it: the most that one of them wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Journal {
    /// Nothing: a plain at-least-once relay over AMQP. Whatever cannot be relayed at once is kept as `envelope`.
    None,
    /// The message without its data once its deliveries are finished, and no calls that went well.
    Envelope,
    /// Everything.
    #[default]
    Full,
}

/// A delivery that was made before its message was written: the system's adapter may only state messages, so
/// that nothing happened yet. Both are written in one transaction, or neither.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    pub messages: Vec<NewMessage>,
    pub calls: Vec<Call>,
}

/// What to do with a known (source, id) whose content differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDiffering {
    /// Refuse the whole commit: a publisher reused an id.
    Refuse,
    /// The first one stands, and the other becomes an intake of its own: a person decides. A bank states a document
    /// again with more in it, or uses a number twice.
    Keep,
}

/// A write to a system's state; `None` deletes.
#[derive(Clone, Debug, PartialEq)]
pub struct StateWrite {
    pub system: String,
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// An attempt that is under way: its calls are written before they are made. The delivery counts the
/// attempt from then on, so that of two hubs that took it up only one may send.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    pub system: String,
    pub delivery: i64,
    /// Version that the delivery must still have in the store, and be `ready`; else another hub has taken it over.
    /// The engine fills it in.
    pub expected: u32,
    /// Number of this attempt.
    pub attempt: u32,
    /// What it is about to do.
    pub calls: Vec<Call>,
}

/// How one attempt of a delivery ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempted {
    pub delivery: i64,
    /// Version that the delivery must still have in the store, and be `ready`; else the commit is stale.
    pub expected: u32,
    pub state: DeliveryState,
    /// Attempts made so far, this one included. An attempt that a crash cut off counts.
    pub attempts: u32,
    /// Attempts counted against the policy: those that a system's outage cost are not.
    pub tries: u32,
    /// Not before, while `Ready`.
    pub next_at_ms: i64,
    pub error: Option<ErrorRecord>,
    pub at_ms: i64,
}

/// What is written together or not at all. The store may write several commits in one transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    pub intake: Option<Intake>,
    /// Entries that were left out of it. One that is there already is not written again.
    pub entries: Vec<Intake>,
    pub decided: Option<Decided>,
    /// Of an intake that is there; of another it is left out.
    pub recurred: Option<Recurred>,
    pub messages: Vec<NewMessage>,
    pub on_differing: Option<OnDiffering>,
    pub state: Vec<StateWrite>,
    pub calls: Vec<Call>,
    pub attempted: Option<Attempted>,
    /// All of them or none.
    pub started: Vec<Started>,
    pub operation: Option<Operation>,
    pub hold: Option<Hold>,
    pub at_ms: i64,
}

/// What a person does about a delivery that is not finished.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    pub delivery: i64,
    pub system: String,
    pub shard: u32,
    pub act: Act,
    /// State and version that the delivery had when the person looked; else it has been made again meanwhile, and what
    /// was decided is about something else.
    pub state: DeliveryState,
    pub seen: u32,
    pub decider: Decider,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Make it again, with a new budget of tries; a `ready` one now, whatever it waits for. By this a person says of
    /// `parked` and `dead` ones that what came of requests without an answer was found out; of `ready` ones nothing.
    Retry,
    /// The same with other data, already validated against the schema. The message itself stays as it was received.
    Edit(Box<Message>),
    /// Never make it. Those that wait behind a parked one go on.
    Skip,
}

impl Act {
    pub fn deed(&self) -> Deed {
        match self {
            Self::Retry => Deed::Retry,
            Self::Edit(_) => Deed::Edit,
            Self::Skip => Deed::Skip,
        }
    }

    /// Whether a delivery in this state may be operated on so.
    pub fn fits(&self, state: DeliveryState) -> bool {
        match state {
            DeliveryState::Parked | DeliveryState::Dead | DeliveryState::Ready => true,
            DeliveryState::Waiting => matches!(self, Self::Skip),
            DeliveryState::Done | DeliveryState::Skipped => false,
        }
    }
}

/// What became of one message of a commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    pub seq: i64,
    pub duplicate: bool,
    pub differs: bool,
    /// The new deliveries, in the order they must be made; those of what was made with it included.
    pub deliveries: Vec<StoredDelivery>,
}

/// A commit's result, message by message; or why it was left out whole.
pub type Committed = Result<Vec<Accepted>, Refusal>;

/// Why a commit was not written. Trying again is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The message with this index has a known (source, id) and other content.
    IdReused { index: usize },
    /// The delivery is not as the commit expects it: another hub or a person was faster, or it was written before.
    Stale,
    /// The operation does not fit the delivery's state; `None`: there is no such delivery.
    NotNow { state: Option<DeliveryState> },
    /// There is no such intake, or nothing is to be decided about it.
    NotOpen,
    /// An earlier delivery of the same system and key is held: that one comes first.
    Behind { delivery: i64 },
    /// The delivery is being made just now, or somebody decides about it.
    UnderWay,
    /// Another hub makes this delivery: only that one knows whether it is under way.
    Elsewhere,
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
    pub tries: u32,
    /// Counts what was written of it: attempts begun and ended, decisions.
    pub version: u32,
    pub next_at_ms: i64,
    /// A person retried it: others may wait behind it.
    pub operated: bool,
    /// Attempts made when a person last decided about it: what came of their calls, the person has found out.
    pub judged: u32,
    /// As received, or as a person edited it for this delivery.
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
    /// Only those received since, and before.
    pub since_ms: Option<i64>,
    pub until_ms: Option<i64>,
    /// Only those with a smaller `seq`: newest first.
    pub before: Option<i64>,
    pub limit: u32,
}

impl MessageFilter {
    /// Messages whose data are looked through at once, by [`Store::search`](crate::ports::Store::search).
    pub const SCANNED_MAX: usize = 20_000;
}

/// What a search of a text within the data found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextFound {
    pub messages: Vec<MessageView>,
    /// Where to go on ([`MessageFilter::before`]); `None`: there is nothing more.
    pub next: Option<i64>,
}

/// States of deliveries that are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum States {
    /// Failed for good: `parked` or `dead`.
    #[default]
    GaveUp,
    /// Those, and `ready` ones whose last attempt failed.
    Failing,
    One(DeliveryState),
}

impl States {
    /// As a person names them; what is meant where nothing is named is for whoever asks.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "failing" => Some(Self::Failing),
            state => DeliveryState::parse(state).map(Self::One),
        }
    }

    /// `failed`: whether its last attempt did.
    pub fn has(self, state: DeliveryState, failed: bool) -> bool {
        let gave_up = matches!(state, DeliveryState::Parked | DeliveryState::Dead);
        match self {
            Self::GaveUp => gave_up,
            Self::Failing => gave_up || (state == DeliveryState::Ready && failed),
            Self::One(one) => state == one,
        }
    }
}

/// Which deliveries an operation means. All given conditions hold together; by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryFilter {
    pub id: Option<i64>,
    pub states: States,
    pub system: Option<String>,
    pub r#type: Option<String>,
    /// Code of the error.
    pub code: Option<String>,
    /// Id of the [cause](crate::Cause).
    pub cause: Option<i64>,
    pub key: Option<String>,
    /// Only those that something happened to since, and until then.
    pub since_ms: Option<i64>,
    pub until_ms: Option<i64>,
    /// Only those with a larger id.
    pub after: i64,
    pub limit: u32,
}

/// A delivery as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryView {
    pub id: i64,
    /// Of its message.
    pub r#type: String,
    pub system: String,
    pub key: Option<String>,
    pub state: DeliveryState,
    pub attempts: u32,
    /// For [`Operation::seen`].
    pub version: u32,
    pub next_at_ms: i64,
    pub updated_at_ms: i64,
    pub error: Option<ErrorRecord>,
    /// Data that a person put in place of the message's.
    pub edited: Option<Value>,
    /// Who retried, edited or skipped it last.
    pub by: Option<String>,
    pub calls: Vec<Call>,
}

impl DeliveryView {
    /// When it is tried again, while it waits for that.
    pub fn next_try_ms(&self) -> Option<i64> {
        (self.state == DeliveryState::Ready && self.next_at_ms > 0).then_some(self.next_at_ms)
    }
}

/// A message as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageView {
    pub seq: i64,
    pub message: Message,
    pub received_at_ms: i64,
    pub place: Option<String>,
    /// See [`NewMessage::stated_by`]; none either of what was written by an earlier version.
    pub stated_by: Option<StatedBy>,
    pub intake: Option<String>,
    pub deliveries: Vec<DeliveryView>,
}

/// The shards that a hub makes the deliveries of: bit `n` is shard `n`. One hub alone has all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shards(pub u32);

impl Shards {
    pub const COUNT: u32 = 32;
    pub const ALL: Self = Self(u32::MAX);
    pub const NONE: Self = Self(0);

    /// Deliveries with the same system and key have the same shard, for ever; those without a key are spread by
    /// their message. FNV-1a: a stored number must not depend on the version of a library.
    pub fn of(system: &str, key: Option<&str>, message_seq: i64) -> u32 {
        let number = message_seq.to_le_bytes();
        let rest: &[u8] = key.map_or(&number, str::as_bytes);
        let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        system.as_bytes().iter().chain(&[0]).chain(rest).fold(0x811c_9dc5, step) % Self::COUNT
    }

    pub fn has(self, shard: u32) -> bool {
        self.0 >> (shard % Self::COUNT) & 1 == 1
    }
}

/// How many deliveries a system has in each state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Depth {
    pub system: String,
    pub state: DeliveryState,
    pub count: i64,
}
