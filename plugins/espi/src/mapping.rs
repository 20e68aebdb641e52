//! A feed -> messages. Entries refer to each other by links and come in any order: a block is stated as soon as all that it
//! belongs to is known, the others at the end.
//!
//! Source: NAESB ESPI, espi.xsd; Atom (RFC 4287).

use std::collections::{BTreeMap, BTreeSet};

use busbar_sdk::dates::Offset;
use busbar_sdk::texts::is_plain;
use busbar_sdk::xml::Xml;
use busbar_sdk::{Rejection, Sink, rejection};
use serde::Deserialize;

use crate::block::{self, Context};
use crate::resource::{self, Block, Entry, ID_CHARS_MAX, LocalTime, READINGS_MAX, ReadingType, Resource};

#[cfg(test)]
mod tests;

/// Bytes of what is kept of usage points, meter readings and reading types of one feed: some 20,000 of each.
const RESOURCES_BYTES_MAX: usize = 16 << 20;
/// UsagePoint ServiceCategory: electricity.
const ELECTRICITY: i64 = 0;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    utc_offset: Offset,
    origin: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { utc_offset: Offset::of_minutes(0).unwrap_or(Offset::MOSCOW), origin: "ami".to_owned() }
    }
}

/// Decodes a whole feed.
///
/// # Errors
/// The first thing that makes it unfit, with its place; the README lists the codes.
pub fn decode<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    xml: &mut Xml<R>,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    let root = xml.root()?;
    if root.name != "feed" {
        return Err(xml.rejection("not-this-format", "the root is no Atom feed"));
    }
    let mut feed = Feed::new(settings, sink);
    while let Some(element) = xml.child()? {
        match element.name.as_str() {
            "entry" => {
                let entry = resource::entry(xml)?;
                feed.take(entry)?;
            }
            _ => xml.skip()?,
        }
    }
    xml.finish()?;
    feed.end(xml.line())
}

struct Feed<'a, S: Sink> {
    settings: &'a Settings,
    sink: &'a mut S,
    usage_points: Owners<UsagePoint>,
    local_times: BTreeMap<String, LocalTime>,
    meter_readings: Owners<MeterReading>,
    reading_types: BTreeMap<String, ReadingType>,
    waiting: Vec<Entry>,
    waiting_readings: usize,
    kept_bytes: usize,
    others: BTreeSet<String>,
    stated: usize,
    /// Meter readings whose blocks are left out, and why, each told once: of a gas meter there is a block for each day.
    left_out: BTreeSet<(String, String)>,
}

struct UsagePoint {
    id: String,
    kind: Option<i64>,
    related: Vec<String>,
}

struct MeterReading {
    up: String,
    related: Vec<String>,
}

/// Resources by their own links, and the own links by the collections that they name as related.
struct Owners<T> {
    by_own: BTreeMap<String, T>,
    by_collection: BTreeMap<String, String>,
    collection: &'static str,
}

impl<T> Owners<T> {
    fn new(collection: &'static str) -> Self {
        Self { by_own: BTreeMap::new(), by_collection: BTreeMap::new(), collection }
    }

    fn insert(&mut self, own: String, related: &[String], resource: T) {
        for href in related.iter().filter(|href| href.ends_with(self.collection)) {
            self.by_collection.insert(href.clone(), own.clone());
        }
        self.by_own.insert(own, resource);
    }

    /// The resource under which the collection stands: by its own link, else by a related one.
    fn of(&self, href: &str) -> Option<&T> {
        let own = href.strip_suffix(self.collection).and_then(|own| self.by_own.get(own));
        own.or_else(|| self.by_own.get(self.by_collection.get(href)?))
    }
}

impl<'a, S: Sink> Feed<'a, S> {
    fn new(settings: &'a Settings, sink: &'a mut S) -> Self {
        Self {
            settings,
            sink,
            usage_points: Owners::new("/MeterReading"),
            local_times: BTreeMap::new(),
            meter_readings: Owners::new("/IntervalBlock"),
            reading_types: BTreeMap::new(),
            waiting: Vec::new(),
            waiting_readings: 0,
            kept_bytes: 0,
            others: BTreeSet::new(),
            stated: 0,
            left_out: BTreeSet::new(),
        }
    }

    fn take(&mut self, entry: Entry) -> Result<(), Rejection> {
        if matches!(entry.resource, Resource::Blocks(_)) {
            return self.blocks(entry);
        }
        self.keep(&entry)?;
        match entry.resource {
            Resource::UsagePoint(kind) => {
                let related = entry.related.clone();
                let point = UsagePoint { id: entry.id, kind, related: entry.related };
                self.usage_points.insert(entry.own, &related, point);
            }
            Resource::LocalTime(local) => drop(self.local_times.insert(entry.own, local)),
            Resource::MeterReading => {
                let related = entry.related.clone();
                let reading = MeterReading { up: entry.up, related: entry.related };
                self.meter_readings.insert(entry.own, &related, reading);
            }
            Resource::ReadingType(reading_type) => drop(self.reading_types.insert(entry.own, reading_type)),
            Resource::Other(name) => drop(self.others.insert(name)),
            Resource::Blocks(_) | Resource::None => {}
        }
        Ok(())
    }

    /// Counts what an entry takes, its links twice and something for the entry itself.
    fn keep(&mut self, entry: &Entry) -> Result<(), Rejection> {
        let links: usize = entry.related.iter().map(|href| 2 * href.len() + 100).sum();
        self.kept_bytes += links + entry.own.len() + entry.up.len() + entry.place.len() + 200;
        match self.kept_bytes > RESOURCES_BYTES_MAX {
            true => Err(rejection("too-many-resources", "resources and links of over 16 MiB", entry.place.clone())),
            false => Ok(()),
        }
    }

    /// States the blocks of an entry, or keeps it until the feed's end.
    fn blocks(&mut self, entry: Entry) -> Result<(), Rejection> {
        // The time zone of one feed is stated once, and not always before the first block.
        if !self.local_times.is_empty() && self.context(&entry).is_ok() {
            return self.state(&entry);
        }
        let entry = Entry { related: Vec::new(), own: String::new(), ..entry };
        self.keep(&entry)?;
        self.waiting_readings += blocks_of(&entry).iter().map(|block| block.readings.len() + 1).sum::<usize>();
        if self.waiting_readings > READINGS_MAX {
            let reason = format!("over {READINGS_MAX} readings stand before what they belong to");
            return Err(rejection("too-many-readings", reason, entry.place));
        }
        self.waiting.push(entry);
        Ok(())
    }

    fn state(&mut self, entry: &Entry) -> Result<(), Rejection> {
        let mut drafts = Vec::new();
        let mut left_out = Vec::new();
        let mut empty = Vec::new();
        match self.context(entry) {
            // Nothing of what the entry belongs to is carried.
            Err(whole) => left_out.push((true, whole)),
            Ok(context) => {
                for block in blocks_of(entry) {
                    let mut readings = Vec::new();
                    match block.readings.is_empty() {
                        true => empty.push(block.place.as_str()),
                        false => match block::drafts(&context, block, &mut readings) {
                            Ok(found) => drafts.extend(found),
                            Err(whole) => readings = vec![whole],
                        },
                    }
                    left_out.extend(readings.into_iter().map(|entry| (false, entry)));
                }
            }
        }
        empty.iter().for_each(|place| self.sink.warn(&format!("{place}: a block without readings, ignored")));
        self.stated += drafts.len() + empty.len() + left_out.len();
        for (is_whole, one) in left_out {
            if !is_whole || self.left_out.insert((entry.up.clone(), one.code.clone())) {
                self.sink.leave_out(one);
            }
        }
        drafts.into_iter().for_each(|draft| self.sink.emit(draft));
        Ok(())
    }

    /// What the entry's blocks belong to.
    fn context(&self, entry: &Entry) -> Result<Context<'_>, Rejection> {
        let refuse = |code: &str, reason: String| rejection(code, reason, entry.place.clone());
        let reading = self.meter_readings.of(&entry.up);
        let reading =
            reading.ok_or_else(|| refuse("no-meter-reading", "the feed has no MeterReading of this block".into()))?;
        let reading_type = *reading
            .related
            .iter()
            .find_map(|href| self.reading_types.get(href))
            .ok_or_else(|| refuse("no-reading-type", "the feed has no ReadingType of this MeterReading".into()))?;
        let point = self.usage_points.of(&reading.up);
        let point =
            point.ok_or_else(|| refuse("no-usage-point", "the feed has no UsagePoint of this MeterReading".into()))?;
        if point.id.is_empty() || point.id.chars().count() > ID_CHARS_MAX || !is_plain(&point.id) {
            let reason = "a usage point has an id of at most 64 characters, no control characters";
            return Err(refuse("bad-id", reason.into()));
        }
        if !matches!(point.kind, None | Some(ELECTRICITY)) {
            return Err(refuse("not-electricity", "the usage point has another service than electricity".into()));
        }
        let meaning = reading_type
            .codes
            .meaning()
            .and_then(|meaning| reading_type.is_whole().map(|()| meaning))
            .map_err(|what| refuse("unsupported-reading-type", format!("no message carries {what}")))?;
        let only = if self.local_times.len() == 1 { self.local_times.values().next() } else { None };
        let local = point.related.iter().find_map(|href| self.local_times.get(href)).or(only);
        let default = LocalTime { standard: self.settings.utc_offset, summer: self.settings.utc_offset };
        Ok(Context {
            metering_point: &point.id,
            reading_type,
            meaning,
            local: local.copied().unwrap_or(default),
            updated: entry.updated,
            origin: &self.settings.origin,
        })
    }

    fn end(mut self, last_line: u64) -> Result<(), Rejection> {
        for entry in std::mem::take(&mut self.waiting) {
            self.state(&entry)?;
        }
        if self.stated == 0 {
            return Err(rejection("no-data", "the feed has no interval block", format!("line {last_line}")));
        }
        for name in &self.others {
            self.sink.warn(&format!("{name} has no place in the messages, ignored"));
        }
        Ok(())
    }
}

fn blocks_of(entry: &Entry) -> &[Block] {
    match &entry.resource {
        Resource::Blocks(blocks) => blocks,
        _ => &[],
    }
}
