//! Reading objects page by page and stating those that say something new. Pure but for what it is given.

use busbar_sdk::http::{HttpError, Request, Response};
use busbar_sdk::memory::{Progress, Store};
use busbar_sdk::replies::failure_of_error;
use busbar_sdk::{Draft, Failure, Rejection, draft, ids, rejected, rejection};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use crate::client;
use crate::mapping::{self, Table, Way};
use crate::settings::{BadObjects, Reading, Settings, is_state};
use crate::value;

/// Each new object is a write of the state, of which the host allows 64.
const WRITES_MAX: usize = 60;
/// Objects of one answer, whatever was asked for.
const OBJECTS_MAX: usize = 20_000;
/// Fields that say when, not what: alone they are no news.
const MOMENTS: [&str; 3] = ["changedAt", "asOfAt", "asOfOn"];

/// Where the reading stands: a round reads all entries of the settings, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cursor {
    entry: String,
    /// Objects of the entry read in this round.
    read: usize,
    /// By the entry's field of change.
    seen: BTreeMap<String, Progress>,
}

/// What one answer says.
pub struct Page {
    pub drafts: Vec<Draft>,
    /// Objects that do not fit their table, and those that changed after they were stated for good.
    pub left_out: Vec<Rejection>,
    pub cursor: Cursor,
    pub more: bool,
}

/// What was stated of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stated {
    /// How often something new was said.
    version: u32,
    content: String,
}

/// The place of an object, its key and what it says.
type Said = (String, Vec<String>, Map<String, Value>);
type Send<'a> = &'a mut dyn FnMut(&Request) -> Result<Response, HttpError>;

/// # Errors
/// `not-configured`, `bad-cursor`; a refusal of 1C; `not-odata`, `too-many-objects`; with `bad-objects = "refuse"` what is
/// wrong with an object.
pub fn poll(
    settings: &Settings,
    cursor: Option<Vec<u8>>,
    now_ms: &dyn Fn() -> u64,
    send: Send,
    store: &mut dyn Store,
) -> Result<Page, Failure> {
    let readings = settings.readings()?;
    let mut cursor: Cursor = match cursor {
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|_| rejection("bad-cursor", "the cursor kept from the last poll is not this adapter's", ""))?,
        None => Cursor::default(),
    };
    cursor.seen.retain(|name, _| readings.contains_key(name));
    let (name, reading) = match readings.get_key_value(&cursor.entry) {
        Some(found) => found,
        None => {
            cursor.read = 0;
            readings.first_key_value().ok_or_else(|| rejection("not-configured", "nothing to poll", "config, poll"))?
        }
    };
    cursor.entry.clone_from(name);
    let request = request(settings, reading, &cursor);
    let what = format!("GET {}", reading.entity);
    let response = send(&request).map_err(|error| failure_of_error(error, &what, true))?;
    let body = client::read(&response, &what)?;
    let body =
        body.ok_or_else(|| rejected("not-odata", format!("{what} answered that there is no such object"), ""))?;
    let objects = client::objects(&body, &what)?;
    if objects.len() > OBJECTS_MAX || reading.pages && objects.len() > settings.page_size {
        let reason = format!("{what} answered {} objects at once", objects.len());
        return Err(rejected("too-many-objects", reason, "/value"));
    }
    let from = if reading.pages { 0 } else { cursor.read };
    let mut run = Run { settings, name, reading, now_ms, store, drafts: Vec::new(), left_out: Vec::new(), writes: 0 };
    let mut done = true;
    for object in objects.iter().skip(from) {
        if run.writes >= WRITES_MAX {
            done = false;
            break;
        }
        run.note(object)?;
        let moment = mapping::at(object, &reading.changed).and_then(|moment| value::text(moment).ok().flatten());
        if let Some(moment) = moment.filter(|moment| busbar_sdk::dates::parse_date_time(moment).is_some()) {
            cursor.seen.entry(name.clone()).or_default().see(&moment);
        }
        cursor.read += 1;
    }
    let (drafts, left_out) = (run.drafts, run.left_out);
    if !done || reading.pages && objects.len() >= settings.page_size {
        return Ok(Page { drafts, left_out, cursor, more: true });
    }
    if let Some(seen) = cursor.seen.get_mut(name) {
        seen.end_round();
    }
    cursor.read = 0;
    let next = readings.keys().find(|other| *other > name);
    cursor.entry = next.cloned().unwrap_or_default();
    Ok(Page { drafts, left_out, more: next.is_some(), cursor })
}

fn request(settings: &Settings, reading: &Reading, cursor: &Cursor) -> Request {
    let since = cursor.seen.get(&cursor.entry).map(|seen| seen.since.as_str()).filter(|since| !since.is_empty());
    let filter = match since {
        Some(since) if reading.filter.is_empty() => format!("{} ge datetime'{since}'", reading.changed),
        Some(since) => format!("({}) and {} ge datetime'{since}'", reading.filter, reading.changed),
        None => reading.filter.clone(),
    };
    let (top, skip, order) = (settings.page_size.to_string(), cursor.read.to_string(), reading.key.join(","));
    let mut options = vec![("filter", filter.as_str()), ("select", &reading.select), ("expand", &reading.expand)];
    if reading.pages {
        options.extend([("orderby", order.as_str()), ("top", &top), ("skip", &skip)]);
    }
    client::request(settings, "GET", &reading.entity, &options, None)
}

struct Run<'a> {
    settings: &'a Settings,
    name: &'a str,
    reading: &'a Reading,
    now_ms: &'a dyn Fn() -> u64,
    store: &'a mut dyn Store,
    drafts: Vec<Draft>,
    left_out: Vec<Rejection>,
    writes: usize,
}

impl Run<'_> {
    /// States an object that says something new.
    fn note(&mut self, object: &Value) -> Result<(), Failure> {
        let (place, key, data) = match self.data(object) {
            Ok(said) => said,
            Err(Failure::Rejected(rejection)) if self.settings.bad_objects == BadObjects::Log => {
                self.left_out.push(rejection);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        let state_key = format!("{}-{}", self.name, ids::derived(&key));
        let before = self.store.get(&state_key).and_then(|bytes| serde_json::from_slice::<Stated>(&bytes).ok());
        let before = before.unwrap_or_default();
        let mut said = data.clone();
        MOMENTS.iter().for_each(|moment| drop(said.remove(*moment)));
        let content = ids::derived(&[&Value::Object(said).to_string()]);
        if before.content == content {
            return Ok(());
        }
        let now = Stated { version: before.version.saturating_add(1), content };
        self.store.set(&state_key, serde_json::to_vec(&now).unwrap_or_default());
        self.writes += 1;
        let restate = self.reading.restate.unwrap_or_else(|| is_state(&self.reading.r#type));
        if now.version > 1 && !restate {
            let reason = format!("changed after it was stated (version {}), and is not stated again", now.version);
            self.left_out.push(rejection("changed-after-stated", reason, place));
            return Ok(());
        }
        let version = now.version.to_string();
        let mut parts = vec!["odata-1c", &self.reading.entity, &self.reading.r#type];
        parts.extend(key);
        if restate {
            parts.extend([now.content.as_str(), version.as_str()]);
        }
        let id = ids::derived(&parts);
        let subject = match self.reading.subject.as_str() {
            "" => mapping::subject_path(&self.reading.r#type),
            path => path,
        };
        let data = Value::Object(data);
        self.drafts.push(Draft {
            subject: mapping::at(&data, subject).and_then(Value::as_str).map(str::to_owned),
            time: data.get("changedAt").and_then(Value::as_str).map(str::to_owned),
            place: Some(place),
            ..draft(id, &self.reading.r#type, data.to_string())
        });
        Ok(())
    }

    fn data(&self, object: &Value) -> Result<Said, Failure> {
        let mut key = Vec::new();
        for name in &self.reading.key {
            let part = mapping::at(object, name).map_or(Ok(None), value::text);
            let part = part.ok().flatten();
            let place = || format!("{}, field {name}", self.reading.entity);
            key.push(part.ok_or_else(|| rejection("missing-field", "an object without its key", place()))?);
        }
        let place = match key.as_slice() {
            [one] => format!("{}({})", self.reading.entity, client::literal(one)),
            several => format!("{}({})", self.reading.entity, several.join(", ")),
        };
        let named = |name: &str| moment_now(self.settings, name, self.now_ms);
        let table = Table { settings: self.settings, way: Way::FromOneC, named: &named, place: &place };
        let data = table.fill(&self.reading.fields, object, &mut |_, _| Ok(None))?;
        Ok((place, key, data))
    }
}

/// `@now`.
pub fn moment_now(settings: &Settings, name: &str, now_ms: &dyn Fn() -> u64) -> Option<Value> {
    let moment =
        (name == "now").then(now_ms).and_then(|ms| busbar_sdk::dates::local_of_unix_ms(ms, settings.utc_offset));
    moment.map(|moment| json!(busbar_sdk::dates::rfc3339(moment, settings.utc_offset)))
}
