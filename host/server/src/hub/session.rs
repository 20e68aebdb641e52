//! One connection at work: bytes, timers and messages go to the session, one at a time. What it states is written down
//! before anything is sent, so that the far end's acknowledgement is never ahead of the journal.

use super::entries;
use super::line::{Connections, Given, GivenQueue};
use crate::tcp::Socket;
use crate::wasm::{Piece, Session, SessionEvent, SessionStep};
use busbar_core::ports::Run;
use busbar_core::record::maybe_sent;
use busbar_core::{Call, Code, Commit, Failure, IntakeKind, IntakeOutcome, NewMessage, OnDiffering, Problem, Shards};
use busbar_core::{CallKind, CallOutcome};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};

const READ_BYTES: usize = 16 << 10;
/// Of what was sent or received, in the record.
const SHOWN_BYTES: usize = 4 << 10;
const HANG_UP: Duration = Duration::from_millis(500);
/// Deliveries that nobody waits for any more must not keep their places when the far end is silent.
const LOOK: Duration = Duration::from_secs(1);
const STORE_RETRY: Duration = Duration::from_millis(250);

/// A delivery that the session has.
struct GivenDelivery {
    done: oneshot::Sender<Run<()>>,
    call: Call,
    started: Instant,
}

/// A connection with its session.
pub struct Serving<'a> {
    parts: &'a Connections,
    session: &'a mut Session,
    socket: Box<dyn Socket>,
    peer: String,
    ready: bool,
    timer: Option<tokio::time::Instant>,
    open: HashMap<i64, GivenDelivery>,
}

enum Happening {
    Read(std::io::Result<usize>),
    Timer,
    Given(Option<Given>),
    Stop,
    Turn,
    Look,
}

impl<'a> Serving<'a> {
    pub fn new(parts: &'a Connections, session: &'a mut Session, socket: Box<dyn Socket>, peer: String) -> Self {
        Self { parts, session, socket, peer, ready: false, timer: None, open: HashMap::new() }
    }

    /// Until the connection ends: `Ok` when somebody closed it in order.
    pub async fn run(&mut self) -> Result<(), Failure> {
        let mut buffer = vec![0; READ_BYTES];
        let mut turn = self.parts.turn.0.clone();
        let mut stopping = false;
        let mut closed = self.event(SessionEvent::Connected(self.peer.clone())).await?;
        loop {
            if closed || (stopping && self.open.is_empty()) {
                return Ok(());
            }
            // Nobody waits for those any more: they took longer than limits.deadline-ms.
            self.open.retain(|_, open| !open.done.is_closed());
            let room = self.ready && !stopping && self.open.len() < self.parts.caller.system.limits.concurrency;
            let timer = self.timer;
            let next = tokio::select! {
                read = self.socket.read(&mut buffer) => Happening::Read(read),
                () = sleep_until(timer), if timer.is_some() => Happening::Timer,
                given = take(&self.parts.given), if room => Happening::Given(given),
                () = self.parts.stop.cancelled(), if !stopping => Happening::Stop,
                () = changed(&mut turn) => Happening::Turn,
                () = tokio::time::sleep(LOOK), if !self.open.is_empty() => Happening::Look,
            };
            closed = match next {
                Happening::Read(Ok(0)) => return Ok(()),
                Happening::Read(Ok(count)) => {
                    let bytes = buffer.get(..count).unwrap_or_default().to_vec();
                    count_bytes(self.parts.system(), "in", count);
                    self.event(SessionEvent::Bytes(bytes)).await?
                }
                Happening::Read(Err(error)) => return Err(lost(&error)),
                Happening::Timer => self.event(SessionEvent::Timer).await?,
                Happening::Given(Some(given)) => self.give(given).await?,
                Happening::Given(None) | Happening::Stop => {
                    stopping = true;
                    false
                }
                Happening::Turn => !self.parts.is_mine(),
                Happening::Look => false,
            };
        }
    }

    /// Nothing more comes: whatever is not settled now was sent, and nobody knows what came of it.
    pub async fn end(&mut self) {
        self.hang_up().await;
        for (delivery, outcome) in self.session.disconnected().await {
            self.settle(delivery, outcome);
        }
        let unknown = "the connection ended before the far end answered";
        for delivery in self.open.keys().copied().collect::<Vec<_>>() {
            self.settle(delivery, Err(Failure::UnknownOutcome(unknown.into())));
        }
    }

    // With bytes unread, closing at once would take back what the far end has not read yet (RFC 9293, section 3.10.4).
    async fn hang_up(&mut self) {
        let mut rest = vec![0; READ_BYTES];
        let socket = &mut self.socket;
        let leaving = async {
            socket.shutdown().await?;
            while socket.read(&mut rest).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        let _ = tokio::time::timeout(HANG_UP, leaving).await;
    }

    /// Whether the connection is to be closed.
    async fn event(&mut self, event: SessionEvent) -> Result<bool, Failure> {
        let received = match &event {
            SessionEvent::Bytes(bytes) => Some(shown(bytes)),
            _ => None,
        };
        self.timer = None;
        let (result, run) = self.session.step(event).await.split();
        match result {
            Ok(step) => self.follow(step, run, received).await,
            Err(failure) => {
                self.refused(&failure, run.calls, received).await;
                Err(failure)
            }
        }
    }

    async fn give(&mut self, given: Given) -> Result<bool, Failure> {
        let Given { attempting, taken, done } = given;
        let effects = self.parts.caller.effects();
        if taken.send(()).is_err() {
            return Ok(false); // It was too late, and is tried again.
        }
        let delivery = attempting.delivery;
        let call = Call {
            attempt: attempting.attempt,
            ordinal: 0,
            kind: CallKind::Connection,
            request: json!({ "peer": self.peer }),
            answer: None,
            outcome: CallOutcome::NoAnswer,
            started_at_ms: effects.now_ms(),
            duration_us: 0,
        };
        if let Err(problem) = effects.ahead(delivery, &call).await {
            let _ = done.send(Run::of(Err(Failure::Hub(problem))));
            return Ok(false);
        }
        self.open.insert(delivery, GivenDelivery { done, call, started: Instant::now() });
        let maybe_sent = maybe_sent(&attempting.recorded);
        let step = SessionEvent::Message { delivery, message: attempting.message, maybe_sent };
        let (result, run) = self.session.step(step).await.split();
        match result {
            Ok(step) => {
                if let Some(open) = self.open.get_mut(&delivery) {
                    open.call.request["body"] = shown_pieces(&step.send);
                }
                self.follow(step, run, None).await
            }
            // Nothing was sent.
            Err(failure) => {
                self.settle(delivery, Err(failure.clone()));
                if self.session.is_sound() { Ok(false) } else { Err(failure) }
            }
        }
    }

    /// Commits, sends, settles, in this order.
    async fn follow(&mut self, step: SessionStep, run: Run<()>, received: Option<Value>) -> Result<bool, Failure> {
        if let Err(failure) = self.commit(run, received).await {
            self.session.forget();
            return Err(failure);
        }
        let bytes = self.filled(&step.send)?;
        if !bytes.is_empty() {
            self.send(&bytes).await?;
        }
        for (delivery, outcome) in step.settled {
            self.settle(delivery, outcome);
        }
        let now = tokio::time::Instant::now();
        self.timer = step.timer_ms.map(|ms| now + Duration::from_millis(ms.into()));
        if step.ready != self.ready {
            self.ready = step.ready;
            self.parts.show(if step.ready { "ready" } else { "connected" }, Some(&self.peer));
        }
        if let Some(why) = &step.close {
            tracing::info!(system = self.parts.system(), peer = self.peer, why, "the adapter closes the connection");
        }
        Ok(step.close.is_some())
    }

    /// Writes down what a step stated. It waits for a store that is down: nothing is read or sent meanwhile.
    async fn commit(&mut self, run: Run<()>, received: Option<Value>) -> Result<(), Failure> {
        if run.emitted.is_empty() && run.state.is_empty() && run.left_out.count == 0 {
            return Ok(());
        }
        let hub = &self.parts.hub;
        let admitted = run.emitted.into_iter().map(|e| hub.rules.admit_valid(e.message, e.place));
        let messages = admitted.collect::<Result<Vec<NewMessage>, Problem>>().map_err(Failure::Hub)?;
        let stated = !messages.is_empty() || run.left_out.count > 0;
        let mut intake = stated.then(|| hub.new_intake(IntakeKind::Connection, self.parts.system(), &self.peer));
        let entries = intake.as_mut().map(|intake| entries::left_out(intake, run.left_out)).unwrap_or_default();
        let commit = Commit {
            intake,
            entries,
            messages,
            on_differing: Some(OnDiffering::Keep),
            state: run.state,
            calls: if stated { self.with_bytes(run.calls, received) } else { Vec::new() },
            at_ms: hub.clock.now_ms(),
            ..Commit::default()
        };
        loop {
            match hub.committer.commit(commit.clone()).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(refusal)) => {
                    return Err(Failure::Hub(Problem::new(Code::Internal, format!("refused: {refusal:?}"))));
                }
                Err(problem) => {
                    tracing::warn!(system = self.parts.system(), %problem, "a connection waits for the store")
                }
            }
            tokio::time::sleep(STORE_RETRY).await;
            if self.parts.stop.is_cancelled() || !self.parts.is_mine() {
                return Err(Failure::Hub(Problem::new(Code::StoreUnavailable, "the hub stops")));
            }
        }
    }

    /// Writes down what the far end, or the adapter, did wrong.
    async fn refused(&mut self, failure: &Failure, calls: Vec<Call>, received: Option<Value>) {
        let hub = &self.parts.hub;
        let problem = failure.problem();
        metrics::counter!("busbar_refused_total", "kind" => "connection", "code" => problem.code.as_str()).increment(1);
        // The same error with each connection is one thing, told by /v1/systems, and not an intake every few seconds.
        if !self.parts.trouble.is_new(&problem.record()) {
            return;
        }
        let mut intake = hub.new_intake(IntakeKind::Connection, self.parts.system(), &self.peer);
        intake.outcome = IntakeOutcome::Refused;
        intake.error = Some(problem.record());
        let (at_ms, calls) = (intake.at_ms, self.with_bytes(calls, received));
        let commit = Commit { intake: Some(intake), calls, at_ms, ..Commit::default() };
        if let Err(problem) = hub.committer.commit(commit).await {
            tracing::warn!(system = self.parts.system(), %problem, "a failed connection was not written down");
        }
    }

    /// The record of a step: what came in, then what the adapter called.
    fn with_bytes(&self, calls: Vec<Call>, received: Option<Value>) -> Vec<Call> {
        let Some(body) = received else { return calls };
        let came = Call {
            attempt: 1,
            ordinal: 0,
            kind: CallKind::Connection,
            request: json!({ "peer": self.peer, "body": body }),
            answer: None,
            outcome: CallOutcome::Ok,
            started_at_ms: self.parts.hub.clock.now_ms(),
            duration_us: 0,
        };
        let rest = calls.into_iter().map(|call| Call { ordinal: call.ordinal.saturating_add(1), ..call });
        std::iter::once(came).chain(rest).collect()
    }

    fn filled(&self, pieces: &[Piece]) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Plain(plain) => bytes.extend_from_slice(plain),
                Piece::Secret(name) => bytes.extend_from_slice(self.parts.secret(name)?.expose_secret().as_bytes()),
            }
        }
        Ok(bytes)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let socket = &mut self.socket;
        let sending = async {
            socket.write_all(bytes).await?;
            socket.flush().await
        };
        match tokio::time::timeout(self.parts.send_timeout, sending).await {
            Ok(Ok(())) => {
                count_bytes(self.parts.system(), "out", bytes.len());
                Ok(())
            }
            Ok(Err(error)) => Err(lost(&error)),
            Err(_) => Err(transient("the far end does not read (connection.send-timeout-ms)".into())),
        }
    }

    fn settle(&mut self, delivery: i64, outcome: Result<(), Failure>) {
        let Some(GivenDelivery { done, mut call, started }) = self.open.remove(&delivery) else {
            tracing::warn!(
                system = self.parts.system(),
                delivery,
                "the adapter settled a delivery that it does not have"
            );
            return;
        };
        let word = outcome.as_ref().err().map_or("ok", |failure| failure.problem().code.as_str());
        // Where it stays open the next attempt must know.
        if !matches!(outcome, Err(Failure::UnknownOutcome(_))) {
            call.answer = Some(json!({ "settled": word }));
            call.outcome = CallOutcome::Ok;
        }
        call.duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let _ = done.send(Run { calls: vec![call], ..Run::of(outcome) });
    }
}

async fn take(given: &GivenQueue) -> Option<Given> {
    given.lock().await.recv().await
}

/// Never, where the hub has the store to itself.
async fn changed(turn: &mut watch::Receiver<Shards>) {
    if turn.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn sleep_until(timer: Option<tokio::time::Instant>) {
    if let Some(at) = timer {
        tokio::time::sleep_until(at).await;
    }
}

fn transient(reason: String) -> Failure {
    Failure::Transient { reason, retry_after_ms: None }
}

fn lost(error: &std::io::Error) -> Failure {
    transient(format!("the connection broke: {error}"))
}

fn count_bytes(system: &str, direction: &'static str, count: usize) {
    metrics::counter!("busbar_connection_bytes_total", "system" => system.to_string(), "direction" => direction)
        .increment(u64::try_from(count).unwrap_or_default());
}

/// Bytes for the record: as text where they are, else in hex; the beginning of many.
fn shown(bytes: &[u8]) -> Value {
    let part = bytes.get(..SHOWN_BYTES).unwrap_or(bytes);
    let more = if part.len() < bytes.len() { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    let text = std::str::from_utf8(part).ok().filter(|t| t.chars().all(|c| !c.is_control() || "\r\n\t".contains(c)));
    match text {
        Some(text) => format!("{text}{more}").into(),
        None => format!("{}{more}", crate::wasm::hex(part)).into(),
    }
}

fn shown_pieces(pieces: &[Piece]) -> Value {
    let part = |piece: &Piece| match piece {
        Piece::Plain(plain) => shown(plain),
        Piece::Secret(name) => format!("<{name}>").into(),
    };
    match pieces {
        [one] => part(one),
        several => several.iter().map(part).collect(),
    }
}
