//! A МЭДО message, alone or in an archive with its files -> `document.issued.v1`, `document.status.changed.v1`.

use std::collections::BTreeMap;

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::encoding::without_bom;
use busbar_sdk::xml::{Limits, Xml};
use busbar_sdk::{Draft, Rejection, Sink, draft, ids, rejection, zip};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::model::{self, Body, Communication, Document, Number};
use crate::words;

#[cfg(test)]
mod tests;

/// Messages in one archive.
const MESSAGES_MAX: usize = 200;
const LIMITS: Limits =
    Limits { depth: 40, attributes: 50, name_bytes: 256, text_bytes: 256 << 10, total_bytes: 8 << 20 };

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    pub utc_offset: Offset,
    pub sender_uid: String,
    pub sender_name: String,
    pub version: String,
    pub signatory_person: String,
    pub signatory_post: String,
    pub pages: u32,
    pub envelope_address: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            utc_offset: Offset::MOSCOW,
            sender_uid: String::new(),
            sender_name: String::new(),
            version: "2.6".to_owned(),
            signatory_person: String::new(),
            signatory_post: String::new(),
            pages: 1,
            envelope_address: String::new(),
        }
    }
}

/// Size and SHA-256 of a file in an archive.
struct Measured {
    bytes: u64,
    sha256: String,
}

/// Decodes a file: the XML of a message, or an archive of messages with their files.
///
/// # Errors
/// The first thing that makes the file unfit, with its place; the README lists the codes.
pub fn decode(
    settings: &Settings,
    mut read: impl FnMut(u32) -> Vec<u8>,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    let head = read(64 * 1024);
    let start = without_bom(&head).iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    if without_bom(&head).get(start) == Some(&b'[') {
        let reason = "an envelope (envelope.ini) alone says nothing: the message is the XML beside it";
        return Err(rejection("envelope-alone", reason, "line 1"));
    }
    let is_archive = zip::is_archive(&head);
    let mut head = Some(head);
    let mut whole = move |max: u32| head.take().unwrap_or_else(|| read(max));
    if is_archive {
        return archive(settings, &zip::read_whole(whole)?, sink);
    }
    let mut xml = Xml::new(&mut whole, LIMITS);
    let root = xml.root()?;
    let message = model::read(&mut xml, root)?;
    state(settings, &message, |_| None, sink)
}

fn archive(settings: &Settings, bytes: &[u8], sink: &mut impl Sink) -> Result<(), Rejection> {
    let mut messages: Vec<(String, Communication)> = Vec::new();
    let mut files: BTreeMap<String, Measured> = BTreeMap::new();
    let mut unreadable: Vec<(String, Rejection)> = Vec::new();
    zip::each_file(bytes, |file| {
        let name = file.name.clone();
        if !name.to_lowercase().ends_with(".xml") {
            files.insert(name, measure(|max| file.read(max)));
            return Ok(());
        }
        // An attached file may be XML as well: the root tells.
        let mut text = Vec::new();
        loop {
            let chunk = file.read(64 * 1024);
            if chunk.is_empty() {
                break;
            }
            if text.len() + chunk.len() > 16 << 20 {
                return Err(rejection("xml-limit", "an XML file of more than 16 MiB", format!("file {name}")));
            }
            text.extend_from_slice(&chunk);
        }
        file.check()?;
        let found = message_in(&text, &mut |error| unreadable.push((name.clone(), error)));
        if let Some(message) = found.map_err(|error| within(error, &name))? {
            if messages.len() >= MESSAGES_MAX {
                return Err(rejection("too-many-messages", format!("more than {MESSAGES_MAX} messages"), ""));
            }
            messages.push((name, message));
            return Ok(());
        }
        let mut rest = text.as_slice();
        let measured = measure(|max| {
            let (now, later) = rest.split_at(rest.len().min(max as usize));
            rest = later;
            now.to_vec()
        });
        files.insert(name, measured);
        Ok(())
    })?;
    let folder_of = |name: &str| name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    // What is no XML may be an attached file, but then a message names it; otherwise it may be a message.
    let is_attached = |name: &str| {
        let names = |(other, message): &(String, Communication)| match &message.body {
            Body::Document(document) => {
                document.files.iter().any(|(file, _)| format!("{}{file}", folder_of(other)) == name)
            }
            _ => false,
        };
        messages.iter().any(names)
    };
    if let Some((name, error)) = unreadable.into_iter().find(|(name, _)| !is_attached(name)) {
        return Err(within(error, &name));
    }
    if messages.is_empty() {
        return Err(rejection("no-message", "the archive has no XML with the root `communication`", ""));
    }
    for (name, message) in &messages {
        let folder = folder_of(name);
        let beside = |file: &str| files.get(&format!("{folder}{file}"));
        state(settings, message, beside, sink).map_err(|error| within(error, name))?;
    }
    Ok(())
}

/// Nothing for XML of another kind; nothing for what is no XML, which `unreadable` is told.
fn message_in(text: &[u8], unreadable: &mut dyn FnMut(Rejection)) -> Result<Option<Communication>, Rejection> {
    let mut rest = text;
    let read = |max: u32| {
        let (now, later) = rest.split_at(rest.len().min(max as usize));
        rest = later;
        now.to_vec()
    };
    let mut xml = Xml::new(read, LIMITS);
    match xml.root() {
        Ok(root) if root.name == "communication" => model::read(&mut xml, root).map(Some),
        Ok(_) => Ok(None),
        Err(error) => {
            unreadable(error);
            Ok(None)
        }
    }
}

fn measure(mut read: impl FnMut(u32) -> Vec<u8>) -> Measured {
    let mut hash = Sha256::new();
    let mut bytes = 0_u64;
    loop {
        let chunk = read(64 * 1024);
        if chunk.is_empty() {
            break;
        }
        bytes += chunk.len() as u64;
        hash.update(&chunk);
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Measured { bytes, sha256 }
}

fn within(error: Rejection, file: &str) -> Rejection {
    let place = error.place.map_or_else(|| format!("file {file}"), |place| format!("file {file}, {place}"));
    Rejection { place: Some(place), ..error }
}

fn state<'a>(
    settings: &Settings,
    message: &Communication,
    beside: impl Fn(&str) -> Option<&'a Measured>,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    let (r#type, subject, data, place) = match &message.body {
        Body::Document(document) => {
            let data = issued(message, document, beside)?;
            ("document.issued.v1", document.uid.clone(), data, message.place.clone())
        }
        Body::Notification(notice) => {
            let status = words::status_of(&notice.event)
                .ok_or_else(|| rejection("unknown-event", format!("an event `{}`", notice.event), &*notice.place))?;
            let id = notice.id.as_ref().filter(|id| id.chars().count() <= 64).unwrap_or(&notice.uid).clone();
            let mut data = changed(settings, message, &id, status, notice.time.as_deref(), &notice.place)?;
            let foundation = number(&notice.foundation, &notice.place)?;
            if let Some(document) = data.get_mut("document").and_then(Value::as_object_mut) {
                document.extend(foundation);
            }
            let registration = number(&notice.num, &notice.place)?;
            if !registration.is_empty() {
                data.insert("registration".to_owned(), Value::Object(registration));
            }
            let texts = [notice.reason.as_deref(), notice.comment.as_deref()];
            let code = (status == "refused").then(|| words::reason_code(notice.reason.as_deref().unwrap_or_default()));
            reason(&mut data, code, texts);
            ("document.status.changed.v1", id, data, notice.place.clone())
        }
        Body::Acknowledgment(receipt) => {
            let status = if receipt.accepted { "delivered" } else { "refused" };
            let mut data = changed(settings, message, &receipt.uid, status, receipt.time.as_deref(), &receipt.place)?;
            reason(&mut data, (!receipt.accepted).then_some("other"), [receipt.comment.as_deref(), None]);
            ("document.status.changed.v1", receipt.uid.clone(), data, receipt.place.clone())
        }
    };
    if message.uid.is_none() {
        sink.warn("a message without its uid: its id is that of its content");
    }
    let time = data.get("changedAt").and_then(Value::as_str).map(str::to_owned);
    let created = message.created.as_deref().and_then(|text| moment(settings, text));
    let data = Value::Object(data).to_string();
    let id = match &message.uid {
        Some(uid) => ids::derived(&["medo", uid]),
        None => ids::derived(&["medo-content", &data]),
    };
    let time = time.or(created);
    sink.emit(Draft { subject: Some(subject), time, place: Some(place), ..draft(id, r#type, data) });
    Ok(())
}

fn issued<'a>(
    message: &Communication,
    document: &Document,
    beside: impl Fn(&str) -> Option<&'a Measured>,
) -> Result<Map<String, Value>, Rejection> {
    let mut reference = number(&document.num, &message.place)?;
    reference.insert("id".to_owned(), json!(document.uid));
    if let Some(kind) = document.kind.as_deref().filter(|kind| !kind.trim().is_empty()).map(words::kind_of) {
        reference.insert("kind".to_owned(), json!(kind));
    }
    let mut data = Map::new();
    data.insert("document".to_owned(), Value::Object(reference));
    let mut put = |field: &str, value: Option<Value>| value.map(|value| data.insert(field.to_owned(), value));
    put("title", document.title.as_deref().map(|title| json!(first(title, 500))));
    put("sender", message.sender.as_deref().map(party));
    put("recipient", document.addressee.as_deref().map(party));
    let files = document.files.iter().map(|(name, file_type)| {
        let mut file = json!({ "name": first(name, 255) });
        if let Some(file) = file.as_object_mut() {
            let media_type = words::media_type(file_type.as_deref(), name);
            file.extend(media_type.map(|media_type| ("mediaType".to_owned(), json!(media_type))));
            if let Some(Measured { bytes, sha256 }) = beside(name) {
                file.insert("size".to_owned(), json!(bytes));
                file.insert("sha256".to_owned(), json!(sha256));
            }
        }
        file
    });
    put("files", (!document.files.is_empty()).then(|| files.collect()));
    if let Some((uid, num)) = &document.answers {
        let mut answered = number(num, &message.place)?;
        answered.extend(uid.as_ref().map(|uid| ("id".to_owned(), json!(uid))));
        put("inAnswerTo", (!answered.is_empty()).then_some(Value::Object(answered)));
    }
    Ok(data)
}

fn changed(
    settings: &Settings,
    message: &Communication,
    id: &str,
    status: &str,
    time: Option<&str>,
    place: &str,
) -> Result<Map<String, Value>, Rejection> {
    let text = time.ok_or_else(|| rejection("missing-field", "an event without its time", place))?;
    let at = moment(settings, text).ok_or_else(|| {
        let text: String = text.chars().take(50).collect();
        rejection("bad-value", format!("`{text}` is no existing time"), place)
    })?;
    let mut data = Map::new();
    data.insert("document".to_owned(), json!({ "id": id }));
    data.insert("status".to_owned(), json!(status));
    data.insert("changedAt".to_owned(), json!(at));
    data.extend(message.sender.as_deref().map(|sender| ("by".to_owned(), party(sender))));
    Ok(data)
}

/// `code` where the document was refused; otherwise only where there is something to tell.
fn reason(data: &mut Map<String, Value>, code: Option<&str>, texts: [Option<&str>; 2]) {
    let text = texts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    if code.is_none() && text.is_empty() {
        return;
    }
    let mut reason = json!({ "code": code.unwrap_or("other") });
    if let (false, Some(reason)) = (text.is_empty(), reason.as_object_mut()) {
        reason.insert("text".to_owned(), json!(first(&text, 500)));
    }
    data.insert("reason".to_owned(), reason);
}

fn number(num: &Number, place: &str) -> Result<Map<String, Value>, Rejection> {
    let mut found = Map::new();
    if let Some(number) = &num.number {
        found.insert("number".to_owned(), json!(first(number, 64)));
    }
    if let Some(text) = &num.date {
        // XML Schema's date may have a zone, which a day of a letter has no use for.
        let day = text.get(..10).and_then(dates::parse_iso_date).ok_or_else(|| {
            let text: String = text.chars().take(50).collect();
            rejection("bad-value", format!("`{text}` is no existing day"), place)
        })?;
        found.insert("issuedOn".to_owned(), json!(dates::iso_date(day)));
    }
    Ok(found)
}

fn moment(settings: &Settings, text: &str) -> Option<String> {
    let (local, offset) = dates::parse_date_time(text)?;
    Some(dates::rfc3339(local, offset.unwrap_or(settings.utc_offset)))
}

fn party(name: &str) -> Value {
    json!({ "name": first(name, 500) })
}

fn first(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
