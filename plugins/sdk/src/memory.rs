//! What adapters keep in the system's state: the store itself, and how far a source of changes was read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state;

/// Where the memory is kept between calls: the host's, or a test's.
pub trait Store {
    fn get(&mut self, key: &str) -> Option<Vec<u8>>;
    fn set(&mut self, key: &str, value: Vec<u8>);
    fn delete(&mut self, key: &str);
}

/// The host's state.
pub struct HostStore;

impl Store for HostStore {
    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        state::get(key)
    }

    fn set(&mut self, key: &str, value: Vec<u8>) {
        state::set(key, &value);
    }

    fn delete(&mut self, key: &str) {
        state::delete(key);
    }
}

/// For tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapStore(pub BTreeMap<String, Vec<u8>>);

impl Store for MapStore {
    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }

    /// Within what the host allows by default.
    fn set(&mut self, key: &str, value: Vec<u8>) {
        debug_assert!(value.len() <= 64 * 1024 && key.len() <= 512);
        self.0.insert(key.into(), value);
    }

    fn delete(&mut self, key: &str) {
        self.0.remove(key);
    }
}

/// Latest moment of change seen, as the source writes it; its texts must sort as the moments do. Asked for is what changed
/// since the round before the last: what changes while a round is read is later than anything seen before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Progress {
    pub since: String,
    latest: String,
    now: String,
}

impl Progress {
    pub fn see(&mut self, moment: &str) {
        if moment > self.now.as_str() {
            self.now = moment.to_owned();
        }
    }

    pub fn end_round(&mut self) {
        self.since = std::mem::take(&mut self.latest);
        let now = std::mem::take(&mut self.now);
        self.latest = if now > self.since { now } else { self.since.clone() };
    }
}
