//! What a batch names: of this a store gathers the facts.

use super::{Facts, KeyLane};
use crate::entries::Origin;
use crate::journal::{Commit, DeliveryState, NewMessage};
use crate::mutant::{Mutant, broken};
use std::collections::BTreeSet;

/// What a batch names.
#[derive(Default)]
pub struct Names<'a> {
    pub messages: Vec<&'a NewMessage>,
    /// Keys of new deliveries.
    pub lanes: BTreeSet<KeyLane>,
    pub deliveries: BTreeSet<i64>,
    parked: BTreeSet<i64>,
    pub operated: BTreeSet<i64>,
    intakes: BTreeSet<&'a str>,
    /// Whether a person decides something.
    pub decides: bool,
}

impl<'a> Names<'a> {
    pub fn of(batch: impl IntoIterator<Item = &'a Commit>) -> Self {
        let mut names = Self::default();
        batch.into_iter().for_each(|commit| names.commit(commit));
        names
    }

    pub fn of_messages(messages: &'a [NewMessage]) -> Self {
        let mut names = Self::default();
        names.messages(messages);
        names
    }

    fn messages(&mut self, messages: &'a [NewMessage]) {
        for new in messages {
            self.messages.push(new);
            for planned in &new.deliveries {
                self.lanes.extend(planned.key.clone().map(|key| (planned.system.clone(), key)));
                if let Some(made) = &planned.made {
                    self.messages(&made.messages);
                }
            }
        }
    }

    fn commit(&mut self, commit: &'a Commit) {
        self.messages(&commit.messages);
        let intakes = commit.intake.iter().chain(&commit.entries).map(|i| i.id.as_str());
        let named = commit.decided.iter().map(|d| d.intake.as_str());
        let named = named.chain(commit.recurred.iter().map(|r| r.intake.as_str()));
        self.intakes.extend(intakes.chain(named));
        self.deliveries.extend(commit.started.iter().map(|s| s.delivery));
        if let Some(attempted) = &commit.attempted {
            self.deliveries.insert(attempted.delivery);
            if attempted.state == DeliveryState::Parked {
                self.parked.insert(attempted.delivery);
            }
        }
        if let Some(operation) = &commit.operation {
            self.deliveries.insert(operation.delivery);
            self.operated.insert(operation.delivery);
        }
        self.decides |= commit.operation.is_some() || commit.decided.is_some() || commit.hold.is_some();
    }

    /// Ids of intakes that may be there: those that are named, and the entries that known messages with other content come
    /// to. Asked when the known messages are found.
    pub fn intakes(&self, facts: &Facts) -> BTreeSet<String> {
        let origin = Origin::delivery("");
        let known = |new: &NewMessage| facts.known.get(&new.pair());
        let differs = |new: &&&NewMessage| known(new).is_some_and(|known| known.content != new.content());
        let differing = self.messages.iter().filter(differs).map(|new| origin.differing(new, 0).id);
        self.intakes.iter().map(ToString::to_string).chain(differing).collect()
    }

    /// Where the batch may park or release deliveries, or end one before another with the same key comes in: there all
    /// unfinished deliveries must be known. Asked when the named deliveries are found.
    pub fn whole_lanes(&self, facts: &Facts) -> BTreeSet<KeyLane> {
        if broken(Mutant::SeeHeadsOnly) {
            return BTreeSet::new();
        }
        let touched = facts.open.values().filter_map(|open| {
            let lane = (open.system.clone(), open.key.clone()?);
            let moves = open.judged.is_some() || self.parked.contains(&open.id) || self.operated.contains(&open.id);
            (moves || self.lanes.contains(&lane)).then_some(lane)
        });
        touched.collect()
    }
}
