//! The line to a system with a connection: how deliveries get to its sessions, and how it is.

use super::shards::Turn;
use super::{Board, Hub};
use crate::wasm::Caller;
use busbar_core::ports::{Attempting, Run};
use busbar_core::{ErrorRecord, Failure, Policy, Problem, Shards};
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// Deliveries that wait for a session, shared by all sessions of a system.
pub type GivenQueue = Arc<tokio::sync::Mutex<mpsc::Receiver<Given>>>;

/// A delivery on its way to a session.
pub struct Given {
    pub attempting: Attempting,
    /// Tells that a session has it; fails when nobody waits any more.
    pub taken: oneshot::Sender<()>,
    pub done: oneshot::Sender<Run<()>>,
}

/// Where the deliveries of a system with a connection go.
pub struct Line {
    queue: mpsc::Sender<Given>,
    ready_timeout: Duration,
    deadline: Duration,
}

impl Line {
    /// `at_once`: deliveries at once. The other end is for [`Connections`].
    pub fn new(at_once: usize, ready_timeout: Duration, deadline: Duration) -> (Self, GivenQueue) {
        let (queue, given) = mpsc::channel(at_once.max(1));
        (Self { queue, ready_timeout, deadline }, Arc::new(tokio::sync::Mutex::new(given)))
    }

    /// Gives a message to a session and waits until that has settled it.
    pub async fn deliver(&self, attempting: Attempting) -> Run<()> {
        let (taken, mut is_taken) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let not_ready =
            || ended(Failure::Transient { reason: "the connection is not ready".into(), retry_after_ms: None });
        if self.queue.send(Given { attempting, taken, done }).await.is_err() {
            return not_ready();
        }
        if tokio::time::timeout(self.ready_timeout, &mut is_taken).await.is_err() {
            is_taken.close();
            if is_taken.try_recv().is_err() {
                return not_ready();
            }
        }
        let unknown = |text: String| ended(Failure::UnknownOutcome(text));
        match tokio::time::timeout(self.deadline, is_done).await {
            Ok(Ok(run)) => run,
            Ok(Err(_)) => unknown("the session ended before it settled the delivery".into()),
            Err(_) => unknown(format!("not settled within {} ms (limits.deadline-ms)", self.deadline.as_millis())),
        }
    }
}

fn ended(failure: Failure) -> Run<()> {
    Run::of(Err(failure))
}

/// How a system's connection is, for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConnectionShown {
    /// `connecting`, `listening`, `connected` (not logged in), `ready`, `failing` (each connection ends at once in the
    /// same error, `last-error`), or `elsewhere`: another hub has it.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    pub since_ms: i64,
    /// Code of what ended the last connection, if it ended badly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What it was, in words. An adapter may quote the far end: only for those with the right to see personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Connections in a row that ended badly.
    pub failures: u32,
    /// When the next one is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at_ms: Option<i64>,
}

/// The connections of one system.
pub struct Connections {
    pub hub: Arc<Hub>,
    pub caller: Arc<Caller>,
    pub given: GivenQueue,
    /// Sessions at once of a listener.
    pub at_once: usize,
    pub send_timeout: Duration,
    /// How long to wait after failures.
    pub policy: Policy,
    pub turn: Turn,
    /// Deliveries of every hub need a connection there; what only listens is done by one of them.
    pub every_hub: bool,
    pub board: Arc<Board<ConnectionShown>>,
    pub trouble: Trouble,
    /// What the connection has come to, whatever is shown.
    pub reached: Mutex<String>,
    pub stop: CancellationToken,
}

/// An error that ends one connection after the other: it is told once, and not with each of them.
#[derive(Default)]
pub struct Trouble(Mutex<Option<(ErrorRecord, u32)>>);

impl Trouble {
    fn inner(&self) -> MutexGuard<'_, Option<(ErrorRecord, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is another error than the one before.
    pub fn is_new(&self, error: &ErrorRecord) -> bool {
        let mut inner = self.inner();
        let times = match &*inner {
            // Its words may name what came, which is another thing each time.
            Some((known, times)) if known.code == error.code => times + 1,
            _ => 1,
        };
        *inner = Some((error.clone(), times));
        times == 1
    }

    /// Whether connections end in it again and again.
    fn lasts(&self) -> bool {
        self.inner().as_ref().is_some_and(|(_, times)| *times > 1)
    }

    fn is_over(&self) {
        *self.inner() = None;
    }
}

impl Connections {
    pub fn system(&self) -> &str {
        &self.caller.system.name
    }

    /// Whether the connection is this hub's to have.
    pub fn is_mine(&self) -> bool {
        if self.every_hub { *self.turn.0.borrow() != Shards::NONE } else { self.turn.is_mine(self.system()) }
    }

    /// Writes down how a connection ended, and gives the failure that the pause is made for.
    pub(super) fn ended(&self, result: Result<(), Failure>) -> Failure {
        let closed = || Failure::Transient { reason: "the connection was closed".into(), retry_after_ms: None };
        let code = result.as_ref().err().map(|failure| failure.problem().code.as_str());
        let system = self.system().to_string();
        metrics::gauge!("busbar_connection_ready", "system" => system.clone()).set(0.0);
        metrics::counter!("busbar_connections_ended_total", "system" => system, "outcome" => code.unwrap_or("closed"))
            .increment(1);
        let error = result.as_ref().err().map(|failure| failure.problem().record());
        self.board.change(self.system(), |shown| {
            shown.last_error = error.as_ref().map(|error| error.code.clone());
            shown.reason = error.map(|error| error.detail);
        });
        if self.trouble.lasts() {
            self.show("failing", None);
        }
        match result {
            // What the far end says may be about a customer: the detail of such a failure is in the journal.
            Err(failure) => {
                let reason = match &failure {
                    Failure::Transient { reason, .. } => reason.as_str(),
                    _ => "",
                };
                tracing::warn!(system = self.system(), code, reason, "a connection ended");
                // However wrong it was, the next connection may be right.
                match failure {
                    Failure::Transient { .. } | Failure::RateLimited { .. } => failure,
                    other => Failure::Other(other.problem().detail),
                }
            }
            Ok(()) => {
                tracing::info!(system = self.system(), "a connection was closed");
                closed()
            }
        }
    }

    /// The connection is not one of those that end at once: it is what it says.
    pub(super) fn holds(&self, peer: &str) {
        self.trouble.is_over();
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.board.change(self.system(), |shown| (shown.failures, shown.retry_at_ms) = (0, None));
        if !reached.is_empty() {
            self.show(&reached, Some(peer));
        }
    }

    pub fn show(&self, state: &str, peer: Option<&str>) {
        let now_ms = self.hub.clock.now_ms();
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = state.to_string();
        // What ended twice in the same error will hardly be ready now: that it is for a moment is no news.
        let state = if self.trouble.lasts() && state != "elsewhere" { "failing" } else { state };
        if state == "ready" {
            metrics::gauge!("busbar_connection_ready", "system" => self.system().to_string()).set(1.0);
        }
        self.board.change(self.system(), |shown| {
            if shown.state != state {
                (shown.state, shown.since_ms) = (state.to_string(), now_ms);
            }
            shown.peer = peer.map(str::to_string);
        });
    }

    /// The named credential, to be sent.
    ///
    /// # Errors
    /// There is none.
    pub fn secret(&self, name: &str) -> Result<secrecy::SecretString, Failure> {
        let missing = |text| Failure::Hub(Problem::new(busbar_core::Code::MissingGrant, text));
        self.caller.effects().secret(name).map_err(missing)
    }
}
