//! Promise 3 without a hub: a model drives the lanes through random commits, refills, retries and
//! parkings, as a dispatcher and its store would, and watches every delivery.

use busbar_core::{Job, Lanes, Offer};
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 3_000;

/// A small generator (SplitMix64), so that a seed replays the same way everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Ready,
    Done,
    Parked,
}

/// The store as the lanes see it: every committed delivery with its key and state.
#[derive(Default)]
struct Model {
    store: BTreeMap<i64, (Option<String>, State)>,
    running: BTreeSet<i64>,
    now_ms: i64,
}

impl Model {
    fn job(&self, id: i64) -> Job<()> {
        Job { id, key: self.store[&id].0.clone(), attempts: 0, due_ms: 0, load: () }
    }

    fn same_key(&self, id: i64) -> impl Iterator<Item = (&i64, State)> {
        let key = self.store[&id].0.clone();
        self.store
            .iter()
            .filter(move |(other, (k, _))| **other != id && k.is_some() && *k == key)
            .map(|(i, (_, s))| (i, *s))
    }

    fn started(&mut self, id: i64, seed: u64) {
        assert_eq!(self.store[&id].1, State::Ready, "seed {seed}: {id} was settled already");
        for (other, state) in self.same_key(id) {
            assert!(!self.running.contains(other), "seed {seed}: {id} and {other} of one key run at once");
            if *other < id {
                assert_eq!(state, State::Done, "seed {seed}: {id} overtook {other}, which is {state:?}");
            }
        }
        assert!(self.running.insert(id), "seed {seed}: {id} runs twice");
    }

    fn park(&mut self, id: i64) {
        self.store.get_mut(&id).unwrap().1 = State::Parked;
    }

    fn refill(&mut self, lanes: &mut Lanes<()>) {
        let Some(refill) = lanes.wants_refill() else { return };
        for (key, state) in self.store.values() {
            if *state == State::Parked
                && let Some(key) = key
            {
                lanes.hold(key.clone());
            }
        }
        let ready = self.store.range(refill.after + 1..).filter(|(_, (_, s))| *s == State::Ready).map(|(id, _)| *id);
        let found: Vec<i64> = ready.take(refill.room).collect();
        let last = found.len() < refill.room;
        for id in found {
            if let Offer::Behind(job) = lanes.refill(self.job(id)) {
                self.park(job.id);
            }
        }
        if last {
            lanes.caught_up(refill);
        }
    }

    fn settle(&mut self, lanes: &mut Lanes<()>, dice: &mut Dice) {
        let Some(id) = self.running.iter().nth(dice.roll(self.running.len().max(1) as u64) as usize).copied() else {
            return;
        };
        self.running.remove(&id);
        let key = self.store[&id].0.clone();
        match (dice.roll(10), key) {
            (0, Some(key)) => {
                self.park(id);
                for behind in lanes.park(&key) {
                    self.park(behind.id);
                }
            }
            (1..4, _) => {
                let due_ms = self.now_ms + 1 + dice.roll(50) as i64;
                lanes.retry(Job { due_ms, attempts: 1, ..self.job(id) });
            }
            (_, key) => {
                self.store.get_mut(&id).unwrap().1 = State::Done;
                lanes.done(key.as_deref());
            }
        }
    }
}

fn one(seed: u64) {
    let mut dice = Dice(seed);
    let mut model = Model::default();
    let (window, at_once) = (1 + dice.roll(12) as usize, 1 + dice.roll(5) as usize);
    let mut lanes = Lanes::new(window, at_once, []);
    let mut last = 0;
    for _ in 0..300 {
        match dice.roll(10) {
            0..4 => {
                last += 1 + dice.roll(3) as i64;
                let key = (dice.roll(5) > 0).then(|| format!("k{}", dice.roll(4)));
                model.store.insert(last, (key, State::Ready));
                // Some commits are never offered, as when another connection wrote them.
                if dice.roll(10) == 0 {
                    lanes.fall_behind();
                } else if let Offer::Behind(_) = lanes.offer(model.job(last)) {
                    lanes.fall_behind();
                }
            }
            4 => model.now_ms += dice.roll(40) as i64,
            5..7 => model.refill(&mut lanes),
            _ => model.settle(&mut lanes, &mut dice),
        }
        while let Some(job) = lanes.take(model.now_ms) {
            model.started(job.id, seed);
        }
        assert!(model.running.len() <= at_once, "seed {seed}: {} run at once", model.running.len());
        assert!(lanes.held() <= window.max(1), "seed {seed}: {} held, {window} allowed", lanes.held());
    }
    // Nothing is forgotten: with time and refills everything ends done or parked.
    for _ in 0..5_000 {
        model.now_ms += 60;
        model.refill(&mut lanes);
        while let Some(job) = lanes.take(model.now_ms) {
            model.started(job.id, seed);
        }
        model.settle(&mut lanes, &mut dice);
    }
    let left: Vec<_> = model.store.iter().filter(|(_, (_, s))| *s == State::Ready).map(|(id, _)| *id).collect();
    assert!(left.is_empty(), "seed {seed}: forgotten {left:?}");
}

#[test]
fn order_per_key_holds_and_nothing_is_forgotten() {
    for seed in 0..SEEDS {
        one(seed);
    }
    println!("{SEEDS} seeds");
}
