//! The entries of a feed: the outages, and what is left out of it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use busbar_sdk::{Rejection, rejection};
use serde_json::Value;

use crate::mapping::{self, Outage};
use crate::settings::{Settings, Table};

const OUTAGES_MAX: usize = 5000;

/// What one poll read.
#[derive(Default)]
pub struct List {
    pub outages: Vec<Outage>,
    pub left_out: Vec<Rejection>,
    /// Ids of entries that are left out: those outages are there, whatever becomes of them.
    pub unclear: BTreeSet<String>,
    pub has_nameless: bool,
    /// Outages of the feeds before this one, and this one's name.
    before: usize,
    feed: String,
}

impl List {
    /// Another feed comes.
    pub fn begin(&mut self, feed: String) {
        (self.before, self.feed) = (self.outages.len(), feed);
    }

    /// # Errors
    /// `too-many-outages`.
    pub fn take(&mut self, settings: &Settings, table: &Table, item: &Value, place: String) -> Result<(), Rejection> {
        match mapping::outage(table, settings.utc_offset, &settings.status, item, place) {
            Ok(outage) => self.outages.extend(outage),
            Err((id, entry)) => {
                self.leave_out(entry);
                match id {
                    Some(id) => drop(self.unclear.insert(id)),
                    None => self.has_nameless = true,
                }
            }
        }
        if self.outages.len() > OUTAGES_MAX {
            return Err(rejection("too-many-outages", format!("more than {OUTAGES_MAX}"), ""));
        }
        Ok(())
    }

    /// An outage of an earlier feed stands. In one feed it may be told twice in the same words; in others nobody knows
    /// which of them are true, and both are left out.
    pub fn one_each(&mut self) {
        let earlier: BTreeSet<String> = self.outages.iter().take(self.before).map(|outage| outage.id.clone()).collect();
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        let mut contradicted: BTreeMap<String, String> = BTreeMap::new();
        let mut index = 0;
        let before = self.before;
        self.outages.retain(|outage| {
            index += 1;
            if index <= before {
                return true;
            }
            let content = outage.content();
            match seen.get(&outage.id) {
                _ if earlier.contains(&outage.id) => false,
                None => {
                    seen.insert(outage.id.clone(), content);
                    true
                }
                Some(known) => {
                    if *known != content {
                        contradicted.entry(outage.id.clone()).or_insert_with(|| outage.place_of_entry());
                    }
                    false
                }
            }
        });
        index = 0;
        self.outages.retain(|outage| {
            index += 1;
            index <= before || !contradicted.contains_key(&outage.id)
        });
        for (id, place) in contradicted {
            self.leave_out(rejection("repeated-outage", "an outage that the feed tells twice, differently", place));
            self.unclear.insert(id);
        }
    }

    fn leave_out(&mut self, entry: Rejection) {
        let place = entry.place.map(|place| format!("{}{place}", self.feed));
        self.left_out.push(Rejection { place, ..entry });
    }
}
