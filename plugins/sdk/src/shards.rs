use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};

use crate::ids;
use crate::memory::Store;

/// The host allows 64 writes of 64 KiB in a call.
const SHARDS: usize = 32;
const SHARD_BYTES_MAX: usize = 64 << 10;

/// Many small records in a few values of the state, `<prefix>-00` to `<prefix>-31`; all are held in memory as well.
pub struct Shards<T> {
    prefix: &'static str,
    shards: Vec<Shard<T>>,
}

struct Shard<T> {
    records: BTreeMap<String, T>,
    is_changed: bool,
}

impl<T: Serialize + DeserializeOwned + PartialEq> Shards<T> {
    pub fn load(prefix: &'static str, store: &mut dyn Store) -> Self {
        let mut load = |number| {
            let records = store.get(&key(prefix, number)).and_then(|bytes| serde_json::from_slice(&bytes).ok());
            Shard { records: records.unwrap_or_default(), is_changed: false }
        };
        Self { prefix, shards: (0..SHARDS).map(&mut load).collect() }
    }

    pub fn get(&self, name: &str) -> Option<&T> {
        self.shards.get(shard_of(name))?.records.get(name)
    }

    pub fn set(&mut self, name: &str, record: T) {
        if let Some(shard) = self.shards.get_mut(shard_of(name)) {
            shard.is_changed |= shard.records.get(name) != Some(&record);
            shard.records.insert(name.to_owned(), record);
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<T> {
        let shard = self.shards.get_mut(shard_of(name))?;
        let removed = shard.records.remove(name);
        shard.is_changed |= removed.is_some();
        removed
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.shards.iter().flat_map(|shard| shard.records.iter().map(|(name, record)| (name.as_str(), record)))
    }

    /// Writes what has changed.
    ///
    /// # Errors
    /// More than a value of the state holds, for a person; nothing was written.
    pub fn save(&mut self, store: &mut dyn Store) -> Result<(), String> {
        let mut values = Vec::new();
        for (number, shard) in self.shards.iter().enumerate().filter(|(_, shard)| shard.is_changed) {
            let value = serde_json::to_vec(&shard.records).unwrap_or_default();
            if value.len() > SHARD_BYTES_MAX {
                return Err(format!(
                    "{} records of {} are more than the state holds",
                    self.iter().count(),
                    self.prefix
                ));
            }
            values.push((key(self.prefix, number), value));
        }
        self.shards.iter_mut().for_each(|shard| shard.is_changed = false);
        values.into_iter().for_each(|(key, value)| store.set(&key, value));
        Ok(())
    }
}

fn key(prefix: &str, number: usize) -> String {
    format!("{prefix}-{number:02}")
}

fn shard_of(name: &str) -> usize {
    usize::try_from(ids::derived_number(&[name], SHARDS as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MapStore;

    #[test]
    fn only_what_changed_is_written() {
        let mut store = MapStore::default();
        let mut shards = Shards::<String>::load("x", &mut store);
        for number in 0..100 {
            shards.set(&number.to_string(), "one".into());
        }
        shards.save(&mut store).unwrap();
        assert!((20..=32).contains(&store.0.len()));
        store.0.clear();
        shards.set("7", "one".into());
        shards.save(&mut store).unwrap();
        assert_eq!((store.0.len(), shards.iter().count()), (0, 100));
        shards.set("7", "two".into());
        assert_eq!(shards.remove("7").as_deref(), Some("two"));
        shards.set("8", "two".into());
        shards.save(&mut store).unwrap();
        let again = Shards::<String>::load("x", &mut store);
        assert_eq!((again.get("8").map(String::as_str), again.get("7")), (Some("two"), None));
        shards.set("9", "x".repeat(64 << 10));
        assert!(shards.save(&mut store).is_err());
    }
}
