//! The far ends, with their own ledger of what they executed.

use super::plan::Kind;
use super::world::{Broken, Held, World};
use crate::StoredDelivery;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Rejected,
    /// Answered, and not executed.
    Error(Option<u64>),
    Limited(u64),
    /// It cannot be reached, so that nothing was executed.
    Refused,
    /// Executed or not.
    Nothing,
    /// To a question: it was not executed.
    Absent,
}

impl World {
    pub fn is_down(&self, system: usize) -> bool {
        let down = |(from, to): &(i64, i64)| (*from..*to).contains(&self.now);
        !self.quiet && self.plan.systems.get(system).is_some_and(|sys| sys.down.iter().any(down))
    }

    /// Trouble with a request before anything is executed.
    fn trouble(&mut self, system: usize) -> Option<Answer> {
        if self.is_down(system) {
            return Some(Answer::Refused);
        }
        if self.quiet {
            return None;
        }
        let faults = &self.plan.faults;
        if self.dice.chance(faults.error) {
            let wish = self.dice.chance(300).then(|| self.dice.range(10, 300).unsigned_abs());
            return Some(Answer::Error(wish));
        }
        if self.dice.chance(faults.limited) {
            return Some(Answer::Limited(self.dice.range(10, 200).unsigned_abs()));
        }
        self.dice.chance(faults.lose_request).then_some(Answer::Nothing)
    }

    /// A request to execute the delivery.
    pub fn request(&mut self, system: usize, delivery: &StoredDelivery) -> Held<Answer> {
        if let Some(answer) = self.trouble(system) {
            return Ok(answer);
        }
        let published = self.published(&delivery.message.id);
        if published.is_some_and(|m| m.sick) && !self.quiet {
            return Ok(Answer::Error(None));
        }
        if published.is_some_and(|m| m.poison) && delivery.message.data.is_null() {
            return Ok(Answer::Rejected);
        }
        self.execute(system, delivery)?;
        let lost = !self.quiet && self.dice.chance(self.plan.faults.lose_answer);
        Ok(if lost { Answer::Nothing } else { Answer::Done })
    }

    pub fn execute(&mut self, system: usize, delivery: &StoredDelivery) -> Held {
        let Some(kind) = self.plan.systems.get(system).map(|sys| sys.kind) else { return Ok(()) };
        let count = self.effects.entry(delivery.id).or_insert(0);
        if *count > 0 {
            let text = || format!("delivery {} to s{system} ({kind:?})", delivery.id);
            return if kind == Kind::Once { Ok(()) } else { Err(Broken::new("an effect happens once", text())) };
        }
        *count = 1;
        let Some(key) = &delivery.key else { return Ok(()) };
        let last = self.executed.entry((system, key.clone())).or_insert(0);
        if *last > delivery.id {
            let text = format!("s{system} executed {} of key {key} after {last}", delivery.id);
            return Err(Broken::new("effects of a key happen in order", text));
        }
        *last = delivery.id;
        Ok(())
    }

    /// The question whether a delivery was executed.
    pub fn question(&mut self, system: usize, delivery: i64) -> Answer {
        match self.trouble(system) {
            Some(answer) => answer,
            None if self.effects.contains_key(&delivery) => Answer::Done,
            None => Answer::Absent,
        }
    }
}
