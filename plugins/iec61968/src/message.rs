//! The envelope: SOAP or none, Header, Payload; and what of it is news.

use busbar_sdk::cim::{Header, cut};
use busbar_sdk::xml::{Element, Xml};
use busbar_sdk::{Rejection, Sink, rejection};

use crate::mapping::Settings;
use crate::{events, readings};

/// Reads a whole message.
///
/// # Errors
/// The first thing that makes it unfit, or no news, with its place. `header` then holds what was read before.
pub fn read<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    xml: &mut Xml<R>,
    header: &mut Header,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    let root = xml.root()?;
    let mut reader = Reader { settings, xml, header, sink, found: 0 };
    match root.name.as_str() {
        "Envelope" => reader.envelope(&root)?,
        _ => reader.message(&root)?,
    }
    let found = reader.found;
    xml.finish()?;
    match found {
        0 => Err(rejection("no-data", "no reading and no event", format!("line {}", xml.line()))),
        _ => Ok(()),
    }
}

struct Reader<'a, R: FnMut(u32) -> Vec<u8>, S: Sink> {
    settings: &'a Settings,
    xml: &'a mut Xml<R>,
    header: &'a mut Header,
    sink: &'a mut S,
    /// Readings and events, ignored ones included.
    found: usize,
}

impl<R: FnMut(u32) -> Vec<u8>, S: Sink> Reader<'_, R, S> {
    fn envelope(&mut self, root: &Element) -> Result<(), Rejection> {
        self.header.note_soap(root);
        while let Some(element) = self.xml.child()? {
            match element.name.as_str() {
                "Body" => {
                    while let Some(element) = self.xml.child()? {
                        self.message(&element)?;
                    }
                }
                // SOAP's header carries names and passwords: not even looked at.
                _ => self.xml.skip()?,
            }
        }
        Ok(())
    }

    fn message(&mut self, message: &Element) -> Result<(), Rejection> {
        self.header.note_namespace(message);
        if is_container(&message.name) {
            return self.items();
        }
        let (mut has_payload, mut has_reply) = (false, false);
        while let Some(element) = self.xml.child()? {
            match element.name.as_str() {
                "Header" => self.header.read(self.xml, &element)?,
                "Reply" => {
                    has_reply = true;
                    self.xml.skip()?;
                }
                "Payload" => {
                    has_payload = true;
                    self.check()?;
                    self.items()?;
                }
                _ => self.xml.skip()?,
            }
        }
        match (has_payload, has_reply) {
            (true, _) => Ok(()),
            (false, true) => Err(self.no_news("a reply that says only how a request went")),
            (false, false) => Err(self.no_news("a message without payload")),
        }
    }

    /// What the header says of a payload that follows. Some senders write `create` where `created` is meant, so the verb alone
    /// does not make a request.
    fn check(&self) -> Result<(), Rejection> {
        let noun = self.header.noun.to_ascii_lowercase();
        if self.header.verb.eq_ignore_ascii_case("get") || noun.contains("request") {
            return Err(self.no_news("a request to a metering system"));
        }
        if noun.contains("control") {
            return Err(self.no_news("a command to a meter"));
        }
        match self.header.verb.to_ascii_lowercase().as_str() {
            "" | "create" | "created" | "change" | "changed" | "reply" | "execute" | "executed" => Ok(()),
            _ => Err(self.xml.rejection("unsupported-verb", "the verb takes something back, which no message can")),
        }
    }

    /// Of a payload, and of what only wraps its items.
    fn items(&mut self) -> Result<(), Rejection> {
        while let Some(element) = self.xml.child()? {
            match element.name.as_str() {
                "MeterReading" => {
                    self.found += readings::read(self.settings, self.xml, self.header, &element, self.sink)?;
                }
                "EndDeviceEvent" => {
                    let event = events::read(self.xml, &element)?;
                    if let Err(entry) = events::state(self.settings, &event, None, self.sink) {
                        self.sink.leave_out(entry);
                    }
                    self.found += 1;
                }
                // Definitions: what is needed of them stands in the references.
                "ReadingType" | "ReadingQualityType" | "EndDeviceEventType" | "Format" => self.xml.skip()?,
                name if is_container(name) => self.items()?,
                name if name.contains("Control") => return Err(self.no_news("a command to a meter")),
                name if name.contains("Request") || name.starts_with("Get") => {
                    return Err(self.no_news("a request to a metering system"));
                }
                _ => return Err(self.xml.rejection("unsupported-payload", "neither readings nor events")),
            }
        }
        Ok(())
    }

    fn no_news(&self, what: &str) -> Rejection {
        let (verb, noun) = (&self.header.verb, &self.header.noun);
        let named = if noun.is_empty() { String::new() } else { format!(" ({} {})", cut(verb), cut(noun)) };
        self.xml.rejection("not-news", format!("{what}{named}: the hub takes what was measured and what happened"))
    }
}

fn is_container(name: &str) -> bool {
    matches!(name, "MeterReadings" | "EndDeviceEvents" | "anyType" | "ArrayOfEndDeviceEvent" | "ArrayOfMeterReading")
}
