//! How much came in, and what became of it, by the hour.

use crate::journal::DeliveryState;

pub const HOUR_MS: i64 = 3_600_000;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// Messages that were accepted, new ones, with the bytes of their data that the journal keeps.
    Received,
    /// Deliveries that came to this: one that was parked, retried and done is counted as parked and as done.
    Done,
    Skipped,
    Parked,
    Dead,
}

impl Counted {
    pub const ALL: [Self; 5] = [Self::Received, Self::Done, Self::Skipped, Self::Parked, Self::Dead];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Parked => "parked",
            Self::Dead => "dead",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tally| tally.as_str() == text)
    }

    /// What a delivery in this state counts as, when it was in another one before, or in none.
    pub fn of(state: DeliveryState, was: Option<DeliveryState>) -> Option<Self> {
        let tally = match state {
            DeliveryState::Done => Self::Done,
            DeliveryState::Skipped => Self::Skipped,
            DeliveryState::Parked => Self::Parked,
            DeliveryState::Dead => Self::Dead,
            DeliveryState::Ready | DeliveryState::Waiting => return None,
        };
        (was != Some(state)).then_some(tally)
    }
}

/// What is counted apart from the others. The order is that of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TallyOf {
    /// Hours since the epoch, UTC.
    pub hour: i64,
    /// Of deliveries; empty of messages that were received.
    pub system: String,
    pub r#type: String,
    pub tally: Counted,
}

impl TallyOf {
    pub fn new(at_ms: i64, system: &str, r#type: &str, tally: Counted) -> Self {
        Self { hour: at_ms.div_euclid(HOUR_MS), system: system.to_string(), r#type: r#type.to_string(), tally }
    }
}

/// How many there were in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourCount {
    pub of: TallyOf,
    pub count: u64,
    pub bytes: u64,
}

/// Which hours. All given conditions hold together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatisticsFilter {
    /// The hours that begin at or after this time, and before the other.
    pub since_ms: Option<i64>,
    pub until_ms: Option<i64>,
    pub system: Option<String>,
    pub r#type: Option<String>,
}
