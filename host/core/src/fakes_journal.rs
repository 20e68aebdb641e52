//! The journal as plain data: what a commit comes to. The SQL store is compared with it, and the simulation takes
//! its copies for what a crash leaves.

use crate::admit::Planned;
use crate::entries::Origin;
use crate::intakes::*;
use crate::journal::*;
use crate::message::Message;
use crate::mutant::{Mutant, broken};
use crate::ports::{Claim, Claimed, Ready};
use crate::stated::StatedBy;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The journal in memory. A copy is a snapshot.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    last: i64,
    operations: i64,
    pub(crate) messages: BTreeMap<i64, Row>,
    pub(crate) ids: HashMap<(String, String), (i64, String)>,
    pub(crate) deliveries: BTreeMap<i64, DeliveryRow>,
    calls: BTreeMap<(Owner, u32, u32), Call>,
    pub(crate) state: HashMap<(String, String), Vec<u8>>,
    pub(crate) intakes: Vec<Intake>,
    leases: BTreeMap<u32, (String, i64)>,
    hubs: BTreeMap<String, i64>,
}

#[derive(Clone)]
pub(crate) struct Row {
    pub message: Arc<Message>,
    pub received_at_ms: i64,
    pub place: Option<String>,
    pub stated_by: Option<StatedBy>,
    pub intake: Option<String>,
}

#[derive(Clone)]
pub(crate) struct DeliveryRow {
    pub stored: StoredDelivery,
    pub error: Option<crate::ErrorRecord>,
    pub edited: Option<serde_json::Value>,
    pub by: Option<String>,
    pub updated_at_ms: i64,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Delivery(i64),
    Intake(String),
}

impl MemoryJournal {
    fn next(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    /// Writes one commit, or nothing of it.
    pub fn commit(&mut self, commit: Commit) -> Committed {
        self.commit_intake(commit).map(|(accepted, _)| accepted)
    }

    pub(crate) fn commit_intake(&mut self, mut commit: Commit) -> Result<(Vec<Accepted>, Option<Intake>), Refusal> {
        self.check(&commit)?;
        let intake_id = commit.intake.as_ref().map(|i| i.id.clone());
        let origin = self.origin(&commit);
        let accepted = self.accept(std::mem::take(&mut commit.messages), &origin, commit.at_ms);
        let intake = commit.intake.map(|mut intake| {
            intake.count(&accepted);
            intake.settle();
            intake
        });
        commit.entries.into_iter().chain(intake.clone()).for_each(|intake| self.keep(intake));
        if let Some(decided) = commit.decided
            && let Some(intake) = self.intakes.iter_mut().find(|i| i.id == decided.intake)
        {
            intake.outcome = decided.outcome;
            intake.by = Some(decided.by);
        }
        if let Some(recurred) = commit.recurred
            && let Some(intake) = self.intakes.iter_mut().find(|i| i.id == recurred.intake)
        {
            intake.recurred(&recurred);
        }
        for write in commit.state {
            let key = (write.system, write.key);
            match write.value {
                Some(value) => drop(self.state.insert(key, value)),
                None => drop(self.state.remove(&key)),
            }
        }
        let delivery = commit.attempted.as_ref().map(|a| a.delivery).or(commit.started.as_ref().map(|s| s.delivery));
        if let Some(owner) = delivery.map(Owner::Delivery).or(intake_id.map(Owner::Intake)) {
            self.record(&owner, commit.calls);
        }
        if let Some(started) = commit.started
            && let Some(row) = self.deliveries.get_mut(&started.delivery)
        {
            row.stored.version += u32::from(!broken(Mutant::AheadIsNoFence));
            if !broken(Mutant::MiscountAttempts) {
                row.stored.attempts = started.attempt;
            }
        }
        if let Some(attempted) = commit.attempted {
            self.attempted(attempted);
        }
        if let Some(operation) = commit.operation {
            self.operate(operation, commit.at_ms);
        }
        Ok((accepted, intake))
    }

    fn origin(&self, commit: &Commit) -> Origin {
        if let Some(intake) = &commit.intake {
            return Origin::input(intake);
        }
        let delivery = commit.attempted.as_ref().and_then(|a| self.deliveries.get(&a.delivery));
        Origin::delivery(delivery.map_or("", |row| &row.stored.system))
    }

    fn keep(&mut self, intake: Intake) {
        if !self.intakes.iter().any(|known| known.id == intake.id) {
            self.intakes.push(intake);
        }
    }

    fn record(&mut self, owner: &Owner, calls: Vec<Call>) {
        for call in calls {
            self.calls.insert((owner.clone(), call.attempt, call.ordinal), call);
        }
    }

    fn known(&self, new: &NewMessage) -> Option<&(i64, String)> {
        let known = self.ids.get(&(new.message.source.clone(), new.message.id.clone()));
        known.filter(|_| !broken(Mutant::ForgetDedup))
    }

    fn check(&self, commit: &Commit) -> Result<(), Refusal> {
        let refuse = commit.on_differing.unwrap_or(OnDiffering::Refuse) == OnDiffering::Refuse;
        let differs = |m: &NewMessage| self.known(m).is_some_and(|(_, digest)| *digest != m.digest);
        if refuse && let Some(index) = commit.messages.iter().position(differs) {
            return Err(Refusal::IdReused { index });
        }
        let attempted = commit.attempted.as_ref().map(|a| (a.delivery, a.expected));
        let started = commit.started.as_ref().map(|s| (s.delivery, s.expected));
        for (delivery, expected) in attempted.into_iter().chain(started) {
            let stored = self.deliveries.get(&delivery).map(|row| &row.stored);
            let fits = stored.is_some_and(|d| d.state == DeliveryState::Ready && d.version == expected);
            if !fits && !broken(Mutant::NoFence) {
                return Err(Refusal::Stale);
            }
        }
        if let Some(decided) = &commit.decided {
            let intake = self.intakes.iter().find(|i| i.id == decided.intake);
            intake.filter(|i| decided.fits(i.outcome)).ok_or(Refusal::NotOpen)?;
        }
        if let Some(operation) = &commit.operation {
            let stored = self.deliveries.get(&operation.delivery).map(|row| &row.stored);
            let state = stored.map(|d| d.state);
            let same = |d: &StoredDelivery| d.version == operation.seen && d.state == operation.state;
            let seen = stored.is_some_and(same) || broken(Mutant::DecideUnseen);
            if !seen || !state.is_some_and(|state| operation.act.fits(state)) {
                return Err(Refusal::NotNow { state });
            }
            let earlier = self.held_before(operation.delivery).filter(|_| operation.act != Act::Skip);
            if let Some(delivery) = earlier.filter(|_| !broken(Mutant::OperateOutOfTurn)) {
                return Err(Refusal::Behind { delivery });
            }
        }
        Ok(())
    }

    fn accept(&mut self, messages: Vec<NewMessage>, origin: &Origin, at_ms: i64) -> Vec<Accepted> {
        let mut accepted = Vec::with_capacity(messages.len());
        for new in messages {
            let known = self.known(&new).map(|(seq, digest)| (*seq, *digest != new.digest));
            accepted.push(match known {
                Some((seq, differs)) => {
                    if differs {
                        self.keep(origin.differing(&new, at_ms));
                    }
                    Accepted { seq, duplicate: true, differs, deliveries: vec![] }
                }
                None => self.insert(new, origin.intake.as_ref(), at_ms),
            });
        }
        accepted
    }

    fn insert(&mut self, new: NewMessage, intake: Option<&String>, at_ms: i64) -> Accepted {
        let seq = self.next();
        let id = (new.message.source.clone(), new.message.id.clone());
        self.ids.insert(id, (seq, new.digest));
        let NewMessage { place, stated_by, .. } = new;
        let row =
            Row { message: new.message.clone(), received_at_ms: at_ms, place, stated_by, intake: intake.cloned() };
        self.messages.insert(seq, row);
        let mut deliveries = Vec::new();
        for planned in new.deliveries {
            let (stored, stated) = self.deliver(seq, &new.message, planned, at_ms);
            deliveries.push(stored);
            deliveries.extend(stated);
        }
        Accepted { seq, duplicate: false, differs: false, deliveries }
    }

    /// The new delivery, and the deliveries of what was made with it.
    fn deliver(
        &mut self,
        seq: i64,
        message: &Arc<Message>,
        planned: Planned,
        at_ms: i64,
    ) -> (StoredDelivery, Vec<StoredDelivery>) {
        let Planned { system, key, made, error } = planned;
        let open = |states: &[DeliveryState]| self.same_key(&system, key.as_deref(), states).next().is_some();
        use DeliveryState::{Done, Parked, Ready, Waiting};
        let (state, made) = match made {
            _ if error.is_some() => (Parked, None),
            _ if open(&[Parked, Waiting]) && !broken(Mutant::NewPassesParked) => (Waiting, None),
            Some(made) if !open(&[Ready]) || broken(Mutant::MadeOutOfTurn) => (Done, Some(made)),
            _ => (Ready, None),
        };
        let attempts = u32::from(state == Done);
        let id = self.next();
        let (message, message_seq) = (message.clone(), seq);
        let stored = StoredDelivery {
            id,
            message_seq,
            system,
            key,
            state,
            attempts,
            tries: attempts,
            version: 0,
            next_at_ms: 0,
            operated: false,
            judged: 0,
            message,
        };
        let row = DeliveryRow { stored: stored.clone(), error, edited: None, by: None, updated_at_ms: at_ms };
        self.deliveries.insert(id, row);
        let mut stated = Vec::new();
        if let Some(made) = made {
            self.record(&Owner::Delivery(id), made.calls);
            let accepted = self.accept(made.messages, &Origin::delivery(&stored.system), at_ms);
            stated = accepted.into_iter().flat_map(|a| a.deliveries).collect();
        }
        (stored, stated)
    }

    /// Ids of the deliveries with this system and key in one of these states; none without a key.
    fn same_key<'a>(
        &'a self,
        system: &'a str,
        key: Option<&'a str>,
        states: &'a [DeliveryState],
    ) -> impl Iterator<Item = i64> + 'a {
        let same = move |d: &&StoredDelivery| key.is_some() && d.system == system && d.key.as_deref() == key;
        self.deliveries.values().map(|row| &row.stored).filter(same).filter(|d| states.contains(&d.state)).map(|d| d.id)
    }

    fn attempted(&mut self, attempted: Attempted) {
        let Some(row) = self.deliveries.get_mut(&attempted.delivery) else { return };
        row.stored.state = attempted.state;
        row.stored.version += 1;
        row.stored.attempts = attempted.attempts;
        row.stored.tries = attempted.tries;
        row.stored.next_at_ms = attempted.next_at_ms;
        row.error = attempted.error;
        row.updated_at_ms = attempted.at_ms;
        let (id, operated) = (row.stored.id, row.stored.operated);
        match attempted.state {
            DeliveryState::Parked => self.hold_behind(id),
            DeliveryState::Done if operated => self.release_behind(id),
            _ => {}
        }
    }

    /// Takes an id, so that hubs see at their next write that something has changed.
    fn count_operation(&mut self) {
        self.operations += 1;
        self.last += 1;
    }

    fn operate(&mut self, operation: Operation, at_ms: i64) {
        self.count_operation();
        let Some(row) = self.deliveries.get_mut(&operation.delivery) else { return };
        let was = row.stored.state;
        row.by = Some(operation.by);
        row.updated_at_ms = at_ms;
        row.stored.state = DeliveryState::Ready;
        row.stored.version += 1;
        row.stored.tries = 0;
        row.stored.next_at_ms = 0;
        if was != DeliveryState::Ready || broken(Mutant::ReadyIsJudged) {
            row.stored.operated = true;
            row.stored.judged = row.stored.attempts;
        }
        let operated = row.stored.operated;
        match operation.act {
            Act::Retry => {}
            Act::Edit(message) => {
                row.edited = Some(message.data.clone().into_value());
                row.stored.message = Arc::new(*message);
            }
            Act::Skip => {
                row.stored.state = DeliveryState::Skipped;
                if was == DeliveryState::Parked || (was == DeliveryState::Ready && operated) {
                    self.release_behind(operation.delivery);
                }
            }
        }
    }

    fn key_of(&self, id: i64) -> Option<(String, String)> {
        let stored = &self.deliveries.get(&id)?.stored;
        Some((stored.system.clone(), stored.key.clone()?))
    }

    fn held_before(&self, id: i64) -> Option<i64> {
        let (system, key) = self.key_of(id)?;
        let held = [DeliveryState::Parked, DeliveryState::Waiting];
        self.same_key(&system, Some(&key), &held).find(|other| *other < id)
    }

    fn hold_behind(&mut self, id: i64) {
        let Some((system, key)) = self.key_of(id) else { return };
        let behind: Vec<_> =
            self.same_key(&system, Some(&key), &[DeliveryState::Ready]).filter(|other| *other > id).collect();
        self.set_state(&behind, DeliveryState::Waiting);
    }

    fn release_behind(&mut self, id: i64) {
        let Some((system, key)) = self.key_of(id) else { return };
        if broken(Mutant::ForgetRelease) {
            return;
        }
        let parked = self.same_key(&system, Some(&key), &[DeliveryState::Parked]).next();
        let parked = parked.filter(|_| !broken(Mutant::ReleasePastParked)).unwrap_or(i64::MAX);
        let free: Vec<_> =
            self.same_key(&system, Some(&key), &[DeliveryState::Waiting]).filter(|other| *other < parked).collect();
        if !free.is_empty() {
            self.count_operation();
        }
        self.set_state(&free, DeliveryState::Ready);
        // Whichever is the last of them to end lets the next ones go, should a parked one be retried meanwhile.
        for id in free {
            if let Some(row) = self.deliveries.get_mut(&id) {
                row.stored.operated = true;
            }
        }
    }

    fn set_state(&mut self, ids: &[i64], state: DeliveryState) {
        for id in ids {
            if let Some(row) = self.deliveries.get_mut(id) {
                row.stored.state = state;
            }
        }
    }

    /// As [`Store::ready`](crate::ports::Store::ready).
    pub fn ready(&self, system: &str, shards: Shards, after: i64, limit: u32) -> Ready {
        let found = self.deliveries.range(after + 1..).map(|(_, d)| &d.stored);
        let found = found.filter(|d| d.system == system && d.state == DeliveryState::Ready);
        let found = found.filter(|d| shards.has(Shards::of(&d.system, d.key.as_deref(), d.message_seq)));
        Ready { deliveries: found.take(limit as usize).cloned().collect(), operations: self.operations }
    }

    /// As [`Store::calls`](crate::ports::Store::calls).
    pub fn calls(&self, delivery: i64) -> Vec<Call> {
        self.owned_calls(&Owner::Delivery(delivery))
    }

    pub(crate) fn owned_calls(&self, owner: &Owner) -> Vec<Call> {
        let all = (owner.clone(), 0, 0)..=(owner.clone(), u32::MAX, u32::MAX);
        self.calls.range(all).map(|(_, call)| call.clone()).collect()
    }

    /// Every delivery, by id.
    pub fn deliveries(&self) -> impl Iterator<Item = &StoredDelivery> {
        self.deliveries.values().map(|row| &row.stored)
    }

    /// As [`Store::claim`](crate::ports::Store::claim).
    pub fn claim(&mut self, claim: &Claim) -> Claimed {
        self.hubs.retain(|_, until_ms| *until_ms > claim.now_ms);
        self.leases.retain(|_, (_, until_ms)| *until_ms > claim.now_ms);
        let until_ms = claim.now_ms + claim.lease_ms;
        match claim.leaving {
            true => drop(self.hubs.remove(&claim.hub)),
            false => drop(self.hubs.insert(claim.hub.clone(), until_ms)),
        }
        let hubs = u32::try_from(self.hubs.len()).unwrap_or(u32::MAX).max(1);
        let share = if claim.leaving { 0 } else { Shards::COUNT.div_ceil(hubs) };
        let (mut shards, mut leave) = (Shards::NONE, Shards::NONE);
        let mine: Vec<u32> = self.leases.iter().filter(|(_, (hub, _))| *hub == claim.hub).map(|(s, _)| *s).collect();
        for (place, shard) in mine.into_iter().enumerate() {
            let surplus = place >= share as usize;
            match (surplus, claim.busy.has(shard)) {
                (true, false) => drop(self.leases.remove(&shard)),
                (true, true) => leave.0 |= 1 << shard,
                (false, _) => shards.0 |= 1 << shard,
            }
            if let Some(lease) = self.leases.get_mut(&shard) {
                lease.1 = until_ms;
            }
        }
        for shard in 0..Shards::COUNT {
            if shards.0.count_ones() < share && !self.leases.contains_key(&shard) {
                self.leases.insert(shard, (claim.hub.clone(), until_ms));
                shards.0 |= 1 << shard;
            }
        }
        Claimed { shards, leave, hubs }
    }
}
