//! The feed of what happens in the box.
//!
//! Source: Diadoc API, GetNewEvents V8, GetMessage V6, structures BoxEvent, MessagePatch.

use std::collections::BTreeSet;

use busbar_sdk::http::HttpError;
use busbar_sdk::{Failure, Hub, Polled, dates, rejected};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::{self, bad};
use crate::mapping::{self, DOCUMENTS_MAX, text};
use crate::settings::Settings;

/// Messages fetched in one poll: the host bounds the requests of a call.
const FETCHES_MAX: usize = 24;
/// Messages stated in one poll, before those of one more event: the host bounds them too.
const STATED_MAX: usize = 1000 - 2 * DOCUMENTS_MAX;
const KEY_BYTES_MAX: usize = 1024;

/// Where the feed was read to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// First moment that is asked for, in ticks: a key is one of the same question.
    from: i64,
    /// Key of the last event that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

impl Cursor {
    fn of(settings: &Settings, bytes: Option<&[u8]>, hub: &impl Hub) -> Result<Self, Failure> {
        if let Some(bytes) = bytes {
            return serde_json::from_slice(bytes).map_err(|error| rejected("bad-cursor", error.to_string(), ""));
        }
        let seconds = match settings.since.as_deref() {
            None => i64::try_from(hub.now_ms() / 1000).unwrap_or_default(),
            Some(day) => {
                let bad = || rejected("bad-config", "this is no day", "config, since");
                dates::unix_seconds(dates::start_of_day(dates::parse_iso_date(day).ok_or_else(bad)?), settings.offset())
            }
        };
        Ok(Self { from: mapping::ticks(seconds), after: None })
    }
}

/// A page of events, as far as requests allow.
///
/// # Errors
/// `bad-cursor`, `bad-answer` with the place, and what an answer means.
pub fn poll(settings: &Settings, cursor: Option<&[u8]>, hub: &mut impl Hub) -> Result<Polled, Failure> {
    let begun = Cursor::of(settings, cursor, hub)?;
    let (events, is_full) = events(settings, &begun, hub)?;
    let mut cursor = begun.clone();
    let mut round = Round { settings, fetched: BTreeSet::new(), stated: Vec::new() };
    // Several events may have one key: it has been read when all of them have.
    let mut read = cursor.after.clone();
    for (index, event) in events.iter().enumerate() {
        let place = format!("Events/{index}");
        let key = text(event, "IndexKey").filter(|key| key.len() <= KEY_BYTES_MAX);
        let key = key.ok_or_else(|| bad("there is no new key", &format!("{place}/IndexKey")))?;
        if read.as_ref() != Some(&key) {
            cursor.after = read.replace(key);
        }
        if round.is_exhausted(event) {
            let is_stuck = cursor.after == begun.after;
            let stuck = || bad("one key has more events than a poll takes", &format!("{place}/IndexKey"));
            return if is_stuck { Err(stuck()) } else { polled(&cursor, true) };
        }
        round.take(event, &place, hub)?;
    }
    if !events.is_empty() && read == begun.after {
        return Err(bad("there is no new key", &format!("Events/{}/IndexKey", events.len() - 1)));
    }
    polled(&Cursor { after: read, ..cursor }, is_full)
}

fn polled(cursor: &Cursor, more: bool) -> Result<Polled, Failure> {
    let cursor = serde_json::to_vec(cursor).map_err(|error| Failure::Other(error.to_string()))?;
    Ok(Polled { cursor: Some(cursor), more })
}

/// The next events, and whether there may be more. Messages with many documents make large answers: fewer are asked for then.
fn events(settings: &Settings, cursor: &Cursor, hub: &mut impl Hub) -> Result<(Vec<Value>, bool), Failure> {
    let most = settings.page_events();
    let mut limits = [most, most.min(10), 1].into_iter();
    let mut limit = most;
    let from = cursor.from.to_string();
    loop {
        limit = limits.next().unwrap_or(limit);
        let count = limit.to_string();
        let mut query = vec![("boxId", settings.box_id.as_str()), ("messageType", "Letter")];
        query.extend([("timestampFromTicks", from.as_str()), ("limit", count.as_str())]);
        query.extend(cursor.after.as_deref().map(|key| ("afterIndexKey", key)));
        let reply = hub.send_idempotent(&api::request(settings, "/V8/GetNewEvents", &query, None));
        if matches!(reply, Err(HttpError::TooLarge(_))) && limit > 1 {
            continue;
        }
        let what = "GetNewEvents";
        let response = reply.map_err(|error| busbar_sdk::replies::failure_of_error(error, what, true))?;
        return match api::read(response, what)?.get_mut("Events").map(Value::take) {
            Some(Value::Array(events)) => {
                let is_full = events.len() >= limit;
                Ok((events, is_full))
            }
            None | Some(Value::Null) => Ok((Vec::new(), false)),
            Some(_) => Err(bad("this is no list", "Events")),
        };
    }
}

struct Round<'a> {
    settings: &'a Settings,
    fetched: BTreeSet<String>,
    /// Ids of what this poll stated: the hub looks up what was stated earlier.
    stated: Vec<String>,
}

impl Round<'_> {
    /// Whether one more event could take more than the host allows.
    fn is_exhausted(&self, event: &Value) -> bool {
        let is_fetch = event.get("Patch").is_some_and(Value::is_object);
        self.stated.len() > STATED_MAX || (is_fetch && self.fetched.len() >= FETCHES_MAX)
    }

    fn take(&mut self, event: &Value, place: &str, hub: &mut impl Hub) -> Result<(), Failure> {
        let part = |name: &str| event.get(name).filter(|part| part.is_object());
        let drafts = if let Some(message) = part("Message") {
            let place = format!("{place}/Message");
            let at = mapping::moment(self.settings, message, "TimestampTicks", &place)?;
            mapping::drafts(self.settings, message, &place, &at, &self.stated, hub)?
        } else if let Some(patch) = part("Patch") {
            let place = format!("{place}/Patch");
            let at = mapping::moment(self.settings, patch, "TimestampTicks", &place)?;
            match self.fetch(patch, &place, hub)? {
                Some(message) => {
                    let place = format!("{place}, message");
                    mapping::drafts(self.settings, &message, &place, &at, &self.stated, hub)?
                }
                None => return Ok(()),
            }
        } else {
            return Err(bad("neither a message nor a patch", place));
        };
        self.stated.extend(drafts.iter().map(|draft| draft.id.clone()));
        drafts.into_iter().for_each(|draft| hub.emit(draft));
        Ok(())
    }

    /// The message that a patch changed, as it is now: the patch alone does not say what it means for a document.
    fn fetch(&mut self, patch: &Value, place: &str, hub: &mut impl Hub) -> Result<Option<Value>, Failure> {
        let id = mapping::id(patch, "MessageId", place)?;
        if mapping::is_true(patch, "ForDraft") || !self.fetched.insert(id.clone()) {
            return Ok(None);
        }
        let query = [("boxId", self.settings.box_id.as_str()), ("messageId", &id), ("injectEntityContent", "false")];
        let request = api::request(self.settings, "/V6/GetMessage", &query, None);
        let message = api::find(hub.send_idempotent(&request), "GetMessage")?;
        if message.is_none() {
            hub.info(&format!("message {id} is not there any more"));
        }
        Ok(message)
    }
}
