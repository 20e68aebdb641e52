//! What a hub can call an adapter for.

use busbar_core::{Code, Problem};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};

/// An interface of `wit/` that an adapter exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    /// A message becomes a call of the system.
    Deliver,
    /// A call of the system becomes a message.
    Receive,
    /// The system is asked what is new.
    Poll,
    /// A file becomes messages.
    Decode,
    /// Messages become a file.
    Encode,
    /// A question gets its answer.
    Answer,
    /// Messages both ways over a TCP connection.
    Connection,
}

impl Entry {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Receive => "receive",
            Self::Poll => "poll",
            Self::Decode => "decode",
            Self::Encode => "encode",
            Self::Answer => "answer",
            Self::Connection => "connection",
        }
    }

    /// What a call of it comes to where the adapter does not export it.
    pub(super) fn missing(self) -> Problem {
        Problem::new(Code::NoSuchEntry, format!("the adapter does not export `{self}`"))
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|entry| entry.as_str() == text)
    }
}

impl Display for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
