//! One attempt of a delivery, over an adapter or without one. What follows from how it ended is the engine's.

use super::via::single;
use super::{Attempts, Driver, Filed, Making, Outbox, Via};
use busbar_core::engine::{Ended, Event, Work, attempt_number};
use busbar_core::ports::{Adapters, Attempting, Run, Store};
use busbar_core::{Call, Code, Failure, Made, Message, NewMessage, Problem, Rules, StoredDelivery};
use busbar_core::{files, record};
use futures::FutureExt;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const STORE_RETRY: Duration = Duration::from_millis(250);

/// Makes attempts.
pub struct Attempter {
    pub rules: Arc<Rules>,
    pub adapters: Arc<dyn Adapters>,
    /// Systems that speak canonical messages themselves.
    pub via: Arc<BTreeMap<String, Via>>,
    /// Systems whose adapters can only state messages: their deliveries may be made before they are written.
    pub stating: BTreeSet<String>,
    /// Systems whose deliveries become files.
    pub outboxes: BTreeMap<String, Outbox>,
    pub store: Arc<dyn Store>,
    pub stop: CancellationToken,
}

impl Attempter {
    /// Makes what the driver wants made, each in a task of its own, and tells it how that ended.
    pub async fn work(self: Arc<Self>, mut attempts: Attempts, driver: Arc<Driver>, stop: CancellationToken) {
        while let Some(Some(wanted)) = stop.run_until_cancelled(attempts.recv()).await {
            let (this, told) = (self.clone(), driver.clone());
            driver.spawn(async move {
                // None: the hub is stopping, and it is made after the next start.
                if let Some(event) = this.make(wanted).await {
                    told.feed([event]);
                }
            });
        }
    }

    async fn make(&self, wanted: Making) -> Option<Event> {
        match wanted {
            Making::Delivery { delivery, fresh } => {
                self.attempt(delivery, fresh).await.map(|ended| Event::Ended(Box::new(ended)))
            }
            Making::File { system, deliveries } => {
                let Filed { ended, left } = self.file(&system, deliveries).await?;
                Some(Event::Filed { system, ended, left })
            }
        }
    }

    /// `None` when the hub stops before the attempt could begin.
    async fn attempt(&self, delivery: StoredDelivery, fresh: bool) -> Option<Ended> {
        let recorded = if fresh { Vec::new() } else { self.recorded(&delivery).await? };
        let attempt = attempt_number(&delivery);
        // A panic costs this attempt and nothing else.
        let run = AssertUnwindSafe(self.run(&delivery, attempt, recorded)).catch_unwind().await;
        let run = run.unwrap_or_else(|_| {
            let problem = Problem::new(Code::Internal, "the attempt ended unexpectedly");
            single(Err(Failure::Hub(problem)), Vec::new())
        });
        let Run { result, emitted, state, calls, .. } = run;
        let admitted: Result<Vec<NewMessage>, Failure> = result.and_then(|()| {
            let admitted = emitted.into_iter().map(|e| self.rules.admit_valid(e.message, e.place));
            admitted.collect::<Result<_, _>>().map_err(Failure::Hub)
        });
        let code = admitted.as_ref().err().map_or("ok", |failure| failure.problem().code.as_str());
        let (system, id) = (delivery.system, delivery.id);
        metrics::counter!("busbar_attempts_total", "system" => system.clone(), "outcome" => code).increment(1);
        if admitted.is_err() {
            // The detail may quote what a system said about a customer: it is in the journal, not in the log.
            tracing::warn!(system, delivery = id, attempt, code, "a delivery failed");
        }
        let (result, messages) = match admitted {
            Ok(messages) => (Ok(()), messages),
            Err(failure) => (Err(failure), Vec::new()),
        };
        Some(Ended { system, delivery: id, attempt, result, messages, state, calls, jitter: rand::random() })
    }

    /// Removes what is left of files that nobody goes on with.
    pub async fn clear_up(&self) {
        for outbox in self.outboxes.values() {
            outbox.clear_up().await;
        }
    }

    /// Makes a file of these. `None` when the hub stops before it could begin, or has no folder for the system.
    async fn file(&self, system: &str, deliveries: Vec<Work>) -> Option<Filed> {
        let outbox = self.outboxes.get(system)?;
        let mut recorded = Vec::new();
        for Work { stored, .. } in deliveries.iter().filter(|work| !work.fresh) {
            recorded.push((stored.id, self.recorded(stored).await?));
        }
        let deliveries: Vec<_> = deliveries.into_iter().map(|work| work.stored).collect();
        let made = AssertUnwindSafe(outbox.make(deliveries.clone(), recorded)).catch_unwind().await;
        Some(made.unwrap_or_else(|_| {
            let problem = Problem::new(Code::Internal, "the attempt ended unexpectedly");
            outbox.failed(deliveries, Failure::Hub(problem), vec![])
        }))
    }

    async fn run(&self, delivery: &StoredDelivery, attempt: u32, recorded: Vec<Call>) -> Run<()> {
        // The system got files until now: whether this one came into its folder, a person finds out.
        let since: Vec<_> = recorded.iter().filter(|call| call.attempt > delivery.judged).cloned().collect();
        if let Some(begun) = files::begun(&since) {
            let text = format!("it is in the file `{}`, which was begun while the system got files", begun.name);
            return Run::of(Err(Failure::UnknownOutcome(text)));
        }
        match self.via.get(&delivery.system) {
            Some(via) => via.deliver(&delivery.message, attempt).await,
            None => {
                let message = delivery.message.clone();
                let attempting = Attempting { delivery: delivery.id, attempt, message, recorded };
                self.adapters.deliver(&delivery.system, attempting).await
            }
        }
    }

    async fn recorded(&self, delivery: &StoredDelivery) -> Option<Vec<Call>> {
        loop {
            match self.store.calls(delivery.id).await {
                Ok(calls) => return Some(record::since_decision(calls, delivery.judged)),
                Err(problem) => tracing::warn!(%problem, "the call record cannot be read"),
            }
            tokio::select! {
                () = tokio::time::sleep(STORE_RETRY) => {}
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// Makes the deliveries of a message that can do nothing but state messages, so that they are written together
    /// with it. One that fails is left to be made in its turn.
    pub async fn make_ahead(&self, new: &mut NewMessage) {
        for planned in new.deliveries.iter_mut().filter(|p| p.error.is_none() && self.stating.contains(&p.system)) {
            let run = self.adapters.deliver(&planned.system, ahead(&new.message)).await;
            if run.result.is_err() || !run.state.is_empty() {
                continue;
            }
            let admitted = run.emitted.into_iter().map(|e| self.rules.admit_valid(e.message, e.place));
            if let Ok(messages) = admitted.collect() {
                planned.made = Some(Made { messages, calls: run.calls });
            }
        }
    }
}

/// An attempt before the message is written: nothing to be written ahead, and nothing recorded.
pub(super) fn ahead(message: &Arc<Message>) -> Attempting {
    Attempting { delivery: 0, attempt: 1, message: message.clone(), recorded: Vec::new() }
}
