//! A file, packed or not -> the messages of its documents, and a receipt for each where the settings want one.
//!
//! Source: format 80020, version 2; real files.

use std::collections::BTreeMap;

use busbar_sdk::dates::Offset;
use busbar_sdk::xml::{Limits, Xml};
use busbar_sdk::{Draft, Hub, Rejection, Sink, rejection, zip};
use serde::Deserialize;

use crate::document::{self, Head};
use crate::receipt;

#[cfg(test)]
pub(crate) mod tests;

/// Bytes of data that a document may come to where it must be held back until it is known to be good.
const HELD_BYTES_MAX: usize = 24 << 20;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    pub utc_offset: Offset,
    pub timezones: BTreeMap<String, Offset>,
    pub receipts: bool,
    pub sender: Option<Party>,
    pub area: Option<Area>,
    pub names: BTreeMap<String, String>,
    pub rounding: Rounding,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            utc_offset: Offset::MOSCOW,
            timezones: BTreeMap::new(),
            receipts: false,
            sender: None,
            area: None,
            names: BTreeMap::new(),
            rounding: Rounding::Refuse,
        }
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    pub inn: String,
    pub name: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    pub inn: String,
    pub name: String,
    pub timezone: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    Refuse,
    Carry,
}

/// Decodes a file called `name`, given in chunks by `read`.
///
/// # Errors
/// The first thing that makes it unfit, with its place; the README lists the codes. With receipts, a document that is unfit
/// is no error, but stated as refused.
pub fn decode(
    settings: &Settings,
    name: &str,
    mut read: impl FnMut(u32) -> Vec<u8>,
    hub: &mut impl Hub,
) -> Result<(), Rejection> {
    let mut head = Vec::new();
    while head.len() < 4 {
        let chunk = read(64 * 1024);
        if chunk.is_empty() {
            break;
        }
        head.extend_from_slice(&chunk);
    }
    let is_archive = zip::is_archive(&head);
    let mut first = Some(head);
    let mut read = move |max: u32| match first.take() {
        Some(head) if !head.is_empty() => head,
        _ => read(max),
    };
    if !is_archive {
        return one(settings, name, &mut read, hub, false, || Ok(()));
    }
    let unpacked = zip::read_whole(read).and_then(|archive| archived(settings, &archive, hub));
    match unpacked {
        Err(rejection) if settings.receipts => {
            hub.emit(receipt::refused(settings, &Head::default(), name, &rejection, hub.now_ms()));
            Ok(())
        }
        result => result,
    }
}

fn archived(settings: &Settings, archive: &[u8], hub: &mut impl Hub) -> Result<(), Rejection> {
    let mut documents = 0_usize;
    zip::each_file(archive, |file| {
        let name: String = file.name.chars().filter(|c| !c.is_control()).take(100).collect();
        if !name.to_lowercase().ends_with(".xml") {
            hub.warn(&format!("file {name}: not .xml, ignored"));
            return Ok(());
        }
        documents += 1;
        let file = std::cell::RefCell::new(file);
        one(settings, &name, |max| file.borrow_mut().read(max), hub, true, || file.borrow_mut().check())
            .map_err(|rejection| within(&name, rejection))
    })?;
    match documents {
        0 => Err(rejection("no-data", "the archive has no .xml file", "")),
        _ => Ok(()),
    }
}

/// One document. `check` tells whether `read` gave all of it. One of an archive, `among` others, is left out where it is unfit.
fn one(
    settings: &Settings,
    name: &str,
    read: impl FnMut(u32) -> Vec<u8>,
    hub: &mut impl Hub,
    among: bool,
    mut check: impl FnMut() -> Result<(), Rejection>,
) -> Result<(), Rejection> {
    let mut head = Head::default();
    let mut xml = Xml::new(read, Limits::default());
    if !settings.receipts && !among {
        let result = document::decode(settings, &mut xml, &mut head, hub);
        note_encoding(&xml, hub);
        return check().and(result);
    }
    let mut held = Held { hub, drafts: Vec::new(), bytes: 0 };
    let result = document::decode(settings, &mut xml, &mut head, &mut held);
    let fits = if held.bytes > HELD_BYTES_MAX { Err(too_large()) } else { Ok(()) };
    let drafts = held.drafts;
    if !settings.receipts {
        // A damaged archive is none at all.
        check()?;
        match fits.and(result) {
            Ok(()) => drafts.into_iter().for_each(|draft| hub.emit(draft)),
            Err(entry) => hub.leave_out(within(name, entry)),
        }
        note_encoding(&xml, hub);
        return Ok(());
    }
    let now_ms = hub.now_ms();
    match check().and(fits).and(result) {
        Ok(()) => {
            drafts.into_iter().for_each(|draft| hub.emit(draft));
            hub.emit(receipt::accepted(settings, &head, name, now_ms));
        }
        Err(rejection) => {
            let place = rejection.place.as_deref().unwrap_or("the file");
            hub.warn(&format!("refused: {} at {place}: {}", rejection.code, rejection.reason));
            hub.emit(receipt::refused(settings, &head, name, &rejection, now_ms));
        }
    }
    note_encoding(&xml, hub);
    Ok(())
}

/// Keeps the messages of a document until it is known to be good.
struct Held<'a, H: Hub> {
    hub: &'a mut H,
    drafts: Vec<Draft>,
    bytes: usize,
}

impl<H: Hub> Sink for Held<'_, H> {
    fn emit(&mut self, draft: Draft) {
        self.bytes += draft.data.len();
        if self.bytes <= HELD_BYTES_MAX {
            self.drafts.push(draft);
        }
    }

    fn warn(&mut self, text: &str) {
        self.hub.warn(text);
    }

    fn leave_out(&mut self, entry: Rejection) {
        self.hub.leave_out(entry);
    }
}

fn too_large() -> Rejection {
    let reason = "with `receipts`, and in an archive, the data of one document must not come to more than 24 MiB";
    rejection("too-many-channels", reason, "")
}

fn within(name: &str, rejection: Rejection) -> Rejection {
    let place = match rejection.place {
        Some(place) if place.starts_with("file ") => place,
        Some(place) => format!("file {name}, {place}"),
        None => format!("file {name}"),
    };
    Rejection { place: Some(place), ..rejection }
}

// A declaration that does not fit is harmless, but somebody should know.
fn note_encoding<R: FnMut(u32) -> Vec<u8>>(xml: &Xml<R>, hub: &mut impl Sink) {
    if let (Some(found), declared) = xml.encoding()
        && busbar_sdk::encoding::Encoding::named(declared) != Some(found)
    {
        hub.warn(&format!("{} although {declared} is declared", found.name()));
    }
}
