//! One system: its lanes, breaker, rate, and what of it is running.

use super::Step;
use super::breaker::{Breaker, BreakerPolicy};
use super::file::FileRules;
use super::rate::{Bucket, Rate};
use crate::error::Problem;
use crate::journal::{Act, DeliveryState, Operation, Refusal, Shards, StoredDelivery};
use crate::lanes::{Job, Lanes, Refill};
use crate::message::Message;
use crate::mutant::{Mutant, broken};
use crate::outcome::Policy;
use crate::ports::Ready;
use std::collections::HashMap;
use std::sync::Arc;

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
    /// Its deliveries become files, many of them one.
    pub files: Option<FileRules>,
}

/// How a system is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemStatus {
    pub in_flight: usize,
    pub held: usize,
    /// Since when it does not answer; its breaker is open.
    pub down_since_ms: Option<i64>,
    /// It asked to be left alone until then.
    pub held_until_ms: Option<i64>,
    pub paused: bool,
}

pub struct Disturbed {
    shard: u32,
    /// Taken out of the lanes; `None` where it was not about to run.
    job: Option<Job<Work>>,
    /// Those of the system then: what it wishes later is not the person's to overrule.
    wishes: u64,
}

/// A delivery with what the engine remembers of it.
#[derive(Clone, Debug)]
pub struct Work {
    pub stored: StoredDelivery,
    pub fresh: bool,
}

pub struct SystemEngine {
    pub name: String,
    pub rules: SystemRules,
    pub lanes: Lanes<Work>,
    pub breaker: Breaker,
    bucket: Option<Bucket>,
    pub paused: bool,
    /// The system asked to be left alone until then.
    pub held_until_ms: i64,
    /// How often it asked for that.
    pub wishes: u64,
    pub running: HashMap<i64, Work>,
    /// Deliveries that might be started at any time, and about which a person decides, until that is written.
    pub(super) disturbed: HashMap<i64, Disturbed>,
    /// When the last file was made.
    pub filed_ms: i64,
    reading: bool,
    read_again_ms: i64,
}

impl SystemEngine {
    pub fn job(&self, stored: StoredDelivery, fresh: bool) -> Job<Work> {
        Job {
            id: stored.id,
            // What is in one file together has no lanes; what is held back there holds those behind it, see `file`.
            key: stored.key.clone().filter(|_| !self.makes_files()),
            shard: Shards::of(&stored.system, stored.key.as_deref(), stored.message_seq),
            due_ms: stored.next_at_ms,
            first: false,
            load: Work { stored, fresh },
        }
    }

    pub fn new(name: String, rules: SystemRules) -> Self {
        Self {
            name,
            lanes: Lanes::new(rules.window_max, rules.in_flight_max),
            breaker: Breaker::new(rules.breaker),
            bucket: rules.rate.map(Bucket::new),
            paused: false,
            held_until_ms: i64::MIN,
            wishes: 0,
            running: HashMap::new(),
            disturbed: HashMap::new(),
            filed_ms: i64::MIN,
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
            held_until_ms: Some(self.held_until_ms).filter(|until_ms| *until_ms > i64::MIN),
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
        // What is read might be started before the decision about it is written.
        if self.reading || self.disturbed.values().any(|disturbed| disturbed.job.is_none()) {
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
                let found = deliveries.into_iter().map(|d| (d.version == 0, d));
                let found = found.map(|(fresh, d)| self.job(d, fresh)).collect();
                self.lanes.refill(refill, found, operations);
            }
            Err(_) => self.read_again_ms = now_ms + READ_RETRY_MS,
        }
    }

    fn start(&mut self, now_ms: i64, steps: &mut Vec<Step>) -> Option<i64> {
        if self.paused {
            return None;
        }
        if let Some(files) = self.rules.files {
            return self.file(files, now_ms, steps);
        }
        loop {
            if !self.lanes.has_runnable(now_ms) {
                return self.lanes.next_due_ms();
            }
            if let Err(later) = self.may_start(now_ms) {
                return later;
            }
            let job = self.lanes.take(now_ms)?;
            self.starts();
            let Work { stored, fresh } = job.load.clone();
            self.running.insert(job.id, job.load);
            steps.push(Step::Attempt { delivery: stored, fresh: fresh || broken(Mutant::ForgetRecord) });
        }
    }

    /// Whether its own wish, its breaker and its rate let an attempt begin now; else when to look again.
    pub(super) fn may_start(&mut self, now_ms: i64) -> Result<(), Option<i64>> {
        if self.held_until_ms > now_ms && !broken(Mutant::ForgetHold) {
            return Err(Some(self.held_until_ms));
        }
        if self.breaker.room(now_ms) == 0 {
            return Err(self.breaker.wake_ms());
        }
        if let Some(bucket) = &mut self.bucket
            && bucket.room(now_ms) == 0
        {
            return Err(Some(bucket.wake_ms()));
        }
        Ok(())
    }

    /// An attempt begins.
    pub(super) fn starts(&mut self) {
        self.breaker.started();
        if let Some(bucket) = &mut self.bucket {
            bucket.take();
        }
    }

    /// Shards with deliveries that are being made or decided about.
    pub fn busy(&self) -> Shards {
        let busy =
            Shards(self.disturbed.values().fold(self.lanes.busy().0, |all, disturbed| all | 1 << disturbed.shard));
        self.as_leased(busy)
    }

    /// A person is about to decide about a `ready` delivery: it is not started until that is written. Only the hub that
    /// makes it knows whether it is under way.
    pub fn disturb(&mut self, operation: &Operation) -> Option<Refusal> {
        let id = operation.delivery;
        if !self.lanes.shards().has(operation.shard) && !broken(Mutant::OperateElsewhere) {
            return Some(Refusal::Elsewhere);
        }
        if (self.running.contains_key(&id) && !broken(Mutant::DisturbAttempts)) || self.disturbed.contains_key(&id) {
            return Some(Refusal::UnderWay);
        }
        let job = self.lanes.hold_back(id);
        if job.is_none() {
            self.lanes.withdraw(id);
        }
        self.disturbed.insert(id, Disturbed { shard: operation.shard, job, wishes: self.wishes });
        None
    }

    /// The decision is written, or refused, or nobody knows.
    pub fn decided(&mut self, operation: &Operation, written: bool, now_ms: i64) {
        let id = operation.delivery;
        // One that was made when it was parked may come to be written together with another of the same delivery.
        let disturbed = (operation.state == DeliveryState::Ready).then(|| self.disturbed.remove(&id)).flatten();
        let Some(Disturbed { job, wishes, .. }) = disturbed else { return self.lanes.rewind(id - 1) };
        if written && operation.act != Act::Skip {
            if wishes == self.wishes && !broken(Mutant::HoldThePerson) {
                self.held_until_ms = i64::MIN;
            }
            self.breaker.hasten(now_ms);
        }
        match job {
            // Of its key's others only the store knows what is before it now.
            _ if self.makes_files() && !broken(Mutant::FileOutOfTurn) => self.lanes.read_anew(&[id]),
            // Another hub may have made it since it was read here.
            Some(job) if written && job.load.stored.version == operation.seen => self.go_on(job, operation),
            Some(job) => self.lanes.drop_held(job),
            None => self.lanes.rewind(id - 1),
        }
    }

    fn go_on(&mut self, mut job: Job<Work>, operation: &Operation) {
        let stored = &mut job.load.stored;
        match &operation.act {
            _ if broken(Mutant::KeepTheOld) => return self.lanes.put_back(job),
            Act::Skip => {
                self.lanes.done(job.id, job.key.as_deref());
                if stored.operated {
                    self.lanes.rewind(job.id);
                }
                return;
            }
            Act::Edit(message) => stored.message = Arc::new(Message::clone(message)),
            Act::Retry => {}
        }
        (stored.tries, stored.next_at_ms, stored.version) = (0, 0, operation.seen + 1);
        (job.due_ms, job.first, job.load.fresh) = (0, true, false);
        self.lanes.put_back(job);
    }
}
