//! Lanes: which delivery of a system may run next. Deliveries with the same key run one at a time
//! and in order; a parked one holds its key; other keys pass. Pure: time comes in as a number.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

/// A delivery in the lanes. `T` is whatever the caller needs to make it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job<T> {
    /// Grows in the order in which deliveries must be made.
    pub id: i64,
    pub key: Option<String>,
    /// Attempts made so far.
    pub attempts: u32,
    /// Not before, milliseconds.
    pub due_ms: i64,
    pub load: T,
}

/// What became of an offered delivery.
#[derive(Debug, PartialEq)]
pub enum Offer<T> {
    Taken,
    /// Its key is parked: it waits behind, and the store must be told so.
    Behind(Job<T>),
    /// The window is full, or an earlier one was not taken: read it from the store later.
    Full,
}

/// What to read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refill {
    /// Deliveries with larger ids than this,
    pub after: i64,
    /// at most so many.
    pub room: usize,
    generation: u64,
}

/// The lanes of one system.
#[derive(Debug)]
pub struct Lanes<T> {
    window_max: usize,
    in_flight_max: usize,
    in_flight: usize,
    held: usize,
    /// Offered jobs up to this id are here or were settled; later ones only when contiguous.
    frontier: i64,
    behind: bool,
    /// Counts what made the lanes fall behind, so that a refill notices what came meanwhile.
    generation: u64,
    runnable: VecDeque<Job<T>>,
    delayed: BTreeSet<(i64, i64)>,
    waiting: HashMap<i64, Job<T>>,
    keys: HashMap<String, VecDeque<Job<T>>>,
    parked: HashSet<String>,
}

impl<T> Lanes<T> {
    /// `window_max`: deliveries held in memory; `in_flight_max`: running at once.
    pub fn new(window_max: usize, in_flight_max: usize, parked: impl IntoIterator<Item = String>) -> Self {
        Self {
            window_max,
            in_flight_max,
            in_flight: 0,
            held: 0,
            frontier: 0,
            behind: true,
            generation: 0,
            runnable: VecDeque::new(),
            delayed: BTreeSet::new(),
            waiting: HashMap::new(),
            keys: HashMap::new(),
            parked: parked.into_iter().collect(),
        }
    }

    /// A delivery just committed. Refused while the lanes are behind the store, so that order holds.
    pub fn offer(&mut self, job: Job<T>) -> Offer<T> {
        if job.id <= self.frontier {
            return Offer::Taken;
        }
        // One whose key is parked is read again with the others, so that whoever refills writes down that it waits.
        let parked = job.key.as_ref().is_some_and(|key| self.parked.contains(key));
        if self.behind || parked || self.held >= self.window_max {
            self.fall_behind();
            return Offer::Full;
        }
        self.insert(job)
    }

    /// A delivery read from the store, in order of id.
    pub fn refill(&mut self, job: Job<T>) -> Offer<T> {
        if job.id <= self.frontier {
            return Offer::Taken;
        }
        if self.held >= self.window_max {
            return Offer::Full;
        }
        self.insert(job)
    }

    /// The store has deliveries that were not offered here.
    pub fn fall_behind(&mut self) {
        self.behind = true;
        self.generation += 1;
    }

    /// Where to go on reading from the store, if it is worth it now.
    pub fn wants_refill(&self) -> Option<Refill> {
        let room = self.window_max.saturating_sub(self.held);
        let worth = self.behind && room * 2 >= self.window_max;
        worth.then_some(Refill { after: self.frontier, room, generation: self.generation })
    }

    /// The store had nothing more when `refill` was read: new ones may come directly, unless one was
    /// refused meanwhile.
    pub fn caught_up(&mut self, refill: Refill) {
        self.behind = self.generation != refill.generation;
    }

    fn insert(&mut self, job: Job<T>) -> Offer<T> {
        self.frontier = job.id;
        let Some(key) = job.key.clone() else {
            self.held += 1;
            self.schedule(job);
            return Offer::Taken;
        };
        if self.parked.contains(&key) {
            return Offer::Behind(job);
        }
        self.held += 1;
        match self.keys.get_mut(&key) {
            Some(queue) => queue.push_back(job),
            None => {
                self.keys.insert(key, VecDeque::new());
                self.schedule(job);
            }
        }
        Offer::Taken
    }

    fn schedule(&mut self, job: Job<T>) {
        if job.due_ms == 0 {
            self.runnable.push_back(job);
        } else {
            self.delayed.insert((job.due_ms, job.id));
            self.waiting.insert(job.id, job);
        }
    }

    /// The next delivery to make, if one may run at `now_ms`.
    pub fn take(&mut self, now_ms: i64) -> Option<Job<T>> {
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        if let Some((due_ms, id)) = self.delayed.first().copied()
            && due_ms <= now_ms
        {
            self.delayed.remove(&(due_ms, id));
            if let Some(job) = self.waiting.remove(&id) {
                self.in_flight += 1;
                return Some(job);
            }
        }
        let job = self.runnable.pop_front()?;
        self.in_flight += 1;
        Some(job)
    }

    /// When the next delayed delivery is due.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.delayed.first().map(|(due_ms, _)| *due_ms)
    }

    /// A taken delivery ended well, or failed for good without a key.
    pub fn done(&mut self, key: Option<&str>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.held = self.held.saturating_sub(1);
        if let Some(key) = key {
            match self.keys.get_mut(key).and_then(VecDeque::pop_front) {
                Some(next) => self.schedule(next),
                None => drop(self.keys.remove(key)),
            }
        }
    }

    /// A taken delivery is tried again at `job.due_ms`; its key waits with it.
    pub fn retry(&mut self, job: Job<T>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.schedule(job);
    }

    /// A taken delivery failed for good: its key is parked. Returns those that wait behind it.
    pub fn park(&mut self, key: &str) -> Vec<Job<T>> {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.parked.insert(key.to_string());
        let behind: Vec<_> = self.keys.remove(key).into_iter().flatten().collect();
        self.held = self.held.saturating_sub(1 + behind.len());
        behind
    }

    /// A parked delivery holds `key`: later ones wait behind it.
    pub fn hold(&mut self, key: String) {
        self.parked.insert(key);
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Deliveries held in memory, running ones included.
    pub fn held(&self) -> usize {
        self.held
    }
}
