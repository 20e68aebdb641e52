//! The ports: what the rules need of the world. The server implements them over real systems, and
//! [`crate::fakes`] in memory; both pass the same contract suites (tests/it/contracts).

use crate::audit::{AuditEntry, AuditFilter, Pause};
use crate::calls::Call;
use crate::cause::{FailureFilter, FailureGroup};
use crate::error::Problem;
use crate::intakes::*;
use crate::journal::*;
use crate::message::{Message, Payload};
use crate::outcome::{Failure, Rejection};
use crate::statistics::{HourCount, StatisticsFilter};
use async_trait::async_trait;
use std::any::Any;
use std::fmt::{Debug, Formatter};
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::Arc;

/// Tells the time. Milliseconds since 1970-01-01T00:00:00Z.
pub trait Clock: Send + Sync {
    fn now_ms(&self) -> i64;
}

/// Pulls the next chunk of a large commit; an empty chunk ends it.
pub type Chunks<'a> = &'a mut (dyn FnMut() -> Result<Vec<NewMessage>, Problem> + Send);

/// The journal, the deliveries and the systems' state.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes every commit in one durable transaction, one after another. A commit that is refused is left out
    /// whole; the others are written. Besides what each record says,
    /// - a new delivery whose key is held (a `parked` or `waiting` one of its system and key is there) is written
    ///   `waiting`; [`Planned::made`](crate::Planned::made) says when one is written `done` at once;
    /// - with a delivery that becomes `parked`, the `ready` ones of its system and key with larger ids become `waiting`;
    /// - with an operated one that becomes `done` or `skipped`, the `waiting` ones of its system and key become `ready`,
    ///   up to the next `parked` one. Skipping a parked one does the same;
    /// - calls are kept by delivery, attempt and ordinal: writing one again overwrites it. An intake's id likewise is
    ///   written once.
    ///
    /// # Errors
    /// `store-unavailable`: nothing of the batch is written, or (connection lost at the end) all of it.
    async fn commit(&self, batch: Vec<Commit>) -> Result<Vec<Committed>, Problem>;

    /// Writes `head` and all messages of `chunks` in one durable transaction, holding one chunk in
    /// memory at a time. Returns the intake with its counts and outcome.
    ///
    /// # Errors
    /// Whatever `chunks` says, or `store-unavailable`: nothing is written.
    async fn commit_stream(&self, head: Commit, chunks: Chunks<'_>) -> Result<Option<Intake>, Problem>;

    /// Deliveries of `system` in state `ready`, of these shards, with a larger id than `after`, by id; and the count
    /// of operations, both as of one moment.
    async fn ready(&self, system: &str, shards: Shards, after: i64, limit: u32) -> Result<Ready, Problem>;

    /// Takes shards for `hub` until `now_ms + lease_ms`: renews what it has, takes what nobody holds, and gives up
    /// what is over its fair share and not in `busy`. Hubs share without a leader: each one counts the living.
    async fn claim(&self, claim: Claim) -> Result<Claimed, Problem>;

    /// Deliveries for an operation, by id; without calls. The message's `seq` comes with each.
    async fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<(i64, DeliveryView)>, Problem>;

    /// Calls of earlier attempts of a delivery, in order.
    async fn calls(&self, delivery: i64) -> Result<Vec<Call>, Problem>;

    async fn state(&self, system: &str, key: &str) -> Result<Option<Vec<u8>>, Problem>;

    /// How much a system keeps.
    async fn state_size(&self, system: &str) -> Result<StateSize, Problem>;

    /// A message by what deduplicates it, with its `seq`.
    async fn lookup(&self, source: &str, id: &str) -> Result<Option<(i64, Message)>, Problem>;

    async fn messages(&self, filter: &MessageFilter) -> Result<Vec<MessageView>, Problem>;

    /// Messages in whose data this text stands, as JSON has it: at most [`MessageFilter::SCANNED_MAX`] that fit the
    /// filter are looked through, the newest first.
    async fn search(&self, filter: &MessageFilter, text: &str) -> Result<TextFound, Problem>;

    /// With deliveries and calls.
    async fn message(&self, seq: i64) -> Result<Option<MessageView>, Problem>;

    async fn intakes(&self, filter: &IntakeFilter) -> Result<Vec<IntakeView>, Problem>;

    async fn depths(&self) -> Result<Vec<Depth>, Problem>;

    /// Deliveries that fail or failed for good, by cause and state: `parked`, `dead`, and `ready` after a failure.
    async fn failures(&self, filter: &FailureFilter) -> Result<Vec<FailureGroup>, Problem>;

    /// Counts by the hour, in the order of [`TallyOf`](crate::statistics::TallyOf).
    async fn statistics(&self, filter: &StatisticsFilter) -> Result<Vec<HourCount>, Problem>;

    /// Systems that persons hold up.
    async fn pauses(&self) -> Result<Vec<Pause>, Problem>;

    /// Decisions, newest first.
    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, Problem>;
}

/// What a system keeps in its state; a few bytes more or less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    pub keys: u64,
    /// Of keys and values.
    pub bytes: u64,
}

/// What a read of deliveries found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ready {
    pub deliveries: Vec<StoredDelivery>,
    /// Grows with every operation and release, each of which takes an id as well: what is `ready` may have changed
    /// behind the frontier of the lanes.
    pub operations: i64,
}

/// What a hub asks for when it renews its part of the work.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Unique to the process.
    pub hub: String,
    pub now_ms: i64,
    pub lease_ms: i64,
    /// Shards not to be given up now: with deliveries running, or which the hub may start at any time. It stops
    /// starting those of [`Claimed::leave`] first, and gives them up by a later claim.
    pub busy: Shards,
    /// The hub is stopping: it takes nothing and gives up whatever is not busy.
    pub leaving: bool,
}

/// What a hub has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Make deliveries of these until the lease ends.
    pub shards: Shards,
    /// Let these run out and give them up at the next claim.
    pub leave: Shards,
    /// Hubs alive, this one included.
    pub hubs: u32,
}

/// A message that came in over a transport and is not acknowledged yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    pub tag: Tag,
    pub payload: Payload,
    pub routing_key: String,
    /// The exchange that it was published to.
    pub exchange: String,
    /// The user of the broker who published it, where the message says so: the broker has checked it.
    pub user: Option<String>,
    /// Present on questions.
    pub reply_to: Option<String>,
    pub correlation_id: Option<String>,
    /// Why its attributes cannot be read.
    pub fault: Option<Problem>,
    pub original: Original,
}

/// A message with all that its sender wrote beside it, in the transport's own form: what is put aside can be sent
/// again as it was.
#[derive(Clone, Default)]
pub struct Original(pub Option<Arc<dyn Any + Send + Sync>>);

impl Debug for Original {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Original" } else { "None" })
    }
}

/// It says nothing that the rest does not.
impl PartialEq for Original {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Names a received message for its acknowledgement. A tag of an earlier connection is stale: the
/// broker delivers that message again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    pub connection: u64,
    pub number: u64,
}

/// Where to publish.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outgoing {
    /// Empty: the default exchange, so that `routing_key` names a queue.
    pub exchange: String,
    pub routing_key: String,
    pub payload: Payload,
    pub reply_to: Option<String>,
    pub correlation_id: Option<String>,
    /// What it is a copy of; the attributes of `payload` are added to it.
    pub original: Original,
}

/// The results of messages handed over, in their order: success only after a confirm with no return.
pub type Confirms = Pin<Box<dyn Future<Output = Vec<Result<(), Problem>>> + Send>>;

/// AMQP as the hub needs it.
#[async_trait]
pub trait Transport: Send + Sync {
    /// The next messages, at most `max`; waits for the first one.
    ///
    /// # Errors
    /// `broker-unavailable` while there is no connection; the caller asks again.
    async fn receive(&self, max: usize) -> Result<Vec<Received>, Problem>;

    /// Acknowledges what is committed. Stale tags are left out silently: those come again.
    async fn ack(&self, tags: &[Tag]) -> Result<(), Problem>;

    /// Hands messages to the broker with confirms and `mandatory`; those handed over earlier with the same
    /// `partitionkey` (else `subject`) arrive earlier.
    async fn hand_over(&self, batch: Vec<Outgoing>) -> Confirms;

    /// The same, and waits for the confirms.
    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), Problem>> {
        self.hand_over(batch).await.await
    }

    /// Whether messages come in and go out now.
    fn connected(&self) -> bool;

    /// How many messages lie put aside, where there are such.
    async fn put_aside(&self) -> Result<Option<u64>, Problem> {
        Ok(None)
    }

    /// Takes leave, once all is acknowledged that will be: what is not goes to others at once.
    async fn close(&self) {}

    /// What keeps messages from going out, in the broker's words: an alarm of its own, during which it takes none and they wait.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Sends a question and waits for its answer.
    ///
    /// # Errors
    /// `answer-timeout`, `unroutable`, `broker-unavailable`.
    async fn ask(&self, question: Outgoing, deadline_ms: u64) -> Result<Payload, Problem>;
}

/// What a run of an adapter did.
#[derive(Debug)]
pub struct Run<T> {
    pub result: Result<T, Failure>,
    /// In order; empty unless the result is a success.
    pub emitted: Vec<Emitted>,
    pub state: Vec<StateWrite>,
    /// Entries of the input that the adapter left out while it took the others; empty unless the result is a success.
    pub left_out: LeftOut,
    pub calls: Vec<Call>,
}

impl<T> Run<T> {
    /// One that did nothing.
    pub fn of(result: Result<T, Failure>) -> Self {
        Self { result, emitted: Vec::new(), state: Vec::new(), left_out: LeftOut::default(), calls: Vec::new() }
    }

    /// What came of it, apart from what it did.
    pub fn split(self) -> (Result<T, Failure>, Run<()>) {
        let Self { result, emitted, state, left_out, calls } = self;
        (result, Run { result: Ok(()), emitted, state, left_out, calls })
    }
}

/// Entries that were left out: the first ones, and how many there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeftOut {
    pub entries: Vec<Rejection>,
    pub count: u64,
}

impl LeftOut {
    /// So many are kept of one input; the rest is counted.
    pub const ENTRIES_MAX: usize = 1000;

    pub fn push(&mut self, entry: Rejection) {
        self.count += 1;
        if self.entries.len() < Self::ENTRIES_MAX {
            self.entries.push(entry);
        }
    }
}

/// A message that an adapter stated, checked against its schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    pub message: Message,
    pub place: Option<String>,
}

/// Takes what a file's decoding states, a batch at a time, so that memory stays flat.
pub type EmitSink = Box<dyn FnMut(Vec<Emitted>) -> Result<(), Problem> + Send>;

/// A hook request or its answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookRequest {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A file to be decoded.
pub struct InputFile {
    pub name: String,
    pub size_bytes: u64,
    pub reader: Box<dyn Read + Send>,
}

/// Where an encoded file goes.
pub type OutputFile = Box<dyn Write + Send>;

/// One attempt of a delivery.
#[derive(Clone, Debug)]
pub struct Attempting {
    pub delivery: i64,
    /// From 1.
    pub attempt: u32,
    pub message: Arc<Message>,
    /// The calls of earlier attempts; see [`crate::record`]. After a person's decision to make it again,
    /// [`crate::record::after_decision`] of them.
    pub recorded: Vec<Call>,
}

/// What a poll gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polled {
    pub cursor: Option<Vec<u8>>,
    /// There is more at once.
    pub more: bool,
}

/// The systems' adapters.
#[async_trait]
pub trait Adapters: Send + Sync {
    async fn deliver(&self, system: &str, attempting: Attempting) -> Run<()>;
    async fn receive(&self, system: &str, request: HookRequest) -> Run<HookResponse>;
    async fn decode(&self, system: &str, file: InputFile, sink: EmitSink) -> Run<()>;
    async fn answer(&self, system: &str, question: Message) -> Run<Message>;
    /// `cursor`: what the last committed poll gave.
    async fn poll(&self, system: &str, cursor: Option<Vec<u8>>) -> Run<Polled>;
    /// Writes one file of `messages` and gives its name.
    async fn encode(&self, system: &str, messages: &[Arc<Message>], file: OutputFile) -> Run<String>;
}
