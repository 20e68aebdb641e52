//! Reads. Each is one statement, so that it sees whole commits only.

use super::dialect::Dialect;
use super::find::Value;
use super::rows::{IdRow, OwnerRow, arrays, text};
use super::text::read;
use super::{internal, unavailable};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use busbar_core::*;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe, Row};
use std::collections::HashMap;
use std::sync::Arc;

type Result<T> = std::result::Result<T, Problem>;

pub async fn ready(pool: &AnyPool, system: &str, after: i64, limit: u32) -> Result<Vec<StoredDelivery>> {
    let sql = "SELECT d.id, d.message_seq, d.system, d.key, d.state, d.attempts, d.next_at_ms, m.event \
               FROM deliveries d JOIN messages m ON m.seq = d.message_seq \
               WHERE d.system = $1 AND d.state = 'ready' AND d.id > $2 ORDER BY d.id LIMIT $3";
    let query = sqlx::query(sql).bind(text(system)).bind(after).bind(i64::from(limit));
    let rows = query.fetch_all(pool).await.map_err(unavailable)?;
    rows.iter()
        .map(|row| {
            Ok(StoredDelivery {
                id: int(row, "id")?,
                message_seq: int(row, "message_seq")?,
                system: string(row, "system")?,
                key: optional(row, "key")?,
                state: state_of(row)?,
                attempts: number(row, "attempts")?,
                next_at_ms: int(row, "next_at_ms")?,
                message: Arc::new(event(row)?),
            })
        })
        .collect()
}

pub async fn parked_keys(pool: &AnyPool, system: &str) -> Result<Vec<String>> {
    // `|| ''`: SQLite shall look through the few parked ones, not through all of the system.
    let sql = "SELECT DISTINCT key FROM deliveries WHERE (system || '') = $1 AND state = 'parked' AND key IS NOT NULL";
    let rows = sqlx::query(sql).bind(text(system)).fetch_all(pool).await.map_err(unavailable)?;
    let mut keys = rows.iter().map(|row| string(row, "key")).collect::<Result<Vec<_>>>()?;
    // Here, because databases sort by their own collations.
    keys.sort();
    Ok(keys)
}

/// Calls by their owner, in order.
pub async fn calls(
    pool: &AnyPool,
    dialect: Dialect,
    owner_kind: &str,
    owners: impl IntoIterator<Item = String>,
) -> Result<HashMap<String, Vec<Call>>> {
    let owners: Vec<_> = owners.into_iter().map(|owner| OwnerRow { owner: text(&owner) }).collect();
    let sql = format!(
        "SELECT owner, record FROM calls WHERE owner_kind = $2 AND owner IN (SELECT r.owner FROM {}) ORDER BY seq",
        dialect.rows(OwnerRow::COLUMNS)
    );
    let mut calls: HashMap<String, Vec<Call>> = HashMap::new();
    for array in arrays(&owners).map_err(internal)? {
        let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(array).bind(owner_kind);
        for row in query.fetch_all(pool).await.map_err(unavailable)? {
            calls.entry(string(&row, "owner")?).or_default().push(record(&field::<String>(&row, "record")?)?);
        }
    }
    Ok(calls)
}

pub async fn state(pool: &AnyPool, system: &str, key: &str) -> Result<Option<Vec<u8>>> {
    let query = sqlx::query("SELECT value FROM state WHERE system = $1 AND key = $2");
    let row = query.bind(text(system)).bind(text(key)).fetch_optional(pool).await.map_err(unavailable)?;
    let Some(row) = row else { return Ok(None) };
    STANDARD.decode(field::<String>(&row, "value")?).map(Some).map_err(internal)
}

pub async fn lookup(pool: &AnyPool, source: &str, id: &str) -> Result<Option<(i64, Message)>> {
    let sql = "SELECT m.seq, m.event FROM seen s JOIN messages m ON m.seq = s.seq WHERE s.id = $1 AND s.source = $2";
    let query = sqlx::query(sql).bind(text(id)).bind(text(source));
    let row = query.fetch_optional(pool).await.map_err(unavailable)?;
    row.map(|row| Ok((int(&row, "seq")?, event(&row)?))).transpose()
}

/// Messages without their deliveries.
pub async fn messages(pool: &AnyPool, sql: String, values: Vec<Value>) -> Result<Vec<MessageView>> {
    let view = |row: &AnyRow| {
        Ok(MessageView {
            seq: int(row, "seq")?,
            message: event(row)?,
            received_at_ms: int(row, "received_at_ms")?,
            place: optional(row, "place")?,
            intake: optional(row, "intake")?,
            deliveries: vec![],
        })
    };
    select(pool, sql, values).await?.iter().map(view).collect()
}

/// Adds the deliveries of all `found` at once, without calls.
pub async fn deliveries(pool: &AnyPool, dialect: Dialect, found: &mut [MessageView]) -> Result<()> {
    let places: HashMap<_, _> = found.iter().enumerate().map(|(place, view)| (view.seq, place)).collect();
    let ids: Vec<_> = found.iter().map(|view| IdRow { id: view.seq }).collect();
    let sql = format!(
        "SELECT id, message_seq, system, key, state, attempts, next_at_ms, updated_at_ms, error FROM deliveries \
         WHERE message_seq IN (SELECT r.id FROM {}) ORDER BY id",
        dialect.rows(IdRow::COLUMNS)
    );
    for array in arrays(&ids).map_err(internal)? {
        for row in select(pool, sql.clone(), vec![Value::Text(array)]).await? {
            let view = DeliveryView {
                id: int(&row, "id")?,
                system: string(&row, "system")?,
                key: optional(&row, "key")?,
                state: state_of(&row)?,
                attempts: number(&row, "attempts")?,
                next_at_ms: int(&row, "next_at_ms")?,
                updated_at_ms: int(&row, "updated_at_ms")?,
                error: error(&row)?,
                calls: vec![],
            };
            let owner = places.get(&int(&row, "message_seq")?).and_then(|place| found.get_mut(*place));
            if let Some(owner) = owner {
                owner.deliveries.push(view);
            }
        }
    }
    Ok(())
}

pub async fn intakes(pool: &AnyPool, sql: String, values: Vec<Value>) -> Result<Vec<Intake>> {
    let intake = |row: &AnyRow| {
        Ok(Intake {
            id: string(row, "id")?,
            kind: word(&string(row, "kind")?)?,
            system: string(row, "system")?,
            name: string(row, "name")?,
            at_ms: int(row, "at_ms")?,
            outcome: word(&string(row, "outcome")?)?,
            messages: number(row, "messages")?,
            duplicates: number(row, "duplicates")?,
            differing: number(row, "differing")?,
            error: error(row)?,
        })
    };
    select(pool, sql, values).await?.iter().map(intake).collect()
}

pub async fn depths(pool: &AnyPool) -> Result<Vec<Depth>> {
    let sql = "SELECT system, state, total FROM depths WHERE total <> 0";
    let rows = sqlx::query(sql).fetch_all(pool).await.map_err(unavailable)?;
    let depth =
        |row: &AnyRow| Ok(Depth { system: string(row, "system")?, state: state_of(row)?, count: int(row, "total")? });
    let mut depths = rows.iter().map(depth).collect::<Result<Vec<_>>>()?;
    depths.sort_by(|a, b| (&a.system, a.state.as_str()).cmp(&(&b.system, b.state.as_str())));
    Ok(depths)
}

async fn select(pool: &AnyPool, sql: String, values: Vec<Value>) -> Result<Vec<AnyRow>> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for value in values {
        query = match value {
            Value::Text(text) => query.bind(text),
            Value::Int(number) => query.bind(number),
        };
    }
    query.fetch_all(pool).await.map_err(unavailable)
}

fn field<'r, T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>>(row: &'r AnyRow, column: &str) -> Result<T> {
    row.try_get(column).map_err(internal)
}

fn int(row: &AnyRow, column: &str) -> Result<i64> {
    field(row, column)
}

fn number<T: TryFrom<i64, Error: std::fmt::Display>>(row: &AnyRow, column: &str) -> Result<T> {
    int(row, column)?.try_into().map_err(internal)
}

fn string(row: &AnyRow, column: &str) -> Result<String> {
    field(row, column).map(read)
}

fn optional(row: &AnyRow, column: &str) -> Result<Option<String>> {
    field::<Option<String>>(row, column).map(|found| found.map(read))
}

fn state_of(row: &AnyRow) -> Result<DeliveryState> {
    let text = string(row, "state")?;
    DeliveryState::parse(&text).ok_or_else(|| internal(format!("a delivery in state `{text}`")))
}

fn event(row: &AnyRow) -> Result<Message> {
    let event: serde_json::Value = record(&field::<String>(row, "event")?)?;
    Message::from_structured(event).map_err(|problem| internal(format!("a stored message: {problem}")))
}

fn error(row: &AnyRow) -> Result<Option<ErrorRecord>> {
    field::<Option<String>>(row, "error")?.map(|text| record(&text)).transpose()
}

fn record<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(internal)
}

/// One of an enumeration's words.
fn word<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(text.to_string())).map_err(internal)
}
