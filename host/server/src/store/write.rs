//! Writes. [`Plan`] works out in memory what a batch of commits comes to, as `MemoryStore` does it;
//! then every table gets one statement, however many messages there are.

use super::dialect::{Column, Dialect};
use super::rows::*;
use super::text::read;
use super::{internal, unavailable};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use busbar_core::*;
use serde::Serialize;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};
use std::collections::{BTreeMap, HashMap};

/// A transaction that holds the writers' lock.
pub struct Write {
    pub tx: Transaction<'static, Any>,
    pub dialect: Dialect,
}

/// What is known of a (source, id): its `seq` and the digest of its content.
type Known = HashMap<(String, String), (i64, String)>;

/// Rows to be written.
#[derive(Default)]
pub struct Plan {
    /// The next id to give out, of the block that was reserved.
    next: i64,
    known: Known,
    seen: Vec<SeenRow>,
    messages: Vec<MessageRow>,
    deliveries: Vec<DeliveryRow>,
    depths: BTreeMap<(String, &'static str), i64>,
    attempted: BTreeMap<i64, AttemptedRow>,
    intakes: Vec<IntakeRow>,
    calls: Vec<CallRow>,
    state: BTreeMap<(String, String), Option<String>>,
}

/// How many ids a commit takes at most.
fn ids_max(commit: &Commit) -> usize {
    message_ids_max(&commit.messages) + commit.calls.len() + usize::from(commit.intake.is_some())
}

fn message_ids_max(messages: &[NewMessage]) -> usize {
    messages.iter().map(|m| 1 + m.deliveries.len()).sum()
}

impl Write {
    /// Writes a batch; the transaction is not committed yet.
    pub async fn batch(&mut self, batch: Vec<Commit>) -> Result<Vec<Committed>, Problem> {
        let next = self.reserve(batch.iter().map(ids_max).sum()).await?;
        let known = self.known(batch.iter().flat_map(|c| &c.messages)).await?;
        let mut plan = Plan { next, known, ..Plan::default() };
        let committed = batch.into_iter().map(|c| plan.commit(c)).collect::<Result<_, _>>().map_err(internal)?;
        self.rows(plan).await?;
        Ok(committed)
    }

    /// Writes one chunk of a large commit and counts it.
    pub async fn chunk(
        &mut self,
        messages: Vec<NewMessage>,
        intake: &mut Option<Intake>,
        at_ms: i64,
    ) -> Result<(), Problem> {
        let next = self.reserve(message_ids_max(&messages)).await?;
        let known = self.known(&messages).await?;
        let mut plan = Plan { next, known, ..Plan::default() };
        let id = intake.as_ref().map(|i| i.id.clone());
        let accepted = plan.messages(messages, id.as_deref(), at_ms).map_err(internal)?;
        if let Some(intake) = intake {
            count(intake, &accepted);
        }
        self.rows(plan).await
    }

    /// Writes what a large commit has apart from messages.
    pub async fn rest(&mut self, head: Commit) -> Result<(), Problem> {
        let next = self.reserve(ids_max(&head)).await?;
        let mut plan = Plan { next, ..Plan::default() };
        plan.rest(head).map_err(internal)?;
        self.rows(plan).await
    }

    /// Takes a block of ids and with it the writers' lock; returns the first one.
    async fn reserve(&mut self, ids: usize) -> Result<i64, Problem> {
        let ids = i64::try_from(ids).map_err(internal)?;
        let row = sqlx::query("UPDATE counters SET value = value + $1 WHERE name = 'seq' RETURNING value")
            .bind(ids)
            .fetch_one(&mut *self.tx)
            .await
            .map_err(unavailable)?;
        let last: i64 = row.try_get(0).map_err(unavailable)?;
        Ok(last - ids + 1)
    }

    async fn known(&mut self, messages: impl IntoIterator<Item = &NewMessage>) -> Result<Known, Problem> {
        let key = |m: &NewMessage| SeenKey { id: text(&m.message.id), source: text(&m.message.source) };
        let keys: Vec<_> = messages.into_iter().map(key).collect();
        let mut known = Known::new();
        // CROSS JOIN makes SQLite go from the few rows to the many.
        let sql = format!(
            "SELECT seen.source, seen.id, seen.seq, seen.digest FROM {} CROSS JOIN seen \
             WHERE seen.id = r.id AND seen.source = r.source",
            self.dialect.rows(SeenKey::COLUMNS)
        );
        for array in arrays(&keys).map_err(internal)? {
            let rows = sqlx::query(AssertSqlSafe(sql.clone())).bind(array).fetch_all(&mut *self.tx).await;
            for row in rows.map_err(unavailable)? {
                let field = |i: usize| row.try_get::<String, _>(i).map(read).map_err(unavailable);
                known.insert((field(0)?, field(1)?), (row.try_get(2).map_err(unavailable)?, field(3)?));
            }
        }
        Ok(known)
    }

    async fn rows(&mut self, mut plan: Plan) -> Result<(), Problem> {
        self.insert("seen", SeenRow::COLUMNS, &plan.seen, "").await?;
        self.insert("messages", MessageRow::COLUMNS, &plan.messages, "").await?;
        self.insert("deliveries", DeliveryRow::COLUMNS, &plan.deliveries, "").await?;
        self.attempted(&mut plan).await?;
        let depth = |((system, state), total)| DepthRow { system, state, total };
        let depths: Vec<_> = plan.depths.into_iter().filter(|(_, total)| *total != 0).map(depth).collect();
        let add = "ON CONFLICT (system, state) DO UPDATE SET total = depths.total + excluded.total";
        self.insert("depths", DepthRow::COLUMNS, &depths, add).await?;
        self.insert("intakes", IntakeRow::COLUMNS, &plan.intakes, "").await?;
        self.insert("calls", CallRow::COLUMNS, &plan.calls, "").await?;
        let state = plan.state.into_iter().map(|((system, key), value)| StateRow { system, key, value });
        let (set, unset): (Vec<_>, Vec<_>) = state.partition(|row| row.value.is_some());
        let overwrite = "ON CONFLICT (system, key) DO UPDATE SET value = excluded.value";
        self.insert("state", StateRow::COLUMNS, &set, overwrite).await?;
        let rows = self.dialect.rows(StateRow::KEY);
        let sql = format!("DELETE FROM state WHERE (system, key) IN (SELECT r.system, r.key FROM {rows})");
        self.execute(sql, &unset).await
    }

    async fn insert<T: Serialize>(
        &mut self,
        table: &str,
        columns: &[Column],
        rows: &[T],
        conflict: &str,
    ) -> Result<(), Problem> {
        self.execute(self.dialect.insert(table, columns, conflict), rows).await
    }

    async fn execute<T: Serialize>(&mut self, sql: String, rows: &[T]) -> Result<(), Problem> {
        for array in arrays(rows).map_err(internal)? {
            let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(array);
            query.execute(&mut *self.tx).await.map_err(unavailable)?;
        }
        Ok(())
    }

    /// Updates deliveries, after reading which state each one leaves: the depths must agree.
    async fn attempted(&mut self, plan: &mut Plan) -> Result<(), Problem> {
        let rows: Vec<_> = std::mem::take(&mut plan.attempted).into_values().collect();
        let states: HashMap<_, _> = rows.iter().map(|r| (r.id, r.state)).collect();
        let old = format!(
            "SELECT d.id, d.system, d.state FROM {} CROSS JOIN deliveries d WHERE d.id = r.id",
            self.dialect.rows(IdRow::COLUMNS)
        );
        let ids: Vec<_> = rows.iter().map(|r| IdRow { id: r.id }).collect();
        for array in arrays(&ids).map_err(internal)? {
            let found = sqlx::query(AssertSqlSafe(old.clone())).bind(array).fetch_all(&mut *self.tx).await;
            for row in found.map_err(unavailable)? {
                let id: i64 = row.try_get(0).map_err(unavailable)?;
                let system: String = row.try_get(1).map_err(unavailable)?;
                let state: String = row.try_get(2).map_err(unavailable)?;
                let state = DeliveryState::parse(&state).ok_or_else(|| internal(format!("state `{state}`")))?;
                if let Some(new) = states.get(&id) {
                    *plan.depths.entry((system.clone(), state.as_str())).or_default() -= 1;
                    *plan.depths.entry((system, new)).or_default() += 1;
                }
            }
        }
        let update = format!(
            "UPDATE deliveries SET state = r.state, attempts = r.attempts, next_at_ms = r.next_at_ms, \
             updated_at_ms = r.updated_at_ms, error = r.error FROM {} WHERE deliveries.id = r.id",
            self.dialect.rows(AttemptedRow::COLUMNS)
        );
        self.execute(update, &rows).await
    }
}

impl Plan {
    fn id(&mut self) -> i64 {
        let id = self.next;
        self.next += 1;
        id
    }

    fn commit(&mut self, mut commit: Commit) -> Result<Committed, serde_json::Error> {
        let refuse = commit.on_differing.unwrap_or(OnDiffering::Refuse) == OnDiffering::Refuse;
        let differs = |m: &NewMessage| self.seen_as(m).is_some_and(|(_, digest)| *digest != m.digest);
        if refuse && let Some(index) = commit.messages.iter().position(differs) {
            return Ok(Err(IdReused { index }));
        }
        let messages = std::mem::take(&mut commit.messages);
        let id = commit.intake.as_ref().map(|i| i.id.clone());
        let accepted = self.messages(messages, id.as_deref(), commit.at_ms)?;
        if let Some(intake) = &mut commit.intake {
            count(intake, &accepted);
            intake.settle();
        }
        self.rest(commit)?;
        Ok(Ok(accepted))
    }

    fn seen_as(&self, new: &NewMessage) -> Option<&(i64, String)> {
        self.known.get(&(new.message.source.clone(), new.message.id.clone()))
    }

    fn messages(
        &mut self,
        messages: Vec<NewMessage>,
        intake: Option<&str>,
        at_ms: i64,
    ) -> Result<Vec<Accepted>, serde_json::Error> {
        let accept = |new: NewMessage| match self.seen_as(&new) {
            Some((seq, digest)) => {
                let differs = *digest != new.digest;
                Ok(Accepted { seq: *seq, duplicate: true, differs, deliveries: vec![] })
            }
            None => self.message(new, intake, at_ms),
        };
        messages.into_iter().map(accept).collect()
    }

    fn message(&mut self, new: NewMessage, intake: Option<&str>, at_ms: i64) -> Result<Accepted, serde_json::Error> {
        let seq = self.id();
        self.messages.push(MessageRow::new(seq, &new, intake, at_ms));
        let (source, id) = (new.message.source.clone(), new.message.id.clone());
        self.seen.push(SeenRow { id: text(&id), source: text(&source), seq, digest: new.digest.clone() });
        self.known.insert((source, id), (seq, new.digest));
        let mut deliveries = Vec::with_capacity(new.deliveries.len());
        for planned in new.deliveries {
            let state = if planned.error.is_some() { DeliveryState::Parked } else { DeliveryState::Ready };
            let stored = StoredDelivery {
                id: self.id(),
                message_seq: seq,
                system: planned.system,
                key: planned.key,
                state,
                attempts: 0,
                next_at_ms: 0,
                message: new.message.clone(),
            };
            self.deliveries.push(DeliveryRow::new(&stored, planned.error.as_ref(), at_ms)?);
            *self.depths.entry((text(&stored.system), state.as_str())).or_default() += 1;
            deliveries.push(stored);
        }
        Ok(Accepted { seq, duplicate: false, differs: false, deliveries })
    }

    fn rest(&mut self, commit: Commit) -> Result<(), serde_json::Error> {
        if let Some(intake) = &commit.intake {
            let seq = self.id();
            self.intakes.push(IntakeRow::new(seq, intake)?);
        }
        for write in commit.state {
            let value = write.value.map(|v| STANDARD.encode(v));
            self.state.insert((text(&write.system), text(&write.key)), value);
        }
        let owner = match (&commit.attempted, &commit.intake) {
            (Some(attempted), _) => Some(("delivery", attempted.delivery.to_string())),
            (None, intake) => intake.as_ref().map(|i| ("intake", i.id.clone())),
        };
        if let Some((kind, owner)) = owner {
            for call in &commit.calls {
                let seq = self.id();
                self.calls.push(CallRow::new(seq, kind, &owner, call)?);
            }
        }
        if let Some(attempted) = &commit.attempted {
            self.attempted.insert(attempted.delivery, AttemptedRow::new(attempted)?);
        }
        Ok(())
    }
}

fn count(intake: &mut Intake, accepted: &[Accepted]) {
    intake.messages += accepted.len() as u64;
    intake.duplicates += accepted.iter().filter(|a| a.duplicate).count() as u64;
    intake.differing += accepted.iter().filter(|a| a.differs).count() as u64;
}
