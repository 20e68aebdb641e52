//! One file out, as the driver of a hub makes it: written under a hidden name, written ahead, named, and done.

use super::plan::Kind;
use super::world::{Ev, Held, Moment, TicketOf, World};
use crate::engine::{Ended, Event, Work, attempt_number};
use crate::files::{Begun, ahead, at_fault, call, unfinished};
use crate::record::since_decision;
use crate::{Call, CallOutcome, Code, Commit, Failure, Problem, Rejection, StateWrite, StoredDelivery};

/// A file that is under way.
pub struct Filing {
    deliveries: Vec<StoredDelivery>,
    left: Vec<i64>,
    begun: Option<Begun>,
    /// An earlier attempt began it.
    resumed: bool,
    breaks: u64,
}

/// What it goes on with.
#[derive(Debug)]
pub enum FileGo {
    /// The calls of earlier attempts were read.
    Recorded(Vec<(i64, Vec<Call>)>),
    /// It is written ahead; or it is not; or nobody knows.
    Ahead(Option<bool>),
    /// It gets its name.
    Named,
}

impl World {
    pub fn begin_file(&mut self, hub: usize, system: usize, deliveries: Vec<Work>) -> Held {
        let read: Vec<i64> = deliveries.iter().filter(|work| !work.fresh).map(|work| work.stored.id).collect();
        let deliveries = deliveries.into_iter().map(|work| work.stored).collect();
        let h = self.hub(hub)?;
        let (life, breaks) = (h.life, h.lease.breaks());
        h.files.insert(system, Filing { deliveries, left: Vec::new(), begun: None, resumed: false, breaks });
        let delay = self.dice.delay(3, 80, self.plan.faults.late);
        let ev = match read.is_empty() {
            true => return self.file_later(hub, system, FileGo::Recorded(Vec::new())),
            false => Ev::TakeRecords { hub, life, system, deliveries: read },
        };
        self.agenda.push(Moment::World, self.now + delay, ev);
        Ok(())
    }

    pub fn take_records(&mut self, hub: usize, life: u64, system: usize, deliveries: Vec<i64>) {
        let recorded = deliveries.into_iter().map(|id| (id, self.journal.calls(id))).collect();
        let delay = self.dice.delay(3, 80, self.plan.faults.late);
        let ev = Ev::File { system, go: FileGo::Recorded(recorded) };
        self.agenda.push(Moment::Process { hub, life }, self.now + delay, ev);
    }

    fn file_later(&mut self, hub: usize, system: usize, go: FileGo) -> Held {
        let at_ms = self.now + self.dice.delay(2, 60, self.plan.faults.late);
        let life = self.hub(hub)?.life;
        self.agenda.push(Moment::Process { hub, life }, at_ms, Ev::File { system, go });
        Ok(())
    }

    pub fn file(&mut self, hub: usize, system: usize, go: FileGo) -> Held {
        let Some(mut filing) = self.hub(hub)?.files.remove(&system) else { return Ok(()) };
        let result = match go {
            FileGo::Recorded(recorded) => self.compose(hub, system, &mut filing, recorded)?,
            FileGo::Ahead(written) => self.written_ahead(hub, system, &filing, written)?,
            FileGo::Named => Some(self.name_file(system, &filing)?),
        };
        match result {
            Some((result, outcome)) => self.end_file(hub, system, filing, result, outcome),
            None => {
                self.hub(hub)?.files.insert(system, filing);
                Ok(())
            }
        }
    }

    /// Goes on with the file that was begun, or writes the part of a new one.
    fn compose(
        &mut self,
        hub: usize,
        system: usize,
        filing: &mut Filing,
        recorded: Vec<(i64, Vec<Call>)>,
    ) -> Held<End> {
        let judged = |id: i64| filing.deliveries.iter().find(|d| d.id == id).map_or(0, |d| d.judged);
        let recorded: Vec<_> =
            recorded.into_iter().map(|(id, calls)| (id, since_decision(calls, judged(id)))).collect();
        if self.is_down(system) {
            return Ok(Some((Err(unwritable()), None)));
        }
        if let Some((begun, ids)) = unfinished(&recorded) {
            let (now, later) = std::mem::take(&mut filing.deliveries).into_iter().partition(|d| ids.contains(&d.id));
            filing.deliveries = now;
            filing.left = Vec::<StoredDelivery>::into_iter(later).map(|d| d.id).collect();
            (filing.begun, filing.resumed) = (Some(begun), true);
            return self.write_file_ahead(hub, system, filing).map(|()| None);
        }
        if !self.quiet && self.dice.chance(self.plan.faults.trap_before) {
            return Ok(Some((Err(Failure::Other(String::new())), None)));
        }
        let poison =
            |d: &StoredDelivery| self.published(&d.message.id).is_some_and(|m| m.poison) && d.message.data.is_null();
        if let Some(place) = filing.deliveries.iter().position(poison) {
            let failure = Failure::Rejected(Rejection {
                code: "no".into(),
                reason: String::new(),
                place: Some(format!("/{place}")),
            });
            if let Some(index) = at_fault(&failure).filter(|index| *index < filing.deliveries.len()) {
                let mut others = std::mem::take(&mut filing.deliveries);
                filing.deliveries = vec![others.remove(index)];
                filing.left = others.into_iter().map(|d| d.id).collect();
            }
            return Ok(Some((Err(failure), None)));
        }
        self.parts_made += 1;
        let begun = Begun { name: format!("f{}", self.parts_made), part: format!("p{}", self.parts_made) };
        self.parts.insert(begun.part.clone(), filing.deliveries.clone());
        filing.begun = Some(begun);
        if !self.quiet && self.dice.chance(self.plan.faults.trap_after) {
            return Ok(Some((Err(Failure::Hub(Problem::new(Code::AdapterTrap, ""))), None)));
        }
        self.write_file_ahead(hub, system, filing).map(|()| None)
    }

    fn write_file_ahead(&mut self, hub: usize, system: usize, filing: &Filing) -> Held {
        let Some(begun) = &filing.begun else { return Ok(()) };
        let started = ahead(&filing.deliveries, begun, self.now);
        let commit = Commit { started, at_ms: self.now, ..Commit::default() };
        self.input(hub, TicketOf::FileAhead { system }, false, commit)
    }

    fn written_ahead(&mut self, hub: usize, system: usize, filing: &Filing, written: Option<bool>) -> Held<End> {
        // A hub whose lease was over meanwhile gives no names any more: another may have done so already.
        let now = self.now;
        if written == Some(true) && self.hub(hub)?.lease.holds(filing.breaks, now) {
            return self.file_later(hub, system, FileGo::Named).map(|()| None);
        }
        // Where it may be written ahead all the same, the part must stay.
        if written == Some(false)
            && !filing.resumed
            && let Some(begun) = &filing.begun
        {
            self.parts.remove(&begun.part);
        }
        let away = Failure::Hub(Problem::new(Code::StoreUnavailable, ""));
        // Their records stay as they are, all of them: where they say that the file was begun, it is gone on with.
        Ok(Some((Err(away), None)))
    }

    fn name_file(&mut self, system: usize, filing: &Filing) -> Held<(Result<(), Failure>, Option<CallOutcome>)> {
        let Some(begun) = &filing.begun else { return Ok((Ok(()), None)) };
        if self.is_down(system) {
            return Ok((Err(unwritable()), None));
        }
        let part = self.parts.remove(&begun.part);
        if part.is_none() && !filing.resumed {
            return Ok((Err(unwritable()), None));
        }
        for delivery in part.into_iter().flatten() {
            self.execute(system, &delivery)?;
        }
        let lost = !self.quiet && self.dice.chance(self.plan.faults.lose_answer);
        Ok(if lost { (Err(unwritable()), None) } else { (Ok(()), Some(CallOutcome::Ok)) })
    }

    fn end_file(
        &mut self,
        hub: usize,
        system: usize,
        filing: Filing,
        result: Result<(), Failure>,
        outcome: Option<CallOutcome>,
    ) -> Held {
        let Filing { deliveries, left, begun, .. } = filing;
        let Some(name) = self.plan.systems.get(system).map(|sys| sys.name.clone()) else { return Ok(()) };
        let (jitter, now) = (self.dice.fraction(), self.now);
        let mut ended = Vec::new();
        for (index, delivery) in deliveries.iter().enumerate() {
            let attempt = attempt_number(delivery);
            let calls = begun
                .as_ref()
                .zip(outcome.clone())
                .map(|(begun, outcome)| call(attempt, begun, index, outcome, None, now));
            let value = if result.is_ok() { delivery.id.to_string() } else { "failed".into() };
            let write = |key: &String| StateWrite {
                system: name.clone(),
                key: key.clone(),
                value: Some(value.clone().into_bytes()),
            };
            let state = delivery.key.iter().map(write).collect();
            self.before_end(hub, system, delivery, &result)?;
            let (calls, result, system) = (calls.into_iter().collect(), result.clone(), name.clone());
            ended.push(Ended {
                system,
                delivery: delivery.id,
                attempt,
                result,
                messages: vec![],
                state,
                calls,
                jitter,
            });
        }
        self.not_begun(hub, &left);
        self.feed(hub, [Event::Filed { system: name, ended, left }])?;
        deliveries.iter().try_for_each(|delivery| self.after_end(hub, system, delivery.id, false))
    }

    pub fn makes_files(&self, system: usize) -> bool {
        self.kind_of(system) == Kind::Files
    }
}

/// How it ended, and what becomes of its call; nothing: it goes on.
type End = Option<(Result<(), Failure>, Option<CallOutcome>)>;

fn unwritable() -> Failure {
    Failure::Hub(Problem::new(Code::FileUnreadable, ""))
}
