//! One attempt of a delivery: make it, decide what follows, write both down.

use super::dispatcher::Delivery;
use super::{Committer, Via};
use busbar_core::outcome::decide;
use busbar_core::ports::{Adapters, Attempting, Clock, Run, Store};
use busbar_core::{
    Attempted, Call, Code, Commit, DeliveryState, ErrorRecord, Failure, Message, NewMessage, Next, OnDiffering, Policy,
    Problem, Rules,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const STORE_RETRY: Duration = Duration::from_millis(250);

/// How a system's lanes go on.
pub enum Settled {
    /// Made, or failed for good with nothing waiting behind it.
    Done {
        key: Option<String>,
    },
    Again(Delivery),
    Parked {
        key: String,
    },
}

/// Makes attempts.
pub struct Attempter {
    pub rules: Arc<Rules>,
    pub adapters: Arc<dyn Adapters>,
    /// Systems that speak canonical messages themselves.
    pub via: Arc<BTreeMap<String, Via>>,
    pub policies: BTreeMap<String, Policy>,
    pub store: Arc<dyn Store>,
    pub committer: Committer,
    pub clock: Arc<dyn Clock>,
    pub stop: CancellationToken,
}

impl Attempter {
    pub async fn attempt(self: Arc<Self>, system: String, delivery: Delivery) -> Settled {
        let attempt = delivery.attempts + 1;
        let Some(recorded) = self.recorded(&delivery).await else { return Settled::Again(delivery) };
        let run = match self.via.get(&system) {
            Some(via) => via.deliver(&delivery.load, attempt).await,
            None => {
                let message = delivery.load.clone();
                self.adapters.deliver(&system, Attempting { delivery: delivery.id, attempt, message, recorded }).await
            }
        };
        let mut commit =
            Commit { on_differing: Some(OnDiffering::Keep), at_ms: self.clock.now_ms(), ..Commit::default() };
        let Run { result, emitted, state, calls } = run;
        commit.calls = calls;
        let admitted: Result<Vec<NewMessage>, Problem> = match result {
            Ok(()) => emitted.into_iter().map(|e| self.rules.admit(e.message, e.place)).collect(),
            Err(failure) => {
                let attempted = self.failed(&system, &delivery, attempt, &failure);
                return self.settle(&system, delivery, Commit { attempted: Some(attempted), ..commit }).await;
            }
        };
        let attempted = match admitted {
            Ok(messages) => {
                commit.messages = messages;
                commit.state = state;
                self.attempted(&delivery, attempt, DeliveryState::Done, 0, None)
            }
            Err(problem) => self.failed(&system, &delivery, attempt, &Failure::Hub(problem)),
        };
        self.settle(&system, delivery, Commit { attempted: Some(attempted), ..commit }).await
    }

    // The first attempt has no record: nothing of it is written before it ends.
    async fn recorded(&self, delivery: &Delivery) -> Option<Vec<Call>> {
        if delivery.attempts == 0 {
            return Some(Vec::new());
        }
        loop {
            match self.store.calls(delivery.id).await {
                Ok(calls) => return Some(calls),
                Err(problem) => tracing::warn!(%problem, "the call record cannot be read"),
            }
            self.pause().await?;
        }
    }

    async fn pause(&self) -> Option<()> {
        tokio::select! {
            () = tokio::time::sleep(STORE_RETRY) => Some(()),
            () = self.stop.cancelled() => None,
        }
    }

    fn failed(&self, system: &str, delivery: &Delivery, attempt: u32, failure: &Failure) -> Attempted {
        let problem = failure.problem();
        let policy = self.policies.get(system).copied().unwrap_or_default();
        let next = decide(&policy, attempt, failure, rand::random());
        // The detail may quote what a system said about a customer: it is in the journal, not in the log.
        let code = problem.code.as_str();
        tracing::warn!(system, delivery = delivery.id, attempt, code, ?next, "a delivery failed");
        let (state, next_at_ms) = match next {
            Next::Retry { after_ms } => {
                (DeliveryState::Ready, self.clock.now_ms() + i64::try_from(after_ms).unwrap_or(i64::MAX / 2))
            }
            Next::GiveUp if delivery.key.is_some() => (DeliveryState::Parked, 0),
            Next::GiveUp => (DeliveryState::Dead, 0),
        };
        self.attempted(delivery, attempt, state, next_at_ms, Some(problem.record()))
    }

    fn attempted(
        &self,
        delivery: &Delivery,
        attempts: u32,
        state: DeliveryState,
        next_at_ms: i64,
        error: Option<ErrorRecord>,
    ) -> Attempted {
        Attempted { delivery: delivery.id, state, attempts, next_at_ms, error, at_ms: self.clock.now_ms() }
    }

    async fn settle(&self, system: &str, mut delivery: Delivery, commit: Commit) -> Settled {
        let Some(attempted) = commit.attempted.clone() else { return Settled::Again(delivery) };
        if !self.write(commit).await {
            return Settled::Again(delivery);
        }
        metrics::counter!("busbar_attempts_total", "system" => system.to_string(), "state" => attempted.state.as_str())
            .increment(1);
        match (attempted.state, delivery.key.clone()) {
            (DeliveryState::Parked, Some(key)) => Settled::Parked { key },
            (DeliveryState::Ready, _) => {
                delivery.attempts = attempted.attempts;
                delivery.due_ms = attempted.next_at_ms;
                Settled::Again(delivery)
            }
            (_, key) => Settled::Done { key },
        }
    }

    // What was done must be written down, however long the store is away: back-pressure, not loss.
    async fn write(&self, commit: Commit) -> bool {
        loop {
            match self.committer.commit(commit.clone()).await {
                Ok(_) => return true,
                Err(problem) => tracing::warn!(%problem, "an outcome waits for the store"),
            }
            if self.pause().await.is_none() {
                return false;
            }
        }
    }

    /// Writes down that deliveries wait behind a parked one.
    pub async fn park_behind(&self, waiting: Vec<Delivery>) {
        for delivery in waiting {
            let error = ErrorRecord {
                code: "waits-behind".into(),
                detail: format!(
                    "an earlier delivery with the key `{}` is parked",
                    delivery.key.clone().unwrap_or_default()
                ),
                place: None,
            };
            let attempted = self.attempted(&delivery, delivery.attempts, DeliveryState::Parked, 0, Some(error));
            self.write(Commit { attempted: Some(attempted), at_ms: self.clock.now_ms(), ..Commit::default() }).await;
        }
    }
}

/// A run without an adapter: one call, and how it ended.
pub(super) fn single(result: Result<(), Failure>, calls: Vec<Call>) -> Run<()> {
    Run { result, emitted: Vec::new(), state: Vec::new(), calls }
}

/// The failure that an HTTP status stands for.
pub(super) fn status_failure(status: u16, retry_after_ms: Option<u64>, text: String) -> Failure {
    match status {
        401 | 403 => Failure::Unauthorized(text),
        429 => Failure::RateLimited { reason: text, retry_after_ms },
        408 | 425 | 500..=599 => Failure::Transient { reason: text, retry_after_ms },
        _ => Failure::Rejected(busbar_core::Rejection { code: format!("http-{status}"), reason: text, place: None }),
    }
}

/// A message for a log line or an error: what it is, not what it says.
pub(super) fn named(message: &Message) -> String {
    format!("{} {} from {}", message.r#type, message.id, message.source)
}

/// A problem that says that a part is missing.
pub(super) fn unreachable(detail: &str) -> Problem {
    Problem::new(Code::BrokerUnavailable, detail)
}
