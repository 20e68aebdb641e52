//! Lanes: which delivery of a system may run next. Deliveries with the same key run one at a time and in the order
//! of their ids; other keys pass. Only `ready` ones are here: what is held by a parked one is the store's to keep.
//! Pure: time comes in as a number.

use crate::journal::Shards;
use crate::mutant::{Mutant, broken};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// A delivery in the lanes. `T` is whatever the caller needs to make it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job<T> {
    /// Grows in the order in which deliveries must be made.
    pub id: i64,
    pub key: Option<String>,
    pub shard: u32,
    /// Not before, milliseconds.
    pub due_ms: i64,
    /// Before others that may run.
    pub first: bool,
    pub load: T,
}

/// What to read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refill {
    /// Deliveries with larger ids than this,
    pub after: i64,
    /// at most so many,
    pub room: usize,
    /// of these shards.
    pub shards: Shards,
    generation: u64,
    epoch: u64,
}

/// The lanes of one system.
#[derive(Debug)]
pub struct Lanes<T> {
    window_max: usize,
    in_flight_max: usize,
    shards: Shards,
    /// Shard by id.
    in_flight: HashMap<i64, u32>,
    /// Everything that is here, running or not.
    ids: HashSet<i64>,
    /// What the store has up to this id is here or was settled.
    frontier: i64,
    behind: bool,
    /// Offered while a read is under way. Should that reach the end, these are all that it missed.
    offered: BTreeMap<i64, Job<T>>,
    reading: bool,
    /// Counts what a read that is under way may have missed: it is read once more.
    generation: u64,
    /// Counts what makes a read that is under way wrong: what it found is not looked at.
    epoch: u64,
    /// Operations and releases that the store counted at the last read.
    operations: i64,
    /// Finished since the last read began: it may have found them `ready`.
    finished: HashSet<i64>,
    runnable: VecDeque<Job<T>>,
    delayed: BTreeSet<(i64, i64)>,
    /// Whether a delayed one was taken last.
    delayed_last: bool,
    waiting: HashMap<i64, Job<T>>,
    keys: HashMap<String, VecDeque<Job<T>>>,
    /// Keys of which the store has more than their share of the window: read when what is here of them is done.
    cut: HashSet<String>,
}

impl<T> Lanes<T> {
    /// `window_max`: deliveries held in memory; `in_flight_max`: running at once.
    pub fn new(window_max: usize, in_flight_max: usize) -> Self {
        Self {
            window_max,
            in_flight_max,
            shards: Shards::ALL,
            in_flight: HashMap::new(),
            ids: HashSet::new(),
            frontier: 0,
            behind: true,
            offered: BTreeMap::new(),
            reading: false,
            generation: 0,
            epoch: 0,
            operations: 0,
            finished: HashSet::new(),
            runnable: VecDeque::new(),
            delayed: BTreeSet::new(),
            delayed_last: false,
            waiting: HashMap::new(),
            keys: HashMap::new(),
            cut: HashSet::new(),
        }
    }

    /// A delivery just committed. `false`: not taken, because the lanes are full or earlier ones are not here; it is
    /// read from the store later, in its turn.
    pub fn offer(&mut self, job: Job<T>) -> bool {
        // A read found it before its own commit was heard of.
        if job.id <= self.frontier && !broken(Mutant::OfferTwice) {
            return true;
        }
        let full = self.behind || self.ids.len() >= self.window_max || !self.shards.has(job.shard);
        if full && !broken(Mutant::OfferWhileBehind) {
            match self.reading && self.offered.len() < self.window_max && self.shards.has(job.shard) {
                true => drop(self.offered.insert(job.id, job)),
                false => self.fall_behind(),
            }
            return false;
        }
        self.insert(job);
        true
    }

    /// The store has deliveries that were not offered here.
    pub fn fall_behind(&mut self) {
        self.behind = true;
        self.generation += 1;
    }

    /// The store has `ready` deliveries with larger ids than `after` that are not here.
    pub fn rewind(&mut self, after: i64) {
        if !broken(Mutant::ForgetRewind) {
            self.frontier = self.frontier.min(after);
        }
        self.fall_behind();
        self.void_reads();
    }

    /// A read that is under way may be from before a delivery was parked, or was lost to another hub.
    fn void_reads(&mut self) {
        self.epoch += u64::from(!broken(Mutant::BelieveOldReads));
    }

    /// What to read from the store, if it is worth it now. One read at a time.
    pub fn wants_refill(&mut self) -> Option<Refill> {
        let room = self.window_max.saturating_sub(self.ids.len());
        let worth = self.behind && room * 2 >= self.window_max;
        worth.then(|| {
            self.finished.clear();
            self.offered.clear();
            self.reading = true;
            let (generation, epoch) = (self.generation, self.epoch);
            Refill { after: self.frontier, room, shards: self.shards, generation, epoch }
        })
    }

    /// What a read found, by id, and how many operations and releases the store counted then: where there were more
    /// since the last read, some may have become ready before the frontier, and everything is read again.
    pub fn refill(&mut self, refill: Refill, found: Vec<Job<T>>, operations: i64) {
        self.reading = false;
        let offered = std::mem::take(&mut self.offered);
        let changed = operations != self.operations && !broken(Mutant::MissReleases);
        self.operations = operations;
        if changed && refill.after > 0 {
            return self.rewind(0);
        }
        if refill.epoch != self.epoch || refill.after != self.frontier || refill.shards != self.shards {
            return;
        }
        let last = found.len() < refill.room;
        for job in found {
            if self.ids.len() >= self.window_max {
                return;
            }
            self.frontier = job.id;
            let finished = self.finished.contains(&job.id) && !broken(Mutant::ReadRevives);
            if !finished && !self.ids.contains(&job.id) {
                self.insert(job);
            }
        }
        if last {
            self.behind = self.generation != refill.generation && !broken(Mutant::CaughtUpBlindly);
            if !broken(Mutant::ForgetOffered) {
                for job in offered.into_values() {
                    self.offer(job);
                }
            }
        }
    }

    fn insert(&mut self, job: Job<T>) {
        self.frontier = self.frontier.max(job.id);
        let Some(key) = job.key.clone().filter(|_| !broken(Mutant::IgnoreKeys)) else {
            self.ids.insert(job.id);
            return self.schedule(job);
        };
        // One key must not keep the others of its system out.
        let share = (self.window_max / 8).max(2);
        if self.cut.contains(&key) || self.keys.get(&key).is_some_and(|queue| queue.len() >= share) {
            self.cut.insert(key);
            return;
        }
        self.ids.insert(job.id);
        match self.keys.get_mut(&key) {
            Some(queue) => queue.push_back(job),
            None => {
                self.keys.insert(key, VecDeque::new());
                self.schedule(job);
            }
        }
    }

    fn schedule(&mut self, job: Job<T>) {
        if job.first {
            self.runnable.push_front(job);
        } else if job.due_ms == 0 || broken(Mutant::IgnoreDueTime) {
            self.runnable.push_back(job);
        } else {
            self.delayed.insert((job.due_ms, job.id));
            self.waiting.insert(job.id, job);
        }
    }

    /// The next delivery to make, if one may run at `now_ms`.
    pub fn take(&mut self, now_ms: i64) -> Option<Job<T>> {
        if self.in_flight.len() >= self.in_flight_max {
            return None;
        }
        // By turns: what fails again and again must not be every probe of a system that is down, nor starve the new.
        let turn = !self.delayed_last || self.runnable.is_empty();
        let due = self.delayed.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms && turn);
        self.delayed_last = due.is_some();
        let delayed = due.and_then(|first| {
            self.delayed.remove(&first);
            self.waiting.remove(&first.1)
        });
        let job = delayed.or_else(|| self.runnable.pop_front())?;
        self.in_flight.insert(job.id, job.shard);
        Some(job)
    }

    /// What may run at `now_ms` together, by id and at most so many: one that is not due yet holds those behind it that have
    /// its `key`.
    pub fn take_together(&mut self, now_ms: i64, most: usize, key: impl Fn(&T) -> Option<&str>) -> Vec<Job<T>> {
        let runnable = std::mem::take(&mut self.runnable).into_iter().map(|job| (true, job));
        let waiting = std::mem::take(&mut self.waiting).into_values().map(|job| (job.due_ms <= now_ms, job));
        let mut all: Vec<_> = runnable.chain(waiting).collect();
        all.sort_by_key(|(_, job)| job.id);
        let (mut taken, mut later) = (Vec::new(), HashSet::new());
        for (due, job) in all {
            let held = key(&job.load).is_some_and(|key| later.contains(key)) && !broken(Mutant::IgnoreKeys);
            if due && !held && taken.len() < most {
                self.delayed.remove(&(job.due_ms, job.id));
                self.in_flight.insert(job.id, job.shard);
                taken.push(job);
                continue;
            }
            later.extend(key(&job.load).map(str::to_string));
            match self.delayed.contains(&(job.due_ms, job.id)) {
                true => drop(self.waiting.insert(job.id, job)),
                false => self.runnable.push_back(job),
            }
        }
        taken
    }

    /// When the next one is due that is not yet.
    pub fn due_after(&self, now_ms: i64) -> Option<i64> {
        self.delayed.range((now_ms, i64::MAX)..).map(|(due_ms, _)| *due_ms).find(|due_ms| *due_ms > now_ms)
    }

    /// How many are due at `now_ms`.
    pub fn due(&self, now_ms: i64) -> usize {
        self.runnable.len() + self.delayed.range(..=(now_ms, i64::MAX)).count()
    }

    /// Whether [`Self::take`] would give one now.
    pub fn has_runnable(&self, now_ms: i64) -> bool {
        let due = self.delayed.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms);
        self.in_flight.len() < self.in_flight_max && (due || !self.runnable.is_empty())
    }

    /// When the next delayed delivery is due.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.delayed.first().map(|(due_ms, _)| *due_ms).filter(|_| self.in_flight.len() < self.in_flight_max)
    }

    /// Nothing waits for its time any more: the system is back.
    pub fn hasten(&mut self) {
        for (_, id) in std::mem::take(&mut self.delayed) {
            self.runnable.extend(self.waiting.remove(&id));
        }
    }

    /// A taken delivery is finished.
    pub fn done(&mut self, id: i64, key: Option<&str>) {
        self.in_flight.remove(&id);
        self.ids.remove(&id);
        // Only while behind is there a read that may have found it.
        if self.behind {
            self.finished.insert(id);
        }
        let Some(key) = key else { return };
        let next = match (self.keys.get_mut(key), broken(Mutant::LastComesFirst)) {
            (Some(queue), false) => queue.pop_front(),
            (Some(queue), true) => queue.pop_back(),
            (None, _) => return,
        };
        match next {
            Some(next) => self.schedule(next),
            None => {
                self.keys.remove(key);
                if self.cut.remove(key) && !broken(Mutant::ForgetCut) {
                    self.rewind(id);
                }
            }
        }
    }

    /// A taken delivery is tried again at `job.due_ms`; its key waits with it.
    pub fn retry(&mut self, job: Job<T>) {
        self.in_flight.remove(&job.id);
        self.put_back(job);
    }

    /// A taken delivery was parked, or turned out to be another's: only the store knows what comes next. It may have
    /// been released before it was heard of here.
    pub fn abandon(&mut self, id: i64, key: Option<&str>) {
        if !broken(Mutant::ForgetAbandoned) {
            self.rewind(id - 1);
        }
        self.in_flight.remove(&id);
        self.ids.remove(&id);
        let Some(key) = key else { return };
        self.cut.remove(key);
        for job in self.keys.remove(key).into_iter().flatten() {
            self.ids.remove(&job.id);
        }
    }

    /// What runs is not: it is read again with all that is not running, since only the store knows what is `ready` now.
    pub fn read_anew(&mut self, running: &[i64]) {
        for id in running {
            self.in_flight.remove(id);
            self.ids.remove(id);
        }
        let queued = self.runnable.drain(..).map(|job| job.id).chain(self.waiting.drain().map(|(id, _)| id));
        for id in queued {
            self.ids.remove(&id);
        }
        self.delayed.clear();
        self.rewind(0);
    }

    /// Only these shards are this hub's from now on. What is running of others runs out.
    pub fn own(&mut self, shards: Shards) {
        if shards == self.shards || broken(Mutant::KeepLostShards) {
            return;
        }
        let gained = shards.0 & !self.shards.0 != 0;
        self.shards = shards;
        let waiting: Vec<_> = self.delayed.iter().map(|(_, id)| *id).collect();
        let queued = self.runnable.iter().map(|job| job.id).chain(waiting);
        for id in queued.collect::<Vec<_>>() {
            self.disown(id);
        }
        // Behind one that runs out: whoever has the shard now reads them.
        for queue in self.keys.values_mut() {
            while let Some(job) = queue.pop_back_if(|job| !shards.has(job.shard)) {
                self.ids.remove(&job.id);
            }
        }
        match gained {
            true => self.rewind(0),
            false => self.void_reads(),
        }
    }

    fn disown(&mut self, id: i64) {
        let at = self.runnable.iter().position(|job| job.id == id);
        let queued = at.and_then(|at| self.runnable.get(at)).or_else(|| self.waiting.get(&id));
        if queued.is_some_and(|job| !self.shards.has(job.shard)) {
            let job = self.hold_back(id);
            job.into_iter().for_each(|job| self.forget(job));
        }
    }

    /// Takes one that might run now or at its time out of the order, until [`Self::put_back`], [`Self::done`] or
    /// [`Self::drop_held`]; its key waits with it.
    pub fn hold_back(&mut self, id: i64) -> Option<Job<T>> {
        let job = match self.runnable.iter().position(|job| job.id == id) {
            Some(at) => self.runnable.remove(at),
            None => self.waiting.remove(&id),
        }?;
        self.delayed.remove(&(job.due_ms, id));
        Some(job)
    }

    /// What is here of a delivery that cannot run yet, and of those behind it, is not to be relied on: they are read again.
    pub fn withdraw(&mut self, id: i64) {
        for queue in self.keys.values_mut() {
            let from = queue.iter().position(|job| job.id == id).unwrap_or(queue.len());
            for job in queue.drain(from..) {
                self.ids.remove(&job.id);
            }
        }
        self.rewind(id - 1);
    }

    /// One that was held back may run again.
    pub fn put_back(&mut self, job: Job<T>) {
        match self.shards.has(job.shard) {
            true => self.schedule(job),
            false => self.forget(job),
        }
    }

    /// One that was held back is not to be relied on: it and all behind it are read again.
    pub fn drop_held(&mut self, job: Job<T>) {
        let id = job.id;
        self.forget(job);
        self.rewind(id - 1);
    }

    /// Drops a delivery that is not running, with all behind it.
    fn forget(&mut self, job: Job<T>) {
        self.ids.remove(&job.id);
        let Some(key) = job.key else { return };
        self.cut.remove(&key);
        for behind in self.keys.remove(&key).into_iter().flatten() {
            self.ids.remove(&behind.id);
        }
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Shards this hub makes deliveries of.
    pub fn shards(&self) -> Shards {
        self.shards
    }

    /// Shards with deliveries running.
    pub fn busy(&self) -> Shards {
        Shards(self.in_flight.values().fold(0, |all, shard| all | 1 << shard))
    }

    /// Whether the store has more than is here.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Deliveries held in memory, running ones included.
    pub fn held(&self) -> usize {
        self.ids.len()
    }
}
