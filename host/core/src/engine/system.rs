//! One system: its lanes, breaker, rate, and what of it is running.

use super::Step;
use super::breaker::{Breaker, BreakerPolicy};
use super::rate::{Bucket, Rate};
use crate::error::Problem;
use crate::journal::{Shards, StoredDelivery};
use crate::lanes::{Job, Lanes, Refill};
use crate::mutant::{Mutant, broken};
use crate::outcome::Policy;
use crate::ports::Ready;
use std::collections::HashMap;

/// Milliseconds before a read that failed is tried again.
const READ_RETRY_MS: i64 = 500;

/// The policies of one system.
#[derive(Clone, Debug)]
pub struct SystemRules {
    pub policy: Policy,
    pub breaker: BreakerPolicy,
    pub rate: Option<Rate>,
    /// Deliveries running at once.
    pub in_flight_max: usize,
    /// Deliveries held in memory.
    pub window_max: usize,
}

/// How a system is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemStatus {
    pub in_flight: usize,
    pub held: usize,
    /// Since when it does not answer; its breaker is open.
    pub down_since_ms: Option<i64>,
    pub paused: bool,
}

/// A delivery with what the engine remembers of it.
#[derive(Clone, Debug)]
pub struct Work {
    pub stored: StoredDelivery,
    pub fresh: bool,
}

pub struct System {
    pub name: String,
    pub rules: SystemRules,
    pub lanes: Lanes<Work>,
    pub breaker: Breaker,
    bucket: Option<Bucket>,
    pub paused: bool,
    /// The system asked to be left alone until then.
    pub held_until_ms: i64,
    pub running: HashMap<i64, Work>,
    reading: bool,
    read_again_ms: i64,
}

pub fn job(stored: StoredDelivery, fresh: bool) -> Job<Work> {
    Job {
        id: stored.id,
        key: stored.key.clone(),
        shard: Shards::of(&stored.system, stored.key.as_deref(), stored.message_seq),
        due_ms: stored.next_at_ms,
        load: Work { stored, fresh },
    }
}

impl System {
    pub fn new(name: String, rules: SystemRules) -> Self {
        Self {
            name,
            lanes: Lanes::new(rules.window_max, rules.in_flight_max),
            breaker: Breaker::new(rules.breaker),
            bucket: rules.rate.map(Bucket::new),
            paused: false,
            held_until_ms: i64::MIN,
            running: HashMap::new(),
            reading: false,
            read_again_ms: i64::MIN,
            rules,
        }
    }

    pub fn status(&self) -> SystemStatus {
        SystemStatus {
            in_flight: self.lanes.in_flight(),
            held: self.lanes.held(),
            down_since_ms: self.breaker.down_since_ms(),
            paused: self.paused,
        }
    }

    /// Whether it works and has more to be delivered than is held in memory.
    pub fn is_behind(&self) -> bool {
        self.lanes.is_behind() && !self.paused && self.breaker.down_since_ms().is_none()
    }

    /// Reads and starts what it may; says when to look again.
    pub fn look(&mut self, now_ms: i64, stopping: bool, steps: &mut Vec<Step>) -> Option<i64> {
        if stopping && !broken(Mutant::GoOnStopping) {
            return None;
        }
        let read_at_ms = self.refill(now_ms, steps);
        let start_at_ms = self.start(now_ms, steps);
        // Room may have come free by what was started, not by what was read: the next event looks again.
        read_at_ms.into_iter().chain(start_at_ms).min()
    }

    fn refill(&mut self, now_ms: i64, steps: &mut Vec<Step>) -> Option<i64> {
        if self.reading {
            return None;
        }
        let refill = self.lanes.wants_refill()?;
        if self.read_again_ms > now_ms {
            return Some(self.read_again_ms);
        }
        self.reading = true;
        steps.push(Step::Read { system: self.name.clone(), refill });
        None
    }

    pub fn read(&mut self, refill: Refill, found: Result<Ready, Problem>, now_ms: i64) {
        self.reading = false;
        match found {
            Ok(Ready { deliveries, operations }) => {
                // Every write of an attempt and every decision counts the version up: without one there is no record.
                let found =
                    deliveries.into_iter().map(|d| (d.version == 0, d)).map(|(fresh, d)| job(d, fresh)).collect();
                self.lanes.refill(refill, found, operations);
            }
            Err(_) => self.read_again_ms = now_ms + READ_RETRY_MS,
        }
    }

    fn start(&mut self, now_ms: i64, steps: &mut Vec<Step>) -> Option<i64> {
        if self.paused {
            return None;
        }
        loop {
            if !self.lanes.has_runnable(now_ms) {
                return self.lanes.next_due_ms();
            }
            if self.held_until_ms > now_ms && !broken(Mutant::ForgetHold) {
                return Some(self.held_until_ms);
            }
            if self.breaker.room(now_ms) == 0 {
                return self.breaker.wake_ms();
            }
            if let Some(bucket) = &mut self.bucket
                && bucket.room(now_ms) == 0
            {
                return Some(bucket.wake_ms());
            }
            let job = self.lanes.take(now_ms)?;
            self.breaker.started();
            if let Some(bucket) = &mut self.bucket {
                bucket.take();
            }
            let Work { stored, fresh } = job.load.clone();
            self.running.insert(job.id, job.load);
            steps.push(Step::Attempt { delivery: stored, fresh });
        }
    }
}
