//! `MeterReading`: its readings become registers that were read, its interval blocks consumption.

use busbar_sdk::decimal::Decimal;
use busbar_sdk::readings::{Kind, Meaning, ReadingCodes, interval_text};
use busbar_sdk::xml::{Element, Xml};
use busbar_sdk::{Draft, Rejection, Sink, ids, rejection};
use serde::Serialize;

use crate::events::{self, Event, first};
use crate::mapping::{Settings, can_be_id};
use busbar_sdk::cim::{Header, cut, field};

/// Readings and blocks, and events, of one meter reading, which is held until its end: the meter may come last.
const READINGS_MAX: usize = 50_000;
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

struct Reading {
    line: u64,
    /// Seconds after 1970.
    at: i64,
    value: Decimal,
    quality: Option<&'static str>,
}

/// A reading type by its reference.
#[derive(Clone, PartialEq, Eq)]
struct Type {
    name: String,
    meaning: Meaning,
    /// measuringPeriod in seconds.
    period: Option<i64>,
    /// tou: the tariff zone, 0 for none.
    zone: i64,
}

impl Type {
    /// As far as it fits the schemas.
    fn short_name(&self) -> Option<&str> {
        (self.name.len() <= 40).then_some(self.name.as_str())
    }
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
                let (kind, reading) = reading(settings, xml, &element)?;
                let untyped =
                    || rejection("unsupported-reading-type", "a reading without ReadingType", xml.place_of(&element));
                let kind = kind.ok_or_else(untyped)?;
                found.registers.push((kind, reading));
                found.count(1, xml)?;
            }
            "IntervalBlocks" => {
                let block = block(settings, xml)?;
                let readings = block.1.len();
                found.blocks.push(block);
                found.count(readings, xml)?;
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

fn reading<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    xml: &mut Xml<R>,
    reading: &Element,
) -> Result<(Option<Type>, Reading), Rejection> {
    let (mut kind, mut at, mut value, mut quality) = (None, None, None, None);
    while let Some(element) = xml.child()? {
        match element.name.as_str() {
            "timeStamp" => {
                let text = xml.text()?;
                let wrong = || rejection("bad-time", format!("no moment: `{}`", cut(&text)), xml.place_of(&element));
                at = Some(settings.seconds(&text).ok_or_else(wrong)?);
            }
            "value" => {
                let text = xml.text()?;
                let wrong = || rejection("bad-value", format!("no number: `{}`", cut(&text)), xml.place_of(&element));
                value = Some(Decimal::parse(&text).ok_or_else(wrong)?);
            }
            "ReadingType" => kind = Some(reading_type(xml, &element)?),
            "ReadingQualities" | "ReadingQuality" => quality = quality.or(self::quality(xml, &element)?),
            _ => xml.skip()?,
        }
    }
    let (Some(at), Some(value)) = (at, value) else {
        return Err(rejection("missing-field", "a reading has a timeStamp and a value", xml.place_of(reading)));
    };
    Ok((kind, Reading { line: reading.line, at, value, quality }))
}

fn block<R: FnMut(u32) -> Vec<u8>>(settings: &Settings, xml: &mut Xml<R>) -> Result<(Type, Vec<Reading>), Rejection> {
    let place = xml.place();
    let (mut kind, mut readings) = (None, Vec::new());
    while let Some(element) = xml.child()? {
        match element.name.as_str() {
            "IntervalReadings" => {
                readings.push(reading(settings, xml, &element)?.1);
                if readings.len() > READINGS_MAX {
                    return Err(xml.rejection("too-many-readings", format!("over {READINGS_MAX} of one meter reading")));
                }
            }
            "ReadingType" => kind = Some(reading_type(xml, &element)?),
            _ => xml.skip()?,
        }
    }
    let kind = kind.ok_or_else(|| rejection("unsupported-reading-type", "a block without ReadingType", place))?;
    Ok((kind, readings))
}

/// By its 18 codes (IEC 61968-9, annex C), as reference or as name.
fn reading_type<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>, element: &Element) -> Result<Type, Rejection> {
    let name = match element.attribute("ref") {
        Some(name) => {
            let name = name.to_owned();
            xml.skip()?;
            name
        }
        None => first(xml, "mRID")?,
    };
    let refuse = |reason: String| rejection("unsupported-reading-type", reason, xml.place_of(element));
    let codes: Option<Vec<i64>> =
        name.split('.').map(|code| code.parse().ok().filter(|_| code.len() <= 10)).take(19).collect();
    let codes = codes.filter(|codes| codes.len() == 18);
    let codes = codes.ok_or_else(|| refuse(format!("a reading type has 18 codes: `{}`", cut(&name))))?;
    let code = |index: usize| codes.get(index).copied();
    let energy =
        ReadingCodes { accumulation: code(3), commodity: code(5), flow: code(4), multiplier: code(15), unit: code(16) };
    let meaning = energy.meaning().map_err(|what| refuse(format!("no message carries {what}")))?;
    Ok(Type { name, meaning, period: code(2).and_then(period), zone: code(11).unwrap_or(0) })
}

/// measuringPeriod in seconds.
fn period(code: i64) -> Option<i64> {
    let minutes = match code {
        1 => 10,
        2 => 15,
        3 => 1,
        4 => 24 * 60,
        5 => 30,
        6 => 5,
        7 => 60,
        10 => 2,
        _ => return None,
    };
    Some(minutes * 60)
}

/// By the category, the second of the three codes of a ReadingQualityType.
fn quality<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>, element: &Element) -> Result<Option<&'static str>, Rejection> {
    let mut name = element.attribute("ref").unwrap_or_default().to_owned();
    while let Some(element) = xml.child()? {
        match element.attribute("ref") {
            Some(found) if element.name == "ReadingQualityType" => name = found.to_owned(),
            _ => {}
        }
        xml.skip()?;
    }
    Ok(match name.split('.').nth(1).unwrap_or_default() {
        "" | "0" => None,
        "7" => Some("edited"),
        "8" => Some("estimated"),
        "11" => Some("derived"),
        "12" => Some("projected"),
        _ => Some("doubtful"),
    })
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
            events::state(settings, event, Some((&self.meter, &self.usage_point)), sink)?;
        }
        if self.registers.is_empty() && self.blocks.is_empty() {
            return Ok(());
        }
        let ids = [&self.meter, &self.serial_number, &self.usage_point];
        if self.subject().is_empty() || ids.iter().any(|id| !can_be_id(id)) {
            let reason = "neither Meter/mRID nor UsagePoint/mRID, or with over 64 or control characters";
            return Err(rejection("no-meter", reason, self.place.clone()));
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
                    return Err(self.refuse("unsupported-reading-type", reason, reading));
                }
            }
        }
        for (kind, readings) in &self.blocks {
            match kind.meaning.kind {
                Kind::Register => registers.extend(readings.iter().map(|reading| (kind, reading))),
                _ => intervals.push((kind, readings.iter().collect())),
            }
        }
        self.state_registers(settings, registers, sink)?;
        for (kind, readings) in intervals {
            self.state_intervals(settings, header, (kind, readings), sink)?;
        }
        Ok(())
    }

    /// One message for each moment.
    fn state_registers(
        &self,
        settings: &Settings,
        mut found: Vec<(&Type, &Reading)>,
        sink: &mut impl Sink,
    ) -> Result<(), Rejection> {
        // Stable: registers of one moment keep their order.
        found.sort_by_key(|(_, reading)| reading.at);
        for group in found.chunk_by(|a, b| a.1.at == b.1.at) {
            let Some((_, first)) = group.first() else { continue };
            if group.len() > REGISTERS_MAX {
                return Err(self.refuse("too-many-readings", "over 50 registers at one moment", first));
            }
            let mut registers: Vec<Register<'_>> = Vec::with_capacity(group.len());
            let mut stated = String::new();
            for (index, (kind, reading)) in group.iter().enumerate() {
                if group.iter().take(index).any(|(other, _)| other.name == kind.name) {
                    let reason = "this register of this moment stands here already";
                    return Err(self.refuse("repeated-reading", reason, reading));
                }
                let value = self.value(kind, reading, false)?;
                stated.push_str(&format!("{}={value}{};", kind.name, reading.quality.unwrap_or_default()));
                registers.push(Register {
                    register: kind.short_name(),
                    tariff_zone: (kind.zone > 0).then(|| format!("tou-{}", kind.zone)),
                    quantity: kind.meaning.quantity,
                    unit: kind.meaning.unit,
                    value,
                    quality: reading.quality,
                });
            }
            let taken_at =
                settings.text(first.at).ok_or_else(|| self.refuse("bad-time", "a moment beyond all time", first))?;
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
        }
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
        let revision = settings.seconds(&header.timestamp).filter(|seconds| *seconds >= 0);
        let mut last = None;
        for readings in readings.chunks(VALUES_MAX) {
            let Some(first) = readings.first() else { continue };
            let mut values = Vec::with_capacity(readings.len());
            let mut stated = String::new();
            for reading in readings {
                let start = reading.at - if settings.is_end() { period } else { 0 };
                if last.is_some_and(|last| start < last + period) {
                    return Err(self.refuse(
                        "repeated-reading",
                        "an interval overlaps or precedes the one before",
                        reading,
                    ));
                }
                last = Some(start);
                let start_at =
                    settings.text(start).ok_or_else(|| self.refuse("bad-time", "a moment beyond all time", reading))?;
                let value = self.value(kind, reading, kind.meaning.quantity == "active-energy-net")?;
                stated.push_str(&format!("{start}={value}{};", reading.quality.unwrap_or_default()));
                values.push(Value { start_at, value, quality: reading.quality });
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
