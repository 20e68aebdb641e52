//! The rules of a commit: what is new, repeated, differing, held, released or refused.

use super::*;
use crate::entries::Origin;
use crate::mutant::{Mutant, broken};

/// Calls that went well are not kept with an envelope.
fn kept(journal: Journal, call: &Call) -> bool {
    journal == Journal::Full || !matches!(call.outcome, CallOutcome::Ok | CallOutcome::Recorded)
}

/// A decision about nothing yet.
fn about(deed: Deed) -> AuditRecord {
    let (by, system) = (String::new(), String::new());
    AuditRecord { seq: 0, at_ms: 0, by, deed, system, delivery: None, intake: None, comment: None }
}

impl Plan {
    /// `next`: the first of `reserved` ids, as many as [`ids_max`] counts.
    pub fn new(next: i64, reserved: usize, facts: Facts) -> Self {
        let reserved = i64::try_from(reserved).unwrap_or(i64::MAX);
        Self { next, end: next.saturating_add(reserved), facts, ..Self::default() }
    }

    /// Whether no more ids were given out than were reserved: those behind them are another batch's.
    pub fn keeps_to_its_ids(&self) -> bool {
        self.next <= self.end
    }

    /// Leaves ids out that were taken besides.
    pub fn skip(&mut self, ids: i64) {
        self.next += ids;
        self.end += ids;
    }

    fn id(&mut self) -> i64 {
        let id = self.next;
        self.next += 1;
        id
    }

    /// Adds one commit, or nothing of it.
    pub fn commit(&mut self, mut commit: Commit) -> Committed {
        self.check(&commit)?;
        let messages = std::mem::take(&mut commit.messages);
        let origin = self.origin(&commit);
        let accepted = self.accept(messages, &origin, commit.at_ms);
        if let Some(intake) = &mut commit.intake {
            intake.count(&accepted);
            intake.settle();
        }
        self.rest(commit);
        Ok(accepted)
    }

    /// Everything of a commit but its messages.
    pub fn rest(&mut self, commit: Commit) {
        let mut owner = commit.attempted.as_ref().map(|a| a.delivery);
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
            self.decided.push((*seq, decided.clone()));
            let about = AuditRecord { intake: Some(decided.intake.clone()), ..about(decided.deed()) };
            self.audit(&decided.decider, commit.at_ms, about);
        }
        if let Some(hold) = commit.hold {
            let deed = if hold.paused { Deed::Pause } else { Deed::Resume };
            let about = AuditRecord { system: hold.system.clone(), ..about(deed) };
            self.audit(&hold.decider, commit.at_ms, about);
            self.holds.push((commit.at_ms, hold));
        }
        if let Some(recurred) = commit.recurred {
            self.recur(recurred);
        }
        for write in commit.state {
            self.state.insert((write.system, write.key), write.value);
        }
        if let Some(owner) = owner {
            self.record(owner, commit.calls);
        }
        for started in commit.started {
            self.record(started.delivery, started.calls);
            let Some(open) = self.facts.open.get_mut(&started.delivery) else { continue };
            if !broken(Mutant::MiscountAttempts) {
                open.attempts = started.attempt;
            }
            open.version += u32::from(!broken(Mutant::AheadIsNoFence));
            open.changed = true;
        }
        if let Some(attempted) = commit.attempted {
            self.attempted(attempted);
        }
        if let Some(operation) = commit.operation {
            self.operate(operation, commit.at_ms);
        }
    }

    fn origin(&self, commit: &Commit) -> Origin {
        if let Some(intake) = &commit.intake {
            return Origin::input(intake);
        }
        let delivery = commit.attempted.as_ref().and_then(|a| self.facts.open.get(&a.delivery));
        Origin::delivery(delivery.map_or("", |open| &open.system))
    }

    /// Keeps an intake once, and gives its number.
    fn keep(&mut self, intake: Intake) -> i64 {
        if let Some((seq, _)) = self.facts.intakes.get(&intake.id) {
            return *seq;
        }
        let seq = self.id();
        self.facts.intakes.insert(intake.id.clone(), (seq, intake.outcome));
        self.intakes.push((seq, intake));
        seq
    }

    fn recur(&mut self, recurred: Recurred) {
        let Some((seq, _)) = self.facts.intakes.get(&recurred.intake) else { return };
        match self.recurred.get_mut(seq) {
            Some(sum) => {
                sum.times += recurred.times;
                sum.last_at_ms = sum.last_at_ms.max(recurred.last_at_ms);
            }
            None => drop(self.recurred.insert(*seq, recurred)),
        }
    }

    fn record(&mut self, owner: i64, calls: Vec<Call>) {
        self.calls.extend(calls.into_iter().map(|call| ((owner, call.attempt, call.ordinal), call)));
    }

    fn known(&self, pair: Pair) -> Option<Known> {
        self.facts.known.get(&pair).copied().filter(|_| !broken(Mutant::ForgetDedup))
    }

    fn state_of(&self, delivery: i64) -> Option<DeliveryState> {
        let open = self.facts.open.get(&delivery).map(|open| open.state);
        open.or_else(|| self.facts.finished.get(&delivery).copied())
    }

    fn check(&self, commit: &Commit) -> Result<(), Refusal> {
        let refuse = commit.on_differing.unwrap_or(OnDiffering::Refuse) == OnDiffering::Refuse;
        let differs = |m: &NewMessage| self.known(m.pair()).is_some_and(|k| k.content != m.content());
        if refuse && let Some(index) = commit.messages.iter().position(differs) {
            return Err(Refusal::IdReused { index });
        }
        let attempted = commit.attempted.as_ref().map(|a| (a.delivery, a.expected));
        let started = commit.started.iter().map(|s| (s.delivery, s.expected));
        for (delivery, expected) in attempted.into_iter().chain(started) {
            let open = self.facts.open.get(&delivery);
            let fits = open.is_some_and(|d| d.state == DeliveryState::Ready && d.version == expected);
            if !fits && !broken(Mutant::NoFence) {
                return Err(Refusal::Stale);
            }
        }
        if let Some(decided) = &commit.decided {
            let outcome = self.facts.intakes.get(&decided.intake).map(|(_, outcome)| *outcome);
            outcome.filter(|outcome| decided.fits(*outcome)).ok_or(Refusal::NotOpen)?;
        }
        if let Some(operation) = &commit.operation {
            let state = self.state_of(operation.delivery);
            let same = |open: &Open| open.version == operation.seen && open.state == operation.state;
            let seen = self.facts.open.get(&operation.delivery).is_some_and(same) || broken(Mutant::DecideUnseen);
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

    /// Takes messages that came in by `origin`: new ones get a number and their deliveries.
    pub fn accept(&mut self, messages: Vec<NewMessage>, origin: &Origin, at_ms: i64) -> Vec<Accepted> {
        let mut accepted = Vec::with_capacity(messages.len());
        for new in messages {
            let (pair, content) = (new.pair(), new.content());
            accepted.push(match self.known(pair) {
                Some(known) => {
                    let differs = known.content != content;
                    if differs {
                        self.keep(origin.differing(&new, at_ms));
                    }
                    Accepted { seq: known.seq, duplicate: true, differs, deliveries: vec![] }
                }
                None => {
                    let seq = self.id();
                    if !broken(Mutant::ForgetBatch) {
                        self.facts.known.insert(pair, Known { seq, content });
                    }
                    self.seen.push(Seen { seq, message: new.message.clone(), pair, content });
                    self.insert(seq, new, origin.intake.clone(), at_ms)
                }
            });
        }
        accepted
    }

    fn insert(&mut self, seq: i64, new: NewMessage, intake: Option<String>, at_ms: i64) -> Accepted {
        let NewMessage { message, deliveries: planned, place, stated_by, journal, .. } = new;
        let at = self.messages.len();
        self.messages.push(Kept {
            seq,
            until: seq,
            message: message.clone(),
            received_at_ms: at_ms,
            sweep: false,
            with_data: false,
            place,
            stated_by,
            intake,
        });
        let mut deliveries = Vec::with_capacity(planned.len());
        let mut unfinished = false;
        for planned in planned {
            let state = self.deliver(seq, &message, planned, journal, at_ms, &mut deliveries);
            unfinished |= !finished(state);
        }
        let until = self.next - 1;
        if let Some(kept) = self.messages.get_mut(at) {
            kept.until = until;
            kept.sweep = unfinished && journal != Journal::Full;
            kept.with_data = unfinished || journal == Journal::Full;
        }
        Accepted { seq, duplicate: false, differs: false, deliveries }
    }

    /// Adds the new delivery to `all`, and the deliveries of what was made with it.
    fn deliver(
        &mut self,
        message_seq: i64,
        message: &Arc<Message>,
        planned: Planned,
        journal: Journal,
        at_ms: i64,
        all: &mut Vec<StoredDelivery>,
    ) -> DeliveryState {
        use DeliveryState::{Done, Parked, Ready, Waiting};
        let Planned { system, key, made, error } = planned;
        let lane = key.clone().map(|key| (system.clone(), key));
        let has = |states: &[DeliveryState]| lane.as_ref().is_some_and(|lane| self.has(lane, states));
        let (state, made) = match made {
            _ if error.is_some() => (Parked, None),
            _ if has(&[Parked, Waiting]) && !broken(Mutant::NewPassesParked) => (Waiting, None),
            Some(made) if !has(&[Ready]) || broken(Mutant::MadeOutOfTurn) => (Done, Some(made)),
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
        self.facts.open.insert(id, Open::new(&stored, error, at_ms));
        if let Some(lane) = lane.filter(|_| !finished(state)) {
            self.facts.lanes.entry(lane).or_default().insert(id, state);
        }
        all.push(stored);
        if let Some(made) = made {
            self.record(id, made.calls.into_iter().filter(|call| kept(journal, call)).collect());
            let accepted = self.accept(made.messages, &origin, at_ms);
            all.extend(accepted.into_iter().flat_map(|a| a.deliveries));
        }
        state
    }

    fn has(&self, lane: &KeyLane, states: &[DeliveryState]) -> bool {
        self.facts.lanes.get(lane).is_some_and(|lane| lane.values().any(|state| states.contains(state)))
    }

    fn lane(&self, delivery: i64) -> Option<KeyLane> {
        let open = self.facts.open.get(&delivery)?;
        Some((open.system.clone(), open.key.clone()?))
    }

    /// Deliveries of the same system and key in one of these states, by id.
    fn same_key(&self, delivery: i64, states: &[DeliveryState]) -> Vec<i64> {
        let Some(lane) = self.lane(delivery).and_then(|lane| self.facts.lanes.get(&lane)) else { return vec![] };
        lane.iter().filter(|(_, state)| states.contains(state)).map(|(id, _)| *id).collect()
    }

    fn held_before(&self, delivery: i64) -> Option<i64> {
        let held = self.same_key(delivery, &[DeliveryState::Parked, DeliveryState::Waiting]);
        held.into_iter().find(|other| *other < delivery)
    }

    fn set_state(&mut self, delivery: i64, state: DeliveryState) {
        if let Some(open) = self.facts.open.get_mut(&delivery) {
            open.state = state;
            open.changed = true;
        }
        if let Some(lane) = self.lane(delivery).and_then(|lane| self.facts.lanes.get_mut(&lane)) {
            match finished(state) {
                true => drop(lane.remove(&delivery)),
                false => drop(lane.insert(delivery, state)),
            }
        }
    }

    fn attempted(&mut self, attempted: Attempted) {
        let Attempted { delivery, state, attempts, tries, next_at_ms, error, at_ms, .. } = attempted;
        let Some(open) = self.facts.open.get_mut(&delivery) else { return };
        open.attempts = attempts;
        open.tries = tries;
        open.next_at_ms = next_at_ms;
        open.updated_at_ms = at_ms;
        open.version += 1;
        open.error = Some(error);
        let operated = open.judged.is_some();
        self.set_state(delivery, state);
        match state {
            DeliveryState::Parked => self.hold_behind(delivery),
            DeliveryState::Done if operated => self.release_behind(delivery),
            _ => {}
        }
    }

    fn operate(&mut self, operation: Operation, at_ms: i64) {
        self.operations += 1;
        let id = operation.delivery;
        let Some(open) = self.facts.open.get_mut(&id) else { return };
        let was = open.state;
        open.by = Some(operation.decider.by.clone());
        open.updated_at_ms = at_ms;
        open.tries = 0;
        open.next_at_ms = 0;
        open.version += 1;
        let operated = open.judged.is_some();
        if was != DeliveryState::Ready || broken(Mutant::ReadyIsJudged) {
            open.judged = Some(open.attempts);
        }
        let about = AuditRecord { system: operation.system, delivery: Some(id), ..about(operation.act.deed()) };
        let skip = operation.act == Act::Skip;
        if let Act::Edit(message) = operation.act {
            open.edited = Some(message);
        }
        self.audit(&operation.decider, at_ms, about);
        self.set_state(id, if skip { DeliveryState::Skipped } else { DeliveryState::Ready });
        if skip && (was == DeliveryState::Parked || (was == DeliveryState::Ready && operated)) {
            self.release_behind(id);
        }
    }

    /// Adds a decision to the audit, behind the last one.
    fn audit(&mut self, decider: &Decider, at_ms: i64, about: AuditRecord) {
        let (seq, before) = &self.facts.audited;
        let (by, comment) = (decider.by.clone(), decider.comment.clone());
        let record = AuditRecord { seq: seq + 1, at_ms, by, comment, ..about };
        let hash = chained(before, &record.text());
        self.facts.audited = (record.seq, hash.clone());
        self.audit.push(AuditEntry { record, hash });
    }

    fn hold_behind(&mut self, id: i64) {
        for other in self.same_key(id, &[DeliveryState::Ready]).into_iter().filter(|other| *other > id) {
            self.set_state(other, DeliveryState::Waiting);
        }
    }

    fn release_behind(&mut self, id: i64) {
        if broken(Mutant::ForgetRelease) {
            return;
        }
        let parked = self.same_key(id, &[DeliveryState::Parked]).first().copied();
        let parked = parked.filter(|_| !broken(Mutant::ReleasePastParked)).unwrap_or(i64::MAX);
        let waiting = self.same_key(id, &[DeliveryState::Waiting]);
        let free: Vec<_> = waiting.into_iter().filter(|other| *other < parked).collect();
        self.operations += i64::from(!free.is_empty());
        for id in free {
            self.set_state(id, DeliveryState::Ready);
            // Whichever is the last of them to end lets the next ones go, should a parked one be retried meanwhile.
            if let Some(open) = self.facts.open.get_mut(&id) {
                open.judged = open.judged.or(Some(0));
            }
        }
    }
}
