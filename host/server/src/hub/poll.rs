//! Polling: a system is asked again and again, and its cursor moves only with what it stated.

use super::shards::Turn;
use super::{Hub, entries};
use crate::wasm::RESERVED;
use busbar_core::outcome::pause_ms;
use busbar_core::ports::{LeftOut, Run};
use busbar_core::{Commit, Failure, IntakeKind, IntakeOutcome, NewMessage, OnDiffering, Policy, Problem, StateWrite};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Polls one system until `stop`.
pub struct Poller {
    pub hub: Arc<Hub>,
    pub system: String,
    pub every: Duration,
    /// How long to wait after failures.
    pub policy: Policy,
    pub turn: Turn,
    pub stop: CancellationToken,
}

impl Poller {
    pub async fn run(self) {
        let (mut failures, mut told) = (0, LeftOut::default());
        while !self.stop.is_cancelled() {
            let pause = if self.turn.is_mine(&self.system) {
                self.next(&mut failures, &mut told).await
            } else {
                self.jittered()
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    // So that systems with one interval do not all ask at the same moment.
    fn jittered(&self) -> Duration {
        self.every.mul_f64(0.9 + 0.2 * rand::random::<f64>())
    }

    /// One poll, and how long to wait until the next.
    async fn next(&self, failures: &mut u32, told: &mut LeftOut) -> Duration {
        let result = self.once(told).await;
        let outcome = result.as_ref().err().map_or("ok", |failure| failure.problem().code.as_str());
        metrics::counter!("busbar_polls_total", "system" => self.system.clone(), "outcome" => outcome).increment(1);
        match result {
            Ok(more) => {
                *failures = 0;
                if more { Duration::ZERO } else { self.jittered() }
            }
            Err(failure) => {
                *failures = failures.saturating_add(1);
                let every_ms = u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX);
                let pause = pause_ms(&self.policy, *failures, &failure, rand::random(), every_ms);
                let pause = Duration::from_millis(pause);
                // The detail may quote what the system said about a customer: it is in the journal.
                tracing::warn!(system = self.system, code = outcome, failures, ?pause, "a poll failed");
                pause
            }
        }
    }

    /// Whether to ask again at once. `told`: what the poll before left out; a feed has the same bad entry for days, and it
    /// is written down once.
    async fn once(&self, told: &mut LeftOut) -> Result<bool, Failure> {
        let key = format!("{RESERVED}cursor");
        let cursor = self.hub.store.state(&self.system, &key).await.map_err(Failure::Hub)?;
        let Run { result, emitted, state, left_out, calls } =
            self.hub.adapters.poll(&self.system, cursor.clone()).await;
        let admitted = result.and_then(|polled| {
            let messages: Result<Vec<_>, Problem> =
                emitted.into_iter().map(|e| self.hub.rules.admit_valid(e.message, e.place)).collect();
            Ok((polled, messages.map_err(Failure::Hub)?))
        });
        let base = Commit {
            on_differing: Some(OnDiffering::Keep),
            calls,
            at_ms: self.hub.clock.now_ms(),
            ..Commit::default()
        };
        let (polled, messages) = match admitted {
            Ok(admitted) => admitted,
            Err(failure) => {
                self.refused(base, &failure).await;
                return Err(failure);
            }
        };
        let moved = polled.cursor != cursor || !messages.is_empty();
        let news = left_out != *told;
        if moved || !state.is_empty() || news {
            let write = StateWrite { system: self.system.clone(), key, value: polled.cursor.clone() };
            let state = state.into_iter().chain([write]).collect();
            let left_out = if news { left_out.clone() } else { LeftOut::default() };
            self.accepted(Commit { state, ..base }, messages, left_out).await.map_err(Failure::Hub)?;
        }
        *told = left_out;
        // An adapter that says `more` and gets nowhere must not spin.
        Ok(moved && polled.more)
    }

    async fn accepted(&self, mut commit: Commit, messages: Vec<NewMessage>, left_out: LeftOut) -> Result<(), Problem> {
        if messages.is_empty() && left_out.count == 0 {
            commit.calls.clear(); // They belong to an intake, and nothing came in.
        } else {
            let mut intake = self.hub.new_intake(IntakeKind::Poll, &self.system, "poll");
            commit.entries = entries::left_out(&mut intake, left_out);
            commit.intake = Some(intake);
        }
        self.hub.committer.commit(Commit { messages, ..commit }).await.map(drop)
    }

    async fn refused(&self, commit: Commit, failure: &Failure) {
        let mut intake = self.hub.new_intake(IntakeKind::Poll, &self.system, "poll");
        intake.outcome = IntakeOutcome::Refused;
        intake.error = Some(failure.problem().record());
        if let Err(problem) = self.hub.committer.commit(Commit { intake: Some(intake), ..commit }).await {
            tracing::warn!(system = self.system, %problem, "a failed poll was not written down");
        }
    }
}
