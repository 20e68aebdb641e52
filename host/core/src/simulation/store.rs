//! The store, with everything that may become of a write or a read on its way.

use super::plan::LEASE_MS;
use super::world::{Broken, Ev, Held, Moment, World};
use crate::ports::Claim;
use crate::{Code, Commit, Problem, Refill, Shards};

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Told,
    /// Applied, but the hub hears that it failed.
    Unheard,
    /// The hub heard that it failed, and it is applied all the same.
    Ghost,
}

fn away() -> Problem {
    Problem::new(Code::StoreUnavailable, "")
}

impl World {
    fn store_delay(&mut self) -> i64 {
        self.dice.delay(6, 150, self.plan.faults.late)
    }

    pub fn write(&mut self, hub: usize, life: u64, batch: Vec<Commit>) {
        let faults = &self.plan.faults;
        let (fails, unheard, ghost) = (faults.write_fails, faults.write_unheard, faults.write_ghost);
        let at_ms = self.now + self.store_delay();
        let process = Moment::Process { hub, life };
        let fate = match self.quiet {
            false if self.dice.chance(fails) => return self.agenda.push(process, at_ms, Ev::Written(Err(away()))),
            false if self.dice.chance(unheard) => Fate::Unheard,
            false if self.dice.chance(ghost) => Fate::Ghost,
            _ => Fate::Told,
        };
        let applied_ms = match fate {
            Fate::Ghost => {
                self.agenda.push(process, at_ms, Ev::Written(Err(away())));
                at_ms + self.dice.range(1, 500)
            }
            _ => at_ms,
        };
        self.ghosts += 1;
        self.agenda.push(Moment::World, applied_ms, Ev::Apply { hub, life, batch, fate });
    }

    pub fn apply(&mut self, hub: usize, life: u64, batch: Vec<Commit>, fate: Fate) -> Held {
        self.ghosts -= 1;
        let alive = self.hubs.get(hub).is_some_and(|h| h.alive && h.life == life);
        // The hub was killed on the way: before it was sent off, or after.
        if !alive && self.dice.chance(500) {
            return Ok(());
        }
        let (mut results, mut plan) = (Vec::with_capacity(batch.len()), self.journal.plan(&batch));
        for commit in batch {
            let (started, attempted) = (commit.started.clone(), commit.attempted.clone());
            let operation = commit.operation.clone();
            let result = plan.commit(commit);
            self.journal.apply(&mut plan);
            if result.is_ok() {
                if let Some(operation) = &operation {
                    self.decided(hub, life, operation, fate)?;
                }
                self.applied(hub, life, started, attempted, operation)?;
            }
            results.push(result);
        }
        if !plan.keeps_to_its_ids() {
            return Err(Broken::new(
                "a batch gives out no more ids than were reserved",
                format!("up to {}", plan.next),
            ));
        }
        let told = match fate {
            Fate::Told => Ok(results),
            Fate::Unheard => Err(away()),
            Fate::Ghost => return Ok(()),
        };
        let at_ms = self.now + self.store_delay();
        self.agenda.push(Moment::Process { hub, life }, at_ms, Ev::Written(told));
        Ok(())
    }

    /// The snapshot is taken some time after the hub asked, and answered some time after it was taken.
    pub fn read(&mut self, hub: usize, life: u64, system: String, refill: Refill) {
        let at_ms = self.now + self.store_delay();
        self.agenda.push(Moment::World, at_ms, Ev::TakeRead { hub, life, system, refill });
    }

    pub fn take_read(&mut self, hub: usize, life: u64, system: String, refill: Refill) {
        let fails = !self.quiet && self.dice.chance(self.plan.faults.read_fails);
        let room = u32::try_from(refill.room).unwrap_or(u32::MAX);
        let found = match fails {
            true => Err(away()),
            false => Ok(self.journal.ready(&system, refill.shards, refill.after, room)),
        };
        let at_ms = self.now + self.store_delay();
        self.agenda.push(Moment::Process { hub, life }, at_ms, Ev::Found { system, refill, found });
    }

    pub fn take_claim(&mut self, hub: usize, life: u64, busy: Shards, sent_ms: i64, leaving: bool) {
        let fails = !self.quiet && self.dice.chance(self.plan.faults.claim_fails);
        let name = format!("h{hub}.{life}");
        let claim = Claim { hub: name, now_ms: sent_ms, lease_ms: LEASE_MS, busy, leaving };
        // One that failed may have been applied.
        let claimed = (!fails || self.dice.chance(500)).then(|| self.journal.claim(&claim)).filter(|_| !fails);
        let at_ms = self.now + self.store_delay();
        self.agenda.push(Moment::Process { hub, life }, at_ms, Ev::Claimed { claimed, sent_ms });
    }
}
