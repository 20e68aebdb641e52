//! The journal as plain tables in memory: it gathers facts and writes plans, as the SQL store does. The SQL store is compared
//! with it, and the simulation takes its copies for what a crash leaves.

use crate::audit::{AuditEntry, Hold, Pause};
use crate::calls::Call;
use crate::commit::{Facts, KeyLane, Known, Names, Open, Pair, Plan, finished, ids_max};
use crate::intakes::*;
use crate::journal::*;
use crate::leases;
use crate::message::Message;
use crate::ports::{Claim, Claimed, Ready};
use crate::stated::StatedBy;
use crate::statistics::{Counted, TallyOf};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The journal in memory. A copy is a snapshot.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    last: i64,
    operations: i64,
    pub(crate) messages: BTreeMap<i64, KeptMessage>,
    known: HashMap<Pair, Known>,
    pub(crate) deliveries: BTreeMap<i64, DeliveryRow>,
    /// By the number of the delivery or intake, attempt and ordinal.
    calls: BTreeMap<(i64, u32, u32), Call>,
    pub(crate) state: BTreeMap<(String, String), Vec<u8>>,
    pub(crate) intakes: BTreeMap<i64, Intake>,
    pub(crate) audit: Vec<AuditEntry>,
    pub(crate) pauses: BTreeMap<String, Pause>,
    /// Counts and bytes.
    pub(crate) tallies: BTreeMap<TallyOf, (u64, u64)>,
    leases: BTreeMap<u32, (String, i64)>,
    hubs: BTreeMap<String, i64>,
}

#[derive(Clone)]
pub(crate) struct KeptMessage {
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

impl MemoryJournal {
    /// Writes a batch.
    pub fn commit(&mut self, batch: Vec<Commit>) -> Vec<Committed> {
        let mut plan = self.plan(&batch);
        let results = batch.into_iter().map(|commit| plan.commit(commit)).collect();
        self.apply(&mut plan);
        results
    }

    /// What there is to know for a batch.
    pub(crate) fn plan(&self, batch: &[Commit]) -> Plan {
        Plan::new(self.last + 1, batch.iter().map(ids_max).sum(), self.facts(&Names::of(batch)))
    }

    fn facts(&self, names: &Names<'_>) -> Facts {
        let audited = self.audit.last().map(|last| (last.record.seq, last.hash.clone())).unwrap_or_default();
        let mut facts = Facts { audited, ..Facts::default() };
        for new in &names.messages {
            let pair = new.pair();
            facts.known.extend(self.known.get(&pair).map(|known| (pair, *known)));
        }
        let named = names.intakes(&facts);
        let found = self.intakes.iter().filter(|(_, intake)| named.contains(&intake.id));
        facts.intakes = found.map(|(seq, intake)| (intake.id.clone(), (*seq, intake.outcome))).collect();
        for row in names.deliveries.iter().filter_map(|id| self.deliveries.get(id)) {
            match finished(row.stored.state) {
                true => drop(facts.finished.insert(row.stored.id, row.stored.state)),
                false => drop(facts.open.insert(row.stored.id, row.open())),
            }
        }
        facts.finished.retain(|id, _| names.operated.contains(id));
        let whole = names.whole_lanes(&facts);
        for lane in names.lanes.iter().filter(|lane| !whole.contains(*lane)) {
            let is_held = |row: &&DeliveryRow| row.stored.state != DeliveryState::Ready;
            let heads = self.lane(lane).find(is_held).into_iter().chain(self.lane(lane).find(|row| !is_held(row)));
            facts.lanes.insert(lane.clone(), heads.map(|row| (row.stored.id, row.stored.state)).collect());
        }
        for lane in whole {
            facts.open.extend(self.lane(&lane).map(|row| (row.stored.id, row.open())));
            let states = self.lane(&lane).map(|row| (row.stored.id, row.stored.state)).collect();
            facts.lanes.insert(lane, states);
        }
        facts
    }

    /// Deliveries that hold a key, or wait for it, by id.
    fn lane<'a>(&'a self, (system, key): &'a KeyLane) -> impl Iterator<Item = &'a DeliveryRow> {
        let states = [DeliveryState::Ready, DeliveryState::Parked, DeliveryState::Waiting];
        let open = self.deliveries.values().filter(move |row| states.contains(&row.stored.state));
        open.filter(move |row| row.stored.system == *system && row.stored.key.as_ref() == Some(key))
    }

    /// Writes what is planned so far, and takes it out of the plan.
    pub(crate) fn apply(&mut self, plan: &mut Plan) {
        for seen in plan.seen.drain(..) {
            self.known.insert(seen.pair, Known { seq: seen.seq, content: seen.content });
        }
        for kept in plan.messages.drain(..) {
            let of = TallyOf::new(kept.received_at_ms, "", &kept.message.r#type, Counted::Received);
            self.count(of, if kept.with_data { kept.message.data.text().len() } else { 0 });
            let (message, place, stated_by, intake) = (kept.message, kept.place, kept.stated_by, kept.intake);
            let row = KeptMessage { message, received_at_ms: kept.received_at_ms, place, stated_by, intake };
            self.messages.insert(kept.seq, row);
        }
        for open in plan.facts.open.values_mut().filter(|open| open.changed) {
            open.changed = false;
            self.put(open);
        }
        self.intakes.extend(plan.intakes.drain(..));
        for (seq, decided) in plan.decided.drain(..) {
            if let Some(intake) = self.intakes.get_mut(&seq) {
                intake.outcome = decided.outcome;
                intake.by = Some(decided.decider.by);
            }
        }
        for (seq, recurred) in std::mem::take(&mut plan.recurred) {
            if let Some(intake) = self.intakes.get_mut(&seq) {
                intake.recurred(&recurred);
            }
        }
        self.calls.append(&mut plan.calls);
        for (key, value) in std::mem::take(&mut plan.state) {
            match value {
                Some(value) => drop(self.state.insert(key, value)),
                None => drop(self.state.remove(&key)),
            }
        }
        self.audit.append(&mut plan.audit);
        plan.holds.drain(..).for_each(|(at_ms, hold)| self.hold(at_ms, hold));
        let operations = std::mem::take(&mut plan.operations);
        self.operations += operations;
        self.last = plan.next - 1 + operations;
        plan.skip(operations);
    }

    /// A pause stands as it was made first.
    fn hold(&mut self, at_ms: i64, hold: Hold) {
        let Hold { system, paused, decider } = hold;
        if !paused {
            self.pauses.remove(&system);
            return;
        }
        let pause = Pause { system: system.clone(), by: decider.by, at_ms, comment: decider.comment };
        self.pauses.entry(system).or_insert(pause);
    }

    fn count(&mut self, of: TallyOf, bytes: usize) {
        let (count, sum) = self.tallies.entry(of).or_default();
        *count += 1;
        *sum += bytes as u64;
    }

    fn put(&mut self, open: &Open) {
        let was = self.deliveries.get(&open.id).map(|row| row.stored.state);
        let message = self.messages.get(&open.message_seq);
        if let (Some(tally), Some(message)) = (Counted::of(open.state, was), message) {
            self.count(TallyOf::new(open.updated_at_ms, &open.system, &message.message.r#type, tally), 0);
        }
        if let Some(message) = &open.new {
            self.deliveries.entry(open.id).or_insert_with(|| DeliveryRow::new(open, message));
        }
        let Some(row) = self.deliveries.get_mut(&open.id) else { return };
        let Open { state, attempts, tries, next_at_ms, version, judged, .. } = *open;
        row.stored.state = state;
        row.stored.attempts = attempts;
        row.stored.tries = tries;
        row.stored.next_at_ms = next_at_ms;
        row.stored.version = version;
        row.stored.operated = judged.is_some();
        row.stored.judged = judged.unwrap_or(0);
        row.updated_at_ms = open.updated_at_ms;
        if let Some(error) = &open.error {
            row.error = error.clone();
        }
        if let Some(message) = &open.edited {
            row.edited = Some(message.data.clone().into_value());
            row.stored.message = Arc::new((**message).clone());
        }
        row.by = open.by.clone().or(row.by.take());
    }

    /// Number of a message that was accepted.
    pub fn seq_of(&self, source: &str, id: &str) -> Option<i64> {
        self.known.get(&Pair::named(source, id)).map(|known| known.seq)
    }

    /// As [`Store::ready`](crate::ports::Store::ready).
    pub fn ready(&self, system: &str, shards: Shards, after: i64, limit: u32) -> Ready {
        let found = self.deliveries.range(after + 1..).map(|(_, d)| &d.stored);
        let found = found.filter(|d| d.system == system && d.state == DeliveryState::Ready);
        let found = found.filter(|d| shards.has(Shards::of(&d.system, d.key.as_deref(), d.message_seq)));
        Ready { deliveries: found.take(limit as usize).cloned().collect(), operations: self.operations }
    }

    /// As [`Store::calls`](crate::ports::Store::calls); of an intake by its number likewise.
    pub fn calls(&self, owner: i64) -> Vec<Call> {
        self.calls.range((owner, 0, 0)..=(owner, u32::MAX, u32::MAX)).map(|(_, call)| call.clone()).collect()
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
        let holder = |shard| self.leases.get(&shard).map(|(hub, _)| hub.clone()).unwrap_or_default();
        let leases = (0..Shards::COUNT).map(|shard| (shard, holder(shard))).collect();
        let share = leases::share(claim, &leases, u32::try_from(self.hubs.len()).unwrap_or(u32::MAX).max(1));
        self.leases.retain(|shard, _| !share.free.has(*shard));
        let held = (0..Shards::COUNT).filter(|shard| share.held.has(*shard));
        self.leases.extend(held.map(|shard| (shard, (claim.hub.clone(), until_ms))));
        share.claimed
    }
}

impl DeliveryRow {
    fn new(open: &Open, message: &Arc<Message>) -> Self {
        let stored = StoredDelivery {
            id: open.id,
            message_seq: open.message_seq,
            system: open.system.clone(),
            key: open.key.clone(),
            state: open.state,
            attempts: 0,
            tries: 0,
            version: 0,
            next_at_ms: 0,
            operated: false,
            judged: 0,
            message: message.clone(),
        };
        Self { stored, error: None, edited: None, by: None, updated_at_ms: open.updated_at_ms }
    }

    fn open(&self) -> Open {
        let d = &self.stored;
        Open {
            id: d.id,
            message_seq: d.message_seq,
            system: d.system.clone(),
            key: d.key.clone(),
            state: d.state,
            attempts: d.attempts,
            tries: d.tries,
            next_at_ms: d.next_at_ms,
            updated_at_ms: self.updated_at_ms,
            judged: d.operated.then_some(d.judged),
            version: d.version,
            error: None,
            edited: None,
            by: None,
            new: None,
            was: Some(d.state),
            changed: false,
        }
    }
}
