//! Entries of an input that were not taken with the others: each is an intake of its own, for a person. Its id follows
//! from what it says, so that the same one is written once, however often it comes, and stays decided.

use crate::error::{Code, ErrorRecord, Problem};
use crate::intakes::{Intake, IntakeKind, IntakeOutcome};
use crate::journal::NewMessage;
use crate::message::Message;
use crate::outcome::Rejection;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// What messages came in: an input, or the deliveries of a system whose adapter stated them.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    pub kind: IntakeKind,
    pub system: String,
    pub name: String,
    /// The input, where it is written down.
    pub intake: Option<String>,
}

impl Origin {
    pub fn input(intake: &Intake) -> Self {
        let Intake { id, kind, system, name, .. } = intake;
        Self { kind: *kind, system: system.clone(), name: name.clone(), intake: Some(id.clone()) }
    }

    /// What a delivery to `system` stated, or whatever has no input of its own.
    pub fn delivery(system: &str) -> Self {
        Self { kind: IntakeKind::Delivery, system: system.to_string(), name: String::new(), intake: None }
    }

    /// An entry that the adapter left out. Entries of the same input, or of inputs that have one name, are one where
    /// they say the same: a feed is asked every minute, and has a bad entry for days.
    pub fn left_out(&self, entry: &Rejection, at_ms: i64) -> Intake {
        let place = entry.place.as_deref().unwrap_or_default();
        let parts = [&*self.system, self.kind.as_str(), &self.name, &entry.code, place, &entry.reason];
        let error = ErrorRecord {
            code: entry.code.clone(),
            detail: entry.reason.clone(),
            place: entry.place.clone(),
            by_adapter: true,
            answer: None,
        };
        self.entry(named("left-out", &parts), IntakeOutcome::LeftOut, error, at_ms)
    }

    /// The rest of them, when there are too many to be written one by one.
    pub fn left_out_more(&self, count: u64, at_ms: i64) -> Intake {
        let reason = format!("{count} more entries were left out: see the input itself");
        self.left_out(&Rejection { code: "more-left-out".into(), reason, place: None }, at_ms)
    }

    /// A message whose id is known, with other content. The known one stands until a person decides.
    pub fn differing(&self, new: &NewMessage, at_ms: i64) -> Intake {
        let Message { source, id, .. } = &*new.message;
        let detail = format!(
            "the id `{id}` of {source} is known with other content: one fact that was stated differently, or two facts \
             with one id"
        );
        let problem = Problem { place: new.place.clone(), ..Problem::new(Code::KnownDiffers, detail) };
        let id = named("differing", &[source, id, new.digest()]);
        let event = Some(new.message.to_structured());
        let name = if self.name.is_empty() { new.message.id.clone() } else { self.name.clone() };
        Intake { name, event, ..self.entry(id, IntakeOutcome::Differing, problem.record(), at_ms) }
    }

    fn entry(&self, id: String, outcome: IntakeOutcome, error: ErrorRecord, at_ms: i64) -> Intake {
        Intake {
            outcome,
            error: Some(error),
            part_of: self.intake.clone(),
            ..Intake::new(id, self.kind, &self.system, &self.name, at_ms)
        }
    }
}

/// The id under which a differing message is taken, once a person says that it is a fact of its own: always the same.
pub fn id_of_its_own(id: &str, digest: &str) -> String {
    let short: String = digest.chars().take(12).collect();
    format!("{id}~{short}")
}

fn named(what: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or_default().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(16).fold(format!("{what}-"), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
