//! Sharing the work between hubs without a leader: each one counts the living and takes its fair share of the shards.

use crate::journal::Shards;
use crate::mutant::{Mutant, broken};
use crate::ports::{Claim, Claimed};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What a claim comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub claimed: Claimed,
    /// Leases that run from now on, those to be left included.
    pub held: Shards,
    /// Leases that are given back at once.
    pub free: Shards,
}

/// `leases`: those that nobody else is changing just now, with the hub whose lease runs, or an empty name. `hubs`: those
/// that live, this one included.
pub fn share(claim: &Claim, leases: &BTreeMap<u32, String>, hubs: u32) -> Share {
    let share = if claim.leaving { 0 } else { Shards::COUNT.div_ceil(hubs.max(1)) };
    let (mut shards, mut leave, mut free) = (Shards::NONE, Shards::NONE, Shards::NONE);
    let mine = leases.iter().filter(|(_, hub)| **hub == claim.hub).map(|(shard, _)| *shard);
    for (place, shard) in mine.enumerate() {
        match (place >= share as usize, claim.busy.has(shard)) {
            (true, false) => free.0 |= 1 << shard,
            (true, true) => leave.0 |= 1 << shard,
            (false, _) => shards.0 |= 1 << shard,
        }
    }
    for (shard, hub) in leases {
        let is_free = hub.is_empty() || free.has(*shard) || broken(Mutant::TakeHeld);
        if is_free && shards.0.count_ones() < share {
            shards.0 |= 1 << shard;
        }
    }
    Share {
        claimed: Claimed { shards, leave, hubs },
        held: Shards(shards.0 | leave.0),
        free: Shards(free.0 & !shards.0),
    }
}

/// How long what this hub has is its own, and whether that was so without a break.
#[derive(Debug)]
pub struct Lease {
    /// Grows whenever everything was given up.
    breaks: AtomicU64,
    until_ms: AtomicI64,
}

impl Lease {
    /// Of a hub that has the store to itself.
    pub fn for_ever() -> Self {
        Self { breaks: AtomicU64::new(0), until_ms: AtomicI64::new(i64::MAX) }
    }

    /// Of a hub that has nothing yet.
    pub fn none() -> Self {
        Self { breaks: AtomicU64::new(0), until_ms: AtomicI64::new(i64::MIN) }
    }

    pub fn breaks(&self) -> u64 {
        self.breaks.load(Ordering::SeqCst)
    }

    /// Whether it holds, and has held since [`Self::breaks`] said `breaks`.
    pub fn holds(&self, breaks: u64, now_ms: i64) -> bool {
        (self.breaks() == breaks && self.runs(now_ms)) || broken(Mutant::OutliveLease)
    }

    pub fn runs(&self, now_ms: i64) -> bool {
        now_ms < self.until_ms.load(Ordering::SeqCst)
    }

    pub fn renew(&self, until_ms: i64) {
        self.until_ms.store(until_ms, Ordering::SeqCst);
    }

    /// Everything was given up.
    pub fn end(&self) {
        self.renew(i64::MIN);
        self.breaks.fetch_add(1, Ordering::SeqCst);
    }
}
