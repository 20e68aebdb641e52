//! What a batch of commits comes to, worked out in memory as `MemoryJournal` does it, from what the database said
//! about everything the batch touches. No database here.

use super::internal;
use super::rows::*;
use busbar_core::*;
use std::collections::{BTreeMap, HashMap};

type Result<T> = std::result::Result<T, Problem>;

/// System and key.
pub type Lane = (String, String);

/// What the database knows of what a batch names.
#[derive(Default)]
pub struct Facts {
    /// `seq` and content of messages that were accepted before.
    pub known: HashMap<Pair, (i64, i64)>,
    pub intakes: HashMap<String, (i64, IntakeOutcome)>,
    pub open: BTreeMap<i64, OpenRow>,
    pub finished: HashMap<i64, DeliveryState>,
    /// Unfinished deliveries by key. All of them where the batch parks or releases one; else enough to tell whether
    /// there is a ready one, and whether there is a held one.
    pub lanes: HashMap<Lane, BTreeMap<i64, DeliveryState>>,
}

/// Rows to be written.
#[derive(Default)]
pub struct Plan {
    /// The next id to give out, of the block that was reserved.
    pub next: i64,
    pub facts: Facts,
    pub seen: Vec<SeenRow>,
    pub messages: Vec<MessageRow>,
    pub intakes: Vec<(i64, Intake)>,
    pub decided: Vec<(i64, Decided)>,
    /// By the intake's number: how many times more, and when last.
    pub recurred: BTreeMap<i64, (u64, i64)>,
    pub calls: BTreeMap<(i64, u32, u32), String>,
    pub state: BTreeMap<(String, String), Option<Vec<u8>>>,
    pub operations: i64,
    /// Hashes of the types that came up.
    pub types: BTreeMap<String, i64>,
}

/// How many ids a commit takes at most. A message that is known takes none, but for an entry where it differs.
pub fn ids_max(commit: &Commit) -> usize {
    messages_ids_max(&commit.messages) + commit.entries.len() + usize::from(commit.intake.is_some())
}

pub fn messages_ids_max(messages: &[NewMessage]) -> usize {
    let made = |p: &Planned| p.made.as_ref().map_or(0, |made| messages_ids_max(&made.messages));
    messages.iter().map(|m| 1 + m.deliveries.iter().map(|p| 1 + made(p)).sum::<usize>()).sum()
}

/// Calls that went well are not kept with an envelope.
fn kept(journal: Journal, call: &Call) -> bool {
    journal == Journal::Full || !matches!(call.outcome.as_str(), "ok" | "recorded")
}

impl Plan {
    fn id(&mut self) -> i64 {
        let id = self.next;
        self.next += 1;
        id
    }

    pub fn commit(&mut self, mut commit: Commit) -> Result<Committed> {
        if let Err(refusal) = self.check(&commit) {
            return Ok(Err(refusal));
        }
        let messages = std::mem::take(&mut commit.messages);
        let origin = self.origin(&commit);
        let accepted = self.accept(messages, &origin, commit.at_ms)?;
        if let Some(intake) = &mut commit.intake {
            intake.count(&accepted);
            intake.settle();
        }
        self.rest(commit)?;
        Ok(Ok(accepted))
    }

    /// Everything of a commit but its messages.
    pub fn rest(&mut self, commit: Commit) -> Result<()> {
        let mut owner = commit.attempted.as_ref().map(|a| a.delivery).or(commit.started.as_ref().map(|s| s.delivery));
        for entry in commit.entries {
            self.keep(entry);
        }
        if let Some(intake) = commit.intake {
            owner = owner.or(Some(self.keep(intake)));
        }
        if let Some(decided) = commit.decided
            && let Some((seq, outcome)) = self.facts.intakes.get_mut(&decided.intake)
        {
            *outcome = decided.outcome;
            self.decided.push((*seq, decided));
        }
        if let Some(recurred) = commit.recurred
            && let Some((seq, _)) = self.facts.intakes.get(&recurred.intake)
        {
            let (times, last_at_ms) = self.recurred.entry(*seq).or_default();
            *times += recurred.times;
            *last_at_ms = recurred.last_at_ms.max(*last_at_ms);
        }
        for write in commit.state {
            self.state.insert((write.system, write.key), write.value);
        }
        if let Some(owner) = owner {
            self.record(owner, commit.calls)?;
        }
        if let Some(started) = commit.started
            && let Some(row) = self.facts.open.get_mut(&started.delivery)
        {
            row.attempts = started.attempt;
            row.version += 1;
            row.changed = true;
        }
        if let Some(attempted) = commit.attempted {
            self.attempted(&attempted)?;
        }
        if let Some(operation) = commit.operation {
            self.operate(operation, commit.at_ms);
        }
        Ok(())
    }

    fn origin(&self, commit: &Commit) -> Origin {
        if let Some(intake) = &commit.intake {
            return Origin::input(intake);
        }
        let delivery = commit.attempted.as_ref().and_then(|a| self.facts.open.get(&a.delivery));
        Origin::delivery(delivery.map_or("", |row| &row.system))
    }

    /// Writes an intake once, and gives its number.
    fn keep(&mut self, intake: Intake) -> i64 {
        if let Some((seq, _)) = self.facts.intakes.get(&intake.id) {
            return *seq;
        }
        let seq = self.id();
        self.facts.intakes.insert(intake.id.clone(), (seq, intake.outcome));
        self.intakes.push((seq, intake));
        seq
    }

    pub fn type_hash(&mut self, name: &str) -> i64 {
        if let Some(hash) = self.types.get(name) {
            return *hash;
        }
        let hash = type_hash(name);
        self.types.insert(name.to_string(), hash);
        hash
    }

    pub fn record(&mut self, owner: i64, calls: Vec<Call>) -> Result<()> {
        for call in calls {
            let record = serde_json::to_string(&call).map_err(internal)?;
            self.calls.insert((owner, call.attempt, call.ordinal), record);
        }
        Ok(())
    }

    fn known(&self, new: &NewMessage) -> Option<&(i64, i64)> {
        self.facts.known.get(&Pair::of(&new.message))
    }

    fn state_of(&self, delivery: i64) -> Option<DeliveryState> {
        let open = self.facts.open.get(&delivery).map(|row| row.state);
        open.or_else(|| self.facts.finished.get(&delivery).copied())
    }

    fn check(&self, commit: &Commit) -> std::result::Result<(), Refusal> {
        let refuse = commit.on_differing.unwrap_or(OnDiffering::Refuse) == OnDiffering::Refuse;
        let differs = |m: &NewMessage| self.known(m).is_some_and(|(_, known)| *known != content(m));
        if refuse && let Some(index) = commit.messages.iter().position(differs) {
            return Err(Refusal::IdReused { index });
        }
        let attempted = commit.attempted.as_ref().map(|a| (a.delivery, a.expected));
        let started = commit.started.as_ref().map(|s| (s.delivery, s.expected));
        for (delivery, expected) in attempted.into_iter().chain(started) {
            let row = self.facts.open.get(&delivery);
            if !row.is_some_and(|d| d.state == DeliveryState::Ready && d.version == expected) {
                return Err(Refusal::Stale);
            }
        }
        if let Some(decided) = &commit.decided {
            let outcome = self.facts.intakes.get(&decided.intake).map(|(_, outcome)| *outcome);
            outcome.filter(|outcome| decided.fits(*outcome)).ok_or(Refusal::NotOpen)?;
        }
        if let Some(operation) = &commit.operation {
            let state = self.state_of(operation.delivery);
            let same = |row: &OpenRow| row.version == operation.seen && row.state == operation.state;
            let seen = self.facts.open.get(&operation.delivery).is_some_and(same);
            if !seen || !state.is_some_and(|state| operation.act.fits(state)) {
                return Err(Refusal::NotNow { state });
            }
            let earlier = self.held_before(operation.delivery).filter(|_| operation.act != Act::Skip);
            if let Some(delivery) = earlier {
                return Err(Refusal::Behind { delivery });
            }
        }
        Ok(())
    }

    pub fn accept(&mut self, messages: Vec<NewMessage>, origin: &Origin, at_ms: i64) -> Result<Vec<Accepted>> {
        let mut accepted = Vec::with_capacity(messages.len());
        for new in messages {
            let (pair, content) = (Pair::of(&new.message), content(&new));
            accepted.push(match self.facts.known.get(&pair).copied() {
                Some((seq, known)) => {
                    let differs = known != content;
                    if differs {
                        self.keep(origin.differing(&new, at_ms));
                    }
                    Accepted { seq, duplicate: true, differs, deliveries: vec![] }
                }
                None => {
                    let seq = self.id();
                    self.facts.known.insert(pair, (seq, content));
                    let r#type = self.type_hash(&new.message.r#type);
                    self.seen.push(SeenRow { seq, message: new.message.clone(), pair, content, r#type });
                    self.insert(seq, new, origin.intake.as_deref(), at_ms)?
                }
            });
        }
        Ok(accepted)
    }

    fn insert(&mut self, seq: i64, new: NewMessage, intake: Option<&str>, at_ms: i64) -> Result<Accepted> {
        let NewMessage { message, deliveries: planned, place, stated_by, journal, .. } = new;
        let at = self.messages.len();
        self.messages.push(MessageRow {
            seq,
            until: seq,
            received_at_ms: at_ms,
            sweep: false,
            place,
            stated_by: stated_by.map(|by| by.to_string()),
            intake: intake.map(str::to_string),
            attributes: attributes(&message)?,
            data: None,
            message: message.clone(),
        });
        let mut deliveries = Vec::with_capacity(planned.len());
        let mut unfinished = false;
        for planned in planned {
            let stored = self.deliver(seq, &message, planned, journal, at_ms, &mut deliveries)?;
            unfinished |= !finished(stored);
        }
        let until = self.next - 1;
        if let Some(row) = self.messages.get_mut(at) {
            row.until = until;
            let full = journal == Journal::Full;
            row.sweep = unfinished && !full;
            if full || unfinished {
                row.data = Some(message.data.text().to_string());
            }
        }
        Ok(Accepted { seq, duplicate: false, differs: false, deliveries })
    }

    /// Adds the new delivery to `all`, and the deliveries of what was made with it.
    fn deliver(
        &mut self,
        message_seq: i64,
        message: &std::sync::Arc<Message>,
        planned: Planned,
        journal: Journal,
        at_ms: i64,
        all: &mut Vec<StoredDelivery>,
    ) -> Result<DeliveryState> {
        use DeliveryState::{Done, Parked, Ready, Waiting};
        let Planned { system, key, made, error } = planned;
        let lane = key.clone().map(|key| (system.clone(), key));
        let has = |states: &[DeliveryState]| lane.as_ref().is_some_and(|lane| self.has(lane, states));
        let (state, made) = match made {
            _ if error.is_some() => (Parked, None),
            _ if has(&[Parked, Waiting]) => (Waiting, None),
            Some(made) if !has(&[Ready]) => (Done, Some(made)),
            _ => (Ready, None),
        };
        let attempts = u32::from(state == Done);
        let stored = StoredDelivery {
            id: self.id(),
            message_seq,
            system,
            key,
            state,
            attempts,
            tries: attempts,
            next_at_ms: 0,
            operated: false,
            judged: 0,
            version: 0,
            message: message.clone(),
        };
        let (id, origin) = (stored.id, Origin::delivery(&stored.system));
        self.facts.open.insert(id, OpenRow::new(&stored, error.as_ref(), at_ms)?);
        if let Some(lane) = lane.filter(|_| !finished(state)) {
            self.facts.lanes.entry(lane).or_default().insert(id, state);
        }
        all.push(stored);
        if let Some(made) = made {
            self.record(id, made.calls.into_iter().filter(|call| kept(journal, call)).collect())?;
            let accepted = self.accept(made.messages, &origin, at_ms)?;
            all.extend(accepted.into_iter().flat_map(|a| a.deliveries));
        }
        Ok(state)
    }

    fn has(&self, lane: &Lane, states: &[DeliveryState]) -> bool {
        self.facts.lanes.get(lane).is_some_and(|lane| lane.values().any(|state| states.contains(state)))
    }

    fn lane(&self, delivery: i64) -> Option<Lane> {
        let row = self.facts.open.get(&delivery)?;
        Some((row.system.clone(), row.key.clone()?))
    }

    /// Deliveries of the same system and key in one of these states.
    fn same_key(&self, delivery: i64, states: &[DeliveryState]) -> Vec<i64> {
        let Some(lane) = self.lane(delivery).and_then(|lane| self.facts.lanes.get(&lane)) else { return vec![] };
        lane.iter().filter(|(_, state)| states.contains(state)).map(|(id, _)| *id).collect()
    }

    fn held_before(&self, delivery: i64) -> Option<i64> {
        let held = self.same_key(delivery, &[DeliveryState::Parked, DeliveryState::Waiting]);
        held.into_iter().find(|other| *other < delivery)
    }

    fn set_state(&mut self, delivery: i64, state: DeliveryState) {
        if let Some(row) = self.facts.open.get_mut(&delivery) {
            row.state = state;
            row.changed = true;
        }
        if let Some(lane) = self.lane(delivery).and_then(|lane| self.facts.lanes.get_mut(&lane)) {
            match finished(state) {
                true => drop(lane.remove(&delivery)),
                false => drop(lane.insert(delivery, state)),
            }
        }
    }

    fn attempted(&mut self, attempted: &Attempted) -> Result<()> {
        let Some(row) = self.facts.open.get_mut(&attempted.delivery) else { return Ok(()) };
        row.attempted(attempted)?;
        let operated = row.judged.is_some();
        self.set_state(attempted.delivery, attempted.state);
        match attempted.state {
            DeliveryState::Parked => self.hold_behind(attempted.delivery),
            DeliveryState::Done if operated => self.release_behind(attempted.delivery),
            _ => {}
        }
        Ok(())
    }

    fn operate(&mut self, operation: Operation, at_ms: i64) {
        self.operations += 1;
        let id = operation.delivery;
        let Some(row) = self.facts.open.get_mut(&id) else { return };
        let was = row.state;
        row.by = Some(operation.by);
        row.updated_at_ms = at_ms;
        row.tries = 0;
        row.next_at_ms = 0;
        let operated = row.judged.is_some();
        if was != DeliveryState::Ready {
            row.judged = Some(row.attempts);
        }
        row.version += 1;
        if let Act::Edit(message) = &operation.act {
            row.edited = Some(message.to_structured().to_string());
        }
        let skip = operation.act == Act::Skip;
        self.set_state(id, if skip { DeliveryState::Skipped } else { DeliveryState::Ready });
        if skip && (was == DeliveryState::Parked || (was == DeliveryState::Ready && operated)) {
            self.release_behind(id);
        }
    }

    fn hold_behind(&mut self, id: i64) {
        for other in self.same_key(id, &[DeliveryState::Ready]).into_iter().filter(|other| *other > id) {
            self.set_state(other, DeliveryState::Waiting);
        }
    }

    fn release_behind(&mut self, id: i64) {
        let parked = self.same_key(id, &[DeliveryState::Parked]).first().copied().unwrap_or(i64::MAX);
        let waiting = self.same_key(id, &[DeliveryState::Waiting]);
        let free: Vec<_> = waiting.into_iter().filter(|other| *other < parked).collect();
        self.operations += i64::from(!free.is_empty());
        for id in free {
            self.set_state(id, DeliveryState::Ready);
            // Whichever is the last of them to end lets the next ones go, should a parked one be retried meanwhile.
            if let Some(row) = self.facts.open.get_mut(&id) {
                row.judged = row.judged.or(Some(0));
            }
        }
    }
}
