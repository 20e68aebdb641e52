//! What must hold when everything has come to rest.

use super::plan::Published;
use super::watch::is_open;
use super::world::{Broken, Held, World};
use crate::journal::DeliveryState;
use std::collections::HashMap;

fn broken<T>(promise: &'static str, detail: impl Into<String>) -> Held<T> {
    Err(Broken::new(promise, detail))
}

impl World {
    /// What is still open.
    pub fn open(&self) -> String {
        let open = self.journal.deliveries().filter(|d| is_open(d.state) || d.state == DeliveryState::Dead);
        let open = open.map(|d| format!("{} {} {:?} {:?}", d.system, d.id, d.key, d.state));
        let open: Vec<_> = open.take(5).collect();
        let queued: usize = self.queues.iter().map(|queue| queue.ready.len() + queue.unacked.len()).sum();
        let idle: Vec<_> = self.hubs.iter().map(|hub| hub.engine.is_idle()).collect();
        format!("{open:?}, {queued} queued, {} unsent, idle: {idle:?}", self.unsent)
    }

    pub fn finished(&self) -> Held {
        self.all_there()?;
        self.effects_fit()?;
        self.stated_once()?;
        self.state_fits()
    }

    fn seq(&self, source: &str, id: &str) -> Option<i64> {
        self.journal.seq_of(source, id)
    }

    /// Every published message is there, and those of a queue and key in the order of their first publication.
    fn all_there(&self) -> Held {
        let mut last: HashMap<usize, i64> = HashMap::new();
        let mut all: Vec<&Published> = self.plan.messages.iter().collect();
        all.sort_by_key(|message| message.at_ms.iter().min());
        for pair in all.chunk_by(|a, b| a.at_ms.iter().min() == b.at_ms.iter().min()) {
            for message in pair {
                let Some(seq) = self.seq("p", &message.id) else {
                    return broken("nothing is lost", message.id.clone());
                };
                let Some(key) = message.key.filter(|_| message.broker && pair.len() == 1) else { continue };
                if last.insert(key, seq).is_some_and(|last| last > seq) {
                    return broken("a publisher's order is kept", format!("{} of key {key}", message.id));
                }
            }
        }
        Ok(())
    }

    fn effects_fit(&self) -> Held {
        for delivery in self.journal.deliveries() {
            let Some(system) = self.plan.system_named(&delivery.system) else { continue };
            if delivery.state == DeliveryState::Done && !self.executed_once(system, delivery.id) {
                return broken("what is done was executed", format!("{} {}", delivery.system, delivery.id));
            }
        }
        Ok(())
    }

    /// What a done delivery states is there once, what another would state is not, and it is in order.
    fn stated_once(&self) -> Held {
        let mut last: HashMap<(usize, String), i64> = HashMap::new();
        for delivery in self.journal.deliveries() {
            let Some(system) = self.plan.system_named(&delivery.system) else { continue };
            let done = delivery.state == DeliveryState::Done;
            for stated in self.plan.stated(system, &delivery.message) {
                let (source, id) = (&stated.message.source, &stated.message.id);
                let seq = self.seq(source, id);
                if seq.is_some() != done {
                    let text = format!("{source} {id}: delivery {} is {:?}", delivery.id, delivery.state);
                    return broken("what a delivery states is written with its end", text);
                }
                let (Some(seq), Some(key)) = (seq, delivery.key.clone()) else { continue };
                if last.insert((system, key), seq).is_some_and(|last| last > seq) {
                    return broken("what a key's deliveries state is in order", format!("{source} {id}"));
                }
            }
        }
        Ok(())
    }

    /// The state of a key is what its last delivery that was done wrote.
    fn state_fits(&self) -> Held {
        for ((system, key), lane) in &self.watch.lanes {
            let made = |id: &&i64| !self.watch.made.contains(id);
            let done =
                |id: &&i64| self.journal.deliveries.get(id).is_some_and(|row| row.stored.state == DeliveryState::Done);
            let last = lane.iter().filter(done).rfind(made).map(|id| id.to_string().into_bytes());
            let name = self.plan.systems.get(*system).map(|sys| sys.name.clone()).unwrap_or_default();
            if self.journal.state.get(&(name, key.clone())) != last.as_ref() {
                return broken("state is written by what was done, in order", format!("s{system} {key}"));
            }
        }
        Ok(())
    }
}
