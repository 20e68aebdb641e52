//! The store in memory: the reference that the SQL store is compared with, and what tests use.

use crate::error::Problem;
use crate::journal::*;
use crate::message::Message;
use crate::ports::{Chunks, Store};
use async_trait::async_trait;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Clone, Default)]
struct Data {
    last: i64,
    messages: BTreeMap<i64, Row>,
    ids: HashMap<(String, String), (i64, String)>,
    deliveries: BTreeMap<i64, DeliveryRow>,
    calls: Vec<(Owner, Call)>,
    state: HashMap<(String, String), Vec<u8>>,
    intakes: Vec<Intake>,
}

#[derive(Clone)]
struct Row {
    message: Arc<Message>,
    received_at_ms: i64,
    place: Option<String>,
    intake: Option<String>,
}

#[derive(Clone)]
struct DeliveryRow {
    stored: StoredDelivery,
    error: Option<crate::ErrorRecord>,
    updated_at_ms: i64,
}

#[derive(Clone, PartialEq)]
enum Owner {
    Delivery(i64),
    Intake(String),
}

/// A [`Store`] in memory.
#[derive(Default)]
pub struct MemoryStore {
    data: Mutex<Data>,
}

impl MemoryStore {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Data {
    fn next(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    fn commit(&mut self, mut commit: Commit) -> (Committed, Option<Intake>) {
        let refuse = commit.on_differing.unwrap_or(OnDiffering::Refuse) == OnDiffering::Refuse;
        let known = |data: &Self, new: &NewMessage| {
            data.ids.get(&(new.message.source.clone(), new.message.id.clone())).cloned()
        };
        let reused =
            commit.messages.iter().position(|m| refuse && known(self, m).is_some_and(|(_, digest)| digest != m.digest));
        if let Some(index) = reused {
            return (Err(IdReused { index }), None);
        }
        let intake_id = commit.intake.as_ref().map(|i| i.id.clone());
        let messages = std::mem::take(&mut commit.messages);
        let mut accepted = Vec::new();
        for new in messages {
            accepted.push(match known(self, &new) {
                Some((seq, digest)) => {
                    Accepted { seq, duplicate: true, differs: digest != new.digest, deliveries: vec![] }
                }
                None => self.insert(new, intake_id.clone(), commit.at_ms),
            });
        }
        let intake = commit.intake.map(|intake| settle_intake(intake, &accepted));
        self.intakes.extend(intake.clone());
        for write in commit.state {
            let key = (write.system, write.key);
            match write.value {
                Some(value) => drop(self.state.insert(key, value)),
                None => drop(self.state.remove(&key)),
            }
        }
        let owner = match (&commit.attempted, intake_id) {
            (Some(attempted), _) => Some(Owner::Delivery(attempted.delivery)),
            (None, intake) => intake.map(Owner::Intake),
        };
        if let Some(owner) = owner {
            self.calls.extend(commit.calls.into_iter().map(|c| (owner.clone(), c)));
        }
        if let Some(attempted) = commit.attempted
            && let Some(row) = self.deliveries.get_mut(&attempted.delivery)
        {
            row.stored.state = attempted.state;
            row.stored.attempts = attempted.attempts;
            row.stored.next_at_ms = attempted.next_at_ms;
            row.error = attempted.error;
            row.updated_at_ms = attempted.at_ms;
        }
        (Ok(accepted), intake)
    }

    fn insert(&mut self, new: NewMessage, intake: Option<String>, at_ms: i64) -> Accepted {
        let seq = self.next();
        let id = (new.message.source.clone(), new.message.id.clone());
        self.ids.insert(id, (seq, new.digest));
        let row = Row { message: new.message.clone(), received_at_ms: at_ms, place: new.place, intake };
        self.messages.insert(seq, row);
        let mut deliveries = Vec::new();
        for planned in new.deliveries {
            let state = if planned.error.is_some() { DeliveryState::Parked } else { DeliveryState::Ready };
            let stored = StoredDelivery {
                id: self.next(),
                message_seq: seq,
                system: planned.system,
                key: planned.key,
                state,
                attempts: 0,
                next_at_ms: 0,
                message: new.message.clone(),
            };
            let row = DeliveryRow { stored: stored.clone(), error: planned.error, updated_at_ms: at_ms };
            self.deliveries.insert(stored.id, row);
            deliveries.push(stored);
        }
        Accepted { seq, duplicate: false, differs: false, deliveries }
    }

    fn view(&self, seq: i64, row: &Row, with_calls: bool) -> MessageView {
        let deliveries = self.deliveries.values().filter(|d| d.stored.message_seq == seq).map(|d| {
            let owner = Owner::Delivery(d.stored.id);
            let calls = self.calls.iter().filter(|(o, _)| with_calls && *o == owner).map(|(_, c)| c.clone());
            DeliveryView {
                id: d.stored.id,
                system: d.stored.system.clone(),
                key: d.stored.key.clone(),
                state: d.stored.state,
                attempts: d.stored.attempts,
                next_at_ms: d.stored.next_at_ms,
                updated_at_ms: d.updated_at_ms,
                error: d.error.clone(),
                calls: calls.collect(),
            }
        });
        MessageView {
            seq,
            message: (*row.message).clone(),
            received_at_ms: row.received_at_ms,
            place: row.place.clone(),
            intake: row.intake.clone(),
            deliveries: deliveries.collect(),
        }
    }
}

/// Counts what became of an intake's messages and says how it ended.
pub(crate) fn settle_intake(mut intake: Intake, accepted: &[Accepted]) -> Intake {
    intake.messages += accepted.len() as u64;
    intake.duplicates += accepted.iter().filter(|a| a.duplicate).count() as u64;
    intake.differing += accepted.iter().filter(|a| a.differs).count() as u64;
    intake.settle();
    intake
}

impl Intake {
    /// Says how it ended, once its messages are counted.
    pub fn settle(&mut self) {
        if self.outcome == IntakeOutcome::Accepted && self.messages > 0 && self.messages == self.duplicates {
            self.outcome = IntakeOutcome::Repeated;
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, batch: Vec<Commit>) -> Result<Vec<Committed>, Problem> {
        let mut data = self.data();
        Ok(batch.into_iter().map(|c| data.commit(c).0).collect())
    }

    async fn commit_stream(&self, head: Commit, chunks: Chunks<'_>) -> Result<Option<Intake>, Problem> {
        let mut copy = self.data().clone();
        let mut whole = head;
        loop {
            let chunk = chunks()?;
            if chunk.is_empty() {
                break;
            }
            whole.messages.extend(chunk);
        }
        whole.on_differing = Some(OnDiffering::Keep);
        let (_, intake) = copy.commit(whole);
        *self.data() = copy;
        Ok(intake)
    }

    async fn ready(&self, system: &str, after: i64, limit: u32) -> Result<Vec<StoredDelivery>, Problem> {
        let data = self.data();
        let found = data.deliveries.range(after + 1..).map(|(_, d)| &d.stored);
        let found = found.filter(|d| d.system == system && d.state == DeliveryState::Ready);
        Ok(found.take(limit as usize).cloned().collect())
    }

    async fn parked_keys(&self, system: &str) -> Result<Vec<String>, Problem> {
        let data = self.data();
        let parked = data.deliveries.values().map(|d| &d.stored);
        let parked = parked.filter(|d| d.system == system && d.state == DeliveryState::Parked);
        let mut keys: Vec<_> = parked.filter_map(|d| d.key.clone()).collect();
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    async fn calls(&self, delivery: i64) -> Result<Vec<Call>, Problem> {
        let owner = Owner::Delivery(delivery);
        Ok(self.data().calls.iter().filter(|(o, _)| *o == owner).map(|(_, c)| c.clone()).collect())
    }

    async fn state(&self, system: &str, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        Ok(self.data().state.get(&(system.to_string(), key.to_string())).cloned())
    }

    async fn lookup(&self, source: &str, id: &str) -> Result<Option<(i64, Message)>, Problem> {
        let data = self.data();
        let seq = data.ids.get(&(source.to_string(), id.to_string())).map(|(seq, _)| *seq);
        Ok(seq.and_then(|seq| data.messages.get(&seq).map(|row| (seq, (*row.message).clone()))))
    }

    async fn messages(&self, filter: &MessageFilter) -> Result<Vec<MessageView>, Problem> {
        let data = self.data();
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        let fits = |seq: &i64, row: &Row| {
            let m = &row.message;
            let deliveries = || data.deliveries.values().map(|d| &d.stored).filter(|d| d.message_seq == *seq);
            same(&filter.r#type, &m.r#type)
                && same(&filter.source, &m.source)
                && same(&filter.id, &m.id)
                && same(&filter.subject, m.subject.as_deref().unwrap_or_default())
                && filter.before.is_none_or(|before| *seq < before)
                && ((filter.system.is_none() && filter.state.is_none())
                    || deliveries()
                        .any(|d| same(&filter.system, &d.system) && filter.state.is_none_or(|s| s == d.state)))
        };
        let found = data.messages.iter().rev().filter(|(seq, row)| fits(seq, row));
        Ok(found.take(filter.limit as usize).map(|(seq, row)| data.view(*seq, row, false)).collect())
    }

    async fn message(&self, seq: i64) -> Result<Option<MessageView>, Problem> {
        let data = self.data();
        Ok(data.messages.get(&seq).map(|row| data.view(seq, row, true)))
    }

    async fn intakes(&self, filter: &IntakeFilter) -> Result<Vec<IntakeView>, Problem> {
        let data = self.data();
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        let found = data.intakes.iter().rev().filter(|i| {
            same(&filter.id, &i.id) && same(&filter.system, &i.system) && same(&filter.outcome, i.outcome.as_str())
        });
        let view = |intake: &Intake| {
            let owner = Owner::Intake(intake.id.clone());
            let calls = data.calls.iter().filter(|(o, _)| *o == owner).map(|(_, c)| c.clone()).collect();
            IntakeView { intake: intake.clone(), calls }
        };
        Ok(found.take(filter.limit as usize).map(view).collect())
    }

    async fn depths(&self) -> Result<Vec<Depth>, Problem> {
        let mut counts: BTreeMap<(String, &str), Depth> = BTreeMap::new();
        for row in self.data().deliveries.values() {
            let (system, state) = (row.stored.system.clone(), row.stored.state);
            let depth = counts.entry((system.clone(), state.as_str())).or_insert(Depth { system, state, count: 0 });
            depth.count += 1;
        }
        Ok(counts.into_values().collect())
    }
}
