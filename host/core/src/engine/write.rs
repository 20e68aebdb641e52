//! The one writer: what is to be written is gathered while a write is under way.

use super::{Step, Ticket};
use crate::error::Problem;
use crate::journal::{Commit, Committed, DeliveryState, Operation, Refusal, Started};
use crate::mutant::{Mutant, broken};
use std::collections::VecDeque;

/// Commits, and messages with them, of one transaction: so many from the broker, and so many others.
const GROUP_MAX: usize = 512;
/// From the broker while the lanes of a system that works do not hold all that is written for it: the broker keeps
/// messages as well as the store does, and what is not in the lanes is read once more.
const BEHIND_MAX: usize = 128;
/// Milliseconds before a write that failed is tried again.
const WRITE_RETRY_MS: i64 = 250;

/// Whose a commit is.
#[derive(Clone, Debug)]
pub enum WriteOf {
    Input {
        ticket: Ticket,
        patient: bool,
    },
    /// The outcome of an attempt.
    Outcome {
        system: usize,
        delivery: i64,
    },
}

#[derive(Debug)]
pub struct Queued {
    pub origin: WriteOf,
    pub commit: Commit,
}

#[derive(Debug, Default)]
pub struct Writer {
    waiting: VecDeque<Queued>,
    /// Inputs that can wait, in their order.
    patient: VecDeque<Queued>,
    /// What is being written; comes back to the front of `waiting` when that fails.
    writing: Vec<Queued>,
    retry_at_ms: Option<i64>,
}

impl Writer {
    pub fn add(&mut self, entry: Queued) {
        match entry.origin {
            WriteOf::Input { patient: true, .. } => self.patient.push_back(entry),
            _ => self.waiting.push_back(entry),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.nothing_waits() && self.writing.is_empty()
    }

    fn nothing_waits(&self) -> bool {
        self.waiting.is_empty() && self.patient.is_empty()
    }

    pub fn retry_at_ms(&self) -> Option<i64> {
        self.retry_at_ms.filter(|_| self.writing.is_empty() && !self.nothing_waits())
    }

    /// Whether no write is under way and there is something to write.
    pub fn is_due(&self, now_ms: i64) -> bool {
        let too_early = self.retry_at_ms.is_some_and(|at_ms| at_ms > now_ms);
        self.writing.is_empty() && !self.nothing_waits() && !too_early
    }

    /// Starts a write. `is_behind`: there is more to be delivered already than the lanes hold.
    pub fn write(&mut self, is_behind: bool, steps: &mut Vec<Step>) {
        self.retry_at_ms = None;
        self.writing.extend(take(&mut self.waiting, GROUP_MAX));
        self.writing.extend(take(&mut self.patient, if is_behind { BEHIND_MAX } else { GROUP_MAX }));
        steps.push(Step::Write(self.writing.iter().map(|entry| entry.commit.clone()).collect()));
    }

    /// Takes back inputs that are not being written yet.
    fn take_back(&mut self, which: impl Fn(&Operation) -> bool) -> Vec<(Ticket, Commit)> {
        let mut taken = Vec::new();
        for entry in std::mem::take(&mut self.waiting) {
            match (&entry.origin, &entry.commit.operation) {
                (WriteOf::Input { ticket, .. }, Some(operation)) if which(operation) => {
                    taken.push((*ticket, entry.commit))
                }
                _ => self.waiting.push_back(entry),
            }
        }
        taken
    }

    /// What was written, with its results.
    pub fn written(&mut self, results: Vec<Committed>) -> Vec<(Queued, Committed)> {
        std::mem::take(&mut self.writing).into_iter().zip(results).collect()
    }

    /// The write failed, or nobody knows. Gives the inputs that do not wait; the rest is written again, in its order.
    fn failed(&mut self, now_ms: i64) -> Vec<(Ticket, Commit)> {
        self.retry_at_ms = Some(now_ms + WRITE_RETRY_MS);
        let failed = std::mem::take(&mut self.writing).into_iter().chain(std::mem::take(&mut self.waiting));
        let mut refused = Vec::new();
        for entry in failed.chain(std::mem::take(&mut self.patient)) {
            match entry.origin {
                WriteOf::Input { ticket, patient } if !patient || broken(Mutant::ConfirmAfterFailedCommit) => {
                    refused.push((ticket, entry.commit));
                }
                WriteOf::Outcome { .. } if broken(Mutant::DropOutcome) => {}
                _ => self.add(entry),
            }
        }
        refused
    }
}

/// The first of `queue` that weigh no more than this together, and at least one.
fn take(queue: &mut VecDeque<Queued>, weight_max: usize) -> Vec<Queued> {
    let mut weight = 0;
    let fits = |entry: &&Queued| {
        weight += 1 + entry.commit.messages.len();
        weight <= weight_max
    };
    let count = queue.iter().take_while(fits).count().max(1).min(queue.len());
    queue.drain(..count).collect()
}

impl super::Engine {
    pub(super) fn input(&mut self, ticket: Ticket, patient: bool, mut commit: Commit, steps: &mut Vec<Step>) {
        for started in &mut commit.started {
            started.expected = self.version(started).unwrap_or(u32::MAX);
        }
        if let Some(refusal) = commit.operation.as_ref().and_then(|operation| self.disturb(operation)) {
            return steps.push(Step::Confirm { ticket, result: Ok(Err(refusal)) });
        }
        if broken(Mutant::ConfirmBeforeCommit) {
            steps.push(Step::Confirm { ticket, result: Ok(Ok(Vec::new())) });
        }
        self.writer.add(Queued { origin: WriteOf::Input { ticket, patient }, commit });
    }

    pub(super) fn written(&mut self, result: Result<Vec<Committed>, Problem>, now_ms: i64, steps: &mut Vec<Step>) {
        let results = match result {
            Ok(results) => results,
            Err(problem) => return self.unwritten(&problem, now_ms, steps),
        };
        if self.others_wrote(&results) || std::mem::take(&mut self.doubt) {
            self.all(|system| system.lanes.fall_behind());
        }
        for (entry, result) in self.writer.written(results) {
            self.operated(&entry.commit, result.is_ok(), now_ms);
            if let Ok(accepted) = &result {
                accepted.iter().flat_map(|a| &a.deliveries).for_each(|delivery| self.offer(delivery));
            }
            match entry.origin {
                WriteOf::Input { ticket, .. } => {
                    if result.is_ok() {
                        entry.commit.started.iter().for_each(|started| self.ahead(started));
                    }
                    steps.push(Step::Confirm { ticket, result: Ok(result) });
                }
                WriteOf::Outcome { system, delivery } => {
                    self.settled(system, delivery, entry.commit.attempted, result.is_ok());
                }
            }
        }
    }

    /// The write failed; or it is applied all the same, now or later, when only the connection broke.
    fn unwritten(&mut self, problem: &Problem, now_ms: i64, steps: &mut Vec<Step>) {
        self.doubt = true;
        for (ticket, commit) in self.writer.failed(now_ms) {
            self.operated(&commit, false, now_ms);
            let lost = if broken(Mutant::ConfirmAfterFailedCommit) { Ok(Ok(Vec::new())) } else { Err(problem.clone()) };
            steps.push(Step::Confirm { ticket, result: lost });
        }
        self.all(|system| system.lanes.fall_behind());
    }

    /// Whether ids were given to somebody else since the last write of this hub.
    fn others_wrote(&mut self, results: &[Committed]) -> bool {
        let new = results.iter().flatten().flatten().filter(|accepted| !accepted.duplicate);
        let ids = new.flat_map(|a| a.deliveries.iter().map(|d| d.id).chain([a.seq]));
        let range = ids.fold(None, |range, id| {
            let (first, last) = range.unwrap_or((id, id));
            Some((id.min(first), id.max(last)))
        });
        let Some((first, last)) = range else { return false };
        let gap = first != self.last_id + 1 && !broken(Mutant::IgnoreGaps);
        self.last_id = last;
        gap
    }

    /// Whether a decision about what might be started at any time has to be made again, or by another hub.
    fn disturb(&mut self, operation: &Operation) -> Option<Refusal> {
        let system = self.systems.get_mut(*self.names.get(&operation.system)?)?;
        match operation.state {
            // What a hub that stops has may be another's before the decision is written.
            DeliveryState::Ready if self.stopping => Some(Refusal::Elsewhere),
            DeliveryState::Ready => system.disturb(operation),
            _ => None,
        }
    }

    /// What is another hub's now may be under way there: decisions about it are not written.
    pub(super) fn disown(&mut self, now_ms: i64, steps: &mut Vec<Step>) {
        let lost = |operation: &Operation| {
            let system = self.names.get(&operation.system).and_then(|index| self.systems.get(*index));
            operation.state == DeliveryState::Ready && system.is_some_and(|s| !s.lanes.shards().has(operation.shard))
        };
        for (ticket, commit) in self.writer.take_back(lost) {
            self.operated(&commit, false, now_ms);
            steps.push(Step::Confirm { ticket, result: Ok(Err(Refusal::Elsewhere)) });
        }
    }

    /// What an operation let go on is read, also where it was written before and is refused now.
    fn operated(&mut self, commit: &Commit, written: bool, now_ms: i64) {
        if let Some(operation) = &commit.operation {
            self.with(&operation.system, |system| system.decided(operation, written, now_ms));
        }
    }

    /// Of a delivery that is being made here; no other is written ahead.
    fn version(&self, started: &Started) -> Option<u32> {
        let system = self.systems.get(*self.names.get(&started.system)?)?;
        Some(system.running.get(&started.delivery)?.stored.version)
    }

    /// The store counts the attempt from now on.
    fn ahead(&mut self, started: &Started) {
        self.with(&started.system, |system| {
            if let Some(work) = system.running.get_mut(&started.delivery) {
                work.stored.attempts = started.attempt;
                work.stored.version = started.expected + u32::from(!broken(Mutant::AheadIsNoFence));
            }
        });
    }
}
