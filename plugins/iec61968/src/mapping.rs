//! A message in a file or a request -> what it tells, all or nothing.
//!
//! Source: IEC 61968-9 and 61968-100; EPRI's test messages; a message of a Landis+Gyr system.

use busbar_sdk::cim::{Header, reply};
use busbar_sdk::dates::{self, Offset};
use busbar_sdk::texts::is_plain;
use busbar_sdk::xml::Xml;
use busbar_sdk::{Draft, HookRequest, HookResponse, Rejection, Sink};
use serde::Deserialize;

use crate::message;

#[cfg(test)]
mod tests;

/// Of a reply to a message that says none.
const NOUN: &str = "MeterReadings";

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    utc_offset: Offset,
    origin: String,
    interval_time: IntervalTime,
    power_fail: Vec<String>,
    power_restore: Vec<String>,
    other_events: OtherEvents,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum IntervalTime {
    End,
    Start,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum OtherEvents {
    Refuse,
    Ignore,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            utc_offset: Offset::MOSCOW,
            origin: "ami".to_owned(),
            interval_time: IntervalTime::End,
            power_fail: Vec::new(),
            power_restore: Vec::new(),
            other_events: OtherEvents::Refuse,
        }
    }
}

impl Settings {
    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub fn power_fail(&self) -> &[String] {
        &self.power_fail
    }

    pub fn power_restore(&self) -> &[String] {
        &self.power_restore
    }

    pub fn ignores_other_events(&self) -> bool {
        self.other_events == OtherEvents::Ignore
    }

    /// The timestamp of an interval is its end.
    pub fn is_end(&self) -> bool {
        self.interval_time == IntervalTime::End
    }

    /// Seconds after 1970 of an XML Schema `dateTime`.
    pub fn seconds(&self, text: &str) -> Option<i64> {
        let (moment, offset) = dates::parse_date_time(text)?;
        Some(dates::unix_seconds(moment, offset.unwrap_or(self.utc_offset)))
    }

    /// RFC 3339 at the settings' offset; nothing before 1970, where no meter was read.
    pub fn text(&self, seconds: i64) -> Option<String> {
        let local = dates::local_of_unix_seconds(seconds, self.utc_offset).filter(|_| seconds >= 0);
        local.map(|local| dates::rfc3339(local, self.utc_offset))
    }

    /// The moment at the settings' offset, and the milliseconds after 1970, which tell apart what happened in one second.
    pub fn moment(&self, text: &str) -> Option<(String, i64)> {
        let milliseconds = dates::unix_ms(text, self.utc_offset)?;
        Some((self.text(milliseconds.div_euclid(1000))?, milliseconds))
    }
}

/// Whether messages can have it as an id; also where it is empty.
pub fn can_be_id(text: &str) -> bool {
    text.chars().count() <= 64 && is_plain(text)
}

/// Decodes a whole file.
///
/// # Errors
/// The first thing that makes it unfit or no news, with its place; the README lists the codes.
pub fn decode<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    xml: &mut Xml<R>,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    message::read(settings, xml, &mut Header::default(), sink)
}

/// Takes a pushed message and answers it by IEC 61968-100. Nothing of a refused message is stated.
pub fn receive(settings: &Settings, request: &HookRequest, sink: &mut impl Sink) -> HookResponse {
    if request.method != "POST" {
        return HookResponse { status: 405, headers: Vec::new(), body: b"POST a message of IEC 61968-9".to_vec() };
    }
    let mut held = Held { sink, drafts: Vec::new(), refused: None };
    let mut header = Header::default();
    let result = message::read(settings, &mut Xml::of_bytes(&request.body), &mut header, &mut held);
    let (drafts, refused) = (held.drafts, held.refused);
    // A sender is told of one result: what is left out of a file is refused here with all that came beside it.
    match result.and_then(|()| refused.map_or(Ok(()), Err)) {
        Ok(()) => {
            drafts.into_iter().for_each(|draft| sink.emit(draft));
            reply(&header, NOUN, None)
        }
        Err(rejection) => {
            let place = rejection.place.as_deref().unwrap_or_default();
            sink.warn(&format!("refused: {} at {place}: {}", rejection.code, rejection.reason));
            reply(&header, NOUN, Some(&rejection))
        }
    }
}

/// Keeps the messages until the last one is known to be good: a body is small.
struct Held<'a, S: Sink> {
    sink: &'a mut S,
    drafts: Vec<Draft>,
    /// The first entry that is none.
    refused: Option<Rejection>,
}

impl<S: Sink> Sink for Held<'_, S> {
    fn emit(&mut self, draft: Draft) {
        self.drafts.push(draft);
    }

    fn warn(&mut self, text: &str) {
        self.sink.warn(text);
    }

    fn leave_out(&mut self, entry: Rejection) {
        self.refused.get_or_insert(entry);
    }
}
