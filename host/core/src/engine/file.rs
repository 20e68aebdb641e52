//! Systems whose deliveries become files. One file at a time is made, by the hub that has the system's own shard, of what is
//! due then; it is one attempt for the breaker and for the rate.

use super::Step;
use super::system::System;
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

impl System {
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
        let deliveries = jobs.into_iter().map(|job| job.load).collect();
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
