//! The relay of messages whose routes want no journal: made, published and confirmed, and nothing written. Whatever
//! does not go through at once takes the durable way.

use super::{Attempter, Via};
use busbar_core::ports::Outgoing;
use busbar_core::{Journal, NewMessage};

impl Attempter {
    /// What the message comes to over AMQP, when nothing but that is to be done with it; else `None`.
    pub async fn relayed(&self, new: &NewMessage) -> Option<Vec<Outgoing>> {
        if new.journal != Journal::None {
            return None;
        }
        let mut outgoing = Vec::new();
        for planned in &new.deliveries {
            if planned.error.is_some() {
                return None;
            }
            if let Some(Via::Amqp(amqp)) = self.via.get(&planned.system) {
                outgoing.push(amqp.published(&new.message));
            } else if self.stating.contains(&planned.system) {
                let run = self.adapters.deliver(&planned.system, super::attempt::ahead(&new.message)).await;
                run.result.ok()?;
                for emitted in run.emitted {
                    let stated = self.rules.admit_valid(emitted.message, emitted.place).ok()?;
                    outgoing.extend(self.published(&stated)?);
                }
            } else {
                return None;
            }
        }
        Some(outgoing)
    }

    fn published(&self, new: &NewMessage) -> Option<Vec<Outgoing>> {
        let publish = |planned: &busbar_core::Planned| match self.via.get(&planned.system) {
            Some(Via::Amqp(amqp)) if planned.error.is_none() => Some(amqp.published(&new.message)),
            _ => None,
        };
        // A message without routes has nothing to be relayed; one that is to be kept takes the durable way.
        let kept = new.journal != Journal::None && !new.deliveries.is_empty();
        if kept { None } else { new.deliveries.iter().map(publish).collect() }
    }
}
