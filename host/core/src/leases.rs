//! Sharing the work between hubs without a leader: each one counts the living and takes its fair share of the shards.

use crate::journal::Shards;
use crate::mutant::{Mutant, broken};
use crate::ports::{Claim, Claimed};
use std::collections::BTreeMap;

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
