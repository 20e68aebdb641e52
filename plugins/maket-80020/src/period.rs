//! The periods of a day: of one length, without gaps, from midnight to midnight.

use busbar_sdk::Rejection;
use busbar_sdk::decimal::Decimal;
use busbar_sdk::xml::{Element, Xml};

pub const DAY_MINUTES: u32 = 24 * 60;

/// Lengths of a period that occur: minutes.
const LENGTHS: [u32; 3] = [15, 30, 60];

/// What a period states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// In whole or decimal kWh or kvarh; nothing where nothing was measured.
    pub value: Option<String>,
    pub is_commercial: bool,
}

/// The periods of one channel.
#[derive(Debug, Default)]
pub struct Day {
    /// Of one period; 0 before the first.
    pub length_minutes: u32,
    pub values: Vec<Value>,
}

impl Day {
    /// Takes the next `period`, whose start tag was read.
    ///
    /// # Errors
    /// `bad-period`, `repeated-period`, `missing-period`, `bad-value`, `unknown-status`, `missing-field` with the place.
    pub fn push<R: FnMut(u32) -> Vec<u8>>(
        &mut self,
        xml: &mut Xml<R>,
        period: &Element,
        may_be_negative: bool,
    ) -> Result<(), Rejection> {
        let minutes = |name: &str| {
            let text = period.attribute(name).unwrap_or_default();
            minutes(text).ok_or_else(|| {
                xml.rejection("bad-period", format!("{name} is no time of day such as 0030: `{}`", cut(text)))
            })
        };
        let (start, end) = (minutes("start")?, minutes("end")?);
        let end = if end == 0 { DAY_MINUTES } else { end };
        if self.length_minutes == 0 {
            self.length_minutes = end.saturating_sub(start);
            if !LENGTHS.contains(&self.length_minutes) {
                return Err(xml.rejection("bad-period", "a period has 15, 30 or 60 minutes"));
            }
        }
        let expected = self.end_minutes();
        if start < expected {
            return Err(xml.rejection("repeated-period", format!("a period before {} again", clock(expected))));
        }
        if start > expected {
            return Err(xml.rejection("missing-period", format!("no period from {} on", clock(expected))));
        }
        if end != start + self.length_minutes {
            return Err(xml.rejection("bad-period", "the periods are not of one length"));
        }
        let value = value(xml, may_be_negative)?;
        self.values.push(value);
        Ok(())
    }

    /// At the channel's end.
    ///
    /// # Errors
    /// `missing-period` unless the day is whole.
    pub fn check<R: FnMut(u32) -> Vec<u8>>(&self, xml: &Xml<R>) -> Result<(), Rejection> {
        match self.end_minutes() {
            DAY_MINUTES => Ok(()),
            end => Err(xml.rejection("missing-period", format!("no period from {} on", clock(end)))),
        }
    }

    fn end_minutes(&self) -> u32 {
        self.length_minutes * u32::try_from(self.values.len()).unwrap_or(DAY_MINUTES)
    }
}

/// The one `value` of a period, up to the period's end.
fn value<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>, may_be_negative: bool) -> Result<Value, Rejection> {
    let mut found = None;
    while let Some(element) = xml.child()? {
        if element.name != "value" || found.is_some() {
            return Err(xml.rejection("unknown-element", "a period has one value and nothing else"));
        }
        let is_commercial = match element.attribute("status") {
            None | Some("0" | "") => true,
            Some("1") => false,
            Some(other) => {
                return Err(xml.rejection("unknown-status", format!("status is 0 or 1, not `{}`", cut(other))));
            }
        };
        let text = xml.text()?;
        let bad = |reason: String| busbar_sdk::rejection("bad-value", reason, xml.place_of(&element));
        let value = match text.as_str() {
            "" if is_commercial => return Err(bad("no value, although status is not 1".into())),
            "" => None,
            text => {
                let value = Decimal::parse(text).filter(|value| may_be_negative || !value.is_negative());
                let value = value.and_then(Decimal::canonical);
                Some(value.ok_or_else(|| bad(format!("`{}` is no quantity of energy", cut(text))))?)
            }
        };
        found = Some(Value { value, is_commercial });
    }
    found.ok_or_else(|| xml.rejection("missing-field", "a period without value"))
}

/// `0030` -> 30; `2400` is midnight like `0000`.
fn minutes(text: &str) -> Option<u32> {
    if text.len() != 4 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = (text.get(..2)?.parse::<u32>().ok()?, text.get(2..)?.parse::<u32>().ok()?);
    match (hours, minutes) {
        (24, 0) => Some(0),
        (0..=23, 0..=59) => Some(hours * 60 + minutes),
        _ => None,
    }
}

/// 30 -> `0030`, midnight at the day's end -> `0000`.
pub fn clock(minutes: u32) -> String {
    format!("{:02}{:02}", minutes / 60 % 24, minutes % 60)
}

/// What a reason may repeat of the input.
pub fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}
