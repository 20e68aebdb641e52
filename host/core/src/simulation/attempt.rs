//! One attempt, as the driver of a hub makes it: calls of earlier attempts are read, an unsafe call is written ahead
//! of being sent, and one without an answer is never sent again without asking.

use super::far::Answer;
use super::plan::{Kind, event};
use super::world::{Broken, Ev, Held, Moment, TicketOf, World};
use crate::engine::{Ended, Event, attempt_number};
use crate::record::{Record, Repeat, Verdict, since_decision};
use crate::{
    Call, Code, Commit, Failure, Journal, Marks, NewMessage, Problem, Rejection, Started, StateWrite, StoredDelivery,
};
use crate::{CallKind, CallOutcome};
use serde_json::{Value, json};

/// An attempt that is under way.
pub struct Attempt {
    pub delivery: StoredDelivery,
    pub system: usize,
    pub number: u32,
    breaks: u64,
    record: Record,
    calls: Vec<Call>,
}

/// What an attempt goes on with.
#[derive(Debug)]
pub enum Go {
    /// The calls of earlier attempts were read.
    Recorded(Vec<Call>),
    /// The call is written ahead, or not.
    Ahead(bool),
    Answer(Answer),
    Asked(Answer),
}

fn transient() -> Failure {
    Failure::Transient { reason: String::new(), retry_after_ms: None }
}

impl World {
    pub fn begin(&mut self, hub: usize, delivery: StoredDelivery, fresh: bool) -> Held {
        let Some(system) = self.plan.system_named(&delivery.system) else { return Ok(()) };
        let id = delivery.id;
        let number = attempt_number(&delivery);
        let h = self.hub(hub)?;
        let attempt = Attempt {
            delivery,
            system,
            number,
            breaks: h.lease.breaks(),
            record: Record::default(),
            calls: Vec::new(),
        };
        h.attempts.insert(id, attempt);
        let life = h.life;
        let delay = self.dice.delay(3, 80, self.plan.faults.late);
        let (moment, ev) = match !fresh {
            true => (Moment::World, Ev::TakeCalls { hub, life, delivery: id }),
            false => (Moment::Process { hub, life }, Ev::Go { delivery: id, go: Go::Recorded(Vec::new()) }),
        };
        self.agenda.push(moment, self.now + delay, ev);
        Ok(())
    }

    pub fn go(&mut self, hub: usize, delivery: i64, go: Go) -> Held {
        let Some(mut attempt) = self.hub(hub)?.attempts.remove(&delivery) else { return Ok(()) };
        let result = match go {
            Go::Recorded(calls) => self.first(hub, &mut attempt, calls)?,
            Go::Ahead(written) => self.ahead(hub, &mut attempt, written)?,
            Go::Answer(answer) => self.answered(hub, &mut attempt, answer)?,
            Go::Asked(answer) => self.asked(hub, &mut attempt, answer)?,
        };
        match result {
            Some(result) => self.end(hub, attempt, result),
            None => {
                self.hub(hub)?.attempts.insert(delivery, attempt);
                Ok(())
            }
        }
    }

    fn kind(&self, system: usize) -> Kind {
        self.plan.systems.get(system).map_or(Kind::States, |sys| sys.kind)
    }

    fn first(&mut self, hub: usize, attempt: &mut Attempt, recorded: Vec<Call>) -> Held<Option<Result<(), Failure>>> {
        if !self.quiet && self.dice.chance(self.plan.faults.trap_before) {
            return Ok(Some(Err(Failure::Other(String::new()))));
        }
        let delivery = &attempt.delivery;
        match self.kind(attempt.system) {
            Kind::States => {
                let poison = self.published(&delivery.message.id).is_some_and(|m| m.poison);
                let rejected = poison && delivery.message.data.is_null();
                Ok(Some(if rejected { Err(rejection()) } else { self.trap_after() }))
            }
            Kind::Once => self.send(hub, attempt).map(|()| None),
            _ => {
                attempt.record = Record::new(since_decision(recorded, delivery.judged));
                self.effect(hub, attempt)
            }
        }
    }

    /// The adapter makes its one unsafe request; the rule of recorded calls says whether it is sent.
    fn effect(&mut self, hub: usize, attempt: &mut Attempt) -> Held<Option<Result<(), Failure>>> {
        let repeat = Repeat::of("POST", false);
        match attempt.record.verdict(&request(&attempt.delivery), repeat) {
            Verdict::Answer(_) if self.effects.contains_key(&attempt.delivery.id) => Ok(Some(self.trap_after())),
            Verdict::Answer(answer) => {
                let text = format!("delivery {}: {answer}", attempt.delivery.id);
                Err(Broken::new("only what was done is answered from the record", text))
            }
            Verdict::Unknown if self.kind(attempt.system) == Kind::Asks => {
                let withheld = self.call(attempt, CallOutcome::Withheld);
                attempt.calls.push(withheld);
                self.ask(hub, attempt).map(|()| None)
            }
            Verdict::Unknown => Ok(Some(Err(Failure::UnknownOutcome(String::new())))),
            Verdict::Send => {
                let call = self.call(attempt, CallOutcome::NoAnswer);
                attempt.calls.push(call.clone());
                let next = if repeat.is_written_ahead() {
                    self.write_ahead(hub, attempt, call)
                } else {
                    self.send(hub, attempt)
                };
                next.map(|()| None)
            }
        }
    }

    fn trap_after(&mut self) -> Result<(), Failure> {
        match !self.quiet && self.dice.chance(self.plan.faults.trap_after) {
            true => Err(Failure::Hub(Problem::new(Code::AdapterTrap, ""))),
            false => Ok(()),
        }
    }

    fn call(&self, attempt: &Attempt, outcome: CallOutcome) -> Call {
        Call {
            attempt: attempt.number,
            ordinal: attempt.calls.len() as u32,
            kind: CallKind::Http,
            request: request(&attempt.delivery),
            answer: None,
            outcome,
            started_at_ms: self.now,
            duration_us: 0,
        }
    }

    fn write_ahead(&mut self, hub: usize, attempt: &Attempt, call: Call) -> Held {
        let stored = &attempt.delivery;
        let started = Started {
            system: stored.system.clone(),
            delivery: stored.id,
            expected: 0,
            attempt: attempt.number,
            calls: vec![call],
        };
        let commit = Commit { started: vec![started], at_ms: self.now, ..Commit::default() };
        self.input(hub, TicketOf::Ahead { delivery: attempt.delivery.id }, false, commit)
    }

    fn ahead(&mut self, hub: usize, attempt: &mut Attempt, written: bool) -> Held<Option<Result<(), Failure>>> {
        // A hub whose lease was over meanwhile sends nothing more: another may have asked already.
        let now = self.now;
        if written && self.hub(hub)?.lease.holds(attempt.breaks, now) {
            return self.send(hub, attempt).map(|()| None);
        }
        settle(attempt, CallOutcome::NotSent, None);
        Ok(Some(Err(Failure::Hub(Problem::new(Code::StoreUnavailable, "")))))
    }

    fn send(&mut self, hub: usize, attempt: &Attempt) -> Held {
        let answer = self.request(attempt.system, &attempt.delivery)?;
        self.later(hub, attempt.delivery.id, Go::Answer(answer), answer == Answer::Nothing)
    }

    fn ask(&mut self, hub: usize, attempt: &Attempt) -> Held {
        let answer = self.question(attempt.system, attempt.delivery.id);
        self.later(hub, attempt.delivery.id, Go::Asked(answer), answer == Answer::Nothing)
    }

    fn later(&mut self, hub: usize, delivery: i64, go: Go, timeout: bool) -> Held {
        let delay = if timeout { 150 } else { self.dice.delay(15, 200, self.plan.faults.late) };
        let life = self.hub(hub)?.life;
        self.agenda.push(Moment::Process { hub, life }, self.now + delay, Ev::Go { delivery, go });
        Ok(())
    }

    fn answered(&mut self, hub: usize, attempt: &mut Attempt, answer: Answer) -> Held<Option<Result<(), Failure>>> {
        match answer {
            Answer::Done => settle(attempt, CallOutcome::Ok, Some(200)),
            Answer::Rejected => settle(attempt, CallOutcome::Ok, Some(422)),
            Answer::Error(None) => settle(attempt, CallOutcome::Ok, Some(401)),
            Answer::Error(Some(_)) => settle(attempt, CallOutcome::Ok, Some(503)),
            Answer::Limited(_) => settle(attempt, CallOutcome::Ok, Some(429)),
            Answer::Refused | Answer::Absent => settle(attempt, "unreachable".into(), None),
            Answer::Nothing => {}
        }
        if answer == Answer::Nothing {
            return match self.kind(attempt.system) {
                Kind::Blind => Ok(Some(Err(Failure::UnknownOutcome(String::new())))),
                Kind::Asks if self.dice.chance(500) => self.ask(hub, attempt).map(|()| None),
                _ => Ok(Some(Err(transient()))),
            };
        }
        Ok(Some(self.outcome(answer)))
    }

    fn outcome(&mut self, answer: Answer) -> Result<(), Failure> {
        match answer {
            Answer::Done => self.trap_after(),
            Answer::Rejected => Err(rejection()),
            Answer::Error(retry_after_ms) => Err(Failure::Transient { reason: String::new(), retry_after_ms }),
            Answer::Limited(wait_ms) => {
                Err(Failure::RateLimited { reason: String::new(), retry_after_ms: Some(wait_ms) })
            }
            Answer::Refused | Answer::Nothing | Answer::Absent => Err(transient()),
        }
    }

    fn asked(&mut self, hub: usize, attempt: &mut Attempt, answer: Answer) -> Held<Option<Result<(), Failure>>> {
        let sent = attempt.calls.iter().filter(|call| call.outcome != CallOutcome::Withheld).count();
        if answer == Answer::Absent && sent < 2 {
            return self.effect(hub, attempt);
        }
        Ok(Some(self.outcome(answer)))
    }

    fn end(&mut self, hub: usize, attempt: Attempt, result: Result<(), Failure>) -> Held {
        let Attempt { delivery, system, number, calls, .. } = attempt;
        // What a failed attempt stated is thrown away by the engine, wherever it comes from.
        let (messages, value) = match &result {
            Ok(()) => (self.plan.stated(system, &delivery.message), delivery.id.to_string()),
            Err(_) => (vec![failed(&delivery)], "failed".into()),
        };
        let state = delivery.key.iter().map(|key| StateWrite {
            system: delivery.system.clone(),
            key: key.clone(),
            value: Some(value.clone().into_bytes()),
        });
        let state = state.collect();
        self.before_end(hub, system, &delivery, &result)?;
        let down = matches!(result, Err(Failure::Transient { .. } | Failure::UnknownOutcome(_)));
        let jitter = self.dice.fraction();
        let name = delivery.system.clone();
        let ended =
            Ended { system: name, delivery: delivery.id, attempt: number, result, messages, state, calls, jitter };
        self.feed(hub, [Event::Ended(Box::new(ended))])?;
        self.after_end(hub, system, delivery.id, down)
    }
}

/// What an adapter would send for the delivery.
fn request(delivery: &StoredDelivery) -> Value {
    json!({ "method": "POST", "body": *delivery.message.data })
}

fn settle(attempt: &mut Attempt, outcome: CallOutcome, status: Option<u16>) {
    if let Some(call) = attempt.calls.last_mut() {
        call.outcome = outcome;
        call.answer = status.map(|status| json!({ "status": status }));
    }
}

fn rejection() -> Failure {
    Failure::Rejected(Rejection { code: "no".into(), reason: String::new(), place: None })
}

fn failed(delivery: &StoredDelivery) -> NewMessage {
    NewMessage {
        message: event(&format!("failed {}", delivery.id), "failed", None),
        marks: Marks::from("same".to_string()),
        deliveries: Vec::new(),
        place: None,
        stated_by: None,
        journal: Journal::Full,
    }
}
