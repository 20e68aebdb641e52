//! A person who looks at what failed, and decides.

use super::plan::Kind;
use super::world::{Ev, Held, Moment, TicketOf, World};
use crate::audit::Decider;
use crate::journal::{Act, DeliveryState, Operation};
use crate::record::may_be_edited;
use crate::{Commit, Message, Shards, StoredDelivery};
use serde_json::Value;

impl World {
    pub fn person(&mut self) -> Held {
        if self.quiet && self.unsent == 0 && self.ghosts == 0 && self.settled() {
            self.done = true;
            return Ok(());
        }
        let failed: Vec<_> = self.journal.deliveries().filter(|d| self.failed(d)).cloned().collect();
        let ready = |d: &&StoredDelivery| d.state == DeliveryState::Ready;
        let ready: Vec<_> = self.journal.deliveries().filter(ready).cloned().collect();
        if !self.quiet
            && self.dice.chance(300)
            && let Some(delivery) = ready.get(self.dice.below(ready.len()))
        {
            self.decide(delivery)?;
        }
        match self.quiet {
            true => failed.iter().try_for_each(|delivery| self.decide(delivery))?,
            false => {
                if let Some(delivery) = failed.get(self.dice.below(failed.len())) {
                    self.decide(delivery)?;
                }
            }
        }
        let wait_ms = if self.quiet { 60 } else { self.plan.faults.person_ms };
        self.agenda.push(Moment::World, self.now + wait_ms, Ev::Person);
        Ok(())
    }

    fn failed(&self, delivery: &StoredDelivery) -> bool {
        match delivery.state {
            DeliveryState::Parked | DeliveryState::Dead => true,
            DeliveryState::Waiting => !self.quiet,
            _ => false,
        }
    }

    fn decide(&mut self, delivery: &StoredDelivery) -> Held {
        let Some(system) = self.plan.system_named(&delivery.system) else { return Ok(()) };
        let poison = self.published(&delivery.message.id).is_some_and(|m| m.poison) && delivery.message.data.is_null();
        let ready = delivery.state == DeliveryState::Ready;
        let executed = self.effects.contains_key(&delivery.id);
        let asks_around = matches!(self.kind_of(system), Kind::Blind | Kind::Asks | Kind::Files);
        let act = match self.dice.below(10) {
            // Who looks at a payment asks the bank first.
            _ if executed && asks_around && !ready => Act::Skip,
            0 => Act::Skip,
            // Other data are another request: not for what was done, or may have been.
            1..4 if poison && may_be_edited(delivery.id, delivery.state, &self.journal.calls(delivery.id)).is_ok() => {
                Act::Edit(Box::new(Message { data: Value::Bool(true).into(), ..Message::clone(&delivery.message) }))
            }
            _ if poison && self.quiet => Act::Skip,
            _ => Act::Retry,
        };
        // Now and then two people decide about the same thing, or one decides late.
        let times = if !self.quiet && self.dice.chance(350) { 2 } else { 1 };
        for _ in 0..times {
            let operation = Operation {
                delivery: delivery.id,
                system: delivery.system.clone(),
                shard: Shards::of(&delivery.system, delivery.key.as_deref(), delivery.message_seq),
                act: act.clone(),
                state: delivery.state,
                seen: delivery.version,
                decider: Decider::new("person"),
            };
            let alive: Vec<_> = (0..self.hubs.len()).filter(|n| self.hubs.get(*n).is_some_and(|h| h.alive)).collect();
            let Some(hub) = self.dice.pick(&alive) else { return Ok(()) };
            let commit = Commit { operation: Some(operation), at_ms: self.now, ..Commit::default() };
            let now = (ready && act != Act::Skip).then_some(system);
            let now = now.map(|system| Ok((system, self.sight(hub, system)?.wishes))).transpose()?;
            self.send_input(hub, TicketOf::Person { now }, commit)?;
        }
        Ok(())
    }

    fn settled(&self) -> bool {
        let finished = |d: &StoredDelivery| matches!(d.state, DeliveryState::Done | DeliveryState::Skipped);
        self.queues.iter().all(|queue| queue.ready.is_empty() && queue.unacked.is_empty())
            && self.journal.deliveries().all(finished)
            && self.hubs.iter().all(|hub| hub.alive && hub.engine.is_idle())
    }
}
