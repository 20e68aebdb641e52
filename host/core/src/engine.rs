//! The rules of delivery as one state machine without I/O: what came in goes in as an [`Event`] with the time, what
//! is to be done comes out as [`Step`]s. The server drives it over real ports, the simulation over fake ones.
//!
//! What must be durable is gathered while a write is under way and written together by the next one; only what is
//! written is confirmed, and only what is written lets a lane go on.

mod breaker;
mod file;
mod rate;
mod settle;
mod system;
mod write;

pub use breaker::{Breaker, BreakerPolicy};
pub use file::{FileRules, shard_of_files};
pub use rate::{Bucket, Rate};
pub use system::{SystemRules, SystemStatus, Work};

use crate::calls::Call;
use crate::error::Problem;
use crate::journal::*;
use crate::lanes::Refill;
use crate::mutant::{Mutant, broken};
use crate::outcome::Failure;
use crate::ports::Ready;
use std::collections::{BTreeSet, HashMap};
use system::SystemEngine;
use write::Writer;

/// Names an input for its confirmation.
pub type Ticket = u64;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// An input is to be made durable. Those that came earlier are written earlier. A `patient` one waits while the
    /// store is away (the broker keeps it anyway); another is refused then, so that its sender hears of it.
    Input { ticket: Ticket, patient: bool, commit: Box<Commit> },
    /// How the write that is under way ended.
    Written(Result<Vec<Committed>, Problem>),
    /// How an attempt ended.
    Ended(Box<Ended>),
    /// How a file ended: for some of its deliveries the attempt did, and the others it leaves as they were.
    Filed { system: String, ended: Vec<Ended>, left: Vec<i64> },
    /// What a read found.
    Read { system: String, refill: Refill, found: Result<Ready, Problem> },
    /// The shards this hub makes deliveries of.
    Owns { shards: Shards },
    /// Deliveries were written or released by somebody else. Also to be said now and then without a reason: a write
    /// that was given up may be applied later.
    News,
    /// A person holds a system's deliveries up, or lets them go on.
    Pause { system: String, paused: bool },
    /// No new attempts; what runs is still written.
    Stop,
    /// It is time to look (see [`Engine::wake_ms`]).
    Time,
}

/// How an attempt ended.
#[derive(Debug)]
pub struct Ended {
    pub system: String,
    pub delivery: i64,
    /// As [`attempt_number`] counts it.
    pub attempt: u32,
    pub result: Result<(), Failure>,
    /// What the adapter stated, admitted.
    pub messages: Vec<NewMessage>,
    pub state: Vec<StateWrite>,
    pub calls: Vec<Call>,
    /// In 0..1, for the backoff.
    pub jitter: f64,
}

/// What is to be done.
#[derive(Debug)]
pub enum Step {
    /// Write these in one transaction and say how it ended. There is never more than one at a time.
    Write(Vec<Commit>),
    /// The input is durable, or refused.
    Confirm { ticket: Ticket, result: Result<Committed, Problem> },
    /// Make an attempt. `fresh`: nothing was ever written of an attempt of it, so that there are no
    /// recorded calls to read.
    Attempt { delivery: StoredDelivery, fresh: bool },
    /// Make one file of these. There is never more than one at a time of a system.
    File { system: String, deliveries: Vec<Work> },
    /// Read deliveries. There is never more than one read of a system at a time.
    Read { system: String, refill: Refill },
}

/// The number of the next attempt. One that a crash cut off counts once it has written a call ahead.
pub fn attempt_number(delivery: &StoredDelivery) -> u32 {
    delivery.attempts.saturating_add(1)
}

/// The state machine of one hub.
pub struct Engine {
    systems: Vec<SystemEngine>,
    names: HashMap<String, usize>,
    writer: Writer,
    /// The largest id that this hub was given. Ids are given without gaps, so that one shows that others have written.
    last_id: i64,
    /// A write failed, and may have been applied all the same.
    doubt: bool,
    stopping: bool,
    /// When each system wants to be looked at, and the same by time.
    wakes: Vec<i64>,
    by_time: BTreeSet<(i64, usize)>,
    /// Systems to be looked at before the event is done with.
    touched: BTreeSet<usize>,
}

impl Engine {
    /// `systems`: those whose deliveries this hub makes.
    pub fn new(systems: impl IntoIterator<Item = (String, SystemRules)>) -> Self {
        let systems: Vec<_> = systems.into_iter().map(|(name, rules)| SystemEngine::new(name, rules)).collect();
        Self {
            names: systems.iter().enumerate().map(|(index, system)| (system.name.clone(), index)).collect(),
            wakes: vec![i64::MAX; systems.len()],
            systems,
            writer: Writer::default(),
            last_id: 0,
            doubt: false,
            stopping: false,
            by_time: BTreeSet::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Takes events, in their order, and appends what is to be done to `steps`.
    pub fn handle(&mut self, events: impl IntoIterator<Item = Event>, now_ms: i64, steps: &mut Vec<Step>) {
        for event in events {
            self.apply(event, now_ms, steps);
        }
        self.look(now_ms, steps);
        if self.writer.is_due(now_ms) {
            let is_behind = self.systems.iter().any(SystemEngine::is_behind);
            self.writer.write(is_behind, steps);
        }
    }

    fn apply(&mut self, event: Event, now_ms: i64, steps: &mut Vec<Step>) {
        match event {
            Event::Input { ticket, patient, commit } => self.input(ticket, patient, *commit, steps),
            Event::Written(result) => self.written(result, now_ms, steps),
            Event::Ended(ended) => self.ended(*ended, now_ms),
            Event::Filed { system, ended, left } => self.filed(&system, ended, &left, now_ms),
            Event::Read { system, refill, found } => self.read(&system, refill, found, now_ms),
            Event::Owns { shards } => {
                self.all(|system| system.own(shards));
                self.disown(now_ms, steps);
            }
            Event::News => self.all(|system| system.lanes.fall_behind()),
            Event::Pause { system, paused } => self.with(&system, |system| system.paused = paused),
            Event::Stop => self.stopping = true,
            Event::Time => {}
        }
    }

    /// When to send [`Event::Time`] at the latest.
    pub fn wake_ms(&self) -> Option<i64> {
        let systems = self.by_time.first().map(|(at_ms, _)| *at_ms);
        systems.into_iter().chain(self.writer.retry_at_ms()).min()
    }

    /// Whether nothing is running or waiting to be written.
    pub fn is_idle(&self) -> bool {
        self.writer.is_idle() && self.systems.iter().all(|system| system.lanes.in_flight() == 0)
    }

    /// Shards that are not to be given to another hub now: with deliveries running, or which may be started at any
    /// time, so that a claim that is under way cannot give them up.
    pub fn busy(&self) -> Shards {
        let busy = |system: &SystemEngine| match self.stopping || broken(Mutant::GiveUpOwned) {
            true => system.busy().0,
            false => system.busy().0 | system.shards().0,
        };
        Shards(self.systems.iter().fold(0, |all, system| all | busy(system)))
    }

    /// How each system is doing.
    pub fn statuses(&self) -> impl Iterator<Item = (&str, SystemStatus)> {
        self.systems.iter().map(|system| (system.name.as_str(), system.status()))
    }

    fn all(&mut self, act: impl Fn(&mut SystemEngine)) {
        self.systems.iter_mut().for_each(act);
        self.touched.extend(0..self.systems.len());
    }

    fn with(&mut self, name: &str, act: impl FnOnce(&mut SystemEngine)) {
        let Some(index) = self.names.get(name) else { return };
        if let Some(system) = self.systems.get_mut(*index) {
            act(system);
            self.touched.insert(*index);
        }
    }

    /// Lets every system that was touched, or whose time has come, read and start what it may.
    fn look(&mut self, now_ms: i64, steps: &mut Vec<Step>) {
        while let Some((at_ms, index)) = self.by_time.first().copied()
            && at_ms <= now_ms
        {
            self.by_time.remove(&(at_ms, index));
            self.touched.insert(index);
        }
        for index in std::mem::take(&mut self.touched) {
            let Some(system) = self.systems.get_mut(index) else { continue };
            let wake = system.look(now_ms, self.stopping, steps).unwrap_or(i64::MAX);
            let Some(old) = self.wakes.get_mut(index) else { continue };
            self.by_time.remove(&(*old, index));
            *old = wake;
            if wake < i64::MAX {
                self.by_time.insert((wake, index));
            }
        }
    }

    fn read(&mut self, name: &str, refill: Refill, found: Result<Ready, Problem>, now_ms: i64) {
        self.with(name, |system| system.read(refill, found, now_ms));
    }
}
