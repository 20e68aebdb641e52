//! The ports: what the rules need of the world. The server implements them over real systems, and
//! [`crate::fakes`] in memory; both pass the same contract suites (tests/it/contracts).

use crate::error::Problem;
use crate::journal::*;
use crate::message::{Message, Payload};
use crate::outcome::Failure;
use async_trait::async_trait;
use std::io::{Read, Write};
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
    /// Writes every commit in one durable transaction. A commit that reuses an id is left out whole;
    /// the others are written.
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

    /// Deliveries of `system` in state `ready` with a larger id than `after`, by id.
    async fn ready(&self, system: &str, after: i64, limit: u32) -> Result<Vec<StoredDelivery>, Problem>;

    /// Keys of `system` that a parked delivery holds.
    async fn parked_keys(&self, system: &str) -> Result<Vec<String>, Problem>;

    /// Calls of earlier attempts of a delivery, in order.
    async fn calls(&self, delivery: i64) -> Result<Vec<Call>, Problem>;

    async fn state(&self, system: &str, key: &str) -> Result<Option<Vec<u8>>, Problem>;

    /// A message by what deduplicates it, with its `seq`.
    async fn lookup(&self, source: &str, id: &str) -> Result<Option<(i64, Message)>, Problem>;

    async fn messages(&self, filter: &MessageFilter) -> Result<Vec<MessageView>, Problem>;

    /// With deliveries and calls.
    async fn message(&self, seq: i64) -> Result<Option<MessageView>, Problem>;

    async fn intakes(&self, filter: &IntakeFilter) -> Result<Vec<IntakeView>, Problem>;

    async fn depths(&self) -> Result<Vec<Depth>, Problem>;
}

/// A message that came in over a transport and is not acknowledged yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    pub tag: Tag,
    pub payload: Payload,
    pub routing_key: String,
    /// Present on questions.
    pub reply_to: Option<String>,
    pub correlation_id: Option<String>,
}

/// Names a received message for its acknowledgement. A tag of an earlier connection is stale: the
/// broker delivers that message again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    pub connection: u64,
    pub number: u64,
}

/// Where to publish.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Empty: the default exchange, so that `routing_key` names a queue.
    pub exchange: String,
    pub routing_key: String,
    pub payload: Payload,
    pub reply_to: Option<String>,
    pub correlation_id: Option<String>,
}

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

    /// Publishes with confirms and `mandatory`: success only after a confirm with no return.
    /// Results in the order of `batch`.
    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), Problem>>;

    /// Whether there is a connection now.
    fn connected(&self) -> bool;

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
    pub calls: Vec<Call>,
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
