//! The journal as lines of JSON: what an archive and a backup hold.

use super::changes::Changes;
use super::dialect::Dialect;
use super::find::{self, Value};
use super::internal;
use super::read::{self, select};
use super::rows::{MessageRow, OpenRow, attributes, record};
use busbar_core::*;
use serde::{Deserialize, Serialize};
use sqlx::AnyPool;
use std::collections::HashMap;
use std::sync::Arc;

type Result<T> = std::result::Result<T, Problem>;

/// Messages read at once.
const PAGE: i64 = 500;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportLine {
    /// The first line of a backup.
    Backup(BackupLine),
    Message(Box<MessageLine>),
    Intake(Box<IntakeLine>),
    State(StateLine),
    Type(TypeLine),
    Seen(SeenLine),
    Pause(Pause),
    Audit(AuditLine),
    Count(CountLine),
}

/// When a backup was made, and what was given out until then.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BackupLine {
    pub version: u32,
    pub at_ms: i64,
    pub last_id: i64,
    pub operations: i64,
}

/// A message with its deliveries and their calls.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MessageLine {
    pub seq: i64,
    /// The last id that may be one of its deliveries'.
    pub until: i64,
    pub received_at_ms: i64,
    pub sweep: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intake: Option<String>,
    /// CloudEvents JSON format; without `data` where they are not kept.
    pub event: serde_json::Value,
    pub deliveries: Vec<DeliveryLine>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeliveryLine {
    pub id: i64,
    pub system: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub state: DeliveryState,
    pub attempts: u32,
    pub tries: u32,
    pub next_at_ms: i64,
    pub updated_at_ms: i64,
    /// Attempts made when a person last decided about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorRecord>,
    /// The message as a person edited it for this delivery, CloudEvents JSON format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub calls: Vec<Call>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IntakeLine {
    pub seq: i64,
    pub intake: Intake,
    pub calls: Vec<Call>,
}

/// A value of a system's state, in base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StateLine {
    pub system: String,
    pub key: String,
    pub value: String,
}

/// A type by its hash in the records for deduplication.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TypeLine {
    pub hash: i64,
    pub name: String,
}

/// A record for deduplication.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SeenLine {
    pub id: String,
    pub pair: i64,
    pub seq: i64,
    pub content: i64,
    pub r#type: i64,
}

/// A decision as it is chained.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditLine {
    pub record: AuditRecord,
    pub hash: String,
}

/// A count of an hour.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CountLine {
    pub hour: i64,
    pub system: String,
    pub r#type: String,
    pub tally: String,
    pub count: u64,
    pub bytes: u64,
}

/// Reads the journal in order.
pub struct Export {
    pub pool: AnyPool,
    pub dialect: Dialect,
}

impl Export {
    /// The next messages with ids over `after` and below `until`; none at the end.
    pub async fn messages(&self, after: i64, until: i64) -> Result<Vec<MessageLine>> {
        let sql = format!("{} WHERE seq > $1 AND seq < $2 ORDER BY seq LIMIT $3", super::find::MESSAGE);
        let values = vec![Value::Int(after), Value::Int(until), Value::Int(PAGE)];
        let rows = select(&self.pool, sql, values).await?;
        let mut lines = rows.iter().map(message_line).collect::<Result<Vec<_>>>()?;
        let (Some(first), Some(last)) = (lines.first().map(|l| l.seq), lines.iter().map(|l| l.until).max()) else {
            return Ok(lines);
        };
        let mut calls = self.calls(first, last).await?;
        let places: HashMap<_, _> = lines.iter().enumerate().map(|(place, line)| (line.seq, place)).collect();
        let of = |table, own| {
            format!("SELECT {}, {own} FROM {table} d WHERE d.id > $1 AND d.id <= $2", find::delivery(table))
        };
        let tables = [of("open", "d.tries, d.operated"), of("deliveries", "0 AS tries, 0 AS operated")];
        let sql = tables.join(" UNION ALL ");
        for row in select(&self.pool, sql, vec![Value::Int(first), Value::Int(last)]).await? {
            let seq = read::int(&row, "message_seq")?;
            let Some(line) = places.get(&seq).and_then(|place| lines.get_mut(*place)) else { continue };
            let id = read::int(&row, "id")?;
            line.deliveries.push(delivery_line(&row, calls.remove(&id).unwrap_or_default())?);
        }
        lines.iter_mut().for_each(|line| line.deliveries.sort_by_key(|d| d.id));
        Ok(lines)
    }

    async fn calls(&self, first: i64, last: i64) -> Result<HashMap<i64, Vec<Call>>> {
        let sql = "SELECT owner, record FROM calls WHERE owner > $1 AND owner <= $2 ORDER BY owner, attempt, ordinal";
        let mut calls: HashMap<i64, Vec<Call>> = HashMap::new();
        for row in select(&self.pool, sql.into(), vec![Value::Int(first), Value::Int(last)]).await? {
            calls.entry(read::int(&row, "owner")?).or_default().push(read::record(&read::string(&row, "record")?)?);
        }
        Ok(calls)
    }

    pub async fn intakes(&self, after: i64, until: i64) -> Result<Vec<IntakeLine>> {
        let sql = format!("{} WHERE seq > $1 AND seq < $2 ORDER BY seq LIMIT $3", super::find::INTAKE);
        let values = vec![Value::Int(after), Value::Int(until), Value::Int(PAGE)];
        let found = read::intakes(&self.pool, (sql, values)).await?;
        let owners = found.iter().map(|(seq, _)| *seq).collect();
        let mut calls = read::calls(&self.pool, self.dialect, owners).await?;
        let line = |(seq, intake)| IntakeLine { seq, intake, calls: calls.remove(&seq).unwrap_or_default() };
        Ok(found.into_iter().map(line).collect())
    }

    /// All of the systems' states.
    pub async fn state(&self) -> Result<Vec<StateLine>> {
        let rows = select(&self.pool, "SELECT system, key, value FROM state".into(), vec![]).await?;
        let line = |row| {
            let text = |column| read::string(row, column);
            Ok(StateLine { system: text("system")?, key: text("key")?, value: text("value")? })
        };
        rows.iter().map(line).collect()
    }

    pub async fn types(&self) -> Result<Vec<TypeLine>> {
        let rows = select(&self.pool, "SELECT hash, name FROM types".into(), vec![]).await?;
        rows.iter()
            .map(|row| Ok(TypeLine { hash: read::int(row, "hash")?, name: read::string(row, "name")? }))
            .collect()
    }

    /// Ids of the parked deliveries whose error has this code.
    pub async fn by_code(&self, code: &str) -> Result<Vec<i64>> {
        let sql = "SELECT id FROM open WHERE state = 'parked' AND code = $1 ORDER BY id".to_string();
        let rows = select(&self.pool, sql, vec![Value::Text(read::text(code))]).await?;
        rows.iter().map(|row| read::int(row, "id")).collect()
    }

    /// The next records for deduplication after this one.
    pub async fn seen(&self, after: &(String, i64), limit: i64) -> Result<Vec<SeenLine>> {
        let sql =
            "SELECT id, pair, seq, content, type FROM seen WHERE (id, pair) > ($1, $2) ORDER BY id, pair LIMIT $3";
        let values = vec![Value::Text(read::text(&after.0)), Value::Int(after.1), Value::Int(limit)];
        let rows = select(&self.pool, sql.into(), values).await?;
        let line = |row| {
            let int = |column| read::int(row, column);
            let id = read::string(row, "id")?;
            Ok(SeenLine { id, pair: int("pair")?, seq: int("seq")?, content: int("content")?, r#type: int("type")? })
        };
        rows.iter().map(line).collect()
    }

    pub async fn counter(&self, name: &str) -> Result<i64> {
        let sql = "SELECT value FROM counters WHERE name = $1".to_string();
        let rows = select(&self.pool, sql, vec![Value::Text(name.into())]).await?;
        rows.first().map_or(Ok(0), |row| read::int(row, "value"))
    }
}

fn message_line(row: &sqlx::any::AnyRow) -> Result<MessageLine> {
    let message = read::message(row, "id")?;
    let mut event = message.to_structured();
    let kept = read::field::<Option<String>>(row, "data")?.is_some();
    if let (false, Some(event)) = (kept, event.as_object_mut()) {
        event.remove("data");
    }
    Ok(MessageLine {
        seq: read::int(row, "seq")?,
        until: read::int(row, "until")?,
        received_at_ms: read::int(row, "received_at_ms")?,
        sweep: read::int(row, "sweep")? != 0,
        place: read::optional(row, "place")?,
        stated_by: read::optional(row, "stated_by")?,
        intake: read::optional(row, "intake")?,
        event,
        deliveries: vec![],
    })
}

fn delivery_line(row: &sqlx::any::AnyRow, calls: Vec<Call>) -> Result<DeliveryLine> {
    Ok(DeliveryLine {
        id: read::int(row, "id")?,
        system: read::string(row, "system")?,
        key: read::optional(row, "key")?,
        state: super::rows::parse_state(&read::string(row, "state")?)?,
        attempts: read::number(row, "attempts")?,
        tries: read::number(row, "tries")?,
        next_at_ms: read::int(row, "next_at_ms")?,
        updated_at_ms: read::int(row, "updated_at_ms")?,
        judged: super::rows::judged(read::int(row, "operated")?),
        error: read::error(row)?,
        edited: read::field::<Option<String>>(row, "edited")?.map(|text| read::record(&text)).transpose()?,
        by: read::optional(row, "by_whom")?,
        calls,
    })
}

impl MessageLine {
    /// Puts the rows that this line stands for among those to be written.
    pub fn restore(self, changes: &mut Changes) -> Result<()> {
        let mut event = self.event;
        let mut data = None;
        if let Some(event) = event.as_object_mut() {
            data = event.get("data").map(ToString::to_string);
            event.entry("data").or_insert(serde_json::Value::Null);
        }
        let message = Arc::new(Message::from_structured(event)?);
        for delivery in self.deliveries {
            changes.record(delivery.id, delivery.calls)?;
            let cause = delivery.error.as_ref().map(|error| Cause::of(&delivery.system, &message.r#type, error));
            let cause = cause.map(|cause| (cause.id(), cause));
            changes.deliveries.push(OpenRow {
                id: delivery.id,
                message_seq: self.seq,
                r#type: message.r#type.clone(),
                system: delivery.system,
                key: delivery.key,
                state: delivery.state,
                attempts: delivery.attempts,
                tries: delivery.tries,
                next_at_ms: delivery.next_at_ms,
                updated_at_ms: delivery.updated_at_ms,
                judged: delivery.judged,
                version: 0,
                error: record(delivery.error.as_ref())?,
                code: delivery.error.map(|e| e.code),
                edited: delivery.edited.map(|event| event.to_string()),
                by: delivery.by,
                was: None,
                cause,
                was_cause: 0,
            });
        }
        changes.type_hash(&message.r#type);
        changes.messages.push(MessageRow {
            seq: self.seq,
            until: self.until,
            received_at_ms: self.received_at_ms,
            sweep: self.sweep,
            place: self.place,
            stated_by: self.stated_by,
            intake: self.intake,
            attributes: attributes(&message)?,
            data,
            message,
        });
        Ok(())
    }
}

/// One line of text.
pub fn line(line: &ExportLine) -> Result<String> {
    serde_json::to_string(line).map(|text| text + "\n").map_err(internal)
}
