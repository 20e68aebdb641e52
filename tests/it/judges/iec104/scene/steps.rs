//! What a station may do.

use super::{
    Address, Buffered, CAUSES, COUNTER, COUNTER_CAUSES, EVENTS, MINUTE_MS, OF_EACH, OTHER, OTHERS, QUALITIES, SENTINEL,
    SWITCHES, Scene,
};
use crate::judges::iec104::rules::{Switch, is_event};
use serde_json::{Value, json};

const BURST: usize = 150;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// The time of a telegram, and whether it is to be believed.
type Tag = (i64, bool);

impl Scene {
    pub fn step(&mut self) {
        match self.dice.below(16) {
            0..=7 => {
                let address = self.switch();
                let cause = self.dice.of(&EVENTS);
                self.tell(&[address], cause);
            }
            8..=9 => {
                let (address, cause) = (self.switch(), self.dice.of(&CAUSES));
                self.tell(&[address], cause);
            }
            10..=11 => {
                let (station, base) =
                    (self.dice.of(&self.stations.clone()), self.dice.below(SWITCHES.len() as u64) as u32 * 70_000);
                let objects = (0..OF_EACH).filter(|_| !self.dice.one_in(3)).map(|n| (station, base + n));
                let objects: Vec<Address> = objects.collect();
                let cause = self.dice.of(&[EVENTS[0], CAUSES[0], CAUSES[3]]);
                if !objects.is_empty() {
                    self.tell(&objects, cause);
                }
            }
            12 => {
                let object = OTHER + self.dice.below(OTHERS.len() as u64) as u32;
                let shown = json!([self.stations[0], object, self.dice.below(2), [], null]);
                let cause = self.dice.of(&["SPONTANEOUS", "PERIODIC", "BACKGROUND_SCAN"]);
                self.told += 1;
                self.say(&json!(["tell", [shown], cause]));
            }
            13 => self.count(),
            14 => {
                let address = self.dice.of(&[(self.foreign, 0), (self.stations[1], 60)]);
                let shown = json!([address.0, address.1, 1 + self.dice.below(2), [], self.local(self.clock)]);
                self.told += 1;
                self.say(&json!(["tell", [shown], "SPONTANEOUS"]));
            }
            _ => {
                let station = self.dice.of(&self.stations.clone());
                self.say(&json!(["restart", station]));
                self.interrogated_at(&[station]);
            }
        }
    }

    fn switch(&mut self) -> Address {
        let all: Vec<Address> = self.switches.keys().filter(|address| address.1 != SENTINEL).copied().collect();
        self.dice.of(&all)
    }

    fn is_tagged(&self, address: Address) -> bool {
        self.kinds[&address].ends_with("TB_1")
    }

    /// Mostly later than before; or older, the same again, ahead of the hub's clock by a little or by much, too old.
    fn tag(&mut self, switch: &Switch) -> Tag {
        match self.dice.below(24) {
            0..=2 => (self.clock - self.dice.below(60 * MINUTE_MS as u64) as i64, true),
            3..=4 => (switch.last_tag().unwrap_or(self.clock), true),
            5 => (self.begun + (5 * MINUTE_MS) + self.dice.below(3 * MINUTE_MS as u64) as i64, true),
            6 => (self.begun + 60 * MINUTE_MS, false),
            7 => (self.begun - 40 * DAY_MS, false),
            _ => (self.later(), true),
        }
    }

    /// What a switch shows now, and its tag as far as it is to be believed.
    fn show(&mut self, address: Address, is_plain: bool) -> (Value, Option<i64>) {
        let is_double = self.kinds[&address].starts_with("M_DP");
        let value =
            if is_double && !is_plain && self.dice.one_in(6) { 3 * self.dice.below(2) } else { 1 + self.dice.below(2) };
        let qualities: Vec<&str> = match is_plain || !self.dice.one_in(6) {
            true => Vec::new(),
            false => QUALITIES.into_iter().filter(|_| self.dice.one_in(2)).collect(),
        };
        let switch = self.switches[&address].clone();
        let tag = match (self.is_tagged(address), is_plain) {
            (false, _) => None,
            (true, true) => Some((self.later(), true)),
            (true, false) => Some(self.tag(&switch)),
        };
        let at = tag.map(|(ms, _)| self.local(ms));
        (
            json!([address.0, address.1, value, qualities, at]),
            tag.filter(|(_, is_believed)| *is_believed).map(|(ms, _)| ms),
        )
    }

    /// One telegram. What is told late is not what the points show afterwards.
    fn tell(&mut self, addresses: &[Address], (cause, number): (&str, u8)) {
        let mut doubted = false;
        let mut told = Vec::new();
        let mut afterwards = Vec::new();
        for address in addresses {
            let (shown, tag) = self.show(*address, false);
            let is_doubtful = self.must(*address, &shown, number, tag);
            doubted |= is_doubtful;
            if is_doubtful {
                afterwards.push(self.shown[address].clone());
            } else {
                self.shown.insert(*address, shown.clone());
            }
            told.push(shown);
        }
        assert!(!doubted || is_event(number));
        self.say(&json!(["tell", told, cause, afterwards]));
        if doubted {
            self.interrogated_at(&[addresses[0].0]);
        }
    }

    fn count(&mut self) {
        let (object, (cause, is_of_a_counter)) = (COUNTER + self.dice.below(3) as u32, self.dice.of(&COUNTER_CAUSES));
        let count = self.dice.below(1 << 31) as i64 - if self.dice.one_in(8) { 1 << 31 } else { 0 };
        let qualities: Vec<&str> =
            ["Invalid", "Carry", "Adjusted"].into_iter().filter(|_| self.dice.one_in(6)).collect();
        let (ms, is_believed) = match self.dice.below(10) {
            0 => (self.begun + 60 * MINUTE_MS, false),
            1 => (self.begun - 40 * DAY_MS, false),
            _ => (self.later(), true),
        };
        let is_reading =
            is_of_a_counter && count >= 0 && !qualities.contains(&"Invalid") && is_believed && object != COUNTER + 2;
        if is_reading {
            self.readings.insert((format!("M-{object}"), ms.div_euclid(1000), count));
        }
        let shown = json!([self.stations[1], object, count, qualities, self.local(ms)]);
        // By itself and by an interrogation of counters: one reading.
        for _ in 0..1 + self.dice.below(2) {
            self.told += 1;
            self.say(&json!(["tell", [shown], cause]));
        }
    }

    /// More than the windows hold at once. Points with a tag ahead of the others are not among them: they would be doubted.
    pub fn burst(&mut self) {
        let clock = self.clock;
        let fit = |(_, switch): &(&Address, &Switch)| {
            switch.last_tag().is_none_or(|tag| tag <= clock) && switch.is_normally_open
        };
        let quiet: Vec<Address> = self.switches.iter().filter(fit).map(|(address, _)| *address).collect();
        let fit = |(_, switch): &(&Address, &Switch)| switch.last_tag().is_none_or(|tag| tag <= clock);
        let all: Vec<Address> =
            self.switches.iter().filter(fit).map(|(address, _)| *address).filter(|a| a.1 != SENTINEL).collect();
        for number in 0..BURST {
            // Most make no outage: the test reads every one that is stated.
            let address = if number % 4 == 0 || quiet.is_empty() { self.dice.of(&all) } else { self.dice.of(&quiet) };
            let (shown, tag) = self.show(address, true);
            assert!(!self.must(address, &shown, 3, tag));
            self.say(&json!(["tell", [shown], "SPONTANEOUS"]));
            self.shown.insert(address, shown);
        }
    }

    /// Something that is always stated.
    pub fn sentinel(&mut self) {
        let address = (self.stations[0], SENTINEL);
        let value = if self.switches[&address].is_open() { 2 } else { 1 };
        let shown = json!([address.0, address.1, value, [], null]);
        self.must(address, &shown, 3, None);
        self.say(&json!(["tell", [shown], "SPONTANEOUS"]));
        self.shown.insert(address, shown);
        self.sentinels += 1;
    }

    /// Changes while the link is down; those with time tags are kept in the order in which they happened.
    pub fn behind_the_back(&mut self) -> Buffered {
        let mut buffered = Vec::new();
        for _ in 0..self.dice.below(25) {
            let address = self.switch();
            let (shown, tag) = self.show(address, true);
            self.say(&json!(["set", shown]));
            let is_late = self.switches[&address].last_tag() > tag;
            if tag.is_some() && !is_late {
                buffered.push((address, shown.clone(), tag));
            }
            self.shown.insert(address, shown);
        }
        buffered
    }

    /// The station's buffer, after the interrogation.
    pub fn flushed(&mut self, buffered: Buffered) {
        for (address, shown, tag) in buffered {
            assert!(!self.must(address, &shown, 3, tag));
            self.say(&json!(["tell", [shown], "SPONTANEOUS"]));
        }
    }
}
