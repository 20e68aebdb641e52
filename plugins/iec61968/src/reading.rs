//! Readings and their types, as they stand in the message. What is wrong with one of them says nothing of the others.

use busbar_sdk::cim::cut;
use busbar_sdk::decimal::Decimal;
use busbar_sdk::readings::{self, Meaning, ReadingCodes};
use busbar_sdk::xml::{Element, Xml};
use busbar_sdk::{Rejection, Sink, rejection};

use crate::events::first;
use crate::mapping::Settings;

/// Readings and blocks, and events, of one meter reading, which is held until its end: the meter may come last.
pub const READINGS_MAX: usize = 50_000;

pub struct Reading {
    pub line: u64,
    /// Seconds after 1970.
    pub at: i64,
    pub value: Decimal,
    pub quality: Option<&'static str>,
}

impl Reading {
    pub fn says_the_same(&self, other: &Self) -> bool {
        (self.at, self.value, self.quality) == (other.at, other.value, other.quality)
    }
}

/// A reading type by its reference.
#[derive(Clone, PartialEq, Eq)]
pub struct Type {
    pub name: String,
    pub meaning: Meaning,
    /// measuringPeriod in seconds.
    pub period: Option<i64>,
    /// tou: the tariff zone, 0 for none.
    pub zone: i64,
}

impl Type {
    /// As far as it fits the schemas.
    pub fn short_name(&self) -> Option<&str> {
        (self.name.len() <= 40).then_some(self.name.as_str())
    }
}

/// What is wrong with an entry, while the others are good.
pub type Checked<T> = Result<T, Rejection>;

pub fn reading<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    xml: &mut Xml<R>,
    reading: &Element,
) -> Result<Checked<(Option<Type>, Reading)>, Rejection> {
    let (mut kind, mut at, mut value, mut quality, mut problem) = (None, None, None, None, None);
    while let Some(element) = xml.child()? {
        match element.name.as_str() {
            "timeStamp" => {
                let text = xml.text()?;
                at = settings.seconds(&text);
                if at.is_none() {
                    let reason = format!("no moment: `{}`", cut(&text));
                    problem = Some(rejection("bad-time", reason, xml.place_of(&element)));
                }
            }
            "value" => {
                let text = xml.text()?;
                value = Decimal::parse(&text);
                if value.is_none() {
                    let reason = format!("no number: `{}`", cut(&text));
                    problem = Some(rejection("bad-value", reason, xml.place_of(&element)));
                }
            }
            "ReadingType" => match reading_type(xml, &element)? {
                Ok(found) => kind = Some(found),
                Err(wrong) => problem = Some(wrong),
            },
            "ReadingQualities" | "ReadingQuality" => quality = quality.or(self::quality(xml, &element)?),
            _ => xml.skip()?,
        }
    }
    Ok(match (problem, at, value) {
        (Some(problem), ..) => Err(problem),
        (None, Some(at), Some(value)) => Ok((kind, Reading { line: reading.line, at, value, quality })),
        _ => Err(rejection("missing-field", "a reading has a timeStamp and a value", xml.place_of(reading))),
    })
}

/// A block, and how many readings it has; those of them that are none are left out.
#[allow(clippy::type_complexity)]
pub fn block<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    xml: &mut Xml<R>,
    sink: &mut impl Sink,
) -> Result<(Checked<(Type, Vec<Reading>)>, usize), Rejection> {
    let place = xml.place();
    let (mut kind, mut readings, mut count) = (None, Vec::new(), 0);
    while let Some(element) = xml.child()? {
        match element.name.as_str() {
            "IntervalReadings" => {
                count += 1;
                match reading(settings, xml, &element)? {
                    Ok((_, reading)) => readings.push(reading),
                    Err(entry) => sink.leave_out(entry),
                }
                if count > READINGS_MAX {
                    return Err(xml.rejection("too-many-readings", format!("over {READINGS_MAX} of one meter reading")));
                }
            }
            "ReadingType" => kind = Some(reading_type(xml, &element)?),
            _ => xml.skip()?,
        }
    }
    let untyped = || Err(rejection("unsupported-reading-type", "a block without ReadingType", place));
    Ok((kind.unwrap_or_else(untyped).map(|kind| (kind, readings)), count))
}

/// By its 18 codes (IEC 61968-9, annex C), as reference or as name.
fn reading_type<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>, element: &Element) -> Result<Checked<Type>, Rejection> {
    let name = match element.attribute("ref") {
        Some(name) => {
            let name = name.to_owned();
            xml.skip()?;
            name
        }
        None => first(xml, "mRID")?,
    };
    let typed = type_of(name);
    Ok(typed.map_err(|reason| rejection("unsupported-reading-type", reason, xml.place_of(element))))
}

fn type_of(name: String) -> Result<Type, String> {
    let codes: Option<Vec<i64>> =
        name.split('.').map(|code| code.parse().ok().filter(|_| code.len() <= 10)).take(19).collect();
    let codes = codes.filter(|codes| codes.len() == 18);
    let codes = codes.ok_or_else(|| format!("a reading type has 18 codes: `{}`", cut(&name)))?;
    let code = |index: usize| codes.get(index).copied();
    let energy = ReadingCodes {
        aggregate: code(1),
        accumulation: code(3),
        flow: code(4),
        commodity: code(5),
        kind: code(6),
        phases: code(14),
        multiplier: code(15),
        unit: code(16),
    };
    // Harmonics and arguments are fractions: of 0, there is none.
    let parts = [("interharmonic", 7), ("argument", 9), ("cpp", 12), ("consumptionTier", 13), ("currency", 17)];
    let parts = parts.map(|(name, index)| (name, code(index)));
    let zone = code(11).unwrap_or(0);
    if zone < 0 {
        return Err(format!("no tariff zone has the number {zone}"));
    }
    let meaning = energy.meaning().and_then(|meaning| readings::none_of(&parts).map(|()| meaning));
    let meaning = meaning.map_err(|what| format!("no message carries {what}"))?;
    Ok(Type { name, meaning, period: code(2).and_then(period), zone })
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
    let category = match name.as_str() {
        "" => return Ok(None),
        name => name.split('.').nth(1).unwrap_or_default(),
    };
    Ok(match category {
        "0" => None,
        "7" => Some("edited"),
        "8" => Some("estimated"),
        "11" => Some("derived"),
        "12" => Some("projected"),
        _ => Some("doubtful"),
    })
}
