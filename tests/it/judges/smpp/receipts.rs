//! What becomes of what was sent, as the centre says it: states by number and by word, ids written otherwise, in any order,
//! again, and of nothing known.

use super::Scene;
use super::notifications::Sent;
use crate::peers::{data, stated};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, offset};
use time::{Duration, OffsetDateTime};

/// SMPP 3.4, 5.2.28 and appendix B, and what the README says of each: nothing, delivered, or a failure's code.
const STATES: [(u8, &str, Option<&str>); 8] = [
    (1, "ENROUTE", None),
    (2, "DELIVRD", Some("delivered")),
    (3, "EXPIRED", Some("expired")),
    (4, "DELETED", Some("cancelled")),
    (5, "UNDELIV", Some("undeliverable")),
    (6, "ACCEPTD", None),
    (7, "UNKNOWN", Some("unknown")),
    (8, "REJECTD", Some("rejected")),
];
const RECEIPT: u8 = 4;
const INTERMEDIATE: u8 = 0x20;

/// Outcome, messages charged, and when; nothing where the receipt had no time.
pub type Fact = (String, u64, Option<String>);

impl Scene {
    /// An id as a centre may write it in a receipt: in either system of numbers, with zeros, in capitals.
    fn spelled(&mut self, id: &str) -> String {
        let number = u64::from_str_radix(id, self.base).unwrap();
        match self.dice.below(5) {
            0 => format!("{number:x}"),
            1 => number.to_string(),
            2 => format!("{id:0>12}"),
            3 => id.to_uppercase(),
            _ => id.to_string(),
        }
    }

    /// A receipt of one part, with its outcome and time.
    fn receipt(&mut self, sent: &Sent, id: &str, state: usize, esm: u8, arrived: usize) -> (Value, Option<String>) {
        let (number, word, _) = STATES[state];
        let by =
            if arrived > 1 { self.dice.of(&["text", "both"]) } else { self.dice.of(&["text", "parameters", "both"]) };
        let done =
            OffsetDateTime::now_utc().to_offset(offset!(+3)) - Duration::minutes(2 + self.dice.below(2000) as i64);
        let done = done.replace_nanosecond(0).unwrap().replace_second(0).unwrap();
        let written = done.format(format_description!("[year repr:last_two][month][day][hour][minute]")).unwrap();
        // Some forget to mark them.
        let esm = if esm == RECEIPT && self.dice.one_in(8) { 0 } else { esm };
        let error = if number == 2 { "000" } else { self.dice.of(&["000", "069", "00B"]) };
        let told = json!({
            "from": sent.phone, "to": sent.sender, "id": self.spelled(id), "state": number, "word": word, "done": written,
            "by": by, "esm": esm, "sub": arrived.max(1), "arrived": arrived, "error": error,
        });
        (told, (by != "parameters").then(|| done.format(&Rfc3339).unwrap()))
    }

    /// The receipts of a notification in their order, and what must be stated.
    fn receipts_of(&mut self, sent: &Sent) -> (Vec<Value>, Fact) {
        let charged = sent.messages as u64;
        let mut all = Vec::new();
        let mut ids: Vec<String> = sent.parts.values().map(|(id, _)| id.clone()).collect();
        let fails = self.dice.one_in(3);
        if ids.len() > 1 && !fails && self.dice.one_in(3) {
            let id = self.dice.below(ids.len() as u64) as usize;
            let (told, at) = self.receipt(sent, &ids[id].clone(), 1, RECEIPT, ids.len());
            return (vec![told], ("delivered".to_string(), charged, at));
        }
        let mut fact = None;
        while !ids.is_empty() {
            let id = ids.swap_remove(self.dice.below(ids.len() as u64) as usize);
            let is_bad = fails && (ids.is_empty() && fact.is_none() || self.dice.one_in(2));
            if self.dice.one_in(3) {
                let (state, esm) = self.dice.of(&[(0, RECEIPT), (5, RECEIPT), (4, INTERMEDIATE), (0, INTERMEDIATE)]);
                all.push(self.receipt(sent, &id, state, esm, 0).0);
            }
            let state = if is_bad { self.dice.of(&[2, 3, 4, 6, 7]) } else { 1 };
            let (told, at) = self.receipt(sent, &id, state, RECEIPT, usize::from(!is_bad));
            // Once all is over the adapter waits for what it may be of: once is enough. Where all parts have one id, one that comes
            // again cannot be told from another part's.
            let may_repeat = (!ids.is_empty() || !self.is_payload) && (!self.is_one || sent.parts.len() == 1);
            let again = may_repeat && self.dice.one_in(4);
            all.extend(again.then(|| told.clone()));
            all.push(told);
            let is_last = ids.is_empty() && fact.is_none();
            if fact.is_none() && is_bad || is_last {
                fact = Some((STATES[state].2.unwrap().to_string(), charged, at));
            }
        }
        (all, fact.unwrap())
    }

    /// Has the centre tell what became of them; gives what must be stated.
    pub fn receipts(&mut self, sent: &[Sent]) -> BTreeMap<String, Fact> {
        let mut queues = Vec::new();
        let mut expected = BTreeMap::new();
        for sent in sent {
            let (queue, fact) = self.receipts_of(sent);
            queues.push(queue.into_iter());
            expected.insert(sent.id.clone(), fact);
        }
        // Those of one notification in their order, all others between them.
        while !queues.is_empty() {
            let at = self.dice.below(queues.len() as u64) as usize;
            match queues[at].next() {
                Some(told) => self.bring("receipt", told),
                None => drop(queues.swap_remove(at)),
            }
        }
        expected
    }

    /// Once all that the centre told is answered.
    pub async fn told(&mut self, expected: BTreeMap<String, Fact>) {
        let mut found = BTreeMap::new();
        for kind in ["notification.delivered.v1", "notification.failed.v1"] {
            for message in stated(&self.hub, kind, 0).await {
                let told = data(&self.hub, &message).await;
                let outcome = told["reason"]["code"].as_str().unwrap_or("delivered").to_string();
                let at = told["deliveredAt"].as_str().or(told["failedAt"].as_str()).map(str::to_string);
                let id = told["id"].as_str().unwrap().to_string();
                let twice = found.insert(id, (outcome, told["parts"].as_u64().unwrap_or(0), at));
                self.differ(twice.is_none(), || format!("stated twice: {told}, {twice:?}"));
            }
        }
        // Stated before: of a number that is none, and before the answer.
        for id in ["n-13", "n-5"] {
            found.remove(id);
        }
        let ids = expected.keys().chain(found.keys()).cloned().collect::<std::collections::BTreeSet<_>>();
        for id in ids {
            let (expected, mut found) = (expected.get(&id), found.get(&id).cloned());
            if let (Some((.., None)), Some((.., at))) = (expected, &mut found) {
                *at = None;
            }
            self.differ(expected == found.as_ref(), || format!("{id}: {expected:?} by its receipts, stated {found:?}"));
        }
    }
}
