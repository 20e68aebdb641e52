//! One `message` of class 80020 -> `interval.consumption.measured.v1`, a message for each channel of each point.

use std::collections::BTreeSet;

use busbar_sdk::dates::Offset;
use busbar_sdk::xml::{Element, Xml};
use busbar_sdk::{Draft, Rejection, Sink, dates, ids, rejection};
use serde::Serialize;
use time::{Date, Duration, PrimitiveDateTime};

use crate::mapping::Settings;
use crate::period::{Day, cut};

/// Channels of one document.
const CHANNELS_MAX: usize = 100_000;
/// Characters of a code that may be part of a `peretok`, whose two codes make one metering point.
const CODE_CHARS_MAX: usize = 30;

/// What a document says of itself, as far as it was read.
#[derive(Debug, Default)]
pub struct Head {
    pub number: Option<u64>,
    pub sender_inn: String,
    pub day: Option<Date>,
    timestamp: Option<PrimitiveDateTime>,
    is_summer: bool,
    /// `area@timezone` and its inn, of the area being read.
    zone: Option<Offset>,
    area_inn: String,
    /// A value was not commercial.
    pub has_non_commercial: bool,
}

impl Head {
    /// `80020_<ИНН>_<day>_<number>`, the parts of it that are known; nothing where none is.
    pub fn document_id(&self) -> Option<String> {
        let (number, day) = (self.number?, self.day?);
        Some(format!("80020_{}_{}_{number}", self.sender_inn, dates::compact_date(day)))
    }
}

/// Reads a whole document.
///
/// # Errors
/// The first thing that makes it unfit, with its place. `head` then holds what was read before.
pub fn decode<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    xml: &mut Xml<R>,
    head: &mut Head,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    let root = xml.root()?;
    let class = root.attribute("class").unwrap_or_default();
    if root.name != "message" || class != "80020" {
        let reason = format!("the root is {} of class `{}`, not message of class 80020", cut(&root.name), cut(class));
        return Err(xml.rejection("not-this-format", reason));
    }
    if root.attribute("version") != Some("2") {
        return Err(xml.rejection("unknown-version", "a version other than 2"));
    }
    let number = root.attribute("number").unwrap_or_default();
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    head.number = number.parse().ok().filter(|number| is_number && *number < 1 << 53);
    if head.number.is_none() {
        return Err(xml.rejection("bad-number", format!("number is no whole number: `{}`", cut(number))));
    }
    let mut reader = Reader { settings, xml, head, sink, seen: BTreeSet::new() };
    while let Some(element) = reader.xml.child()? {
        match element.name.as_str() {
            "datetime" => reader.datetime()?,
            "sender" => reader.head.sender_inn = reader.party()?,
            "area" => reader.area(&element)?,
            _ => return Err(reader.unknown(&element)),
        }
    }
    let is_empty = reader.seen.is_empty();
    xml.finish()?;
    head.check(xml)?;
    if is_empty {
        return Err(rejection("no-data", "the document has no channel", format!("line {}", xml.line())));
    }
    Ok(())
}

impl Head {
    fn check<R: FnMut(u32) -> Vec<u8>>(&self, xml: &Xml<R>) -> Result<(), Rejection> {
        for (is_there, name) in [(self.day.is_some(), "datetime/day"), (!self.sender_inn.is_empty(), "sender/inn")] {
            if !is_there {
                return Err(xml.rejection("missing-field", format!("no {name} before the areas")));
            }
        }
        Ok(())
    }
}

struct Reader<'a, R: FnMut(u32) -> Vec<u8>, S: Sink> {
    settings: &'a Settings,
    xml: &'a mut Xml<R>,
    head: &'a mut Head,
    sink: &'a mut S,
    seen: BTreeSet<(String, String)>,
}

/// Where a channel measures.
struct Point {
    code: String,
    /// Nothing for a flow between two groups, or of one.
    channel: Option<String>,
    quantity: &'static str,
    unit: &'static str,
}

impl<R: FnMut(u32) -> Vec<u8>, S: Sink> Reader<'_, R, S> {
    fn datetime(&mut self) -> Result<(), Rejection> {
        while let Some(element) = self.xml.child()? {
            let place = self.xml.place();
            let text = self.xml.text()?;
            let bad = |code: &str, what: &str| rejection(code, format!("no {what}: `{}`", cut(&text)), place.clone());
            match element.name.as_str() {
                "day" => {
                    let day = dates::parse_compact_date(&text).filter(|day| day.next_day().is_some());
                    self.head.day = Some(day.ok_or_else(|| bad("bad-date", "day such as 20261119"))?);
                }
                "timestamp" => {
                    let moment = dates::parse_compact_date_time(&text);
                    self.head.timestamp = Some(moment.ok_or_else(|| bad("bad-date", "moment such as 20261120081503"))?);
                }
                "daylightsavingtime" => {
                    self.head.is_summer = match text.as_str() {
                        "0" | "" => false,
                        "1" => true,
                        _ => return Err(bad("bad-date", "daylightsavingtime of 0 or 1, so a day of 23 or 25 hours")),
                    };
                }
                _ => self.sink.warn(&format!("{place}: unknown element, ignored")),
            }
        }
        Ok(())
    }

    /// The `inn` of a party; its name has no place in the messages.
    fn party(&mut self) -> Result<String, Rejection> {
        let mut inn = String::new();
        while let Some(element) = self.xml.child()? {
            match element.name.as_str() {
                "inn" => inn = self.inn()?,
                "name" => self.xml.skip()?,
                _ => self.ignore()?,
            }
        }
        Ok(inn)
    }

    fn inn(&mut self) -> Result<String, Rejection> {
        let place = self.xml.place();
        let inn = self.xml.text()?;
        if inn.is_empty() || inn.len() > 12 || !inn.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(rejection("bad-inn", format!("no number of a party: `{}`", cut(&inn)), place));
        }
        Ok(inn)
    }

    fn area(&mut self, area: &Element) -> Result<(), Rejection> {
        self.head.check(self.xml)?;
        self.head.area_inn.clear();
        self.head.zone = Some(match area.attribute("timezone") {
            None | Some("" | "1") => self.settings.utc_offset,
            Some(zone) => *self.settings.timezones.get(zone).ok_or_else(|| {
                self.xml.rejection("unknown-timezone", format!("timezone `{}` is not in the settings", cut(zone)))
            })?,
        });
        while let Some(element) = self.xml.child()? {
            match element.name.as_str() {
                "inn" => self.head.area_inn = self.inn()?,
                "name" => self.xml.skip()?,
                "measuringpoint" => self.measuring_point(&element)?,
                "deliverygroup" => {
                    let code = self.code(&element, "code")?;
                    self.flow(&element, code)?;
                }
                "peretok" => {
                    let (from, to) = (self.code(&element, "codefrom")?, self.code(&element, "codeto")?);
                    self.flow(&element, format!("{from}>{to}"))?;
                }
                _ => return Err(self.unknown(&element)),
            }
        }
        Ok(())
    }

    fn measuring_point(&mut self, element: &Element) -> Result<(), Rejection> {
        let code = self.code(element, "code")?;
        while let Some(element) = self.xml.child()? {
            if element.name != "measuringchannel" {
                return Err(self.unknown(&element));
            }
            let channel = element.attribute("code").unwrap_or_default().to_owned();
            let Some((quantity, unit)) = quantity_of(&channel) else {
                let reason = format!("no channel 01, 02, 03 or 04: `{}`", cut(&channel));
                return Err(self.xml.rejection("unknown-channel", reason));
            };
            self.channel(&element, Point { code: code.clone(), channel: Some(channel), quantity, unit })?;
        }
        Ok(())
    }

    /// Of a group or between two: it may change its direction.
    fn flow(&mut self, element: &Element, code: String) -> Result<(), Rejection> {
        self.channel(element, Point { code, channel: None, quantity: "active-energy-net", unit: "kWh" })
    }

    fn channel(&mut self, element: &Element, point: Point) -> Result<(), Rejection> {
        if self.head.area_inn.is_empty() {
            return Err(self.xml.rejection("missing-field", "no area/inn before the points"));
        }
        if !self.seen.insert((point.code.clone(), point.channel.clone().unwrap_or_default())) {
            return Err(self.xml.rejection("repeated-channel", "this channel of this point stands here already"));
        }
        if self.seen.len() > CHANNELS_MAX {
            return Err(self.xml.rejection("too-many-channels", format!("more than {CHANNELS_MAX} channels")));
        }
        let mut day = Day::default();
        while let Some(element) = self.xml.child()? {
            match element.name.as_str() {
                "period" => day.push(self.xml, &element, point.channel.is_none())?,
                _ => return Err(self.unknown(&element)),
            }
        }
        day.check(self.xml).map_err(|found| Rejection { place: Some(self.xml.place_of(element)), ..found })?;
        self.head.has_non_commercial |= day.values.iter().any(|value| !value.is_commercial);
        let draft = self.head.draft(&point, &day, element.line);
        self.sink.emit(draft);
        Ok(())
    }

    fn code(&self, element: &Element, name: &str) -> Result<String, Rejection> {
        let code = element.attribute(name).unwrap_or_default().trim();
        if code.is_empty() || code.chars().count() > CODE_CHARS_MAX || code.contains('>') {
            return Err(self.xml.rejection("bad-code", format!("{name} is no code: `{}`", cut(code))));
        }
        Ok(code.to_owned())
    }

    fn unknown(&self, element: &Element) -> Rejection {
        self.xml.rejection("unknown-element", format!("{} does not belong here", cut(&element.name)))
    }

    fn ignore(&mut self) -> Result<(), Rejection> {
        self.sink.warn(&format!("{}: unknown element, ignored", self.xml.place()));
        self.xml.skip()
    }
}

impl Head {
    /// Summer time was in force until permanent winter time began, on 26 October 2014 (Russia, 248-ФЗ); a flag after that is a
    /// generator's habit.
    fn offset(&self, day: Date) -> Offset {
        let zone = self.zone.unwrap_or(Offset::MOSCOW);
        let summer = self.is_summer && dates::compact_date(day).as_str() < "20141026";
        Offset::of_minutes(zone.minutes() + if summer { 60 } else { 0 }).unwrap_or(zone)
    }

    fn draft(&self, point: &Point, day: &Day, line: u64) -> Draft {
        let date = self.day.unwrap_or(Date::MIN);
        let (midnight, offset) = (dates::start_of_day(date), self.offset(date));
        let starts =
            (0_i64..).map(|index| midnight.saturating_add(Duration::minutes(index * i64::from(day.length_minutes))));
        let values: Vec<Interval> = day
            .values
            .iter()
            .zip(starts)
            .map(|(value, start)| Interval {
                start_at: dates::rfc3339(start, offset),
                value: value.value.as_deref(),
                quality: match (value.is_commercial, &value.value) {
                    (true, _) => None,
                    (false, Some(_)) => Some("non-commercial"),
                    (false, None) => Some("missing"),
                },
            })
            .collect();
        let data = Measured {
            metering_point: &point.code,
            channel: point.channel.as_deref(),
            quantity: point.quantity,
            unit: point.unit,
            interval: interval_text(day.length_minutes),
            measured_on: dates::iso_date(date),
            revision: self.number.unwrap_or(0),
            values,
        };
        let id = self.id(point, &data);
        Draft {
            subject: Some(point.code.clone()),
            time: self.timestamp.map(|moment| dates::rfc3339(moment, offset)),
            partition_key: Some(point.code.clone()),
            place: Some(format!("line {line}")),
            ..busbar_sdk::draft(
                id,
                "interval.consumption.measured.v1",
                serde_json::to_string(&data).unwrap_or_default(),
            )
        }
    }

    /// The values are part of it: a number that was used for other values must not hide them.
    fn id(&self, point: &Point, data: &Measured<'_>) -> String {
        let number = data.revision.to_string();
        let mut values = String::with_capacity(data.values.len() * 8);
        for value in &data.values {
            values.push_str(value.value.unwrap_or_default());
            values.push_str(if value.quality.is_some() { "!" } else { ";" });
        }
        let channel = point.channel.as_deref().unwrap_or_default();
        let parts = [
            "80020",
            &self.sender_inn,
            &self.area_inn,
            &data.measured_on,
            &point.code,
            channel,
            &number,
            &data.interval,
            &values,
        ];
        ids::derived(&parts)
    }
}

/// What a channel of a measuring point measures, and its unit.
pub fn quantity_of(channel: &str) -> Option<(&'static str, &'static str)> {
    Some(match channel {
        "01" => ("active-energy-forward", "kWh"),
        "02" => ("active-energy-reverse", "kWh"),
        "03" => ("reactive-energy-forward", "kvarh"),
        "04" => ("reactive-energy-reverse", "kvarh"),
        _ => return None,
    })
}

/// `PT30M`, `PT1H`.
pub fn interval_text(minutes: u32) -> String {
    if minutes.is_multiple_of(60) { format!("PT{}H", minutes / 60) } else { format!("PT{minutes}M") }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured<'a> {
    metering_point: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    quantity: &'a str,
    unit: &'a str,
    interval: String,
    measured_on: String,
    revision: u64,
    values: Vec<Interval<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Interval<'a> {
    start_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'a str>,
}
