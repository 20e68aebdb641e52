//! What was said of each outage of the feed, in a few values of the state.

use std::collections::BTreeMap;

use busbar_sdk::memory::Store;
use busbar_sdk::{Rejection, ids, rejection};
use serde::{Deserialize, Serialize};

/// The host allows 64 writes of 64 KiB in a call.
const SHARDS: usize = 32;
const SHARD_BYTES_MAX: usize = 64 << 10;

/// What was said of an outage last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// How often something new was said: with the content it makes the message's id.
    #[serde(rename = "v")]
    pub version: u32,
    /// Digest.
    #[serde(rename = "c")]
    pub content: String,
    #[serde(rename = "k")]
    pub kind: String,
    #[serde(rename = "s")]
    pub status: String,
    /// Polls in which it was not in the feed.
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    pub missed: u8,
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shard {
    /// The highest version of an outage that was forgotten: one that comes back goes on from there.
    floor: u32,
    outages: BTreeMap<String, Said>,
}

pub struct Memory {
    shards: Vec<(Shard, bool)>,
}

impl Memory {
    pub fn load(store: &mut impl Store) -> Self {
        let load = |number| store.get(&key(number)).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { shards: (0..SHARDS).map(load).map(|shard| (shard.unwrap_or_default(), false)).collect() }
    }

    pub fn get(&self, id: &str) -> Option<&Said> {
        self.shards.get(shard_of(id))?.0.outages.get(id)
    }

    /// The version of what is said next.
    pub fn next_version(&self, id: &str) -> u32 {
        let floor = self.shards.get(shard_of(id)).map_or(0, |(shard, _)| shard.floor);
        self.get(id).map_or(floor, |said| said.version).saturating_add(1)
    }

    pub fn set(&mut self, id: &str, said: Said) {
        if let Some((shard, is_changed)) = self.shards.get_mut(shard_of(id)) {
            *is_changed |= shard.outages.get(id) != Some(&said);
            shard.outages.insert(id.to_owned(), said);
        }
    }

    /// `version`: the last one used.
    pub fn forget(&mut self, id: &str, version: u32) {
        if let Some((shard, is_changed)) = self.shards.get_mut(shard_of(id)) {
            *is_changed |= shard.outages.remove(id).is_some();
            shard.floor = shard.floor.max(version);
        }
    }

    pub fn ids(&self) -> Vec<String> {
        self.shards.iter().flat_map(|(shard, _)| shard.outages.keys().cloned()).collect()
    }

    /// # Errors
    /// `too-many-outages`: more than the state holds.
    pub fn save(self, store: &mut impl Store) -> Result<(), Rejection> {
        for (number, (shard, _)) in self.shards.iter().enumerate().filter(|(_, (_, is_changed))| *is_changed) {
            let value = serde_json::to_vec(shard).unwrap_or_default();
            if value.len() > SHARD_BYTES_MAX {
                return Err(rejection("too-many-outages", "more outages than the state holds", ""));
            }
            store.set(&key(number), value);
        }
        Ok(())
    }
}

fn key(number: usize) -> String {
    format!("outages-{number:02}")
}

fn shard_of(id: &str) -> usize {
    usize::try_from(ids::derived_number(&[id], SHARDS as u64)).unwrap_or(0)
}
