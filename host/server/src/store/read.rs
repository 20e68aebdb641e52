//! Reads. Each is one statement, so that it sees whole commits only.

use super::dialect::Dialect;
use super::find::{self, Value};
use super::rows::{judged, parse_state};
use super::text::{read, stored};
use super::{internal, unavailable};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use busbar_core::commit::Pair;
use busbar_core::ports::{Ready, StateSize};
use busbar_core::*;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe, Row};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Problem>;

pub async fn ready(pool: &AnyPool, system: &str, shards: Shards, after: i64, limit: u32) -> Result<Ready> {
    // `deliveries` of several hubs: bit `n` of the mask is shard `n`.
    let mine = if shards == Shards::ALL { "" } else { "AND (($4 >> CAST(d.shard AS INTEGER)) & 1) = 1" };
    let sql = format!(
        "SELECT c.value AS operations, f.* FROM counters c LEFT JOIN (SELECT d.id, d.message_seq, d.system, d.key, \
         d.state, d.attempts, d.tries, d.next_at_ms, d.operated, d.version, d.edited, m.type, m.source, m.subject, \
         m.id AS message_id, m.attributes, m.data FROM open d JOIN messages m ON m.seq = d.message_seq \
         WHERE d.system = $1 AND d.state = 'ready' AND d.id > $2 {mine} ORDER BY d.id LIMIT $3) f ON true \
         WHERE c.name = 'operations' ORDER BY f.id"
    );
    let mut values = vec![Value::Text(text(system)), Value::Int(after), Value::Int(limit.into())];
    if shards != Shards::ALL {
        values.push(Value::Int(shards.0.into()));
    }
    let delivery = |row: &AnyRow| {
        let message = match field::<Option<String>>(row, "edited")? {
            Some(edited) => event(&edited)?,
            None => message(row, "message_id")?,
        };
        Ok(StoredDelivery {
            id: int(row, "id")?,
            message_seq: int(row, "message_seq")?,
            system: string(row, "system")?,
            key: optional(row, "key")?,
            state: parse_state(&string(row, "state")?)?,
            attempts: number(row, "attempts")?,
            tries: number(row, "tries")?,
            next_at_ms: int(row, "next_at_ms")?,
            operated: int(row, "operated")? != 0,
            judged: judged(int(row, "operated")?).unwrap_or(0),
            version: number(row, "version")?,
            message: Arc::new(message),
        })
    };
    let rows = select(pool, sql, values).await?;
    let operations = rows.first().map(|row| int(row, "operations")).transpose()?.unwrap_or(0);
    // Where nothing is ready the count stands alone.
    let found = rows.iter().filter(|row| !matches!(field::<Option<i64>>(row, "id"), Ok(None)));
    Ok(Ready { deliveries: found.map(delivery).collect::<Result<_>>()?, operations })
}

/// A message from its row. One whose data are not kept has `null` in their place.
pub fn message(row: &AnyRow, id: &str) -> Result<Message> {
    let mut attributes: BTreeMap<String, String> = record(&field::<String>(row, "attributes")?)?;
    let subject = Some(string(row, "subject")?).filter(|subject| !subject.is_empty());
    let data = field::<Option<String>>(row, "data")?;
    Ok(Message {
        id: string(row, id)?,
        source: string(row, "source")?,
        r#type: string(row, "type")?,
        subject: subject.or_else(|| attributes.remove("subject")),
        time: attributes.remove("time"),
        dataschema: attributes.remove("dataschema"),
        traceparent: attributes.remove("traceparent"),
        partitionkey: attributes.remove("partitionkey"),
        correlationid: attributes.remove("correlationid"),
        causationid: attributes.remove("causationid"),
        extensions: attributes,
        data: data.map(|text| record::<serde_json::Value>(&text)).transpose()?.unwrap_or_default().into(),
    })
}

fn event(text: &str) -> Result<Message> {
    Message::from_structured(record(text)?).map_err(|problem| internal(format!("an edited message: {problem}")))
}

/// Calls by the id of their owner, in order.
pub async fn calls(pool: &AnyPool, dialect: Dialect, owners: Vec<i64>) -> Result<HashMap<i64, Vec<Call>>> {
    let mut calls: HashMap<i64, Vec<Call>> = HashMap::new();
    if owners.is_empty() {
        return Ok(calls);
    }
    // Sorted here: for an ORDER BY PostgreSQL would walk all calls in the order of their index (7 ms at 8,000).
    let sql =
        format!("SELECT c.owner, c.record FROM {} CROSS JOIN calls c WHERE c.owner = r.id", dialect.numbers(&["id"]));
    for row in select(pool, sql, vec![numbers(owners.into_iter().map(|id| [id]))]).await? {
        calls.entry(int(&row, "owner")?).or_default().push(record(&field::<String>(&row, "record")?)?);
    }
    calls.values_mut().for_each(|calls| calls.sort_by_key(|call| (call.attempt, call.ordinal)));
    Ok(calls)
}

pub async fn state(pool: &AnyPool, system: &str, key: &str) -> Result<Option<Vec<u8>>> {
    let query = sqlx::query("SELECT value FROM state WHERE system = $1 AND key = $2");
    let row = query.bind(text(system)).bind(text(key)).fetch_optional(pool).await.map_err(unavailable)?;
    let Some(row) = row else { return Ok(None) };
    STANDARD.decode(field::<String>(&row, "value")?).map(Some).map_err(internal)
}

pub async fn state_size(pool: &AnyPool, system: &str) -> Result<StateSize> {
    // Values are base64: four bytes for three.
    let sql = "SELECT count(*) AS keys, CAST(coalesce(sum(octet_length(key)), 0) AS BIGINT) AS named, \
               CAST(coalesce(sum(octet_length(value)), 0) AS BIGINT) AS kept FROM state WHERE system = $1";
    let rows = select(pool, sql.to_string(), vec![Value::Text(text(system))]).await?;
    let Some(row) = rows.first() else { return Ok(StateSize::default()) };
    let (named, kept): (u64, u64) = (number(row, "named")?, number(row, "kept")?);
    Ok(StateSize { keys: number(row, "keys")?, bytes: named + kept / 4 * 3 })
}

pub async fn lookup(pool: &AnyPool, source: &str, id: &str) -> Result<Option<(i64, Message)>> {
    let sql = "SELECT m.seq, m.type, m.source, m.subject, m.id, m.attributes, m.data \
               FROM seen s JOIN messages m ON m.seq = s.seq WHERE s.id = $1 AND s.pair = $2";
    let Pair(pair, _) = Pair::named(source, id);
    let rows = select(pool, sql.to_string(), vec![Value::Text(text(id)), Value::Int(pair)]).await?;
    rows.first().map(|row| Ok((int(row, "seq")?, message(row, "id")?))).transpose()
}

/// The types that come with this value in a column of a table.
pub async fn types(pool: &AnyPool, table: &str, column: &str, value: &str) -> Result<Vec<String>> {
    let found = select(pool, find::types(table, column), vec![Value::Text(text(value))]).await?;
    found.iter().map(|row| string(row, "type")).collect()
}

/// Messages with their deliveries, without calls.
pub async fn messages(pool: &AnyPool, dialect: Dialect, (sql, values): find::Query) -> Result<Vec<MessageView>> {
    let rows = select(pool, sql, values).await?;
    let view = |row: &AnyRow| {
        Ok(MessageView {
            seq: int(row, "seq")?,
            message: message(row, "id")?,
            received_at_ms: int(row, "received_at_ms")?,
            place: optional(row, "place")?,
            stated_by: stated_by(row)?,
            intake: optional(row, "intake")?,
            deliveries: vec![],
        })
    };
    let mut found = rows.iter().map(view).collect::<Result<Vec<_>>>()?;
    let ranges = rows.iter().map(|row| Ok([int(row, "seq")?, int(row, "until")?])).collect::<Result<Vec<_>>>()?;
    deliveries_of(pool, dialect, ranges, &mut found).await?;
    Ok(found)
}

/// Adds the deliveries of all `found` at once, by the ids that can be theirs.
async fn deliveries_of(
    pool: &AnyPool,
    dialect: Dialect,
    ranges: Vec<[i64; 2]>,
    found: &mut [MessageView],
) -> Result<()> {
    let places: HashMap<_, _> = found.iter().enumerate().map(|(place, view)| (view.seq, place)).collect();
    let ranges: Vec<_> = ranges.into_iter().filter(|[seq, until]| until > seq).collect();
    if ranges.is_empty() {
        return Ok(());
    }
    let of = |table| {
        let rows = dialect.numbers(&["seq", "until"]);
        let own = "d.id > r.seq AND d.id <= r.until AND d.message_seq = r.seq";
        format!("SELECT {} FROM {rows} CROSS JOIN {table} d WHERE {own}", find::delivery(table))
    };
    // Not ordered by the database: for that PostgreSQL would read all deliveries in the order of their ids.
    let sql = format!("{} UNION ALL {}", of("open"), of("deliveries"));
    for row in select(pool, sql, vec![numbers(ranges)]).await? {
        let (seq, view) = delivery(&row)?;
        if let Some(owner) = places.get(&seq).and_then(|place| found.get_mut(*place)) {
            owner.deliveries.push(view);
        }
    }
    found.iter_mut().for_each(|view| view.deliveries.sort_by_key(|d| d.id));
    Ok(())
}

pub async fn deliveries(pool: &AnyPool, (sql, values): find::Query) -> Result<Vec<(i64, DeliveryView)>> {
    select(pool, sql, values).await?.iter().map(delivery).collect()
}

/// A delivery with its message's `seq`.
fn delivery(row: &AnyRow) -> Result<(i64, DeliveryView)> {
    let edited = field::<Option<String>>(row, "edited")?.map(|text| event(&text)).transpose()?;
    let view = DeliveryView {
        id: int(row, "id")?,
        r#type: string(row, "type")?,
        system: string(row, "system")?,
        key: optional(row, "key")?,
        state: parse_state(&string(row, "state")?)?,
        attempts: number(row, "attempts")?,
        version: number(row, "version")?,
        next_at_ms: int(row, "next_at_ms")?,
        updated_at_ms: int(row, "updated_at_ms")?,
        error: error(row)?,
        edited: edited.map(|message| message.data.into_value()),
        by: optional(row, "by_whom")?,
        calls: vec![],
    };
    Ok((int(row, "message_seq")?, view))
}

fn stated_by(row: &AnyRow) -> Result<Option<StatedBy>> {
    optional(row, "stated_by")?.map(|text| StatedBy::try_from(text).map_err(internal)).transpose()
}

/// Intakes with their ids of the journal.
pub async fn intakes(pool: &AnyPool, (sql, values): find::Query) -> Result<Vec<(i64, Intake)>> {
    let intake = |row: &AnyRow| {
        let intake = Intake {
            id: string(row, "id")?,
            kind: word(&string(row, "kind")?)?,
            system: string(row, "system")?,
            name: string(row, "name")?,
            at_ms: int(row, "at_ms")?,
            outcome: word(&string(row, "outcome")?)?,
            messages: number(row, "messages")?,
            duplicates: number(row, "duplicates")?,
            differing: number(row, "differing")?,
            left_out: number(row, "left_out")?,
            error: error(row)?,
            part_of: optional(row, "part_of")?,
            event: optional(row, "event")?.map(|text| record(&text)).transpose()?,
            by: optional(row, "by_whom")?,
            times: number(row, "times")?,
            last_at_ms: Some(int(row, "last_at_ms")?).filter(|at_ms| *at_ms > 0),
            stated_by: stated_by(row)?,
        };
        Ok((int(row, "seq")?, intake))
    };
    select(pool, sql, values).await?.iter().map(intake).collect()
}

pub async fn depths(pool: &AnyPool) -> Result<Vec<Depth>> {
    let sql = "SELECT system, state, total FROM depths WHERE total <> 0";
    let rows = sqlx::query(sql).fetch_all(pool).await.map_err(unavailable)?;
    let depth = |row: &AnyRow| {
        Ok(Depth {
            system: string(row, "system")?,
            state: parse_state(&string(row, "state")?)?,
            count: int(row, "total")?,
        })
    };
    let mut depths = rows.iter().map(depth).collect::<Result<Vec<_>>>()?;
    depths.sort_by(|a, b| (&a.system, a.state.as_str()).cmp(&(&b.system, b.state.as_str())));
    Ok(depths)
}

pub async fn select(pool: &AnyPool, sql: String, values: Vec<Value>) -> Result<Vec<AnyRow>> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for value in values {
        query = match value {
            Value::Text(text) => query.bind(text),
            Value::Int(number) => query.bind(number),
        };
    }
    query.fetch_all(pool).await.map_err(unavailable)
}

/// Rows of numbers as JSON, for [`Dialect::numbers`].
fn numbers<const N: usize>(rows: impl IntoIterator<Item = [i64; N]>) -> Value {
    let row = |row: [i64; N]| format!("[{}]", row.map(|n| n.to_string()).join(","));
    Value::Text(format!("[{}]", rows.into_iter().map(row).collect::<Vec<_>>().join(",")))
}

pub fn text(text: &str) -> String {
    stored(text).into_owned()
}

pub fn field<'r, T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>>(row: &'r AnyRow, column: &str) -> Result<T> {
    row.try_get(column).map_err(internal)
}

pub fn int(row: &AnyRow, column: &str) -> Result<i64> {
    field(row, column)
}

pub fn number<T: TryFrom<i64, Error: std::fmt::Display>>(row: &AnyRow, column: &str) -> Result<T> {
    int(row, column)?.try_into().map_err(internal)
}

pub fn string(row: &AnyRow, column: &str) -> Result<String> {
    field(row, column).map(read)
}

pub fn optional(row: &AnyRow, column: &str) -> Result<Option<String>> {
    field::<Option<String>>(row, column).map(|found| found.map(read))
}

pub fn error(row: &AnyRow) -> Result<Option<ErrorRecord>> {
    field::<Option<String>>(row, "error")?.map(|text| record(&text)).transpose()
}

pub fn record<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(internal)
}

/// One of an enumeration's words.
pub fn word<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(text.to_string())).map_err(internal)
}
