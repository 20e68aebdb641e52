//! Promise 3 without a hub: a model drives the lanes through random commits, reads that are answered late, retries,
//! parkings and releases, as an engine and its store would, and watches every delivery.

use busbar_core::{Job, Lanes, Refill, Shards};
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
    Waiting,
}

fn job(id: i64, key: Option<&str>) -> Job<()> {
    Job { id, key: key.map(str::to_string), shard: 0, due_ms: 0, first: false, load: () }
}

/// The store as the lanes see it, and a read that is under way with what it found.
#[derive(Default)]
struct Model {
    store: BTreeMap<i64, (Option<String>, State)>,
    running: BTreeSet<i64>,
    reading: Option<(Refill, Vec<i64>)>,
    now_ms: i64,
}

impl Model {
    fn job(&self, id: i64) -> Job<()> {
        job(id, self.store[&id].0.as_deref())
    }

    fn same_key(&self, id: i64) -> Vec<(i64, State)> {
        let key = &self.store[&id].0;
        let same = self.store.iter().filter(|(other, (k, _))| **other != id && k.is_some() && k == key);
        same.map(|(i, (_, s))| (*i, *s)).collect()
    }

    fn commit(&mut self, lanes: &mut Lanes<()>, dice: &mut Dice, id: i64) {
        let key = (dice.roll(5) > 0).then(|| format!("k{}", dice.roll(4)));
        self.store.insert(id, (key, State::Ready));
        if self.same_key(id).iter().any(|(_, s)| matches!(s, State::Parked | State::Waiting)) {
            self.set(id, State::Waiting);
        } else if dice.roll(10) == 0 {
            // Some commits are never offered, as when another connection wrote them.
            lanes.fall_behind();
        } else {
            lanes.offer(self.job(id));
        }
    }

    fn started(&mut self, id: i64, seed: u64) {
        assert_eq!(self.store[&id].1, State::Ready, "seed {seed}: {id} is not to be made");
        for (other, state) in self.same_key(id) {
            assert!(!self.running.contains(&other), "seed {seed}: {id} and {other} of one key run at once");
            if other < id {
                assert_eq!(state, State::Done, "seed {seed}: {id} overtook {other}, which is {state:?}");
            }
        }
        assert!(self.running.insert(id), "seed {seed}: {id} runs twice");
    }

    fn set(&mut self, id: i64, state: State) {
        self.store.get_mut(&id).unwrap().1 = state;
    }

    /// A read begins, or what an earlier one found is heard of.
    fn read(&mut self, lanes: &mut Lanes<()>) {
        if let Some((refill, found)) = self.reading.take() {
            return lanes.refill(refill, found.into_iter().map(|id| self.job(id)).collect(), 0);
        }
        let Some(refill) = lanes.wants_refill() else { return };
        let ready = self.store.range(refill.after + 1..).filter(|(_, (_, s))| *s == State::Ready).map(|(id, _)| *id);
        self.reading = Some((refill, ready.take(refill.room).collect()));
    }

    fn settle(&mut self, lanes: &mut Lanes<()>, dice: &mut Dice) {
        let chosen = dice.roll(self.running.len().max(1) as u64) as usize;
        let Some(id) = self.running.iter().nth(chosen).copied() else { return };
        self.running.remove(&id);
        match (dice.roll(10), self.store[&id].0.clone()) {
            (0, Some(key)) => {
                self.set(id, State::Parked);
                let behind = self.same_key(id).into_iter().filter(|(other, s)| *other > id && *s == State::Ready);
                behind.for_each(|(other, _)| self.set(other, State::Waiting));
                lanes.abandon(id, Some(&key));
            }
            (1, key) => lanes.abandon(id, key.as_deref()),
            (2..4, _) => {
                let due_ms = self.now_ms + 1 + dice.roll(50) as i64;
                lanes.retry(Job { due_ms, ..self.job(id) });
            }
            (_, key) => {
                self.set(id, State::Done);
                lanes.done(id, key.as_deref());
            }
        }
    }

    /// A person skips a parked one: those behind it go on.
    fn release(&mut self, lanes: &mut Lanes<()>) {
        let Some(id) = self.store.iter().find(|(_, (_, s))| *s == State::Parked).map(|(id, _)| *id) else { return };
        self.set(id, State::Done);
        let behind = self.same_key(id).into_iter().filter(|(_, s)| *s == State::Waiting);
        behind.for_each(|(other, _)| self.set(other, State::Ready));
        lanes.rewind(id - 1);
    }
}

fn one(seed: u64) {
    let mut dice = Dice(seed);
    let mut model = Model::default();
    let (window, at_once) = (1 + dice.roll(12) as usize, 1 + dice.roll(5) as usize);
    let mut lanes = Lanes::new(window, at_once);
    let mut last = 0;
    for _ in 0..300 {
        match dice.roll(12) {
            0..4 => {
                last += 1 + dice.roll(3) as i64;
                model.commit(&mut lanes, &mut dice, last);
            }
            4 => model.now_ms += dice.roll(40) as i64,
            5..8 => model.read(&mut lanes),
            8 => model.release(&mut lanes),
            _ => model.settle(&mut lanes, &mut dice),
        }
        while let Some(job) = lanes.take(model.now_ms) {
            model.started(job.id, seed);
        }
        assert!(model.running.len() <= at_once, "seed {seed}: {} run at once", model.running.len());
        assert!(lanes.held() <= window, "seed {seed}: {} held, {window} allowed", lanes.held());
    }
    // Nothing is forgotten: with time, reads and decisions everything ends.
    for _ in 0..3_000 {
        model.now_ms += 60;
        model.read(&mut lanes);
        while let Some(job) = lanes.take(model.now_ms) {
            model.started(job.id, seed);
        }
        model.settle(&mut lanes, &mut dice);
        model.release(&mut lanes);
    }
    let left: Vec<_> = model.store.iter().filter(|(_, (_, s))| *s != State::Done).map(|(id, _)| *id).collect();
    assert!(left.is_empty(), "seed {seed}: forgotten {left:?}");
}

#[test]
fn order_per_key_holds_and_nothing_is_forgotten() {
    for seed in 0..SEEDS {
        one(seed);
    }
    println!("{SEEDS} seeds");
}

/// A thousand deliveries of one key wait behind one that fails: others are made, and afterwards they are, in order.
#[test]
fn a_key_with_many_waiting_leaves_room_for_the_others() {
    let mut model = Model::default();
    let hot = |id: i64| id <= 1_000;
    for id in 1..=1_100 {
        let key = if hot(id) { "hot".to_string() } else { format!("k{id}") };
        model.store.insert(id, (Some(key), State::Ready));
    }
    let mut lanes = Lanes::new(80, 10);
    let mut others = 0;
    for _ in 0..500 {
        model.read(&mut lanes);
        while let Some(job) = lanes.take(model.now_ms) {
            model.started(job.id, 0);
            model.running.remove(&job.id);
            if hot(job.id) {
                lanes.retry(Job { due_ms: model.now_ms + 1, ..model.job(job.id) });
                continue;
            }
            others += 1;
            model.set(job.id, State::Done);
            lanes.done(job.id, job.key.as_deref());
        }
        model.now_ms += 1;
    }
    assert_eq!(others, 100, "those with other keys");
    for _ in 0..2_000 {
        model.read(&mut lanes);
        while let Some(job) = lanes.take(model.now_ms) {
            model.started(job.id, 0);
            model.running.remove(&job.id);
            model.set(job.id, State::Done);
            lanes.done(job.id, job.key.as_deref());
        }
        model.now_ms += 1;
    }
    assert!(model.store.values().all(|(_, state)| *state == State::Done));
}

/// Lanes that have read an empty store.
fn lanes() -> Lanes<()> {
    let mut lanes = Lanes::new(10, 10);
    let refill = lanes.wants_refill().unwrap();
    lanes.refill(refill, vec![], 0);
    lanes
}

#[test]
fn new_ones_and_retries_take_turns() {
    let mut lanes = lanes();
    for id in [1, 2] {
        lanes.offer(job(id, None));
        let taken = lanes.take(0).unwrap();
        lanes.retry(Job { due_ms: 5, ..taken });
    }
    for id in [3, 4] {
        lanes.offer(job(id, None));
    }
    let taken: Vec<_> = std::iter::from_fn(|| lanes.take(10)).map(|job| job.id).collect();
    assert_eq!(taken, [1, 3, 2, 4]);
}

#[test]
fn a_read_from_before_is_not_believed() {
    type Change = fn(&mut Lanes<()>);
    let changes: [(&str, Change); 3] = [
        ("released", |lanes| lanes.rewind(0)),
        ("parked or lost to another hub", |lanes| lanes.abandon(1, Some("k"))),
        ("shards changed to and fro", |lanes| {
            lanes.own(Shards::NONE);
            lanes.own(Shards::ALL);
        }),
    ];
    for (what, change) in changes {
        let mut lanes = lanes();
        lanes.offer(job(1, Some("k")));
        lanes.take(0).unwrap();
        lanes.rewind(0);
        let refill = lanes.wants_refill().unwrap();
        change(&mut lanes);
        lanes.refill(refill, vec![job(2, Some("k")), job(3, None)], 0);
        assert!(lanes.take(0).is_none(), "{what}");
        assert!(lanes.wants_refill().is_some(), "{what}: it is read again");
    }
}

#[test]
fn what_a_read_found_is_not_taken_twice() {
    let mut lanes = lanes();
    lanes.fall_behind();
    let refill = lanes.wants_refill().unwrap();
    lanes.refill(refill, vec![job(1, None)], 0);
    // Its own commit is heard of only now.
    assert!(lanes.offer(job(1, None)));
    assert!(lanes.take(0).is_some() && lanes.take(0).is_none());
    lanes.rewind(0);
    let refill = lanes.wants_refill().unwrap();
    lanes.done(1, None);
    lanes.refill(refill, vec![job(1, None)], 0);
    assert!(lanes.take(0).is_none(), "it was finished while it was read");
}
