//! Systems whose deliveries become files. One file at a time is made, by the hub that has the system's own shard, of what is
//! due then; it is one attempt for the breaker and for the rate.

use super::Step;
use super::system::{SystemEngine, Work};
use crate::journal::Shards;
use crate::mutant::{Mutant, broken};

/// When files are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRules {
    /// Deliveries of one file; so many that are due are a file at once.
    pub messages_max: usize,
    /// Milliseconds from one file to the next.
    pub every_ms: i64,
}

/// The shard by whose lease a hub makes a system's files, whatever keys their deliveries have.
pub fn shard_of_files(system: &str) -> u32 {
    Shards::of(system, None, 0)
}

impl SystemEngine {
    pub(super) fn makes_files(&self) -> bool {
        self.rules.files.is_some()
    }

    /// Starts a file, if it is time; says when to look again.
    pub(super) fn file(&mut self, rules: FileRules, now_ms: i64, steps: &mut Vec<Step>) -> Option<i64> {
        // Nothing is put into a file while a person decides about it, or about what comes before it.
        let disturbed = !self.disturbed.is_empty() && !broken(Mutant::DisturbAttempts);
        if self.lanes.in_flight() > 0 || disturbed {
            return None;
        }
        let due = self.lanes.due(now_ms);
        if due == 0 {
            return self.lanes.due_after(now_ms);
        }
        // By a clock that was ahead and has been put right, the next file would be as far away.
        self.filed_ms = self.filed_ms.min(now_ms);
        let next_ms = self.filed_ms.saturating_add(rules.every_ms);
        if due < rules.messages_max && next_ms > now_ms {
            return Some(next_ms);
        }
        if let Err(later) = self.may_start(now_ms) {
            return later;
        }
        let jobs = self.lanes.take_together(now_ms, rules.messages_max, |work| work.stored.key.as_deref());
        if jobs.is_empty() {
            // Each of them is behind one that waits for its time.
            return self.lanes.due_after(now_ms);
        }
        self.starts();
        self.running.extend(jobs.iter().map(|job| (job.id, job.load.clone())));
        let forgets = broken(Mutant::ForgetRecord);
        let load = |work: Work| Work { fresh: work.fresh || forgets, ..work };
        let deliveries = jobs.into_iter().map(|job| load(job.load)).collect();
        steps.push(Step::File { system: self.name.clone(), deliveries });
        None
    }

    /// These were not tried, and are ready as before.
    pub(super) fn leave(&mut self, left: &[i64]) {
        left.iter().for_each(|id| drop(self.running.remove(id)));
        if !left.is_empty() && !broken(Mutant::ForgetLeft) {
            self.lanes.read_anew(left);
        }
    }

    /// Only these shards are this hub's from now on.
    pub(super) fn own(&mut self, shards: Shards) {
        self.lanes.own(match self.rules.files {
            Some(_) if shards.has(shard_of_files(&self.name)) => Shards::ALL,
            Some(_) => Shards::NONE,
            None => shards,
        });
    }

    /// The shards whose leases it makes deliveries by.
    pub(super) fn shards(&self) -> Shards {
        self.as_leased(self.lanes.shards())
    }

    /// Deliveries that become files are of any shard, and made by the lease of one.
    pub(super) fn as_leased(&self, shards: Shards) -> Shards {
        match self.rules.files {
            Some(_) if shards != Shards::NONE => Shards(1 << shard_of_files(&self.name)),
            _ => shards,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BreakerPolicy, Ended, Engine, Event, SystemRules, Work};
    use super::*;
    use crate::journal::{DeliveryState, StoredDelivery};
    use crate::outcome::Policy;
    use crate::ports::Ready;
    use std::sync::Arc;

    const DAY_MS: i64 = 86_400_000;
    const EVERY_MS: i64 = 60_000;

    fn delivery(id: i64) -> StoredDelivery {
        let message = crate::Message {
            id: id.to_string(),
            source: "urn:test".into(),
            r#type: "payment.received.v1".into(),
            subject: None,
            time: None,
            dataschema: None,
            traceparent: None,
            partitionkey: None,
            correlationid: None,
            causationid: None,
            extensions: Default::default(),
            data: serde_json::json!({}).into(),
        };
        StoredDelivery {
            id,
            message_seq: id,
            system: "files".into(),
            key: None,
            state: DeliveryState::Ready,
            attempts: 0,
            tries: 0,
            next_at_ms: 0,
            operated: false,
            judged: 0,
            version: 0,
            message: Arc::new(message),
        }
    }

    /// Lets the engine read what it wants, of which there is this delivery, and gives the deliveries of the files it makes.
    fn goes_on(engine: &mut Engine, events: Vec<Event>, id: i64, now_ms: i64) -> Vec<i64> {
        let (mut events, mut filed) = (events, Vec::new());
        while !events.is_empty() {
            let mut steps = Vec::new();
            engine.handle(std::mem::take(&mut events), now_ms, &mut steps);
            for step in steps {
                match step {
                    Step::Read { system, refill } => {
                        let deliveries = Some(delivery(id)).filter(|d| d.id > refill.after).into_iter().collect();
                        events.push(Event::Read { system, refill, found: Ok(Ready { deliveries, operations: 0 }) });
                    }
                    Step::File { system, deliveries } => {
                        filed.extend(deliveries.iter().map(|work| work.stored.id));
                        let ended = |work: Work| Ended {
                            system: system.clone(),
                            delivery: work.stored.id,
                            attempt: 1,
                            result: Ok(()),
                            messages: vec![],
                            state: vec![],
                            calls: vec![],
                            jitter: 0.0,
                        };
                        let ended = deliveries.into_iter().map(ended).collect();
                        events.push(Event::Filed { system: system.clone(), ended, left: vec![] });
                    }
                    Step::Write(commits) => {
                        events.push(Event::Written(Ok(commits.iter().map(|_| Ok(vec![])).collect())));
                    }
                    _ => {}
                }
            }
        }
        filed
    }

    #[test]
    fn a_clock_that_was_a_day_ahead_does_not_hold_files_up_for_a_day() {
        let rules = SystemRules {
            policy: Policy::default(),
            breaker: BreakerPolicy::default(),
            rate: None,
            in_flight_max: 10,
            window_max: 20,
            files: Some(FileRules { messages_max: 10, every_ms: EVERY_MS }),
        };
        let mut engine = Engine::new([("files".to_string(), rules)]);
        assert_eq!(goes_on(&mut engine, vec![Event::Owns { shards: Shards::ALL }, Event::News], 1, DAY_MS), [1]);
        // It is put right.
        assert_eq!(goes_on(&mut engine, vec![Event::News], 2, 1_000), [0i64; 0]);
        assert_eq!(engine.wake_ms(), Some(1_000 + EVERY_MS));
        assert_eq!(goes_on(&mut engine, vec![Event::Time], 2, 1_000 + EVERY_MS), [2]);
    }
}
