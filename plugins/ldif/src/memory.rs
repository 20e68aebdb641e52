//! What was stated of each entry, so that an unchanged one is not stated again, and a state that comes back is.
//!
//! A line for each entry: `<e|u> <name's key> <content> <version>+<marks> <id>`, spread over a fixed number of state values,
//! each within what the host allows by default. The version counts the statements of an entry: it makes the ids of A, B and
//! A again differ.

use std::collections::{BTreeMap, BTreeSet};

use busbar_sdk::memory::Store;
use busbar_sdk::{Rejection, ids, rejection};

use crate::fields::is_id;

/// Values of the state, all of which one file may change: below `limits.state-writes`.
const SHARDS: u64 = 60;
/// `limits.state-value-bytes`.
const SHARD_BYTES_MAX: usize = 64 * 1024;
/// Entries, so that a file of any length is refused before it fills the memory; the shards hold fewer.
const ENTRIES_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Employee,
    Unit,
}

impl Kind {
    fn letter(self) -> &'static str {
        match self {
            Kind::Employee => "e",
            Kind::Unit => "u",
        }
    }
}

/// What was not said of an entry, and a change of it needs: `<signs>.<several>.<first>`, zeros left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Signs of its account that speak against it, now or at a time to come; see [`crate::account::against`]. Of a unit
    /// [`RENAMED`] alone.
    pub signs: u32,
    /// Fields, by their number, that had more values to choose from than the one stated.
    pub several: u32,
    /// Fields whose value is of the first of their attributes.
    pub first: u32,
}

/// A unit that was renamed since it was stated whole.
pub const RENAMED: u32 = 1 << 31;

impl Marks {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|text| match text {
            "" => Some(0),
            text => u32::from_str_radix(text, 16).ok(),
        });
        let mut next = || numbers.next()?;
        Some(Self { signs: next()?, several: next()?, first: next()? })
    }
}

impl std::fmt::Display for Marks {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = [self.signs, self.several, self.first].map(|number| match number {
            0 => String::new(),
            number => format!("{number:x}"),
        });
        to.write_str(&text.join("."))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    dn: u64,
    content: u64,
    version: u32,
    /// Nothing of entries that were stated before there were marks.
    marks: Option<Marks>,
}

#[derive(Default)]
pub struct Memory {
    rows: BTreeMap<(Kind, String), Row>,
    by_dn: BTreeMap<u64, (Kind, String)>,
    changed: BTreeSet<u64>,
}

impl Memory {
    pub fn load(store: &mut impl Store) -> Self {
        let mut memory = Self::default();
        for shard in 0..SHARDS {
            let bytes = store.get(&shard_key(shard)).unwrap_or_default();
            for line in String::from_utf8_lossy(&bytes).lines() {
                if let Some((key, row)) = parse(line) {
                    memory.by_dn.insert(row.dn, key.clone());
                    memory.rows.insert(key, row);
                }
            }
        }
        memory
    }

    /// # Errors
    /// `too-many-entries` when it does not fit.
    pub fn save(&self, store: &mut impl Store) -> Result<(), Rejection> {
        let mut shards: BTreeMap<u64, String> = self.changed.iter().map(|shard| (*shard, String::new())).collect();
        for ((kind, id), row) in &self.rows {
            if let Some(text) = shards.get_mut(&shard_of(*kind, id)) {
                let Row { dn, content, version, marks } = row;
                let marks = marks.map(|marks| format!("+{marks}")).unwrap_or_default();
                text.push_str(&format!("{} {dn:x} {content:x} {version}{marks} {id}\n", kind.letter()));
            }
        }
        for (shard, text) in shards {
            if text.len() > SHARD_BYTES_MAX {
                return Err(too_many());
            }
            store.set(&shard_key(shard), text.into_bytes());
        }
        Ok(())
    }

    pub fn of_dn(&self, dn: u64) -> Option<&(Kind, String)> {
        self.by_dn.get(&dn)
    }

    /// An entry of this name will be noted: others may refer to it already.
    ///
    /// # Errors
    /// `too-many-entries`.
    pub fn learn(&mut self, dn: u64, kind: Kind, id: &str) -> Result<(), Rejection> {
        self.by_dn.insert(dn, (kind, id.to_owned()));
        if self.by_dn.len() > ENTRIES_MAX { Err(too_many()) } else { Ok(()) }
    }

    /// Id of the message that stated the entry last.
    pub fn last_message(&self, kind: Kind, id: &str) -> Option<String> {
        let row = self.rows.get(&(kind, id.to_owned()))?;
        Some(message_id(kind, id, row))
    }

    pub fn marks(&self, kind: Kind, id: &str) -> Option<Marks> {
        self.rows.get(&(kind, id.to_owned()))?.marks
    }

    /// Notes what an entry is now: the id of the message to state, or nothing when it was stated already.
    pub fn note(&mut self, kind: Kind, id: &str, dn: u64, data: &str, marks: Option<Marks>) -> Option<String> {
        let content = ids::derived_number(&[data], 1 << 48);
        let key = (kind, id.to_owned());
        let before = self.rows.get(&key).copied();
        let version = match before {
            Some(row) if row.content == content => row.version,
            Some(row) => row.version.saturating_add(1),
            None => 1,
        };
        let row = Row { dn, content, version, marks };
        if before == Some(row) {
            return None;
        }
        if let Some(before) = before.filter(|before| before.dn != dn) {
            self.by_dn.remove(&before.dn);
        }
        self.by_dn.insert(dn, key.clone());
        self.rows.insert(key, row);
        self.changed.insert(shard_of(kind, id));
        before.is_none_or(|before| before.version != version).then(|| message_id(kind, id, &row))
    }
}

fn too_many() -> Rejection {
    rejection("too-many-entries", "more entries than the memory holds, some 60,000", "")
}

fn message_id(kind: Kind, id: &str, row: &Row) -> String {
    ids::derived(&["ldif", kind.letter(), id, &format!("{:x}", row.content), &row.version.to_string()])
}

fn shard_of(kind: Kind, id: &str) -> u64 {
    ids::derived_number(&[kind.letter(), id], SHARDS)
}

fn shard_key(shard: u64) -> String {
    format!("entries-{shard:02}")
}

/// A line that was damaged is none: it must not refuse a file by an id that fits no message.
fn parse(line: &str) -> Option<((Kind, String), Row)> {
    let mut words = line.splitn(5, ' ');
    let kind = match words.next()? {
        "e" => Kind::Employee,
        "u" => Kind::Unit,
        _ => return None,
    };
    let dn = u64::from_str_radix(words.next()?, 16).ok()?;
    let content = u64::from_str_radix(words.next()?, 16).ok()?;
    let version = words.next()?;
    let (version, marks) = match version.split_once('+') {
        Some((version, marks)) => (version, Some(Marks::parse(marks)?)),
        None => (version, None),
    };
    let version = version.parse().ok()?;
    let id = words.next().filter(|id| is_id(id))?;
    Some(((kind, id.to_owned()), Row { dn, content, version, marks }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use busbar_sdk::memory::MapStore;

    const MARKS: Option<Marks> = Some(Marks { signs: 0x8000_0001, several: 0, first: 3 });

    #[test]
    fn a_state_that_comes_back_is_stated_again() {
        let mut store = MapStore::default();
        let mut stated = Vec::new();
        for data in ["A", "A", "B", "B", "A"] {
            let mut memory = Memory::load(&mut store);
            stated.push(memory.note(Kind::Employee, "an id with blanks", 7, data, MARKS));
            memory.save(&mut store).unwrap();
        }
        assert_eq!(stated.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, false, true]);
        assert!(stated[0] != stated[4] && stated[0] != stated[2]);
        let memory = Memory::load(&mut store);
        assert_eq!(memory.of_dn(7), Some(&(Kind::Employee, "an id with blanks".into())));
        assert_eq!(memory.last_message(Kind::Employee, "an id with blanks"), stated[4]);
        assert_eq!(memory.marks(Kind::Employee, "an id with blanks"), MARKS);
    }

    #[test]
    fn a_new_name_alone_is_remembered_and_not_stated() {
        let mut memory = Memory::default();
        assert!(memory.note(Kind::Unit, "1", 7, "A", None).is_some());
        assert_eq!(memory.note(Kind::Unit, "1", 8, "A", None), None);
        assert_eq!((memory.of_dn(7), memory.of_dn(8).is_some()), (None, true));
    }

    #[test]
    fn it_is_full_at_some_point() {
        let mut memory = Memory::default();
        for number in 0..40_000 {
            memory.note(Kind::Employee, &format!("employee{number:06}"), number, "A", MARKS);
        }
        memory.save(&mut MapStore::default()).unwrap();
        for number in 0..200_000 {
            memory.note(Kind::Employee, &format!("employee{number:06}"), number, "A", MARKS);
        }
        assert_eq!(memory.save(&mut MapStore::default()).unwrap_err().code, "too-many-entries");
    }
}
