//! A small part of a document as a list of its texts: versions of a message differ in a few wrappers, which are left out here.

use busbar_sdk::xml::{Event, Xml};
use busbar_sdk::{Rejection, dates};
use time::{Date, PrimitiveDateTime};

use crate::amount::Amount;

/// Texts of one part, and bytes of them all: an entry or a party has some dozens.
const LEAVES_MAX: usize = 1000;
const BYTES_MAX: usize = 256 * 1024;

struct Leaf {
    /// Names below the part, joined by `/`.
    path: String,
    text: String,
    currency: Option<String>,
    line: u64,
}

/// The texts of an element.
pub struct Leaves {
    /// Where the element stands.
    pub line: u64,
    /// Names down to the element, joined by `/`.
    element: String,
    all: Vec<Leaf>,
}

/// A day, and the moment where one is stated, local with its offset or without.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub day: Date,
    pub time: Option<(PrimitiveDateTime, Option<dates::Offset>)>,
}

impl Leaves {
    /// The rest of the open element. `Pty`, which versions from 08 on put around parties, is left out of the paths.
    ///
    /// # Errors
    /// Of [`busbar_sdk::xml`]; `xml-limit` where it is no small part.
    pub fn read<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>) -> Result<Self, Rejection> {
        let mut leaves = Self { line: xml.line(), element: xml.path(), all: Vec::new() };
        let mut path: Vec<String> = Vec::new();
        let mut currency = None;
        let mut bytes = 0;
        loop {
            match xml.next_event()? {
                Event::Start(element) => {
                    currency = element.attribute("Ccy").map(str::to_owned);
                    path.push(element.name);
                }
                Event::End if path.pop().is_some() => {}
                Event::End | Event::Eof => return Ok(leaves),
                Event::Text(text) => {
                    let names: Vec<&str> = path.iter().map(String::as_str).filter(|name| *name != "Pty").collect();
                    let path = names.join("/");
                    bytes += path.len() + text.len();
                    if leaves.all.len() >= LEAVES_MAX || bytes > BYTES_MAX {
                        return Err(xml.rejection("xml-limit", "an element has more in it than any bank states"));
                    }
                    let (text, currency) = (text.trim().to_owned(), currency.take());
                    leaves.all.push(Leaf { path, text, currency, line: xml.line() });
                }
            }
        }
    }

    /// The first text at one of the paths, in their order; empty where there is none.
    pub fn text(&self, paths: &[&str]) -> &str {
        paths.iter().find_map(|path| self.leaf(path)).map_or("", |leaf| leaf.text.as_str())
    }

    /// All texts at the path, in order.
    pub fn texts(&self, path: &str) -> impl Iterator<Item = &str> {
        self.all.iter().filter(move |leaf| leaf.path == path).map(|leaf| leaf.text.as_str())
    }

    /// All texts at the path, in order, each with the first text below `beside` that comes before the next of them.
    pub fn texts_with(&self, path: &str, beside: &str) -> Vec<(&str, &str)> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for leaf in &self.all {
            let is_beside = leaf.path.strip_prefix(beside).is_some_and(|rest| rest.starts_with('/'));
            match found.last_mut() {
                _ if leaf.path == path => found.push((&leaf.text, "")),
                Some((_, with)) if is_beside && with.is_empty() => *with = &leaf.text,
                _ => {}
            }
        }
        found
    }

    /// All texts at or below the path, in order.
    pub fn below(&self, path: &str) -> impl Iterator<Item = &str> {
        let is_below = move |leaf: &&Leaf| {
            leaf.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.all.iter().filter(is_below).map(|leaf| leaf.text.as_str())
    }

    /// Whether there is anything at or below the path.
    pub fn has(&self, path: &str) -> bool {
        self.below(path).next().is_some()
    }

    /// The amount at the first of the paths that there is.
    ///
    /// # Errors
    /// `bad-amount` with the place.
    pub fn amount(&self, paths: &[&str]) -> Result<Option<Amount>, Rejection> {
        paths.iter().find_map(|path| self.leaf(path)).map(|leaf| self.amount_of(leaf)).transpose()
    }

    /// All amounts at the path, in order.
    ///
    /// # Errors
    /// `bad-amount` with the place.
    pub fn amounts(&self, path: &str) -> Result<Vec<Amount>, Rejection> {
        self.all.iter().filter(|leaf| leaf.path == path).map(|leaf| self.amount_of(leaf)).collect()
    }

    fn amount_of(&self, leaf: &Leaf) -> Result<Amount, Rejection> {
        Amount::parse(&leaf.text, leaf.currency.as_deref().unwrap_or_default()).ok_or_else(|| {
            let reason = format!("`{}` is no amount with a currency", excerpt(&leaf.text));
            busbar_sdk::rejection("bad-amount", reason, self.place_of(leaf))
        })
    }

    /// The day at the first of the paths that there is: `2026-12-31`, or a moment. A time of midnight says only the day.
    ///
    /// # Errors
    /// `bad-date` with the place.
    pub fn moment(&self, paths: &[&str]) -> Result<Option<Moment>, Rejection> {
        let Some(leaf) = paths.iter().find_map(|path| self.leaf(path)) else { return Ok(None) };
        let found = moment(&leaf.text);
        found.map(Some).ok_or_else(|| {
            let reason = format!("`{}` is no day and no moment", excerpt(&leaf.text));
            busbar_sdk::rejection("bad-date", reason, self.place_of(leaf))
        })
    }

    /// Where the first of the paths stands, or else the element.
    pub fn place(&self, paths: &[&str]) -> String {
        match paths.iter().find_map(|path| self.leaf(path)) {
            Some(leaf) => self.place_of(leaf),
            None => format!("line {}, element {}", self.line, self.element),
        }
    }

    fn place_of(&self, leaf: &Leaf) -> String {
        let slash = if leaf.path.is_empty() { "" } else { "/" };
        format!("line {}, element {}{slash}{}", leaf.line, self.element, leaf.path)
    }

    fn leaf(&self, path: &str) -> Option<&Leaf> {
        self.all.iter().find(|leaf| leaf.path == path && !leaf.text.is_empty())
    }
}

fn moment(text: &str) -> Option<Moment> {
    if let Some((moment, offset)) = dates::parse_date_time(text) {
        let is_time = moment.time() != time::Time::MIDNIGHT;
        return Some(Moment { day: moment.date(), time: is_time.then_some((moment, offset)) });
    }
    // A day of XML Schema may have an offset.
    let (day, offset) = (text.get(..10)?, text.get(10..)?);
    let is_day = matches!(offset, "" | "Z") || dates::Offset::parse(offset).is_some();
    dates::parse_iso_date(day).filter(|_| is_day).map(|day| Moment { day, time: None })
}

pub fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_moments() {
        for (text, day, has_time) in [
            ("2026-11-20", "2026-11-20", false),
            ("2026-11-20Z", "2026-11-20", false),
            ("2026-11-20+03:00", "2026-11-20", false),
            ("2026-11-20T00:00:00.000000000", "2026-11-20", false),
            ("2026-11-20T13:15:00+01:00", "2026-11-20", true),
        ] {
            let found = moment(text).unwrap();
            assert_eq!((dates::iso_date(found.day).as_str(), found.time.is_some()), (day, has_time), "{text}");
        }
        for text in ["", "2026-11-31", "2026-11-20 ", "20.11.2026", "2026-11-20x", "2026-11-20T25:00:00"] {
            assert!(moment(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_part_of_any_version() {
        let text = "<a><Dbtr><Pty><Nm>x &amp; y</Nm></Pty></Dbtr><Amt Ccy=\"EUR\">1.5</Amt><e/></a>";
        let mut xml = Xml::of_bytes(text.as_bytes());
        xml.root().unwrap();
        let leaves = Leaves::read(&mut xml).unwrap();
        assert_eq!(leaves.text(&["Nm", "Dbtr/Nm"]), "x & y");
        assert_eq!(leaves.amount(&["Amt"]).unwrap().unwrap().units, 150_000);
        assert!(leaves.has("Dbtr") && !leaves.has("Dbt") && !leaves.has("e"));
    }
}
