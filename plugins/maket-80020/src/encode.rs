//! Messages -> files: consumption -> 80020, a document for each day and revision; states of documents -> receipts 60091.
//! One document is an XML file, several are an archive of them.

use std::collections::{BTreeMap, BTreeSet};

use busbar_sdk::decimal::Decimal;
use busbar_sdk::encoding::Encoding;
use busbar_sdk::xml::XmlWriter;
use busbar_sdk::{Failure, Message, data_of, dates, ids, rejected, zip};
use serde::Deserialize;
use time::{Date, PrimitiveDateTime};

use crate::document::quantity_of;
use crate::mapping::{Area, Party, Rounding, Settings};
use crate::period::{DAY_MINUTES, Value, clock};
use crate::receipt::{self, Changed};

#[cfg(test)]
mod tests;

/// `interval.consumption.measured.v1`, as far as the format has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    metering_point: String,
    quantity: String,
    unit: String,
    interval: String,
    measured_on: Option<String>,
    revision: Option<u64>,
    values: Vec<Interval>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interval {
    start_at: String,
    value: Option<String>,
    quality: Option<String>,
}

/// A document 80020 to be: its points in their order, each with its channels.
#[derive(Default)]
struct Metering {
    made_at: Option<PrimitiveDateTime>,
    points: BTreeMap<(Kind, String), BTreeMap<&'static str, Channel>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Point,
    Group,
    Flow,
}

struct Channel {
    length_minutes: u32,
    values: Vec<Value>,
}

/// Writes the file of these messages and gives its name.
///
/// # Errors
/// `rejected` with `/<index>…` and a code of the README for a message that cannot be written; `bad-config` where a party is missing.
pub fn encode(settings: &Settings, messages: &[Message], mut write: impl FnMut(&[u8])) -> Result<String, Failure> {
    let Some(sender) = &settings.sender else {
        return Err(rejected("bad-config", "files out need a sender", "config, sender"));
    };
    let mut days: BTreeMap<(Date, u64), Metering> = BTreeMap::new();
    let mut documents: Vec<(String, Vec<u8>)> = Vec::new();
    let mut names = BTreeSet::new();
    for (index, message) in messages.iter().enumerate() {
        match message.type_.as_str() {
            "interval.consumption.measured.v1" => measured(settings, &mut days, message, index)?,
            "document.status.changed.v1" => {
                let changed: Changed = data_of(message).map_err(|failure| at(index, failure))?;
                if !receipt::has_code(&changed) {
                    let reason = format!("no receipt says `{}`", changed.status);
                    return Err(rejected("bad-status", reason, place(index, "/data/status")));
                }
                let name = receipt_name(sender, &changed, &mut names);
                documents.push((name, receipt_file(settings, sender, &changed)));
            }
            other => {
                return Err(rejected("unexpected-type", format!("{other} has no place in a file"), place(index, "")));
            }
        }
    }
    for ((day, number), metering) in &days {
        let Some(area) = &settings.area else {
            return Err(rejected("bad-config", "files 80020 need an area", "config, area"));
        };
        let name = format!("80020_{}_{}_{number}_{}.xml", sender.inn, dates::compact_date(*day), area.inn);
        documents.push((name, metering_file(settings, (sender, area), *day, *number, metering)));
    }
    match documents.as_slice() {
        [] => Err(rejected("no-data", "there is no message to write", "")),
        [(name, content)] => {
            write(content);
            Ok(name.clone())
        }
        several => {
            let parts: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
            let name = format!("80020_{}_{}.zip", sender.inn, ids::derived(&parts).get(..8).unwrap_or_default());
            let files = several.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
            zip::write_archive(files, write).map_err(Failure::Other)?;
            Ok(name)
        }
    }
}

fn measured(
    settings: &Settings,
    days: &mut BTreeMap<(Date, u64), Metering>,
    message: &Message,
    index: usize,
) -> Result<(), Failure> {
    let data: Measured = data_of(message).map_err(|failure| at(index, failure))?;
    let refuse = |code: &str, reason: String, field: &str| rejected(code, reason, place(index, field));
    let (kind, channel) = kind_of(&data.quantity, &data.metering_point)
        .ok_or_else(|| refuse("no-such-channel", format!("the format has no {}", data.quantity), "/data/quantity"))?;
    let unit = quantity_of(channel).map_or("kWh", |(_, unit)| unit);
    if data.unit != unit {
        return Err(refuse("bad-unit", format!("{} is stated in {unit}", data.quantity), "/data/unit"));
    }
    let number = data
        .revision
        .ok_or_else(|| refuse("no-revision", "a file has a number, which is the revision".into(), "/data/revision"))?;
    let length_minutes = length_of(&data.interval)
        .ok_or_else(|| refuse("bad-interval", "a period has 15, 30 or 60 minutes".into(), "/data/interval"))?;
    let day = day_of(settings, &data).ok_or_else(|| refuse("bad-date", "no such day".into(), "/data/measuredOn"))?;
    let values = slots(settings, &data, kind, (day, length_minutes), index)?;
    let metering = days.entry((day, number)).or_default();
    let made_at = message.time.as_deref().and_then(dates::parse_date_time);
    if let Some((moment, offset)) = made_at {
        let seconds = dates::unix_seconds(moment, offset.unwrap_or(settings.utc_offset));
        metering.made_at = metering.made_at.max(dates::local_of_unix_seconds(seconds, settings.utc_offset));
    }
    let channels = metering.points.entry((kind, data.metering_point)).or_default();
    if channels.insert(channel, Channel { length_minutes, values }).is_some() {
        return Err(refuse("repeated-channel", "another message has this channel, day and revision".into(), ""));
    }
    Ok(())
}

/// Where a quantity is written: the channel of a point, or a group or flow, whose channel is empty.
fn kind_of(quantity: &str, point: &str) -> Option<(Kind, &'static str)> {
    match quantity {
        "active-energy-net" if point.contains('>') => Some((Kind::Flow, "")),
        "active-energy-net" => Some((Kind::Group, "")),
        _ => {
            let channel = ["01", "02", "03", "04"]
                .into_iter()
                .find(|channel| quantity_of(channel).is_some_and(|(found, _)| found == quantity))?;
            Some((Kind::Point, channel))
        }
    }
}

fn length_of(interval: &str) -> Option<u32> {
    match interval {
        "PT15M" => Some(15),
        "PT30M" => Some(30),
        "PT60M" | "PT1H" => Some(60),
        _ => None,
    }
}

fn day_of(settings: &Settings, data: &Measured) -> Option<Date> {
    match &data.measured_on {
        Some(day) => dates::parse_iso_date(day),
        None => {
            let (moment, offset) = dates::parse_date_time(&data.values.first()?.start_at)?;
            let seconds = dates::unix_seconds(moment, offset?);
            Some(dates::local_of_unix_seconds(seconds, settings.utc_offset)?.date())
        }
    }
}

/// The periods of the day; one that is not stated was not measured.
fn slots(
    settings: &Settings,
    data: &Measured,
    kind: Kind,
    (day, length_minutes): (Date, u32),
    index: usize,
) -> Result<Vec<Value>, Failure> {
    let midnight = dates::unix_seconds(dates::start_of_day(day), settings.utc_offset);
    let mut slots: Vec<Option<Value>> = vec![None; (DAY_MINUTES / length_minutes) as usize];
    let mut carried = 0;
    for (number, interval) in data.values.iter().enumerate() {
        let refuse = |code: &str, reason: &str, field: &str| {
            rejected(code, reason, place(index, &format!("/data/values/{number}/{field}")))
        };
        let start = dates::parse_date_time(&interval.start_at).and_then(|(moment, offset)| Some((moment, offset?)));
        let (moment, offset) = start.ok_or_else(|| refuse("bad-date", "no such moment", "startAt"))?;
        let seconds = dates::unix_seconds(moment, offset) - midnight;
        let length = i64::from(length_minutes) * 60;
        let slot = usize::try_from(seconds.div_euclid(length)).ok().filter(|_| seconds.rem_euclid(length) == 0);
        let Some(slot) = slot.and_then(|slot| slots.get_mut(slot)) else {
            return Err(refuse("outside-the-day", "no period of the day starts then", "startAt"));
        };
        let is_commercial = matches!(interval.quality.as_deref(), None | Some("valid")) && interval.value.is_some();
        let value = match &interval.value {
            None => None,
            Some(text) => Some(
                whole(text, settings.rounding, &mut carried)
                    .filter(|value| kind != Kind::Point || *value >= 0)
                    .ok_or_else(|| {
                        refuse("not-whole", "the format has whole numbers, of a point not negative", "value")
                    })?
                    .to_string(),
            ),
        };
        if slot.replace(Value { value, is_commercial }).is_some() {
            return Err(refuse("repeated-period", "another value of the same period", "startAt"));
        }
    }
    let missing = Value { value: None, is_commercial: false };
    Ok(slots.into_iter().map(|slot| slot.unwrap_or_else(|| missing.clone())).collect())
}

/// Whole units. With `carry`, what is rounded off goes to the next value, so that the sum of the day stays right.
fn whole(text: &str, rounding: Rounding, carried: &mut i128) -> Option<i128> {
    const MILLION: i128 = 1_000_000;
    let millionths = Decimal::parse(text)?.units(6)?;
    if rounding == Rounding::Refuse {
        return (millionths % MILLION == 0).then_some(millionths / MILLION);
    }
    let exact = millionths + *carried;
    let rounded = (exact + MILLION / 2).div_euclid(MILLION);
    *carried = exact - rounded * MILLION;
    Some(rounded)
}

fn metering_file(
    settings: &Settings,
    (sender, area): (&Party, &Area),
    day: Date,
    number: u64,
    metering: &Metering,
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut xml = XmlWriter::new(Encoding::Windows1251, |bytes| file.extend_from_slice(bytes));
    xml.start("message", &[("class", "80020"), ("version", "2"), ("number", &number.to_string())]);
    let made_at = metering.made_at.unwrap_or_else(|| dates::start_of_day(day.next_day().unwrap_or(day)));
    datetime(&mut xml, made_at, Some(day));
    party(&mut xml, "sender", sender);
    match &area.timezone {
        Some(zone) => xml.start("area", &[("timezone", zone)]),
        None => xml.start("area", &[]),
    }
    xml.leaf("inn", &[], &area.inn);
    xml.leaf("name", &[], &area.name);
    for ((kind, code), channels) in &metering.points {
        let name = settings.names.get(code).unwrap_or(code);
        match kind {
            Kind::Point => xml.start("measuringpoint", &[("code", code), ("name", name)]),
            Kind::Group => xml.start("deliverygroup", &[("code", code), ("name", name)]),
            Kind::Flow => {
                let (from, to) = code.split_once('>').unwrap_or_default();
                xml.start("peretok", &[("codefrom", from), ("codeto", to), ("name", name)]);
            }
        }
        for (channel, day) in channels {
            match channel.is_empty() {
                true => periods(&mut xml, day),
                false => {
                    xml.start("measuringchannel", &[("code", channel), ("desc", description(channel))]);
                    periods(&mut xml, day);
                    xml.end();
                }
            }
        }
        xml.end();
    }
    xml.finish();
    file
}

fn periods<W: FnMut(&[u8])>(xml: &mut XmlWriter<W>, day: &Channel) {
    let mut start = 0;
    for value in &day.values {
        let end = start + day.length_minutes;
        xml.start("period", &[("start", &clock(start)), ("end", &clock(end))]);
        let status: &[(&str, &str)] = if value.is_commercial { &[] } else { &[("status", "1")] };
        xml.leaf("value", status, value.value.as_deref().unwrap_or_default());
        xml.end();
        start = end;
    }
}

fn description(channel: &str) -> &'static str {
    match channel {
        "01" => "счетчик, акт. прием",
        "02" => "счетчик, акт. отдача",
        "03" => "счетчик, реакт. прием",
        _ => "счетчик, реакт. отдача",
    }
}

fn receipt_file(settings: &Settings, sender: &Party, changed: &Changed) -> Vec<u8> {
    let mut file = Vec::new();
    let mut xml = XmlWriter::new(Encoding::Windows1251, |bytes| file.extend_from_slice(bytes));
    let number = changed.document.number.as_deref().unwrap_or_default();
    xml.start("message", &[("class", "60091"), ("version", "1"), ("number", number)]);
    let at = dates::parse_date_time(&changed.changed_at).and_then(|(moment, offset)| {
        let seconds = dates::unix_seconds(moment, offset.unwrap_or(settings.utc_offset));
        dates::local_of_unix_seconds(seconds, settings.utc_offset)
    });
    if let Some(at) = at {
        datetime(&mut xml, at, changed.document.issued_on.as_deref().and_then(dates::parse_iso_date));
    }
    party(&mut xml, "sender", sender);
    let document = document_name(changed);
    let text = changed.reason.as_ref().and_then(|reason| reason.text.as_deref()).unwrap_or_default();
    xml.leaf("status", &[("code", receipt::code_of(changed)), ("document", document)], text);
    xml.finish();
    file
}

fn document_name(changed: &Changed) -> &str {
    let document = &changed.document;
    document.id.as_deref().or(document.number.as_deref()).unwrap_or_default()
}

fn receipt_name(sender: &Party, changed: &Changed, names: &mut BTreeSet<String>) -> String {
    let document: String = document_name(changed)
        .trim_end_matches(".xml")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '_' })
        .collect();
    let stem = format!("60091_{}_{document}", sender.inn);
    let mut name = format!("{stem}.xml");
    let mut repeat = 1;
    while !names.insert(name.clone()) {
        repeat += 1;
        name = format!("{stem}_{repeat}.xml");
    }
    name
}

fn datetime<W: FnMut(&[u8])>(xml: &mut XmlWriter<W>, at: PrimitiveDateTime, day: Option<Date>) {
    xml.start("datetime", &[]);
    xml.leaf("timestamp", &[], &dates::compact_date_time(at));
    xml.leaf("daylightsavingtime", &[], "0");
    if let Some(day) = day {
        xml.leaf("day", &[], &dates::compact_date(day));
    }
    xml.end();
}

fn party<W: FnMut(&[u8])>(xml: &mut XmlWriter<W>, element: &str, party: &Party) {
    xml.start(element, &[]);
    xml.leaf("inn", &[], &party.inn);
    xml.leaf("name", &[], &party.name);
    xml.end();
}

fn place(index: usize, field: &str) -> String {
    format!("/{index}{field}")
}

fn at(index: usize, failure: Failure) -> Failure {
    match failure {
        Failure::Rejected(rejection) => rejected(&rejection.code, rejection.reason, place(index, "/data")),
        other => other,
    }
}
