//! One `IntervalBlock` and what it belongs to -> messages.

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::readings::{Kind, Meaning, interval_text};
use busbar_sdk::{Draft, Rejection, ids, rejection};
use serde::Serialize;

use crate::resource::{Block, LocalTime, NUMBER_MAX, ReadingType};

/// Intervals of one message, by its schema.
const VALUES_MAX: usize = 3000;

/// What a block belongs to.
pub struct Context<'a> {
    /// UsagePoint's mRID.
    pub metering_point: &'a str,
    pub reading_type: ReadingType,
    pub meaning: Meaning,
    pub local: LocalTime,
    /// When the entry was updated, in seconds after 1970: a later statement supersedes.
    pub updated: Option<i64>,
    pub origin: &'a str,
}

/// A reading whose period is known.
struct Timed {
    index: usize,
    start: i64,
    duration: i64,
    value: String,
    quality: Option<&'static str>,
}

impl Timed {
    fn end(&self) -> i64 {
        self.start + self.duration
    }

    fn says_the_same(&self, other: &Self) -> bool {
        (self.start, self.duration, &self.value, self.quality)
            == (other.start, other.duration, &other.value, other.quality)
    }
}

/// The messages of a block: one for 3000 intervals, or one for each reading of a register. `left_out`: the readings of it
/// that are none, while the others are.
///
/// # Errors
/// `bad-interval`, `bad-time`, or what the block's own fields are, at the block, which is left out whole.
pub fn drafts(context: &Context<'_>, block: &Block, left_out: &mut Vec<Rejection>) -> Result<Vec<Draft>, Rejection> {
    if let Some(problem) = &block.problem {
        return Err(problem.clone());
    }
    let mut all: Vec<Timed> = Vec::with_capacity(block.readings.len());
    for index in 0..block.readings.len() {
        match timed(context, block, index) {
            Ok(reading) => all.push(reading),
            Err(entry) => left_out.push(entry),
        }
    }
    let timed = one_each(block, all, left_out);
    match context.meaning.kind {
        Kind::Register => timed.iter().map(|reading| register(context, block, reading)).collect(),
        _ => timed.chunks(VALUES_MAX).map(|readings| intervals(context, block, readings)).collect(),
    }
}

fn timed(context: &Context<'_>, block: &Block, index: usize) -> Result<Timed, Rejection> {
    let refuse = |code: &str, reason: &str| rejection(code, reason, place(block, &[index]));
    let reading = block.readings.get(index).ok_or_else(|| refuse("missing-field", "no reading"))?;
    if let Some(problem) = &reading.problem {
        return Err(problem.clone());
    }
    let (start, duration) = reading.period.or_else(|| counted(context, block, index)).ok_or_else(|| {
        refuse("missing-field", "neither timePeriod, nor intervalLength and interval tell when it was")
    })?;
    let inside = |(from, length): (i64, i64)| from <= start && start + duration <= from + length;
    if !block.interval.is_none_or(inside) {
        return Err(refuse("bad-period", "a reading lies outside of its block"));
    }
    let stated = reading.value.ok_or_else(|| refuse("missing-field", "a reading without value"))?;
    let value = stated.times_power_of_ten(context.meaning.power_of_ten);
    let may_be_negative = context.meaning.quantity == "active-energy-net" && context.meaning.kind != Kind::Register;
    if !may_be_negative && stated.is_negative() {
        return Err(refuse("bad-value", "a value is below zero, and no net one"));
    }
    let value = value.and_then(|value| value.canonical());
    let value = value.ok_or_else(|| refuse("bad-value", "a value has at most 15 digits and 6 decimals in kWh"))?;
    let quality = reading.quality.unwrap_or(context.reading_type.quality);
    Ok(Timed { index, start, duration, value, quality })
}

/// In order of time. Of readings that overlap nobody knows which are true: none of them is taken, unless they say the same.
fn one_each(block: &Block, mut all: Vec<Timed>, left_out: &mut Vec<Rejection>) -> Vec<Timed> {
    all.sort_by_key(|reading| (reading.start, reading.duration));
    all.dedup_by(|later, first| later.says_the_same(first));
    let mut kept = Vec::with_capacity(all.len());
    let mut group: Vec<Timed> = Vec::new();
    let mut settle = |group: &mut Vec<Timed>| match group.len() {
        0 | 1 => kept.append(group),
        _ => {
            let mut indexes: Vec<usize> = group.drain(..).map(|reading| reading.index).collect();
            indexes.sort_unstable();
            let reason = "readings of one period, or that overlap, with different values";
            left_out.push(rejection("repeated-period", reason, place(block, &indexes)));
        }
    };
    for reading in all {
        if group.iter().all(|other| reading.start >= other.end()) {
            settle(&mut group);
        }
        group.push(reading);
    }
    settle(&mut group);
    kept
}

fn place(block: &Block, indexes: &[usize]) -> String {
    let numbers: Vec<String> = indexes.iter().take(20).map(|index| (index + 1).to_string()).collect();
    let word = if numbers.len() == 1 { "reading" } else { "readings" };
    format!("{}, {word} {}", block.place, numbers.join(", "))
}

/// espi.xsd, IntervalReading/timePeriod: without it there is a reading for each `intervalLength`.
fn counted(context: &Context<'_>, block: &Block, index: usize) -> Option<(i64, i64)> {
    let length = context.reading_type.interval_seconds.filter(|length| *length > 0)?;
    let (start, _) = block.interval?;
    let start = length.checked_mul(i64::try_from(index).ok()?)?.checked_add(start)?;
    (start < NUMBER_MAX).then_some((start, length))
}

fn intervals(context: &Context<'_>, block: &Block, readings: &[Timed]) -> Result<Draft, Rejection> {
    let refuse = |code: &str, reason: &str| rejection(code, reason, block.place.clone());
    let first = readings.first().ok_or_else(|| refuse("missing-field", "a block without readings"))?;
    if readings.iter().any(|reading| reading.duration != first.duration) {
        return Err(refuse("bad-interval", "the readings of the block are not of one length"));
    }
    let interval = interval_text(first.duration)
        .ok_or_else(|| refuse("bad-interval", "an interval lasts whole minutes, and at most 999 days"))?;
    let (offset, day) = day_of(context.local, block);
    let mut values = Vec::with_capacity(readings.len());
    for reading in readings {
        let start_at = moment(reading.start, offset).ok_or_else(|| refuse("bad-time", "a moment beyond all time"))?;
        values.push(Value { start_at, value: &reading.value, quality: reading.quality });
    }
    let meaning = &context.meaning;
    let data = Measured {
        metering_point: context.metering_point,
        quantity: meaning.quantity,
        unit: meaning.unit,
        interval,
        measured_on: day,
        revision: context.updated.filter(|seconds| *seconds >= 0),
        values,
    };
    let id = id(context, readings);
    draft(context, block, id, "interval.consumption.measured.v1", &data)
}

fn register(context: &Context<'_>, block: &Block, reading: &Timed) -> Result<Draft, Rejection> {
    let end = reading.start + reading.duration;
    let local = dates::local_of_unix_seconds(end, context.local.standard).filter(|_| end >= 0);
    let local = local.ok_or_else(|| rejection("bad-time", "a moment beyond all time", block.place.clone()))?;
    let data = Taken {
        metering_point: context.metering_point,
        taken_on: dates::iso_date(local.date()),
        taken_at: dates::rfc3339(local, context.local.standard),
        origin: context.origin,
        registers: [Register {
            quantity: context.meaning.quantity,
            unit: context.meaning.unit,
            value: &reading.value,
            quality: reading.quality,
        }],
    };
    let id = id(context, std::slice::from_ref(reading));
    draft(context, block, id, "meter.reading.taken.v1", &data)
}

/// What is measured where and when, and the values: a download of other bounds states the same block with the same id, a
/// corrected one with another.
fn id(context: &Context<'_>, readings: &[Timed]) -> String {
    let mut values = String::with_capacity(readings.len() * 24);
    for reading in readings {
        let quality = reading.quality.unwrap_or_default();
        values.push_str(&format!("{}+{}={}{quality};", reading.start, reading.duration, reading.value));
    }
    ids::derived(&["espi", context.metering_point, context.meaning.quantity, context.meaning.unit, &values])
}

fn draft(
    context: &Context<'_>,
    block: &Block,
    id: String,
    r#type: &str,
    data: &impl Serialize,
) -> Result<Draft, Rejection> {
    let data =
        serde_json::to_string(data).map_err(|error| rejection("bad-value", error.to_string(), block.place.clone()))?;
    Ok(Draft {
        subject: Some(context.metering_point.to_owned()),
        time: context.updated.and_then(|seconds| moment(seconds, context.local.standard)),
        partition_key: Some(context.metering_point.to_owned()),
        place: Some(block.place.clone()),
        ..busbar_sdk::draft(id, r#type, data)
    })
}

/// The day that a block is about, where it is one: it begins at midnight of standard or summer time and has 23 to 25
/// hours. And the offset of that midnight.
fn day_of(local: LocalTime, block: &Block) -> (Offset, Option<String>) {
    let Some((start, 82_800..=90_000)) = block.interval else { return (local.standard, None) };
    for offset in [local.standard, local.summer] {
        if let Some(moment) = dates::local_of_unix_seconds(start, offset)
            && moment == dates::start_of_day(moment.date())
        {
            return (offset, Some(dates::iso_date(moment.date())));
        }
    }
    (local.standard, None)
}

/// Nothing before 1970, where no meter was read.
fn moment(seconds: i64, offset: Offset) -> Option<String> {
    let local = dates::local_of_unix_seconds(seconds, offset).filter(|_| seconds >= 0);
    local.map(|moment| dates::rfc3339(moment, offset))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured<'a> {
    metering_point: &'a str,
    quantity: &'a str,
    unit: &'a str,
    interval: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured_on: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    values: Vec<Value<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Value<'a> {
    start_at: String,
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Taken<'a> {
    metering_point: &'a str,
    taken_on: String,
    taken_at: String,
    origin: &'a str,
    registers: [Register<'a>; 1],
}

#[derive(Serialize)]
struct Register<'a> {
    quantity: &'a str,
    unit: &'a str,
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'a str>,
}
