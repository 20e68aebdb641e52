//! Entries of the feed and the resources in them.

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::decimal::Decimal;
use busbar_sdk::readings::{self, ReadingCodes};
use busbar_sdk::xml::{Element, Xml};
use busbar_sdk::{Rejection, rejection};

/// Characters of an id, by the schemas of the messages.
pub const ID_CHARS_MAX: usize = 64;
/// Readings and blocks of one entry. A year of quarters of an hour is 35,040.
pub const READINGS_MAX: usize = 100_000;
/// Below this all numbers of the format lie (UInt48), so that sums of two never overflow.
pub const NUMBER_MAX: i64 = 1 << 48;
/// Bytes of a link.
const LINK_BYTES_MAX: usize = 500;
/// Links of one entry.
const LINKS_MAX: usize = 1000;

/// An `entry` of the feed.
#[derive(Debug, Default)]
pub struct Entry {
    pub place: String,
    /// Atom `id`, without `urn:uuid:`.
    pub id: String,
    /// Link `self` and `up`, and the related ones.
    pub own: String,
    pub up: String,
    pub related: Vec<String>,
    /// Seconds after 1970.
    pub updated: Option<i64>,
    pub resource: Resource,
}

#[derive(Debug, Default)]
pub enum Resource {
    #[default]
    None,
    /// `ServiceCategory/kind`.
    UsagePoint(Option<i64>),
    LocalTime(LocalTime),
    MeterReading,
    ReadingType(ReadingType),
    Blocks(Vec<Block>),
    /// Its name.
    Other(String),
}

/// What the numbers of a meter reading mean.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadingType {
    pub codes: ReadingCodes,
    pub interval_seconds: Option<i64>,
    /// tou, consumptionTier, cpp: part of the energy, by time or amount.
    pub parts: [Option<i64>; 3],
    /// defaultQuality, of readings that state none.
    pub quality: Option<&'static str>,
}

impl ReadingType {
    /// # Errors
    /// What sets its values apart from the whole energy of an interval, which is what the messages carry.
    pub fn is_whole(&self) -> Result<(), String> {
        let [tou, tier, cpp] = self.parts;
        readings::none_of(&[("tou", tou), ("consumptionTier", tier), ("cpp", cpp)])
    }
}

#[derive(Clone, Copy, Debug)]
pub struct LocalTime {
    pub standard: Offset,
    pub summer: Offset,
}

/// `IntervalBlock`.
#[derive(Debug, Default)]
pub struct Block {
    pub place: String,
    /// `interval`: start in seconds after 1970, and length in seconds.
    pub interval: Option<(i64, i64)>,
    pub readings: Vec<Reading>,
    /// Why it is none, while the others of the feed are.
    pub problem: Option<Rejection>,
}

/// `IntervalReading`.
#[derive(Debug)]
pub struct Reading {
    /// Start and length in seconds; absent where the reading type alone tells.
    pub period: Option<(i64, i64)>,
    /// There, unless there is a problem.
    pub value: Option<Decimal>,
    /// Nothing where none is stated; that of a valid value is none.
    pub quality: Option<Option<&'static str>>,
    /// Why it is none, while the others of the block are.
    pub problem: Option<Rejection>,
}

type Source<'a, R> = &'a mut Xml<R>;

/// Reads an `entry` whose start tag was read.
///
/// # Errors
/// `bad-number`, `bad-value`, `bad-time`, `missing-field`, `too-many-readings`, `too-many-links` with the place.
pub fn entry<R: FnMut(u32) -> Vec<u8>>(xml: Source<'_, R>) -> Result<Entry, Rejection> {
    let mut entry = Entry { place: xml.place(), ..Entry::default() };
    while let Some(element) = xml.child()? {
        match element.name.as_str() {
            "id" => entry.id = xml.text()?.trim_start_matches("urn:uuid:").chars().take(ID_CHARS_MAX + 1).collect(),
            "link" => {
                link(&mut entry, &element, xml)?;
                xml.skip()?;
            }
            "updated" => entry.updated = Some(updated(xml)?),
            "content" => entry.resource = content(xml)?,
            _ => xml.skip()?,
        }
    }
    Ok(entry)
}

fn link<R: FnMut(u32) -> Vec<u8>>(entry: &mut Entry, element: &Element, xml: &Xml<R>) -> Result<(), Rejection> {
    let href = element.attribute("href").unwrap_or_default().trim_end_matches('/').to_owned();
    if href.len() > LINK_BYTES_MAX {
        return Err(xml.rejection("too-many-links", format!("a link is longer than {LINK_BYTES_MAX} bytes")));
    }
    match element.attribute("rel") {
        Some("self") => entry.own = href,
        Some("up") => entry.up = href,
        Some("related") => entry.related.push(href),
        _ => {}
    }
    if entry.related.len() > LINKS_MAX {
        return Err(xml.rejection("too-many-links", format!("an entry has more than {LINKS_MAX} links")));
    }
    Ok(())
}

fn updated<R: FnMut(u32) -> Vec<u8>>(xml: Source<'_, R>) -> Result<i64, Rejection> {
    let place = xml.place();
    let text = xml.text()?;
    let (moment, offset) = dates::parse_date_time(&text)
        .and_then(|(moment, offset)| Some((moment, offset?)))
        .ok_or_else(|| rejection("bad-time", "no moment such as 2026-11-20T08:00:00Z", place))?;
    Ok(dates::unix_seconds(moment, offset))
}

fn content<R: FnMut(u32) -> Vec<u8>>(xml: Source<'_, R>) -> Result<Resource, Rejection> {
    let mut resource = Resource::None;
    let mut readings = 0;
    while let Some(element) = xml.child()? {
        let found = match element.name.as_str() {
            "UsagePoint" => Resource::UsagePoint(usage_point(xml)?),
            "LocalTimeParameters" => Resource::LocalTime(local_time(xml)?),
            "MeterReading" => {
                xml.skip()?;
                Resource::MeterReading
            }
            "ReadingType" => Resource::ReadingType(reading_type(xml)?),
            "IntervalBlock" => {
                count(xml, &mut readings)?;
                let block = block(xml, &mut readings)?;
                match &mut resource {
                    Resource::Blocks(blocks) => {
                        blocks.push(block);
                        continue;
                    }
                    _ => Resource::Blocks(vec![block]),
                }
            }
            other => {
                xml.skip()?;
                Resource::Other(other.chars().take(60).collect())
            }
        };
        if !matches!(resource, Resource::None) {
            return Err(xml.rejection("bad-structure", "an entry has one resource, or interval blocks only"));
        }
        resource = found;
    }
    Ok(resource)
}

fn usage_point<R: FnMut(u32) -> Vec<u8>>(xml: Source<'_, R>) -> Result<Option<i64>, Rejection> {
    let mut kind = None;
    while let Some(element) = xml.child()? {
        if element.name != "ServiceCategory" {
            xml.skip()?;
            continue;
        }
        while let Some(element) = xml.child()? {
            match element.name.as_str() {
                "kind" => kind = Some(number(xml, &element)?),
                _ => xml.skip()?,
            }
        }
    }
    Ok(kind)
}

fn local_time<R: FnMut(u32) -> Vec<u8>>(xml: Source<'_, R>) -> Result<LocalTime, Rejection> {
    let (mut zone, mut summer) = (None, 0);
    while let Some(element) = xml.child()? {
        match element.name.as_str() {
            "tzOffset" => zone = Some(number(xml, &element)?),
            "dstOffset" => summer = number(xml, &element)?,
            _ => xml.skip()?,
        }
    }
    let offset = |seconds: i64| i32::try_from(seconds / 60).ok().and_then(Offset::of_minutes);
    let found = zone.and_then(|zone| Some((offset(zone)?, offset(zone.checked_add(summer)?)?)));
    let (standard, summer) = found
        .ok_or_else(|| xml.rejection("bad-number", "LocalTimeParameters without a tzOffset of at most 18 hours"))?;
    Ok(LocalTime { standard, summer })
}

fn reading_type<R: FnMut(u32) -> Vec<u8>>(xml: Source<'_, R>) -> Result<ReadingType, Rejection> {
    let mut found = ReadingType::default();
    while let Some(element) = xml.child()? {
        let field = match element.name.as_str() {
            "accumulationBehaviour" => &mut found.codes.accumulation,
            "commodity" => &mut found.codes.commodity,
            "flowDirection" => &mut found.codes.flow,
            "intervalLength" => &mut found.interval_seconds,
            "powerOfTenMultiplier" => &mut found.codes.multiplier,
            "uom" => &mut found.codes.unit,
            "dataQualifier" => &mut found.codes.aggregate,
            "kind" => &mut found.codes.kind,
            "phase" => &mut found.codes.phases,
            "defaultQuality" => {
                found.quality = quality(number(xml, &element)?);
                continue;
            }
            "tou" => &mut found.parts[0],
            "consumptionTier" => &mut found.parts[1],
            "cpp" => &mut found.parts[2],
            _ => {
                xml.skip()?;
                continue;
            }
        };
        *field = Some(number(xml, &element)?);
    }
    Ok(found)
}

fn count<R: FnMut(u32) -> Vec<u8>>(xml: &Xml<R>, readings: &mut usize) -> Result<(), Rejection> {
    *readings += 1;
    match *readings > READINGS_MAX {
        true => Err(xml.rejection("too-many-readings", format!("an entry has over {READINGS_MAX} readings"))),
        false => Ok(()),
    }
}

fn block<R: FnMut(u32) -> Vec<u8>>(xml: Source<'_, R>, readings: &mut usize) -> Result<Block, Rejection> {
    let mut block = Block { place: xml.place(), ..Block::default() };
    while let Some(element) = xml.child()? {
        match element.name.as_str() {
            "interval" => match period(xml, &element)? {
                Ok(interval) => block.interval = Some(interval),
                Err(wrong) => block.problem = Some(wrong),
            },
            "IntervalReading" => {
                count(xml, readings)?;
                block.readings.push(reading(xml, &element)?);
            }
            _ => xml.skip()?,
        }
    }
    Ok(block)
}

/// `cost` and consumption tiers have no place in the messages. What is wrong with one reading is kept in it.
fn reading<R: FnMut(u32) -> Vec<u8>>(xml: Source<'_, R>, reading: &Element) -> Result<Reading, Rejection> {
    let (mut found, mut value, mut worst, mut problem) = (None, None, None, None);
    while let Some(element) = xml.child()? {
        match element.name.as_str() {
            "timePeriod" => match period(xml, &element)? {
                Ok(period) => found = Some(period),
                Err(wrong) => problem = Some(wrong),
            },
            "value" => {
                let text = xml.text()?;
                value = Decimal::parse(&text);
                if value.is_none() {
                    problem = Some(rejection("bad-value", "value is no number", xml.place_of(&element)));
                }
            }
            "ReadingQuality" => {
                while let Some(element) = xml.child()? {
                    match element.name.as_str() {
                        "quality" => match whole(xml, &element)? {
                            Ok(code) => worst = Some(worst.flatten().or(quality(code))),
                            Err(wrong) => problem = Some(wrong),
                        },
                        _ => xml.skip()?,
                    }
                }
            }
            _ => xml.skip()?,
        }
    }
    if value.is_none() && problem.is_none() {
        problem = Some(rejection("missing-field", "a reading without value", xml.place_of(reading)));
    }
    Ok(Reading { period: found, value, quality: worst, problem })
}

/// What is wrong with a value, which says nothing of the others.
type Checked<T> = Result<T, Rejection>;

/// Start and duration.
fn period<R: FnMut(u32) -> Vec<u8>>(xml: Source<'_, R>, period: &Element) -> Result<Checked<(i64, i64)>, Rejection> {
    let (mut start, mut duration, mut problem) = (None, None, None);
    while let Some(element) = xml.child()? {
        let field = match element.name.as_str() {
            "start" => &mut start,
            "duration" => &mut duration,
            _ => {
                xml.skip()?;
                continue;
            }
        };
        match whole(xml, &element)? {
            Ok(number) => *field = Some(number),
            Err(wrong) => problem = Some(wrong),
        }
    }
    let missing = || rejection("missing-field", "a period has start and duration, not negative", xml.place_of(period));
    let found = start.zip(duration.filter(|seconds| *seconds >= 0));
    Ok(problem.map_or_else(|| found.ok_or_else(missing), Err))
}

fn number<R: FnMut(u32) -> Vec<u8>>(xml: Source<'_, R>, element: &Element) -> Result<i64, Rejection> {
    whole(xml, element)?
}

fn whole<R: FnMut(u32) -> Vec<u8>>(xml: Source<'_, R>, element: &Element) -> Result<Checked<i64>, Rejection> {
    let text = xml.text()?;
    let number = text.parse::<i64>().ok().filter(|number| text.len() <= 15 && number.abs() < NUMBER_MAX);
    Ok(number.ok_or_else(|| rejection("bad-number", "no whole number", xml.place_of(element))))
}

/// `quality` of a QualityOfReading code (espi.xsd); nothing for a value that is valid.
fn quality(code: i64) -> Option<&'static str> {
    match code {
        0 | 17..=19 => None,
        7 => Some("edited"),
        8 | 9 => Some("estimated"),
        10 => Some("doubtful"),
        11 => Some("derived"),
        12 => Some("projected"),
        14 => Some("raw"),
        _ => Some("other"),
    }
}
