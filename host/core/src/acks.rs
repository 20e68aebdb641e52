//! Acknowledgement of the committed prefix: many messages by one frame, and none that is not committed.

use crate::mutant::{Mutant, broken};
use std::collections::BTreeMap;

/// So many settled messages may wait behind one that is not, before they are acknowledged one by one: a slow
/// question must not use up what the broker hands out at once.
const HELD_BACK_MAX: usize = 64;

/// What to tell the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// All up to this number.
    UpTo(u64),
    One(u64),
}

/// The unacknowledged messages of one connection. Numbers grow in the order of arrival.
#[derive(Debug, Default)]
pub struct Acks {
    /// Whether it is settled, by number.
    open: BTreeMap<u64, bool>,
}

impl Acks {
    /// A message arrived.
    pub fn arrived(&mut self, number: u64) {
        self.open.insert(number, false);
    }

    /// These are committed, or put aside for good. Returns what may be acknowledged now.
    pub fn settle(&mut self, numbers: impl IntoIterator<Item = u64>) -> Vec<Ack> {
        let mut settled = 0;
        for number in numbers {
            if let Some(open) = self.open.get_mut(&number) {
                *open = true;
                settled += 1;
            }
        }
        if settled == 0 {
            return Vec::new();
        }
        let mut acks: Vec<_> = self.prefix().map(Ack::UpTo).into_iter().collect();
        if self.open.values().filter(|settled| **settled).count() > HELD_BACK_MAX {
            let late: Vec<_> = self.open.iter().filter(|(_, settled)| **settled).map(|(n, _)| *n).collect();
            self.open.retain(|_, settled| !*settled);
            acks.extend(late.into_iter().map(Ack::One));
        }
        acks
    }

    fn prefix(&mut self) -> Option<u64> {
        if broken(Mutant::AcknowledgePastGap) {
            let last = self.open.iter().rev().find(|(_, settled)| **settled).map(|(n, _)| *n)?;
            self.open.retain(|number, _| *number > last);
            return Some(last);
        }
        let mut last = None;
        while let Some(first) = self.open.first_entry().filter(|first| *first.get()) {
            last = Some(first.remove_entry().0);
        }
        last
    }
}
