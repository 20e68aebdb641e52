//! How an attempt ended, what follows, and how the lane goes on once that is written.

use super::system::{SystemEngine, Work};
use super::write::{Queued, WriteOf};
use super::{Ended, Engine};
use crate::cause::answer_of;
use crate::error::{Code, ErrorRecord};
use crate::journal::*;
use crate::mutant::{Mutant, broken};
use crate::outcome::{Failure, Next, decide};

/// What a failure says about the system, as apart from the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SystemHealth {
    /// It answered.
    Up,
    /// It cannot be reached, or takes nobody in.
    Down,
    /// There is no way to it at all, whatever the message: its folder cannot be written to.
    Away,
    /// It asks to be left alone for so many milliseconds.
    Slow(Option<u64>),
    /// Nothing.
    Unsaid,
}

fn health(result: &Result<(), Failure>) -> SystemHealth {
    match result {
        Ok(()) | Err(Failure::Rejected(_)) => SystemHealth::Up,
        Err(Failure::Transient { .. } | Failure::Unauthorized(_) | Failure::UnknownOutcome(_)) => SystemHealth::Down,
        Err(Failure::RateLimited { retry_after_ms, .. }) => SystemHealth::Slow(*retry_after_ms),
        Err(Failure::Hub(problem)) if problem.code == Code::AdapterTimeout => SystemHealth::Down,
        Err(Failure::Hub(problem)) if problem.code == Code::FileUnreadable => SystemHealth::Away,
        Err(Failure::Other(_) | Failure::Hub(_)) => SystemHealth::Unsaid,
    }
}

impl SystemEngine {
    /// Whether the failure was the system's matter alone, so that it costs the delivery no try.
    fn note(&mut self, health: SystemHealth, now_ms: i64, jitter: f64) -> bool {
        match health {
            SystemHealth::Up => {
                if self.breaker.answered() {
                    self.lanes.hasten();
                }
                false
            }
            SystemHealth::Down => {
                self.breaker.failed(now_ms, jitter);
                self.breaker.down_since_ms().is_some() && !broken(Mutant::BurnTriesWhenDown)
            }
            SystemHealth::Away => {
                self.breaker.away(now_ms, jitter);
                true
            }
            SystemHealth::Slow(wait_ms) => {
                self.breaker.answered();
                let policy = self.rules.policy;
                let wait_ms = wait_ms.map_or(policy.backoff_first_ms, |asked_ms| policy.wait_ms(Some(asked_ms)));
                let until_ms = now_ms.saturating_add(i64::try_from(wait_ms).unwrap_or(i64::MAX));
                self.wishes += 1;
                let longer = self.held_until_ms.max(until_ms);
                self.held_until_ms = if broken(Mutant::ShortenHold) { until_ms } else { longer };
                true
            }
            SystemHealth::Unsaid => {
                self.breaker.undecided(now_ms);
                false
            }
        }
    }

    /// The outcome to be written. `spared`: it costs the delivery no try.
    fn outcome(&mut self, work: &Work, ended: &Ended, spared: bool, now_ms: i64) -> Attempted {
        let stored = &work.stored;
        let tries = stored.tries + u32::from(!spared);
        let (state, next_at_ms, error) = match &ended.result {
            Err(Failure::Rejected(_)) if broken(Mutant::FailureIsSuccess) => (DeliveryState::Done, 0, None),
            Ok(()) => (DeliveryState::Done, 0, None),
            Err(failure) => {
                let (state, next_at_ms) = match decide(&self.rules.policy, tries.max(1), failure, ended.jitter, spared)
                {
                    // While the system is down its breaker says when; afterwards nothing is waited for.
                    Next::Retry { after_ms } => {
                        (DeliveryState::Ready, now_ms.saturating_add(i64::try_from(after_ms).unwrap_or(i64::MAX / 2)))
                    }
                    Next::GiveUp if stored.key.is_some() && !broken(Mutant::KeyedGoesDead) => {
                        (DeliveryState::Parked, 0)
                    }
                    Next::GiveUp => (DeliveryState::Dead, 0),
                };
                let answer = answer_of(&ended.calls);
                (state, next_at_ms, Some(ErrorRecord { answer, ..failure.problem().record() }))
            }
        };
        Attempted {
            delivery: stored.id,
            expected: stored.version,
            state,
            attempts: ended.attempt,
            tries,
            next_at_ms,
            error,
            at_ms: now_ms,
        }
    }
}

impl Engine {
    pub(super) fn ended(&mut self, ended: Ended, now_ms: i64) {
        let Some(index) = self.names.get(&ended.system).copied() else { return };
        let Some(system) = self.systems.get_mut(index).filter(|s| s.running.contains_key(&ended.delivery)) else {
            return;
        };
        let spared = system.note(health(&ended.result), now_ms, ended.jitter);
        self.conclude(index, ended, spared, now_ms);
    }

    /// A file is one attempt, whatever it came to for each of its deliveries.
    pub(super) fn filed(&mut self, name: &str, ended: Vec<Ended>, left: &[i64], now_ms: i64) {
        let Some(index) = self.names.get(name).copied() else { return };
        let Some(system) = self.systems.get_mut(index) else { return };
        let said = ended.first().map_or((SystemHealth::Unsaid, 0.0), |first| (health(&first.result), first.jitter));
        let spared = system.note(said.0, now_ms, said.1);
        system.leave(left);
        if left.is_empty() && ended.iter().any(|ended| ended.result.is_ok()) {
            system.filed_ms = now_ms;
        }
        ended.into_iter().for_each(|ended| self.conclude(index, ended, spared, now_ms));
    }

    fn conclude(&mut self, index: usize, ended: Ended, spared: bool, now_ms: i64) {
        let Some(system) = self.systems.get_mut(index) else { return };
        let Some(work) = system.running.get(&ended.delivery).cloned() else { return };
        let attempted = system.outcome(&work, &ended, spared, now_ms);
        let keeps = ended.result.is_ok() || broken(Mutant::WriteFailedEffects);
        let commit = Commit {
            messages: if keeps { ended.messages } else { Vec::new() },
            on_differing: Some(OnDiffering::Keep),
            state: if keeps { ended.state } else { Vec::new() },
            calls: ended.calls,
            attempted: Some(attempted.clone()),
            at_ms: now_ms,
            ..Commit::default()
        };
        if broken(Mutant::NextBeforeOutcome) {
            system.lanes.done(work.stored.id, work.stored.key.as_deref());
        }
        self.touched.insert(index);
        self.writer.add(Queued { origin: WriteOf::Outcome { system: index, delivery: ended.delivery }, commit });
    }

    /// The outcome is written, or refused because the delivery is not this hub's any more.
    pub(super) fn settled(&mut self, index: usize, delivery: i64, attempted: Option<Attempted>, written: bool) {
        let Some(system) = self.systems.get_mut(index) else { return };
        let Some(work) = system.running.remove(&delivery) else { return };
        self.touched.insert(index);
        let mut stored = work.stored;
        let key = stored.key.clone();
        let attempted = attempted.filter(|_| written);
        let again = system.makes_files() && !broken(Mutant::FileOutOfTurn);
        if again && attempted.as_ref().is_none_or(|attempted| attempted.state != DeliveryState::Done) {
            return system.lanes.read_anew(&[delivery]);
        }
        match (attempted.as_ref().map(|attempted| attempted.state), attempted) {
            (Some(DeliveryState::Ready), Some(attempted)) => {
                stored.attempts = attempted.attempts;
                stored.version = attempted.expected + 1;
                stored.tries = attempted.tries;
                stored.next_at_ms = attempted.next_at_ms;
                let job = system.job(stored, false);
                system.lanes.retry(job);
            }
            (Some(DeliveryState::Parked), _) if broken(Mutant::ParkedIsPassed) => {
                system.lanes.done(delivery, key.as_deref());
            }
            (None, _) if broken(Mutant::PassAbandoned) => {
                system.lanes.done(delivery, key.as_deref());
                system.lanes.rewind(delivery - 1);
            }
            (Some(DeliveryState::Parked | DeliveryState::Dead) | None, _) => {
                system.lanes.abandon(delivery, key.as_deref());
            }
            (Some(_), _) => {
                system.lanes.done(delivery, key.as_deref());
                if stored.operated {
                    system.lanes.rewind(delivery);
                }
            }
        }
    }

    /// A delivery that was just written.
    pub(super) fn offer(&mut self, delivery: &StoredDelivery) {
        if delivery.state != DeliveryState::Ready {
            return;
        }
        self.with(&delivery.system, |system| {
            let job = system.job(delivery.clone(), true);
            system.lanes.offer(job);
        });
    }
}
