//! The store in memory: the reference that the SQL store is compared with, and what tests use.

use crate::audit::{AuditEntry, AuditFilter, Pause};
use crate::calls::Call;
use crate::cause::{Cause, FailureFilter, FailureGroup};
use crate::error::Problem;
use crate::fakes_journal::{KeptMessage, MemoryJournal};
use crate::intakes::*;
use crate::journal::*;
use crate::json::in_json;
use crate::message::Message;
use crate::ports::{Chunks, Claim, Claimed, Ready, StateSize, Store};
use crate::statistics::{HOUR_MS, HourCount, StatisticsFilter, TallyOf};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A [`Store`] in memory.
#[derive(Default)]
pub struct MemoryStore {
    data: Mutex<MemoryJournal>,
}

impl MemoryStore {
    fn data(&self) -> MutexGuard<'_, MemoryJournal> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryJournal {
    fn delivery_view(&self, id: i64, with_calls: bool) -> Option<DeliveryView> {
        let d = self.deliveries.get(&id)?;
        Some(DeliveryView {
            id,
            r#type: self.messages.get(&d.stored.message_seq)?.message.r#type.clone(),
            system: d.stored.system.clone(),
            key: d.stored.key.clone(),
            state: d.stored.state,
            attempts: d.stored.attempts,
            version: d.stored.version,
            next_at_ms: d.stored.next_at_ms,
            updated_at_ms: d.updated_at_ms,
            error: d.error.clone(),
            edited: d.edited.clone(),
            by: d.by.clone(),
            calls: if with_calls { self.calls(id) } else { vec![] },
        })
    }

    fn view(&self, seq: i64, row: &KeptMessage, with_calls: bool) -> MessageView {
        let own = self.deliveries.values().filter(|d| d.stored.message_seq == seq).map(|d| d.stored.id);
        MessageView {
            seq,
            message: (*row.message).clone(),
            received_at_ms: row.received_at_ms,
            place: row.place.clone(),
            stated_by: row.stated_by.clone(),
            intake: row.intake.clone(),
            deliveries: own.filter_map(|id| self.delivery_view(id, with_calls)).collect(),
        }
    }

    fn cause(&self, d: &StoredDelivery) -> Option<Cause> {
        let error = self.deliveries.get(&d.id)?.error.as_ref()?;
        Some(Cause::of(&d.system, &self.messages.get(&d.message_seq)?.message.r#type, error))
    }

    fn fits(&self, filter: &DeliveryFilter, d: &StoredDelivery) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        let code = self.deliveries.get(&d.id).and_then(|row| row.error.as_ref()).map(|e| e.code.as_str());
        d.id > filter.after
            && filter.id.is_none_or(|id| id == d.id)
            && filter.states.has(d.state, code.is_some())
            && same(&filter.system, Some(&d.system))
            && same(&filter.r#type, self.messages.get(&d.message_seq).map(|m| m.message.r#type.as_str()))
            && same(&filter.code, code)
            && same(&filter.key, d.key.as_deref())
            && filter.cause.is_none_or(|cause| self.cause(d).is_some_and(|is| is.id() == cause))
            && self.deliveries.get(&d.id).is_some_and(|row| within(row.updated_at_ms, filter.since_ms, filter.until_ms))
    }
}

fn within(at_ms: i64, since_ms: Option<i64>, until_ms: Option<i64>) -> bool {
    since_ms.is_none_or(|since| at_ms >= since) && until_ms.is_none_or(|until| at_ms < until)
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, batch: Vec<Commit>) -> Result<Vec<Committed>, Problem> {
        Ok(self.data().commit(batch))
    }

    async fn commit_stream(&self, head: Commit, chunks: Chunks<'_>) -> Result<Option<Intake>, Problem> {
        let mut whole = head;
        loop {
            let chunk = chunks()?;
            if chunk.is_empty() {
                break;
            }
            whole.messages.extend(chunk);
        }
        whole.on_differing = Some(OnDiffering::Keep);
        let mut intake = whole.intake.clone();
        let Some(Ok(accepted)) = self.commit(vec![whole]).await?.pop() else { return Ok(None) };
        if let Some(intake) = &mut intake {
            intake.count(&accepted);
            intake.settle();
        }
        Ok(intake)
    }

    async fn ready(&self, system: &str, shards: Shards, after: i64, limit: u32) -> Result<Ready, Problem> {
        Ok(self.data().ready(system, shards, after, limit))
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, Problem> {
        Ok(self.data().claim(&claim))
    }

    async fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<(i64, DeliveryView)>, Problem> {
        let data = self.data();
        let found = data.deliveries().filter(|d| data.fits(filter, d));
        let views = found.filter_map(|d| Some((d.message_seq, data.delivery_view(d.id, false)?)));
        Ok(views.take(filter.limit as usize).collect())
    }

    async fn calls(&self, delivery: i64) -> Result<Vec<Call>, Problem> {
        Ok(self.data().calls(delivery))
    }

    async fn state(&self, system: &str, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        Ok(self.data().state.get(&(system.to_string(), key.to_string())).cloned())
    }

    async fn state_size(&self, system: &str) -> Result<StateSize, Problem> {
        let data = self.data();
        let mut size = StateSize::default();
        for ((_, key), value) in data.state.iter().filter(|((of, _), _)| of == system) {
            size.keys += 1;
            size.bytes += (key.len() + value.len()) as u64;
        }
        Ok(size)
    }

    async fn lookup(&self, source: &str, id: &str) -> Result<Option<(i64, Message)>, Problem> {
        let data = self.data();
        let seq = data.seq_of(source, id);
        Ok(seq.and_then(|seq| data.messages.get(&seq).map(|row| (seq, (*row.message).clone()))))
    }

    async fn messages(&self, filter: &MessageFilter) -> Result<Vec<MessageView>, Problem> {
        let data = self.data();
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        let fits = |seq: &i64, row: &KeptMessage| {
            let m = &row.message;
            let deliveries = || data.deliveries.values().map(|d| &d.stored).filter(|d| d.message_seq == *seq);
            same(&filter.r#type, &m.r#type)
                && same(&filter.source, &m.source)
                && same(&filter.id, &m.id)
                && same(&filter.subject, m.subject.as_deref().unwrap_or_default())
                && filter.before.is_none_or(|before| *seq < before)
                && within(row.received_at_ms, filter.since_ms, filter.until_ms)
                && ((filter.system.is_none() && filter.state.is_none())
                    || deliveries()
                        .any(|d| same(&filter.system, &d.system) && filter.state.is_none_or(|s| s == d.state)))
        };
        let found = data.messages.iter().rev().filter(|(seq, row)| fits(seq, row));
        Ok(found.take(filter.limit as usize).map(|(seq, row)| data.view(*seq, row, false)).collect())
    }

    async fn search(&self, filter: &MessageFilter, text: &str) -> Result<TextFound, Problem> {
        let all = MessageFilter { limit: u32::MAX, ..filter.clone() };
        let fit = self.messages(&all).await?;
        let horizon = fit.get(MessageFilter::SCANNED_MAX - 1).map(|view| view.seq);
        let wanted = in_json(text);
        let scanned = fit.into_iter().take(MessageFilter::SCANNED_MAX);
        let found = scanned.filter(|view| view.message.data.text().contains(&wanted));
        let messages: Vec<_> = found.take(filter.limit as usize).collect();
        let full = messages.len() >= filter.limit as usize;
        let next = if full { messages.last().map(|view| view.seq) } else { horizon };
        Ok(TextFound { messages, next })
    }

    async fn message(&self, seq: i64) -> Result<Option<MessageView>, Problem> {
        let data = self.data();
        Ok(data.messages.get(&seq).map(|row| data.view(seq, row, true)))
    }

    async fn intakes(&self, filter: &IntakeFilter) -> Result<Vec<IntakeView>, Problem> {
        let data = self.data();
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        let found = data.intakes.iter().rev().filter(|(_, i)| {
            same(&filter.id, &i.id) && same(&filter.system, &i.system) && same(&filter.outcome, i.outcome.as_str())
        });
        let view = |(seq, intake): (&i64, &Intake)| IntakeView { intake: intake.clone(), calls: data.calls(*seq) };
        Ok(found.take(filter.limit as usize).map(view).collect())
    }

    async fn failures(&self, filter: &FailureFilter) -> Result<Vec<FailureGroup>, Problem> {
        let data = self.data();
        let mut groups: BTreeMap<(Cause, &str), FailureGroup> = BTreeMap::new();
        for d in data.deliveries().filter(|d| States::Failing.has(d.state, data.cause(d).is_some())) {
            let (Some(cause), Some(row)) = (data.cause(d), data.deliveries.get(&d.id)) else { continue };
            let same = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
            if !same(&filter.system, &cause.system) || !same(&filter.r#type, &cause.r#type) {
                continue;
            }
            let at_ms = row.updated_at_ms;
            let group = groups.entry((cause.clone(), d.state.as_str())).or_insert(FailureGroup {
                cause,
                state: d.state,
                count: 0,
                first_ms: at_ms,
                last_ms: at_ms,
            });
            group.count += 1;
            group.first_ms = group.first_ms.min(at_ms);
            group.last_ms = group.last_ms.max(at_ms);
        }
        Ok(groups.into_values().collect())
    }

    async fn statistics(&self, filter: &StatisticsFilter) -> Result<Vec<HourCount>, Problem> {
        let same = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let fits = |of: &TallyOf| {
            same(&filter.system, &of.system)
                && same(&filter.r#type, &of.r#type)
                && within(of.hour * HOUR_MS, filter.since_ms, filter.until_ms)
        };
        let data = self.data();
        let found = data.tallies.iter().filter(|(of, _)| fits(of));
        Ok(found.map(|(of, (count, bytes))| HourCount { of: of.clone(), count: *count, bytes: *bytes }).collect())
    }

    async fn pauses(&self) -> Result<Vec<Pause>, Problem> {
        Ok(self.data().pauses.values().cloned().collect())
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, Problem> {
        let data = self.data();
        let fits = |entry: &&AuditEntry| {
            let r = &entry.record;
            filter.system.as_ref().is_none_or(|system| *system == r.system)
                && filter.delivery.is_none_or(|id| r.delivery == Some(id))
                && filter.by.as_ref().is_none_or(|by| *by == r.by)
                && filter.deed.is_none_or(|deed| deed == r.deed)
                && filter.before.is_none_or(|before| r.seq < before)
                && within(r.at_ms, filter.since_ms, filter.until_ms)
        };
        Ok(data.audit.iter().rev().filter(fits).take(filter.limit as usize).cloned().collect())
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
