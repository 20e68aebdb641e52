//! Inputs that are not themselves messages, and what became of them.

use crate::audit::{Decider, Deed};
use crate::calls::Call;
use crate::error::ErrorRecord;
use crate::journal::Accepted;
use crate::stated::StatedBy;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where an input came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntakeKind {
    File,
    Hook,
    Poll,
    Rest,
    Amqp,
    Question,
    /// Over a connection of its own, e.g. of SCADA.
    Connection,
    /// Stated by an adapter while it made a delivery.
    Delivery,
}

impl IntakeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Hook => "hook",
            Self::Poll => "poll",
            Self::Rest => "rest",
            Self::Amqp => "amqp",
            Self::Question => "question",
            Self::Connection => "connection",
            Self::Delivery => "delivery",
        }
    }
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntakeOutcome {
    Accepted,
    /// Everything in it was known already; nothing changed.
    Repeated,
    /// Taken, but for entries that were left out or are known with other content: each of those is an intake as well.
    Incomplete,
    Refused,
    /// An entry of an input that was left out while the others were taken. A person dismisses it when it is dealt with.
    LeftOut,
    /// A message whose id is known with other content. A person accepts it as a fact of its own, or dismisses it.
    Differing,
    /// A person has decided that nothing more is to be done about it.
    Dismissed,
}

impl IntakeOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repeated => "repeated",
            Self::Incomplete => "incomplete",
            Self::Refused => "refused",
            Self::LeftOut => "left-out",
            Self::Differing => "differing",
            Self::Dismissed => "dismissed",
        }
    }
}

/// One input from outside that is not itself a message: a file, a hook request, a question, or a
/// message that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Intake {
    /// UUIDv7; of an entry, see [`crate::Origin`].
    pub id: String,
    pub kind: IntakeKind,
    /// The system, or the name of the API key or publisher.
    pub system: String,
    /// File name, path or routing key.
    pub name: String,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// Set by the store when the messages are known to be new or not.
    pub outcome: IntakeOutcome,
    pub messages: u64,
    pub duplicates: u64,
    /// Known messages whose content differs now; the first one stands.
    pub differing: u64,
    /// Entries that the adapter left out.
    #[serde(default)]
    pub left_out: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorRecord>,
    /// Of an entry: the input that it came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// Of a differing entry: what was stated, as a CloudEvent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// Who decided about an entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How often it came: of refusals of one kind most are only counted.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u64,
    /// When it came last, where it came more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at_ms: Option<i64>,
    /// Of a question, and of what was refused to a key or a publisher: who asked or stated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated_by: Option<StatedBy>,
}

fn once() -> u64 {
    1
}

// serde hands a reference.
fn is_once(times: &u64) -> bool {
    *times == 1
}

impl Intake {
    /// One with nothing in it yet.
    pub fn new(id: String, kind: IntakeKind, system: &str, name: &str, at_ms: i64) -> Self {
        Self {
            id,
            kind,
            system: system.to_string(),
            name: name.to_string(),
            at_ms,
            outcome: IntakeOutcome::Accepted,
            messages: 0,
            duplicates: 0,
            differing: 0,
            left_out: 0,
            error: None,
            part_of: None,
            event: None,
            by: None,
            times: 1,
            last_at_ms: None,
            stated_by: None,
        }
    }

    /// Counts what became of some of its messages.
    pub fn count(&mut self, accepted: &[Accepted]) {
        self.messages += accepted.len() as u64;
        self.duplicates += accepted.iter().filter(|a| a.duplicate).count() as u64;
        self.differing += accepted.iter().filter(|a| a.differs).count() as u64;
    }

    /// Says how it ended, once its messages are counted.
    pub fn settle(&mut self) {
        if self.outcome != IntakeOutcome::Accepted {
            return;
        }
        if self.differing > 0 || self.left_out > 0 {
            self.outcome = IntakeOutcome::Incomplete;
        } else if self.messages > 0 && self.messages == self.duplicates {
            self.outcome = IntakeOutcome::Repeated;
        }
    }
}

/// A refusal that has a row came so many times more.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurred {
    pub intake: String,
    pub times: u64,
    pub last_at_ms: i64,
}

impl Intake {
    pub fn recurred(&mut self, recurred: &Recurred) {
        self.times += recurred.times;
        self.last_at_ms = self.last_at_ms.max(Some(recurred.last_at_ms));
    }
}

/// What a person decided about an entry that was left out, or that is known with other content.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    pub intake: String,
    /// `Accepted` or `Dismissed`.
    pub outcome: IntakeOutcome,
    pub decider: Decider,
}

impl Decided {
    pub fn deed(&self) -> Deed {
        if self.outcome == IntakeOutcome::Accepted { Deed::Accept } else { Deed::Dismiss }
    }

    /// Whether an intake of this outcome waits for a decision.
    pub fn fits(&self, outcome: IntakeOutcome) -> bool {
        outcome == IntakeOutcome::Differing
            || (outcome == IntakeOutcome::LeftOut && self.outcome == IntakeOutcome::Dismissed)
    }
}

/// Which intakes to show, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntakeFilter {
    pub id: Option<String>,
    pub system: Option<String>,
    pub outcome: Option<String>,
    pub limit: u32,
}

/// An intake as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IntakeView {
    #[serde(flatten)]
    pub intake: Intake,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Call>,
}
