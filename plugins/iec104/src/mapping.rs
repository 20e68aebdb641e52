//! What points say -> outages; what counters show -> readings. Pure.

use busbar_sdk::decimal::Decimal;
use busbar_sdk::{Draft, draft, ids};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::settings::{Counter, Normal, Point, Settings};
use crate::times;

/// A position that a point stated and that is believed.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    pub is_open: bool,
    /// Its time tag, in milliseconds after 1970; nothing without one that is believed.
    pub tag_ms: Option<u64>,
    /// Told because it has just happened, not because it was asked for.
    pub is_event: bool,
    pub is_ordered: bool,
}

/// What is known of a point, kept in the state. Nothing known: closed, as is normal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    #[serde(rename = "o")]
    pub is_open: bool,
    /// The latest time tag.
    #[serde(rename = "t")]
    pub tag_ms: u64,
    /// The outage that is, or the last one; empty where there was none.
    #[serde(rename = "i", skip_serializing_if = "String::is_empty")]
    outage: String,
    #[serde(rename = "k", skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(rename = "v")]
    revision: u32,
    /// 0 where only an interrogation said so.
    #[serde(rename = "s")]
    started_ms: u64,
    #[serde(rename = "e")]
    ended_ms: u64,
    /// When the position was learnt.
    #[serde(rename = "n")]
    learnt_ms: u64,
}

/// What became of a statement.
#[derive(Debug)]
pub enum News {
    /// Known already; the record may have a later tag.
    None,
    /// A position with a tag that is older than what is known, and another one: only an interrogation tells what is true.
    Doubtful,
    Outage(Box<Draft>),
}

/// Compares a position with what is known, and changes that.
pub fn position(settings: &Settings, point: &Point, known: &mut Known, said: Position, now_ms: u64) -> News {
    if let Some(tag) = said.tag_ms {
        let is_same = said.is_open == known.is_open;
        if tag < known.tag_ms || is_same && tag == known.tag_ms {
            return if is_same { News::None } else { News::Doubtful };
        }
        known.tag_ms = tag;
    }
    let was_open = std::mem::replace(&mut known.is_open, said.is_open);
    if point.normal == Normal::Open {
        return News::None;
    }
    // Told by an interrogation first: the tag that comes later says when it was.
    let is_exact = said.tag_ms.is_some_and(|tag| tag <= known.learnt_ms);
    let moment_ms = said.tag_ms.or(said.is_event.then_some(now_ms)).unwrap_or(0);
    let status = match (was_open, said.is_open) {
        (false, true) => {
            let kind = if said.is_ordered { "unknown" } else { settings.kind.as_str() };
            let id = |ms: u64| format!("{}-{}-{ms}", point.station, point.object);
            let id = id(said.tag_ms.unwrap_or_else(|| free_ms(&known.outage, now_ms)));
            // A station whose clock stands still: the same outage again.
            let revision = if known.outage == id { known.revision } else { 0 };
            known.outage = id;
            known.kind = kind.to_owned();
            known.revision = revision;
            known.started_ms = moment_ms;
            known.ended_ms = 0;
            "started"
        }
        (true, false) => {
            known.ended_ms = moment_ms;
            "restored"
        }
        (true, true) if known.started_ms == 0 && is_exact => {
            known.started_ms = moment_ms;
            "updated"
        }
        (false, false) if known.ended_ms == 0 && is_exact && !known.outage.is_empty() => {
            known.ended_ms = moment_ms;
            "restored"
        }
        _ => return News::None,
    };
    if was_open != said.is_open {
        known.learnt_ms = now_ms;
    }
    // Restored, but nothing said that it had begun.
    if known.outage.is_empty() {
        return News::None;
    }
    known.revision = known.revision.saturating_add(1);
    News::Outage(Box::new(outage(settings, point, known, status, said.tag_ms.unwrap_or(now_ms))))
}

/// The hub's time for an outage whose start has none; the next one where an outage of this switch has it: two that come at once
/// are two.
fn free_ms(last_outage: &str, now_ms: u64) -> u64 {
    let last_ms = last_outage.rsplit('-').next().and_then(|ms| ms.parse::<u64>().ok());
    // One further ahead has the tag of a clock that is.
    let is_near = |last_ms: &u64| last_ms.checked_sub(now_ms).is_some_and(|ahead_ms| ahead_ms < 1000);
    last_ms.filter(is_near).map_or(now_ms, |last_ms| last_ms.saturating_add(1))
}

fn outage(settings: &Settings, point: &Point, known: &Known, status: &str, changed_ms: u64) -> Draft {
    let at = |ms: u64| Value::from(times::rfc3339(ms, settings.utc_offset));
    let mut data = Map::from_iter([
        ("id".to_owned(), known.outage.clone().into()),
        ("kind".to_owned(), known.kind.clone().into()),
        ("status".to_owned(), status.into()),
        ("revision".to_owned(), known.revision.into()),
        ("changedAt".to_owned(), at(changed_ms)),
        ("equipment".to_owned(), equipment(point)),
    ]);
    for (name, ms) in [("startedAt", known.started_ms), ("restoredAt", known.ended_ms)] {
        if ms > 0 {
            data.insert(name.to_owned(), at(ms));
        }
    }
    let affected = affected(point);
    if !affected.is_empty() {
        data.insert("affected".to_owned(), affected.into());
    }
    if !point.notice.is_empty() && status != "restored" {
        data.insert("notice".to_owned(), point.notice.clone().into());
    }
    Draft {
        subject: Some(known.outage.clone()),
        time: at(changed_ms).as_str().map(str::to_owned),
        partition_key: Some(known.outage.clone()),
        place: Some(format!("point {}/{}", point.station, point.object)),
        ..draft(
            ids::derived(&["iec104", &known.outage, &known.revision.to_string(), status]),
            "outage.changed.v1",
            Value::Object(data).to_string(),
        )
    }
}

fn equipment(point: &Point) -> Value {
    let mut switch = Map::from_iter([("id".to_owned(), point.id.clone().into())]);
    if !point.name.is_empty() {
        switch.insert("name".to_owned(), point.name.clone().into());
    }
    switch.insert("kind".to_owned(), point.kind.clone().into());
    let mut all = vec![Value::Object(switch)];
    if let Some(feeder) = &point.feeder {
        let mut one = json!({ "id": feeder.id, "kind": "feeder" });
        if !feeder.name.is_empty() {
            one["name"] = feeder.name.clone().into();
        }
        all.push(one);
    }
    all.into()
}

fn affected(point: &Point) -> Map<String, Value> {
    let mut affected = Map::new();
    let lists = [
        ("addresses", serde_json::to_value(&point.addresses)),
        ("meteringPoints", serde_json::to_value(&point.metering_points)),
        ("accounts", serde_json::to_value(&point.accounts)),
    ];
    for (name, list) in lists {
        if let Some(list) = list.ok().filter(|list| list.as_array().is_some_and(|list| !list.is_empty())) {
            affected.insert(name.to_owned(), list);
        }
    }
    if let Some(customers) = point.customers {
        affected.insert("customers".to_owned(), customers.into());
    }
    affected
}

/// A register shows so much. Nothing for a count that no reading can be: below zero, or too large.
pub fn reading(settings: &Settings, counter: &Counter, count: i32, tag_ms: u64) -> Option<Draft> {
    let value = Decimal::parse(&count.to_string())?.times_power_of_ten(counter.power_of_ten)?;
    let value = value.canonical().filter(|_| !value.is_negative())?;
    let mut register = json!({ "quantity": counter.quantity, "unit": counter.unit, "value": value });
    for (name, text) in [("register", &counter.register), ("tariffZone", &counter.tariff_zone)] {
        if !text.is_empty() {
            register[name] = text.as_str().into();
        }
    }
    let at = times::rfc3339(tag_ms, settings.utc_offset);
    let mut data = json!({
        "meteringPoint": counter.metering_point, "takenOn": times::day(tag_ms, settings.utc_offset), "takenAt": at,
        "origin": "ami", "registers": [register],
    });
    if !counter.serial_number.is_empty() {
        data["meter"] = json!({ "serialNumber": counter.serial_number });
    }
    let parts = ["iec104", &counter.station.to_string(), &counter.object.to_string(), &tag_ms.to_string()];
    Some(Draft {
        subject: Some(counter.metering_point.clone()),
        time: Some(at),
        partition_key: Some(counter.metering_point.clone()),
        place: Some(format!("point {}/{}", counter.station, counter.object)),
        ..draft(ids::derived(&parts), "meter.reading.taken.v1", data.to_string())
    })
}
