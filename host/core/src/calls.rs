//! Calls: the effects of an adapter, as they are recorded.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One effect of an adapter with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Call {
    pub attempt: u32,
    /// Position within the attempt, from 0.
    pub ordinal: u32,
    pub kind: CallKind,
    pub request: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    pub outcome: CallOutcome,
    pub started_at_ms: i64,
    pub duration_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallKind {
    Http,
    /// A question.
    Ask,
    /// A write to the system's state.
    State,
    /// A message to the broker.
    Publish,
    /// A file that the message is put into with others, see [`crate::files`].
    File,
    /// A message given to a connection, which may have been sent; or what came in over one.
    Connection,
}

impl CallKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Ask => "ask",
            Self::State => "state",
            Self::Publish => "publish",
            Self::File => "file",
            Self::Connection => "connection",
        }
    }
}

/// How a call ended. In the journal it is a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum CallOutcome {
    /// Answered, whatever the answer was.
    Ok,
    /// Not sent: answered from the record.
    Recorded,
    /// Sent, or written ahead of being sent, and nothing was heard of it.
    NoAnswer,
    /// Not sent: an earlier attempt sent it, and nobody knows what came of it.
    Withheld,
    /// Answered, and the adapter says that nothing was done by it.
    NothingDone,
    /// Not sent: it could not be written ahead.
    NotSent,
    /// Answered with more than is taken, which is no answer: what was asked for may be done.
    TooLarge,
    /// Not sent: the hub does not let it through.
    Denied,
    /// What else went wrong, e.g. `unreachable`, `timeout`, or an error's code; it was not done.
    Other(String),
}

const WORDS: [(CallOutcome, &str); 8] = [
    (CallOutcome::Ok, "ok"),
    (CallOutcome::Recorded, "recorded"),
    (CallOutcome::NoAnswer, "no-answer"),
    (CallOutcome::Withheld, "withheld"),
    (CallOutcome::NothingDone, "nothing-done"),
    (CallOutcome::NotSent, "not-sent"),
    (CallOutcome::TooLarge, "too-large"),
    (CallOutcome::Denied, "denied"),
];

impl CallOutcome {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(word) => word,
            known => WORDS.iter().find(|(outcome, _)| outcome == known).map_or("", |(_, word)| *word),
        }
    }
}

impl From<&str> for CallOutcome {
    fn from(word: &str) -> Self {
        let known = WORDS.iter().find(|(_, known)| *known == word);
        known.map_or_else(|| Self::Other(word.to_string()), |(outcome, _)| outcome.clone())
    }
}

impl From<String> for CallOutcome {
    fn from(word: String) -> Self {
        Self::from(word.as_str())
    }
}

impl From<CallOutcome> for String {
    fn from(outcome: CallOutcome) -> Self {
        outcome.as_str().to_string()
    }
}
