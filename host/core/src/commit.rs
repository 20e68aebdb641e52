//! What a batch of commits comes to: from what the store knows of what the batch names ([`Facts`]) to what is to be
//! written ([`Plan`]). A store gathers the one, see [`Names`], and writes the other; it decides nothing itself.

mod names;
mod plan;

pub use names::Names;

use crate::audit::{AuditEntry, AuditRecord, Decider, Deed, Hold, chained};
use crate::calls::{Call, CallOutcome};
use crate::error::ErrorRecord;
use crate::intakes::*;
use crate::journal::*;
use crate::message::Message;
use crate::stated::StatedBy;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// System and key.
pub type KeyLane = (String, String);

/// The first and the next 64 bits of SHA-256 over parts that hold no NUL, or of which only the last may.
pub fn short_hash(parts: &[&str]) -> (i64, i64) {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let number = |bytes: &[u8]| bytes.iter().take(8).fold(0i64, |number, byte| (number << 8) | i64::from(*byte));
    (number(&digest), digest.get(8..).map_or(0, number))
}

/// What tells one message from another: a hash of source and id. A store keeps the id beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair(pub i64, pub i64);

impl Pair {
    pub fn of(message: &Message) -> Self {
        Self::named(&message.source, &message.id)
    }

    pub fn named(source: &str, id: &str) -> Self {
        let (first, second) = short_hash(&[source, id]);
        Self(first, second)
    }
}

/// A message that was accepted before.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub seq: i64,
    pub content: i64,
}

/// What the store knows of what a batch names, kept up as the batch is worked through.
#[derive(Default)]
pub struct Facts {
    pub known: HashMap<Pair, Known>,
    /// Number and outcome of intakes by id.
    pub intakes: HashMap<String, (i64, IntakeOutcome)>,
    pub open: BTreeMap<i64, Open>,
    /// States of finished deliveries: only a refused operation tells them.
    pub finished: HashMap<i64, DeliveryState>,
    /// Unfinished deliveries by key. All of them where the batch parks or releases one; else enough to tell whether
    /// there is a ready one, and whether there is a held one.
    pub lanes: HashMap<KeyLane, BTreeMap<i64, DeliveryState>>,
    /// Number and hash of the last entry of the audit, where the batch adds to it.
    pub audited: (i64, String),
}

/// A delivery that is not finished, or was not when the batch began.
#[derive(Clone, Debug)]
pub struct Open {
    pub id: i64,
    pub message_seq: i64,
    pub system: String,
    pub key: Option<String>,
    pub state: DeliveryState,
    pub attempts: u32,
    pub tries: u32,
    pub next_at_ms: i64,
    pub updated_at_ms: i64,
    /// Attempts made when a person last decided about it; `None`: nobody has.
    pub judged: Option<u32>,
    pub version: u32,
    /// What becomes of its error; `None`: it stays.
    pub error: Option<Option<ErrorRecord>>,
    /// What a person put in its message's place; `None`: nobody did now.
    pub edited: Option<Box<Message>>,
    /// Who decided about it; `None`: nobody did now.
    pub by: Option<String>,
    /// Its message, where the delivery is new.
    pub new: Option<Arc<Message>>,
    /// Its state when the batch began, where it is not new.
    pub was: Option<DeliveryState>,
    pub changed: bool,
}

/// A record of what was accepted.
pub struct Seen {
    pub seq: i64,
    pub message: Arc<Message>,
    pub pair: Pair,
    pub content: i64,
}

/// A message to be kept.
pub struct Kept {
    pub seq: i64,
    /// Last id of what was written with it: its deliveries and what they made.
    pub until: i64,
    pub message: Arc<Message>,
    pub received_at_ms: i64,
    /// Whether its data goes once its deliveries are finished.
    pub sweep: bool,
    /// Whether its data is kept at all.
    pub with_data: bool,
    pub place: Option<String>,
    pub stated_by: Option<StatedBy>,
    /// Id of the intake that it came in.
    pub intake: Option<String>,
}

/// What is to be written, all of it or nothing.
#[derive(Default)]
pub struct Plan {
    /// The next id to give out, of the block that was reserved.
    pub next: i64,
    /// The first id after that block.
    end: i64,
    /// What is known after the batch: `changed` deliveries of `open` are to be written.
    pub facts: Facts,
    pub seen: Vec<Seen>,
    pub messages: Vec<Kept>,
    pub intakes: Vec<(i64, Intake)>,
    pub decided: Vec<(i64, Decided)>,
    /// By the intake's number.
    pub recurred: BTreeMap<i64, Recurred>,
    /// By the number of the delivery or intake, attempt and ordinal.
    pub calls: BTreeMap<(i64, u32, u32), Call>,
    pub state: BTreeMap<(String, String), Option<Vec<u8>>>,
    pub audit: Vec<AuditEntry>,
    /// What persons held up and let go on, in this order, and when.
    pub holds: Vec<(i64, Hold)>,
    /// Decisions and releases: each takes an id besides, so that hubs see that something has changed.
    pub operations: i64,
}

/// How many ids a commit takes at most. A message that is known takes none, but for an entry where it differs.
pub fn ids_max(commit: &Commit) -> usize {
    messages_ids_max(&commit.messages) + commit.entries.len() + usize::from(commit.intake.is_some())
}

pub fn messages_ids_max(messages: &[NewMessage]) -> usize {
    let made = |p: &Planned| p.made.as_ref().map_or(0, |made| messages_ids_max(&made.messages));
    messages.iter().map(|m| 1 + m.deliveries.iter().map(|p| 1 + made(p)).sum::<usize>()).sum()
}

/// Whether nothing more will happen to a delivery in this state.
pub fn finished(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Done | DeliveryState::Skipped)
}

impl Open {
    fn new(stored: &StoredDelivery, error: Option<ErrorRecord>, at_ms: i64) -> Self {
        Self {
            id: stored.id,
            message_seq: stored.message_seq,
            system: stored.system.clone(),
            key: stored.key.clone(),
            state: stored.state,
            attempts: stored.attempts,
            tries: stored.tries,
            next_at_ms: stored.next_at_ms,
            updated_at_ms: at_ms,
            judged: None,
            version: stored.version,
            error: Some(error),
            edited: None,
            by: None,
            new: Some(stored.message.clone()),
            was: None,
            changed: true,
        }
    }
}
