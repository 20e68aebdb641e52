//! `MeterReading`: its readings become registers that were read, its interval blocks consumption.

use busbar_sdk::decimal::Decimal;
use busbar_sdk::readings::{Kind, interval_text};
use busbar_sdk::xml::{Element, Xml};
use busbar_sdk::{Draft, Rejection, Sink, ids, rejection};
use serde::Serialize;

use crate::events::{self, Event, first};
use crate::mapping::{Settings, can_be_id};
use crate::reading::{READINGS_MAX, Reading, Type, block, reading};
use busbar_sdk::cim::{Header, field};

/// Of one meter reading, which is held until its end.
const EVENTS_MAX: usize = 1000;
/// By the schemas of the messages.
const VALUES_MAX: usize = 3000;
const REGISTERS_MAX: usize = 50;

#[derive(Default)]
struct MeterReading {
    place: String,
    meter: String,
    serial_number: String,
    usage_point: String,
    /// Each with the type of its readings.
    registers: Vec<(Type, Reading)>,
    blocks: Vec<(Type, Vec<Reading>)>,
    events: Vec<Event>,
    count: usize,
}

/// Reads a `MeterReading` and states what it tells. Gives how many readings and events it has.
///
/// # Errors
/// The README lists the codes.
pub fn read<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    xml: &mut Xml<R>,
    header: &Header,
    element: &Element,
    sink: &mut impl Sink,
) -> Result<usize, Rejection> {
    let mut found =
        MeterReading { place: format!("line {}, element {}", element.line, xml.path()), ..Default::default() };
    while let Some(element) = xml.child()? {
        match element.name.as_str() {
            "Meter" | "EndDevice" => found.meter(xml)?,
            "UsagePoint" => found.usage_point = first(xml, "mRID")?,
            "Readings" => {
                let untyped = "a reading without ReadingType";
                match reading(settings, xml, &element)? {
                    Ok((Some(kind), reading)) => found.registers.push((kind, reading)),
                    Ok((None, _)) => {
                        sink.leave_out(rejection("unsupported-reading-type", untyped, xml.place_of(&element)));
                    }
                    Err(entry) => sink.leave_out(entry),
                }
                found.count(1, xml)?;
            }
            "IntervalBlocks" => {
                let (block, count) = block(settings, xml, sink)?;
                match block {
                    Ok(block) => found.blocks.push(block),
                    Err(entry) => sink.leave_out(entry),
                }
                found.count(count, xml)?;
            }
            "EndDeviceEvents" => {
                found.events.push(events::read(xml, &element)?);
                found.count(1, xml)?;
            }
            _ => xml.skip()?,
        }
    }
    found.state(settings, header, sink)?;
    Ok(found.count)
}

impl MeterReading {
    fn meter<R: FnMut(u32) -> Vec<u8>>(&mut self, xml: &mut Xml<R>) -> Result<(), Rejection> {
        while let Some(element) = xml.child()? {
            match element.name.as_str() {
                "mRID" => self.meter = field(xml)?,
                "serialNumber" => self.serial_number = field(xml)?,
                _ => xml.skip()?,
            }
        }
        Ok(())
    }

    fn count<R: FnMut(u32) -> Vec<u8>>(&mut self, more: usize, xml: &Xml<R>) -> Result<(), Rejection> {
        self.count += more;
        if self.events.len() > EVENTS_MAX {
            return Err(xml.rejection("too-many-readings", format!("over {EVENTS_MAX} events of one meter reading")));
        }
        match self.count + self.blocks.len() > READINGS_MAX {
            true => Err(xml.rejection("too-many-readings", format!("over {READINGS_MAX} of one meter reading"))),
            false => Ok(()),
        }
    }

    fn state(&self, settings: &Settings, header: &Header, sink: &mut impl Sink) -> Result<(), Rejection> {
        for event in &self.events {
            if let Err(entry) = events::state(settings, event, Some((&self.meter, &self.usage_point)), sink) {
                sink.leave_out(entry);
            }
        }
        if self.registers.is_empty() && self.blocks.is_empty() {
            return Ok(());
        }
        let ids = [&self.meter, &self.serial_number, &self.usage_point];
        if self.subject().is_empty() || ids.iter().any(|id| !can_be_id(id)) {
            let reason = "neither Meter/mRID nor UsagePoint/mRID, or with over 64 or control characters";
            sink.leave_out(rejection("no-meter", reason, self.place.clone()));
            return Ok(());
        }
        let mut intervals: Vec<(&Type, Vec<&Reading>)> = Vec::new();
        let mut registers: Vec<(&Type, &Reading)> = Vec::new();
        for (kind, reading) in &self.registers {
            match kind.meaning.kind {
                Kind::Register | Kind::Instant => registers.push((kind, reading)),
                Kind::Interval => match intervals.iter_mut().find(|(found, _)| *found == kind) {
                    Some((_, readings)) => readings.push(reading),
                    None => intervals.push((kind, vec![reading])),
                },
                Kind::Unstated => {
                    let reason = "accumulation 0 of energy: neither what a register shows nor what an interval took";
                    sink.leave_out(self.refuse("unsupported-reading-type", reason, reading));
                }
            }
        }
        for (kind, readings) in &self.blocks {
            match kind.meaning.kind {
                Kind::Register => registers.extend(readings.iter().map(|reading| (kind, reading))),
                _ => intervals.push((kind, readings.iter().collect())),
            }
        }
        self.state_registers(settings, registers, sink);
        for (kind, readings) in intervals {
            if let Err(entry) = self.state_intervals(settings, header, (kind, readings), sink) {
                sink.leave_out(entry);
            }
        }
        Ok(())
    }

    /// One message for each moment.
    fn state_registers(&self, settings: &Settings, mut found: Vec<(&Type, &Reading)>, sink: &mut impl Sink) {
        // Stable: registers of one moment keep their order.
        found.sort_by_key(|(_, reading)| reading.at);
        for group in found.chunk_by(|a, b| a.1.at == b.1.at) {
            if let Err(entry) = self.state_moment(settings, group, sink) {
                sink.leave_out(entry);
            }
        }
    }

    fn state_moment(
        &self,
        settings: &Settings,
        group: &[(&Type, &Reading)],
        sink: &mut impl Sink,
    ) -> Result<(), Rejection> {
        let Some((_, first)) = group.first() else { return Ok(()) };
        if group.len() > REGISTERS_MAX {
            return Err(self.refuse("too-many-readings", "over 50 registers at one moment", first));
        }
        let taken_at =
            settings.text(first.at).ok_or_else(|| self.refuse("bad-time", "a moment beyond all time", first))?;
        let mut registers: Vec<Register<'_>> = Vec::with_capacity(group.len());
        let mut stated = String::new();
        for (index, (kind, reading)) in group.iter().enumerate() {
            let others = || group.iter().filter(|(other, _)| other.name == kind.name).map(|(_, other)| *other);
            let differ = others().any(|other| !other.says_the_same(reading));
            // Of a register with two values at one moment nobody knows which is true: none is taken, and it is told once.
            let is_first = group.iter().take(index).all(|(other, _)| other.name != kind.name);
            if differ && is_first {
                let reason = "a register with several values at one moment";
                sink.leave_out(self.refuse_all("repeated-reading", reason, others()));
            }
            if differ || !is_first {
                continue;
            }
            let value = match self.value(kind, reading, false) {
                Ok(value) => value,
                Err(entry) => {
                    sink.leave_out(entry);
                    continue;
                }
            };
            stated.push_str(&format!("{}={value}{};", kind.name, reading.quality.unwrap_or_default()));
            registers.push(Register {
                register: kind.short_name(),
                tariff_zone: (kind.zone != 0).then(|| format!("tou-{}", kind.zone)),
                quantity: kind.meaning.quantity,
                unit: kind.meaning.unit,
                value,
                quality: reading.quality,
            });
        }
        if registers.is_empty() {
            return Ok(());
        }
        let id = ids::derived(&["61968", "reading", self.subject(), &taken_at, &stated]);
        let data = Taken {
            meter: self.meter_of(),
            metering_point: (!self.usage_point.is_empty()).then_some(self.usage_point.as_str()),
            taken_on: taken_at.get(..10).unwrap_or_default(),
            taken_at: &taken_at,
            origin: settings.origin(),
            registers,
        };
        sink.emit(self.draft(id, "meter.reading.taken.v1", &data, Some(taken_at.clone()), first.line));
        Ok(())
    }

    fn state_intervals(
        &self,
        settings: &Settings,
        header: &Header,
        (kind, readings): (&Type, Vec<&Reading>),
        sink: &mut impl Sink,
    ) -> Result<(), Rejection> {
        let Some(first) = readings.first() else { return Ok(()) };
        let period = kind.period.ok_or_else(|| {
            self.refuse(
                "unsupported-reading-type",
                "no measuringPeriod of minutes tells how long an interval is",
                first,
            )
        })?;
        if kind.zone != 0 {
            let reason = "the energy of one tariff zone in an interval, which no message carries";
            return Err(self.refuse("unsupported-reading-type", reason, first));
        }
        let revision = settings.seconds(&header.timestamp).filter(|seconds| *seconds >= 0);
        let may_be_negative = kind.meaning.quantity == "active-energy-net";
        let mut timed = Vec::with_capacity(readings.len());
        for reading in self.one_each(readings, period, sink) {
            let start = reading.at - if settings.is_end() { period } else { 0 };
            let beyond = || self.refuse("bad-time", "a moment beyond all time", reading);
            let start_at = settings.text(start).ok_or_else(beyond);
            match start_at.and_then(|start_at| Ok((start, start_at, self.value(kind, reading, may_be_negative)?))) {
                Ok((start, start_at, value)) => timed.push((reading, start, start_at, value)),
                Err(entry) => sink.leave_out(entry),
            }
        }
        for readings in timed.chunks(VALUES_MAX) {
            let Some((first, ..)) = readings.first() else { continue };
            let mut values = Vec::with_capacity(readings.len());
            let mut stated = String::new();
            for (reading, start, start_at, value) in readings {
                stated.push_str(&format!("{start}={value}{};", reading.quality.unwrap_or_default()));
                values.push(Value { start_at: start_at.clone(), value: value.clone(), quality: reading.quality });
            }
            let data = Measured {
                metering_point: self.subject(),
                meter: self.meter_of(),
                channel: kind.short_name(),
                quantity: kind.meaning.quantity,
                unit: kind.meaning.unit,
                interval: interval_text(period).unwrap_or_default(),
                revision,
                values,
            };
            let id = ids::derived(&["61968", "interval", self.subject(), &kind.name, &stated]);
            let time = revision.and_then(|seconds| settings.text(seconds));
            sink.emit(self.draft(id, "interval.consumption.measured.v1", &data, time, first.line));
        }
        Ok(())
    }

    /// In order of time, each once. Of intervals that overlap nobody knows which are true: none is taken.
    fn one_each<'b>(&self, mut all: Vec<&'b Reading>, period: i64, sink: &mut impl Sink) -> Vec<&'b Reading> {
        all.sort_by_key(|reading| reading.at);
        all.dedup_by(|later, first| later.says_the_same(first));
        let mut kept = Vec::with_capacity(all.len());
        for group in all.chunk_by(|a, b| b.at - a.at < period) {
            match group {
                [one] => kept.push(*one),
                several => {
                    let reason = "intervals that overlap, with different values";
                    sink.leave_out(self.refuse_all("repeated-reading", reason, several.iter().copied()));
                }
            }
        }
        kept
    }

    fn refuse_all<'b>(&self, code: &str, reason: &str, readings: impl Iterator<Item = &'b Reading>) -> Rejection {
        let mut lines: Vec<u64> = readings.map(|reading| reading.line).take(20).collect();
        lines.sort_unstable();
        let lines: Vec<String> = lines.iter().map(u64::to_string).collect();
        rejection(code, reason, format!("lines {}", lines.join(", ")))
    }

    fn value(&self, kind: &Type, reading: &Reading, may_be_negative: bool) -> Result<String, Rejection> {
        let value = reading.value.times_power_of_ten(kind.meaning.power_of_ten);
        let value = value.filter(|value| may_be_negative || !value.is_negative()).and_then(Decimal::canonical);
        value
            .ok_or_else(|| self.refuse("bad-value", "negative, or over 15 digits or 6 decimals in kilo units", reading))
    }

    fn draft(&self, id: String, r#type: &str, data: &impl Serialize, time: Option<String>, line: u64) -> Draft {
        Draft {
            subject: Some(self.subject().to_owned()),
            time,
            partition_key: Some(self.subject().to_owned()),
            place: Some(format!("line {line}")),
            ..busbar_sdk::draft(id, r#type, serde_json::to_string(data).unwrap_or_default())
        }
    }

    /// The metering point, or the meter where only that is known.
    fn subject(&self) -> &str {
        if self.usage_point.is_empty() { &self.meter } else { &self.usage_point }
    }

    fn meter_of(&self) -> Option<Meter<'_>> {
        let filled = |text: &'_ str| !text.is_empty();
        let id = Some(self.meter.as_str()).filter(|id| filled(id));
        let serial_number = Some(self.serial_number.as_str()).filter(|number| filled(number));
        (id.is_some() || serial_number.is_some()).then_some(Meter { id, serial_number })
    }

    fn refuse(&self, code: &str, reason: &str, reading: &Reading) -> Rejection {
        rejection(code, reason, format!("line {}", reading.line))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meter<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Taken<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    meter: Option<Meter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metering_point: Option<&'a str>,
    taken_on: &'a str,
    taken_at: &'a str,
    origin: &'a str,
    registers: Vec<Register<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Register<'a> {
    /// Left out where it is too long for the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    register: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tariff_zone: Option<String>,
    quantity: &'a str,
    unit: &'a str,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured<'a> {
    metering_point: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    meter: Option<Meter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    quantity: &'a str,
    unit: &'a str,
    interval: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    values: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    start_at: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'static str>,
}
