//! What a transaction writes, table by table: a [`Plan`] as rows, or what a backup has.

use super::internal;
use super::rows::{MessageRow, OpenRow, Texts, attributes, type_hash};
use busbar_core::commit::{Kept, Pair, Plan, Seen};
use busbar_core::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Problem>;

/// A record of what was accepted.
pub struct SeenRow {
    pub seq: i64,
    pub message: Arc<Message>,
    pub pair: Pair,
    pub content: i64,
    pub r#type: i64,
}

/// Rows to be written.
#[derive(Default)]
pub struct Changes {
    pub seen: Vec<SeenRow>,
    pub messages: Vec<MessageRow>,
    pub intakes: Vec<(i64, Intake)>,
    pub decided: Vec<(i64, Decided)>,
    pub recurred: BTreeMap<i64, Recurred>,
    /// By the number of the delivery or intake, attempt and ordinal.
    pub calls: Vec<((i64, u32, u32), String)>,
    pub state: BTreeMap<(String, String), Option<Vec<u8>>>,
    pub audit: Vec<AuditEntry>,
    pub holds: Vec<(i64, Hold)>,
    /// Of a backup, which has its own counts.
    pub restored: bool,
    pub operations: i64,
    pub deliveries: Vec<OpenRow>,
    /// Hashes of the types that came up.
    pub types: BTreeMap<String, i64>,
}

impl Changes {
    /// `texts`: what the database has of the deliveries that the plan knew.
    pub fn of(plan: Plan, mut texts: HashMap<i64, Texts>) -> Result<Self> {
        if !plan.keeps_to_its_ids() {
            return Err(internal("a batch gave out more ids than were reserved for it"));
        }
        let Plan { facts, seen, messages, intakes, decided, recurred, calls, state, audit, holds, operations, .. } =
            plan;
        let mut changes = Self { intakes, decided, recurred, state, audit, holds, operations, ..Self::default() };
        for Seen { seq, message, pair, content } in seen {
            let r#type = changes.type_hash(&message.r#type);
            changes.seen.push(SeenRow { seq, message, pair, content, r#type });
        }
        changes.messages = messages.into_iter().map(message_row).collect::<Result<_>>()?;
        changes.calls.reserve(calls.len());
        for (at, call) in calls {
            changes.calls.push((at, serde_json::to_string(&call).map_err(internal)?));
        }
        let changed = facts.open.into_values().filter(|open| open.changed);
        let row = |open: commit::Open| {
            let texts = texts.remove(&open.id);
            OpenRow::planned(open, texts)
        };
        changes.deliveries = changed.map(row).collect::<Result<_>>()?;
        Ok(changes)
    }

    pub fn type_hash(&mut self, name: &str) -> i64 {
        if let Some(hash) = self.types.get(name) {
            return *hash;
        }
        let hash = type_hash(name);
        self.types.insert(name.to_string(), hash);
        hash
    }

    pub fn record(&mut self, owner: i64, calls: Vec<Call>) -> Result<()> {
        for call in calls {
            let record = serde_json::to_string(&call).map_err(internal)?;
            self.calls.push(((owner, call.attempt, call.ordinal), record));
        }
        Ok(())
    }
}

fn message_row(kept: Kept) -> Result<MessageRow> {
    let Kept { seq, until, message, received_at_ms, sweep, with_data, place, stated_by, intake } = kept;
    Ok(MessageRow {
        seq,
        until,
        received_at_ms,
        sweep,
        place,
        stated_by: stated_by.map(|by| by.to_string()),
        intake,
        attributes: attributes(&message)?,
        data: with_data.then(|| message.data.text().to_string()),
        message,
    })
}
