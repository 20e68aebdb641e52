//! What the README of iec104 says must be stated of what a station told. Written after it, not after the adapter.

use std::cmp::Ordering;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A moment as the statements have it: by a tag, in milliseconds after 1970, or when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Tag(i64),
    /// Counted, as no two of them are one.
    Coming(u32),
}

#[derive(Clone, Debug)]
struct Outage {
    id: At,
    revision: u32,
    kind: &'static str,
    started: Option<At>,
    restored: Option<At>,
}

/// A switch as the settings have it, and what is known of it.
#[derive(Clone, Debug, Default)]
pub struct Switch {
    pub name: String,
    pub is_closed_when_off: bool,
    pub is_normally_open: bool,
    is_open: bool,
    tag: Option<i64>,
    outage: Option<Outage>,
}

/// One object of a telegram.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Nothing between the positions.
    pub is_on: Option<bool>,
    pub is_vouched_for: bool,
    pub cause: u8,
    /// Nothing without one, or where it is not to be believed.
    pub tag: Option<i64>,
    /// Its tag is ahead of the hub's clock, but little.
    pub is_ahead: bool,
    pub coming: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Consequence {
    Nothing,
    /// The station is to be interrogated.
    Doubt,
    Stated(String),
}

pub fn is_event(cause: u8) -> bool {
    matches!(cause, 3 | 11 | 12)
}

fn is_position(cause: u8) -> bool {
    is_event(cause) || matches!(cause, 1 | 2 | 5) || (20..=36).contains(&cause)
}

impl Switch {
    pub fn new(name: String, is_closed_when_off: bool, is_normally_open: bool) -> Self {
        Self { name, is_closed_when_off, is_normally_open, ..Self::default() }
    }

    pub fn is_open(&self) -> bool {
        self.is_open
    }

    pub fn last_tag(&self) -> Option<i64> {
        self.tag
    }

    pub fn told(&mut self, told: Told, zone: UtcOffset) -> Consequence {
        let Some(is_on) = told.is_on.filter(|_| told.is_vouched_for && is_position(told.cause)) else {
            return Consequence::Nothing;
        };
        let is_open = is_on == self.is_closed_when_off;
        let is_news = is_open != self.is_open;
        let tag = told.tag.filter(|_| is_event(told.cause));
        if let Some((tag, known)) = tag.zip(self.tag) {
            match tag.cmp(&known) {
                Ordering::Less if is_news => return Consequence::Doubt,
                Ordering::Less => return Consequence::Nothing,
                Ordering::Equal if !is_news => return Consequence::Nothing,
                _ => {}
            }
        }
        self.tag = tag.or(self.tag);
        self.is_open = is_open;
        if self.is_normally_open {
            return Consequence::Nothing;
        }
        let Some(status) = self.change(told, tag, is_news) else { return Consequence::Nothing };
        let Some(outage) = &mut self.outage else { return Consequence::Nothing };
        outage.revision += 1;
        Consequence::Stated(outage.line(&self.name, status, tag.map_or(At::Coming(told.coming), At::Tag), zone))
    }

    /// What becomes of the outage, if anything does.
    fn change(&mut self, told: Told, tag: Option<i64>, is_news: bool) -> Option<&'static str> {
        let coming = At::Coming(told.coming);
        let at = tag.map(At::Tag).or(is_event(told.cause).then_some(coming));
        if is_news && self.is_open {
            let id = tag.map_or(coming, At::Tag);
            let revision = self.outage.as_ref().filter(|outage| outage.id == id).map_or(0, |outage| outage.revision);
            let kind = if matches!(told.cause, 11 | 12) { "unknown" } else { "emergency" };
            self.outage = Some(Outage { id, revision, kind, started: at, restored: None });
            return Some("started");
        }
        let outage = self.outage.as_mut()?;
        if is_news {
            outage.restored = at;
            return Some("restored");
        }
        // Known already: the event's own tag says since when, unless it is of a later event.
        let (since, status) = match self.is_open {
            true => (&mut outage.started, "updated"),
            false => (&mut outage.restored, "restored"),
        };
        let tag = tag.filter(|_| since.is_none() && !told.is_ahead)?;
        *since = Some(At::Tag(tag));
        Some(status)
    }
}

impl Outage {
    fn line(&self, name: &str, status: &str, changed: At, zone: UtcOffset) -> String {
        let text = |at: Option<At>| at.map_or_else(|| "-".to_string(), |at| moment(at, zone));
        let id = match self.id {
            At::Tag(ms) => ms.to_string(),
            At::Coming(_) => NOW.to_string(),
        };
        let (started, restored) = (text(self.started), text(self.restored));
        format!("{name} {id} {status} {} {} {started} {restored} {}", self.revision, self.kind, moment(changed, zone))
    }
}

/// Stands for the time of the run.
pub const NOW: &str = "now";

pub fn moment(at: At, zone: UtcOffset) -> String {
    let At::Tag(ms) = at else { return NOW.to_string() };
    OffsetDateTime::from_unix_timestamp(ms / 1000).unwrap().to_offset(zone).format(&Rfc3339).unwrap()
}
