//! What people write: in each coding, in one piece or several, the pieces of several messages mixed and in any order, some
//! again, under references that are used again.

use super::Scene;
use super::texts::{Letters, text};
use crate::peers::{data, stated};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const GROUPS: usize = 12;
/// Type of number, as the centre writes it, and who it is.
const WRITERS: [(u8, &str, &str); 5] = [
    (1, "79005550117", "+79005550117"),
    (0, "79005550118", "+79005550118"),
    (2, "9005550119", "+79005550119"),
    (2, "89005550120", "+79005550120"),
    (5, "Bank", "Bank"),
];

impl Scene {
    /// The deliver_sm of one message in their order, and what must be stated of it.
    fn written(&mut self, writer: usize) -> (Vec<Value>, (String, String)) {
        let (ton, from, who) = WRITERS[writer];
        let (coding, letters) = self.dice.of(&[
            (0, Letters::Gsm),
            (1, Letters::Ascii),
            (3, Letters::Latin1),
            (6, Letters::Cyrillic),
            (8, Letters::Any),
            (8, Letters::Any),
        ]);
        let how = self.dice.of(&["short", "udh8", "udh16", "sar", "payload", "data"]);
        let parts = if matches!(how, "short" | "payload" | "data") { 1 } else { 2 + self.dice.below(4) };
        let unit = if coding == 8 { 25 } else { 60 };
        let longest = if matches!(how, "payload" | "data") { 1500 } else { unit * parts };
        let length = parts * 6 + self.dice.below(longest - parts * 6);
        let text = text(&mut self.dice, letters, length);
        let reference = self.dice.of(&[1, 2, 255, 0x1234]);
        let piece = |number: u64| {
            json!({
                "from": from, "ton": ton, "to": "4040", "coding": coding, "text": text, "how": how, "reference": reference,
                "parts": parts, "number": number,
            })
        };
        let mut pieces: Vec<Value> = (1..=parts).map(piece).collect();
        for at in (1..pieces.len()).rev() {
            pieces.swap(at, self.dice.below(at as u64 + 1) as usize);
        }
        // Not answered, or so the centre thinks.
        if self.dice.one_in(3) {
            let again = pieces[self.dice.below(parts) as usize].clone();
            pieces.push(again);
        }
        (pieces, (who.to_string(), text))
    }

    pub async fn incoming(&mut self) {
        let mut expected = BTreeSet::new();
        for _ in 0..GROUPS {
            let mut queues = Vec::new();
            for writer in 0..WRITERS.len() {
                let (pieces, fact) = self.written(writer);
                queues.push(pieces.into_iter());
                expected.insert(fact);
            }
            while !queues.is_empty() {
                let at = self.dice.below(queues.len() as u64) as usize;
                match queues[at].next() {
                    Some(told) => self.bring("deliver", told),
                    None => drop(queues.swap_remove(at)),
                }
            }
        }
        self.all_answered();
        for message in stated(&self.hub, "appeal.received.v1", 0).await {
            let told = data(&self.hub, &message).await;
            let who = told["customer"]["phone"].as_str().or(told["customer"]["name"].as_str()).unwrap_or_default();
            let fact = (who.to_string(), told["text"].as_str().unwrap_or_default().to_string());
            let is_expected = expected.remove(&fact);
            self.differ(is_expected, || format!("nobody wrote this, or it came twice: {fact:?}"));
        }
        for fact in &expected {
            self.differ(false, || format!("this was written and is not stated: {fact:?}"));
        }
    }
}
