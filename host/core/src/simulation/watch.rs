//! The promises, watched while everything runs (design, section 6).

use super::plan::Kind;
use super::store::Fate;
use super::world::{Broken, Held, World};
use crate::engine::shard_of_files;
use crate::journal::{Act, Attempted, DeliveryState, Operation, Started};
use crate::{Code, Failure, StoredDelivery};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What is known of one system as one hub sees it.
#[derive(Default)]
pub struct Sight {
    pub paused: bool,
    /// When the hub's process began.
    pub since_ms: i64,
    starts: u32,
    /// When its breaker closed last.
    recovered_ms: i64,
    was_down: bool,
    hold_until_ms: i64,
    /// How often it wished to be left alone.
    pub wishes: u64,
    /// Attempts begun while the far end was down, since when.
    down_starts: u32,
    down_since_ms: i64,
}

/// A delivery that is being made.
pub struct Running {
    pub hub: usize,
    life: u64,
    breaks: u64,
    system: usize,
    key: Option<String>,
    pub delivery: i64,
}

/// What the attempts of a delivery come to.
#[derive(Default)]
struct Tally {
    attempts: u32,
    tries: u32,
    /// The attempt that wrote something ahead last.
    ahead: u32,
}

/// How an attempt ended, until that is written.
struct Ending {
    unknown: bool,
    for_good: bool,
    spared: bool,
}

#[derive(Default)]
pub struct Watch {
    last_id: i64,
    ids: HashSet<(String, String)>,
    /// Deliveries in the order of their commits.
    pub lanes: HashMap<(usize, String), Vec<i64>>,
    pub running: Vec<Running>,
    tallies: HashMap<i64, Tally>,
    endings: HashMap<(i64, usize, u64), Ending>,
    pub paused: BTreeSet<usize>,
    /// Made before they were written.
    pub made: HashSet<i64>,
    /// Decided about, and the hub was told that it was not written.
    unheard: HashSet<i64>,
    pub attempts: u64,
}

pub fn is_open(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Ready | DeliveryState::Parked | DeliveryState::Waiting)
}

fn broken<T>(promise: &'static str, detail: impl Into<String>) -> Held<T> {
    Err(Broken::new(promise, detail))
}

impl World {
    pub fn sight(&mut self, hub: usize, system: usize) -> Held<&mut Sight> {
        let sights = &mut self.hub(hub)?.sights;
        sights.get_mut(system).ok_or_else(|| Broken::new("the simulation is sound", "no such system"))
    }

    /// A sender is told that its message is safe.
    pub fn confirmed(&mut self, message: usize) -> Held {
        let Some(published) = self.plan.messages.get(message) else { return Ok(()) };
        match self.journal.seq_of("p", &published.id).is_some() {
            true => Ok(()),
            false => broken("what is confirmed is in the journal", published.id.clone()),
        }
    }

    fn state(&self, delivery: i64) -> Option<DeliveryState> {
        self.journal.deliveries.get(&delivery).map(|row| row.stored.state)
    }

    /// An earlier delivery of the same system and key that is not finished.
    fn open_before(&self, system: usize, key: Option<&String>, id: i64, but: &[i64]) -> Option<i64> {
        let lane = self.watch.lanes.get(&(system, key?.clone()))?;
        let open = |other: &i64| !but.contains(other) && self.state(*other).is_some_and(is_open);
        lane.iter().copied().take_while(|other| *other < id).find(open)
    }

    /// Whether it is made by a hub that has the lease for it.
    fn is_leased(&self, running: &Running) -> bool {
        let hub = self.hubs.get(running.hub);
        hub.is_some_and(|h| h.life == running.life && h.lease.breaks() == running.breaks && h.lease.runs(self.now))
    }

    /// A hub begins an attempt: of one delivery, or of a file of several.
    pub fn starting(&mut self, hub: usize, batch: &[&StoredDelivery]) -> Held {
        let Some(first) = batch.first() else { return broken("an attempt is about something", format!("h{hub}")) };
        let Some(system) = self.plan.system_named(&first.system) else { return Ok(()) };
        if batch.len() > 1 && !self.makes_files(system) {
            return broken("deliveries are made one by one", format!("h{hub} s{system}"));
        }
        let mut with: Vec<i64> = Vec::new();
        for delivery in batch {
            self.starting_one(hub, system, delivery, &with)?;
            with.push(delivery.id);
        }
        self.limits(hub, system, || format!("h{hub} s{system} deliveries {with:?}"))
    }

    /// `with`: those before it in the same file.
    fn starting_one(&mut self, hub: usize, system: usize, delivery: &StoredDelivery, with: &[i64]) -> Held {
        self.watch.attempts += 1;
        let (id, key) = (delivery.id, delivery.key.clone());
        let text = || format!("h{hub} s{system} delivery {id} key {:?}", delivery.key);
        if self.hubs.get(hub).is_some_and(|h| h.stopping) {
            return broken("a hub that stops begins nothing", text());
        }
        if let Some(other) = self.open_before(system, key.as_ref(), id, with) {
            return broken("nothing passes an earlier one with its key", format!("{} before {other}", text()));
        }
        let same = |r: &&Running| {
            let together = r.hub == hub && with.contains(&r.delivery);
            r.system == system && !together && (r.delivery == id || (key.is_some() && r.key == key))
        };
        for other in self.watch.running.iter().filter(same) {
            if other.hub == hub || self.is_leased(other) {
                let text = format!("{} beside {} at h{}", text(), other.delivery, other.hub);
                return broken("deliveries of a key run one at a time", text);
            }
        }
        let (life, breaks) = (self.hub(hub)?.life, self.hub(hub)?.lease.breaks());
        self.watch.running.push(Running { hub, life, breaks, system, key, delivery: id });
        self.in_time(hub, system, delivery, text)
    }

    /// These are not made after all, and nothing was done about them.
    pub fn not_begun(&mut self, hub: usize, deliveries: &[i64]) {
        self.watch.running.retain(|r| r.hub != hub || !deliveries.contains(&r.delivery));
    }

    /// Not before its time, unless its system came back since.
    fn in_time(&mut self, hub: usize, system: usize, delivery: &StoredDelivery, text: impl Fn() -> String) -> Held {
        let now = self.now;
        let recovered = self.sight(hub, system)?.recovered_ms;
        let alone = self.plan.hubs == 1 && self.hub(hub)?.life == 1;
        let Some(row) = self.journal.deliveries.get(&delivery.id) else {
            return broken("only what is written is made", text());
        };
        let (stored, updated) = (&row.stored, row.updated_at_ms);
        let same = stored.version == delivery.version;
        if same && stored.next_at_ms > now && recovered < updated {
            return broken("a retry waits for its time", format!("{}: {now} before {}", text(), stored.next_at_ms));
        }
        if alone && !same && stored.attempts > 0 && !self.watch.unheard.contains(&delivery.id) {
            return broken("what is finished is not made again", format!("{}: {:?}", text(), stored.state));
        }
        Ok(())
    }

    fn limits(&mut self, hub: usize, system: usize, text: impl Fn() -> String) -> Held {
        let (now, down) = (self.now, self.is_down(system));
        let Some(sys) = self.plan.systems.get(system) else { return Ok(()) };
        let (breaker, rate, in_flight_max) = (sys.rules.breaker, sys.rules.rate, sys.rules.in_flight_max);
        let from = sys.down.first().map_or(0, |(from, _)| *from);
        let sight = self.sight(hub, system)?;
        sight.starts += 1;
        if sight.paused {
            return broken("a paused system is left alone", text());
        }
        if sight.hold_until_ms > now {
            return broken(
                "a system's wish to be left alone is kept",
                format!("{} before {}", text(), sight.hold_until_ms),
            );
        }
        if let Some(rate) = rate {
            let passed_ms = (now - sight.since_ms) as f64;
            let most = f64::from(rate.burst) + rate.per_second * passed_ms / 1000.0 + 1.0;
            if f64::from(sight.starts) > most {
                return broken(
                    "a rate limit is kept",
                    format!("{}: {} starts in {passed_ms} ms", text(), sight.starts),
                );
            }
        }
        if !down {
            sight.down_starts = 0;
            return Ok(());
        }
        sight.down_starts += 1;
        if sight.down_starts == 1 {
            sight.down_since_ms = from.max(sight.down_since_ms);
        }
        let (mut waited, mut step, mut probes) = (0, breaker.open_first_ms, 0);
        while waited <= (now - sight.down_since_ms).unsigned_abs() {
            waited += (step / 2).max(1);
            step = (step * 2).min(breaker.open_max_ms);
            probes += 1;
        }
        if sight.down_starts as usize > breaker.failures as usize + in_flight_max + probes + 2 {
            return broken(
                "a system that is down is not hammered",
                format!("{}: {} starts", text(), sight.down_starts),
            );
        }
        Ok(())
    }

    /// What an engine holds is bounded.
    pub fn bounds(&mut self, hub: usize) -> Held {
        let Some(h) = self.hubs.get_mut(hub) else { return Ok(()) };
        let seen = self.plan.systems.iter().zip(h.engine.statuses()).zip(&mut h.sights);
        for ((sys, (_, status)), sight) in seen {
            if status.held > sys.rules.window_max || status.in_flight > sys.rules.in_flight_max {
                return broken("memory is bounded", format!("h{hub} {}: {status:?}", sys.name));
            }
            if sight.was_down && status.down_since_ms.is_none() {
                sight.recovered_ms = self.now;
            }
            sight.was_down = status.down_since_ms.is_some();
        }
        Ok(())
    }

    /// Before the engine hears how an attempt ended.
    pub fn before_end(
        &mut self,
        hub: usize,
        system: usize,
        delivery: &StoredDelivery,
        result: &Result<(), Failure>,
    ) -> Held {
        let now = self.now;
        let most_ms = self.plan.systems.get(system).map_or(0, |sys| sys.rules.policy.wait_max_ms);
        let sight = self.sight(hub, system)?;
        let (mut spared, mut unknown, mut for_good) = (false, false, false);
        match result {
            Ok(()) | Err(Failure::Rejected(_)) => {
                for_good = result.is_err();
                (sight.down_starts, sight.down_since_ms) = (0, now);
            }
            Err(Failure::RateLimited { retry_after_ms, .. }) => {
                spared = true;
                sight.wishes += 1;
                let asked_ms = retry_after_ms.unwrap_or(0).min(most_ms);
                let wait_ms = i64::try_from(asked_ms).unwrap_or(0);
                sight.hold_until_ms = sight.hold_until_ms.max(now + wait_ms);
                (sight.down_starts, sight.down_since_ms) = (0, now);
            }
            Err(Failure::UnknownOutcome(_)) => (unknown, for_good) = (true, true),
            Err(Failure::Hub(problem)) if problem.code == Code::FileUnreadable => spared = true,
            Err(Failure::Other(_) | Failure::Hub(_)) => sight.down_starts = sight.down_starts.saturating_sub(1),
            Err(_) => {}
        }
        let life = self.hub(hub)?.life;
        self.watch.running.retain(|r| !(r.hub == hub && r.delivery == delivery.id));
        self.watch.endings.insert((delivery.id, hub, life), Ending { unknown, for_good, spared });
        Ok(())
    }

    /// After it heard: a failure while the breaker is open costs no try.
    pub fn after_end(&mut self, hub: usize, system: usize, delivery: i64, down: bool) -> Held {
        let open = self.sight(hub, system)?.was_down;
        let life = self.hub(hub)?.life;
        if let Some(ending) = self.watch.endings.get_mut(&(delivery, hub, life)) {
            ending.spared |= open && down;
        }
        Ok(())
    }

    /// Something was written.
    pub fn applied(
        &mut self,
        hub: usize,
        life: u64,
        started: Vec<Started>,
        attempted: Option<Attempted>,
        operation: Option<Operation>,
    ) -> Held {
        self.written_messages()?;
        self.written_deliveries()?;
        for started in started {
            let tally = self.watch.tallies.entry(started.delivery).or_default();
            tally.attempts += u32::from(tally.ahead != started.attempt);
            tally.ahead = started.attempt;
            self.exact(started.delivery)?;
        }
        if let Some(attempted) = attempted {
            self.attempted(hub, life, &attempted)?;
        }
        if let Some(operation) = operation.filter(|operation| operation.act != Act::Skip) {
            self.watch.tallies.entry(operation.delivery).or_default().tries = 0;
        }
        Ok(())
    }

    /// A person's decision is written.
    pub fn decided(&mut self, hub: usize, life: u64, operation: &Operation, fate: Fate) -> Held {
        let (now, id) = (self.now, operation.delivery);
        if operation.state != DeliveryState::Ready {
            return Ok(());
        }
        if fate == Fate::Ghost {
            // Nobody knew of it when the next attempt began.
            self.watch.unheard.insert(id);
            return Ok(());
        }
        let h = self.hub(hub)?;
        let owned = h.owned;
        if h.life != life || !h.lease.runs(now) {
            return Ok(());
        }
        let files = self.plan.system_named(&operation.system).is_some_and(|system| self.makes_files(system));
        if !owned.has(if files { shard_of_files(&operation.system) } else { operation.shard }) {
            return Ok(());
        }
        let made = |r: &&Running| r.delivery == id && (r.hub == hub || self.is_leased(r));
        if let Some(running) = self.watch.running.iter().find(made) {
            let text = format!("{id} by h{hub}, made at h{}", running.hub);
            return broken("nobody decides about what is being made", text);
        }
        let Some(system) = self.plan.system_named(&operation.system) else { return Ok(()) };
        if operation.act != Act::Skip {
            // It is made now, whatever the system wished, and though it is down.
            let sight = self.sight(hub, system)?;
            sight.hold_until_ms = i64::MIN;
            sight.down_starts = sight.down_starts.saturating_sub(1);
        }
        Ok(())
    }

    /// What a person wants to be made now is not held by what the system wished before.
    pub fn heard(&mut self, hub: usize, system: usize, wishes: u64) -> Held {
        let held = self.hub(hub)?.engine.statuses().nth(system).and_then(|(_, status)| status.held_until_ms);
        match held.is_some() && self.sight(hub, system)?.wishes == wishes {
            true => broken("what a person retries is made now", format!("s{system} at h{hub} until {held:?}")),
            false => Ok(()),
        }
    }

    fn written_messages(&mut self) -> Held {
        for (_, row) in self.journal.messages.range(self.watch.last_id + 1..) {
            let (source, id) = (row.message.source.clone(), row.message.id.clone());
            if source == "failed" {
                return broken("what a failed attempt stated is not written", id);
            }
            if !self.watch.ids.insert((source.clone(), id.clone())) {
                return broken("a message is in the journal once", format!("{source} {id}"));
            }
        }
        Ok(())
    }

    fn written_deliveries(&mut self) -> Held {
        let new: Vec<_> =
            self.journal.deliveries.range(self.watch.last_id + 1..).map(|(_, d)| d.stored.clone()).collect();
        let last = self.journal.messages.last_key_value().map_or(0, |(seq, _)| *seq);
        self.watch.last_id = new.last().map_or(last, |d| d.id.max(last)).max(self.watch.last_id);
        for delivery in new {
            let Some(system) = self.plan.system_named(&delivery.system) else { continue };
            if delivery.state == DeliveryState::Done {
                self.watch.made.insert(delivery.id);
                self.watch.tallies.entry(delivery.id).or_default().attempts = 1;
                if let Some(other) = self.open_before(system, delivery.key.as_ref(), delivery.id, &[]) {
                    let text = format!("{} was made ahead of {other}", delivery.id);
                    return broken("nothing passes an earlier one with its key", text);
                }
            }
            if let Some(key) = delivery.key {
                self.watch.lanes.entry((system, key)).or_default().push(delivery.id);
            }
        }
        Ok(())
    }

    fn exact(&self, delivery: i64) -> Held {
        let counted = self.journal.deliveries.get(&delivery).map(|row| row.stored.attempts);
        let made = self.watch.tallies.get(&delivery).map(|tally| tally.attempts);
        match counted == made {
            true => Ok(()),
            false => broken("attempts are counted exactly", format!("{delivery}: {counted:?} counted, {made:?} made")),
        }
    }

    fn attempted(&mut self, hub: usize, life: u64, attempted: &Attempted) -> Held {
        let id = attempted.delivery;
        let Some(ending) = self.watch.endings.remove(&(id, hub, life)) else {
            return broken("an outcome is written once", format!("{id} by h{hub}"));
        };
        let tally = self.watch.tallies.entry(id).or_default();
        tally.attempts += u32::from(tally.ahead != attempted.attempts);
        tally.ahead = 0;
        tally.tries += u32::from(!ending.spared);
        let (tries, again) = (tally.tries, attempted.state == DeliveryState::Ready);
        self.exact(id)?;
        if ending.unknown && again {
            return broken("an unknown outcome is never repeated blindly", format!("{id}"));
        }
        if tries != attempted.tries {
            let text = format!("{id}: {} tries counted, {tries} made", attempted.tries);
            return broken("a system that is down burns nobody's tries", text);
        }
        let Some(row) = self.journal.deliveries.get(&id) else { return Ok(()) };
        let most = self.plan.system_named(&row.stored.system).and_then(|system| self.plan.systems.get(system));
        let most = most.map_or(0, |sys| sys.rules.policy.attempts_max);
        let gave_up = matches!(attempted.state, DeliveryState::Parked | DeliveryState::Dead);
        if gave_up && !ending.for_good && (tries < most || ending.spared) {
            return broken("nobody gives up early", format!("{id} after {tries} of {most} tries"));
        }
        if attempted.state == DeliveryState::Dead && row.stored.key.is_some() {
            return broken("what fails for good holds its key", format!("{id}"));
        }
        Ok(())
    }

    pub fn executed_once(&self, system: usize, delivery: i64) -> bool {
        self.kind_of(system) == Kind::States || self.effects.contains_key(&delivery)
    }
}
