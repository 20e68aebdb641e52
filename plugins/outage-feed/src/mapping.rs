//! An item of a feed -> what it says of an outage, by a table of fields. Pure.

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::texts::{is_plain, is_uuid, shortened};
use busbar_sdk::{Rejection, ids, rejection};
use serde_json::{Map, Value, json};

use crate::settings::{Addresses, Choice, Moment, Table};
use crate::times;

/// Characters of the fields of `outage.changed.v1`.
const ID_CHARS: usize = 64;
const NAME_CHARS: usize = 200;
const TEXT_CHARS: usize = 500;
const NOTICE_CHARS: usize = 2000;
/// Of an entry that has no name but itself.
const ENTRY_CHARS: usize = 160;
const ADDRESSES_MAX: usize = 5000;

/// What an item says.
#[derive(Debug, PartialEq)]
pub struct Outage {
    pub id: String,
    pub kind: String,
    pub status: String,
    pub changed_at: Option<String>,
    /// Without `status`, `revision` and `changedAt`.
    pub data: Map<String, Value>,
    pub warnings: Vec<String>,
    pub place: String,
}

impl Outage {
    /// Where it is, by its id: an entry's number changes with the others.
    pub fn place_of_entry(&self) -> String {
        entry(&self.id)
    }

    /// Digest of what is said; the moment alone is no news.
    pub fn content(&self) -> String {
        let data = Value::Object(self.data.clone()).to_string();
        ids::derived(&[&self.status, &data]).chars().take(16).collect()
    }
}

fn entry(id: &str) -> String {
    format!("outage {}", shortened(&id.replace(char::is_control, " "), ID_CHARS))
}

/// Nothing for an item that is no outage.
///
/// # Errors
/// `no-id`, `unknown-status`, `bad-time`, `too-many-addresses`, with the id where there is one, and the entry's place and field: the same
/// words at each poll.
pub fn outage(
    table: &Table,
    zone: Offset,
    status: &str,
    item: &Value,
    place: String,
) -> Result<Option<Outage>, (Option<String>, Rejection)> {
    let reader = Item { item, table, zone, place: &place };
    if let Some(skip) = &table.skip {
        let is_word = |text: String| skip.words.contains(&text);
        if skip.at.iter().filter_map(|at| reader.text(at)).any(is_word) {
            return Ok(None);
        }
    }
    let id = reader.id().map_err(|rejection| (None, rejection))?;
    let read = |id: &String| reader.outage(id.clone(), status, place.clone());
    read(&id).map(Some).map_err(|rejection| (Some(id), rejection))
}

struct Item<'a> {
    item: &'a Value,
    table: &'a Table,
    zone: Offset,
    place: &'a str,
}

impl Item<'_> {
    fn outage(&self, id: String, status: &str, place: String) -> Result<Outage, Rejection> {
        let table = self.table;
        let kind = self.choice(&table.kind).unwrap_or_else(|| "unknown".to_owned());
        let by_kind = if kind == "planned" { "planned" } else { "started" };
        let usual = if status.is_empty() { by_kind } else { status };
        let status = match self.choice(&table.status) {
            Some(status) => status,
            None => match self.first(&table.status.at) {
                None => usual.to_owned(),
                Some((_, text)) if table.status.has_usual(&text) => usual.to_owned(),
                // A word that the table has not is not the usual one.
                Some((pointer, text)) => {
                    let place = format!("{}, field {}", entry(&id), pointer.trim_start_matches('/'));
                    let reason = format!("the table has no word for `{}`", shortened(&text, 60));
                    return Err(rejection("unknown-status", reason, place));
                }
            },
        };
        let mut warnings = Vec::new();
        let mut data = Map::new();
        data.insert("id".to_owned(), id.clone().into());
        data.insert("kind".to_owned(), kind.clone().into());
        self.period(&id, &kind, &mut data, &mut warnings)?;
        self.cause(&mut data);
        self.equipment(&mut data);
        self.affected(&id, &mut data, &mut warnings)?;
        if let Some((_, notice)) = self.first(&table.notice) {
            data.insert("notice".to_owned(), shortened(&notice, NOTICE_CHARS).into());
        }
        let changed_at = self.moment(&id, &table.changed)?.and_then(|seconds| self.rfc3339(seconds));
        Ok(Outage { id, kind, status, changed_at, data, warnings, place })
    }

    fn text(&self, pointer: &str) -> Option<String> {
        text(self.item, pointer)
    }

    fn first(&self, pointers: &[String]) -> Option<(String, String)> {
        pointers.iter().find_map(|pointer| Some((pointer.clone(), self.text(pointer)?)))
    }

    fn place_of(&self, pointer: &str) -> String {
        if self.place.starts_with('/') || self.place.is_empty() {
            format!("{}{pointer}", self.place)
        } else {
            format!("{}, field {}", self.place, pointer.trim_start_matches('/'))
        }
    }

    fn id(&self) -> Result<String, Rejection> {
        let refuse = |pointer: &str| {
            let entry = shortened(&self.item.to_string(), ENTRY_CHARS);
            let place = format!("field {}", pointer.trim_start_matches('/'));
            rejection("no-id", format!("an outage without its id: {entry}"), place)
        };
        match self.table.id.as_slice() {
            [] => Err(rejection("bad-config", "the table has no `id`", "config")),
            [pointer] => {
                let id = self.text(pointer).ok_or_else(|| refuse(pointer))?;
                let fits = id.chars().count() <= ID_CHARS && is_plain(&id);
                Ok(if fits { id } else { ids::derived(&[&id]) })
            }
            pointers => {
                let parts: Vec<String> = pointers.iter().map(|at| self.text(at).unwrap_or_default()).collect();
                if parts.iter().all(String::is_empty) {
                    return Err(refuse(pointers.first().map_or("", String::as_str)));
                }
                Ok(ids::derived(&parts.iter().map(String::as_str).collect::<Vec<_>>()))
            }
        }
    }

    fn choice(&self, choice: &Choice) -> Option<String> {
        let texts = choice.at.iter().filter_map(|at| self.text(at)).map(|text| text.to_lowercase());
        let found = texts.filter_map(|text| choice.words.iter().find(|word| text.contains(&word.word.to_lowercase())));
        found.map(|word| word.means.clone()).next().or_else(|| choice.otherwise.clone())
    }

    fn moment(&self, id: &str, moment: &Moment) -> Result<Option<i64>, Rejection> {
        let Some((pointer, text)) = self.first(&moment.at) else { return Ok(None) };
        if self.table.no_time.iter().any(|word| word.eq_ignore_ascii_case(&text)) {
            return Ok(None);
        }
        // No outage was before 1970.
        let seconds = times::seconds(&text, &moment.formats, self.zone).filter(|seconds| *seconds >= 0);
        let refuse = || {
            let place = format!("{}, field {}", entry(id), pointer.trim_start_matches('/'));
            rejection("bad-time", format!("no moment: `{}`", shortened(&text, 60)), place)
        };
        seconds.map(Some).ok_or_else(refuse)
    }

    fn rfc3339(&self, seconds: i64) -> Option<String> {
        dates::local_of_unix_seconds(seconds, self.zone).map(|local| dates::rfc3339(local, self.zone))
    }

    fn period(
        &self,
        id: &str,
        kind: &str,
        data: &mut Map<String, Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Rejection> {
        let (start, end) = (self.moment(id, &self.table.start)?, self.moment(id, &self.table.end)?);
        let is_after = |end: i64| start.is_none_or(|start| end > start);
        if end.is_some_and(|end| !is_after(end)) {
            warnings.push(format!("{}: the end is not after the start and is left out", self.place));
        }
        let name = if kind == "planned" { "plannedStartAt" } else { "startedAt" };
        for (name, seconds) in [(name, start), ("expectedRestorationAt", end.filter(|end| is_after(*end)))] {
            if let Some(text) = seconds.and_then(|seconds| self.rfc3339(seconds)) {
                data.insert(name.to_owned(), text.into());
            }
        }
        Ok(())
    }

    fn cause(&self, data: &mut Map<String, Value>) {
        let mut cause = Map::new();
        if let Some(code) = self.choice(&self.table.cause) {
            cause.insert("code".to_owned(), code.into());
        }
        if let Some((_, text)) = self.first(&self.table.cause.at) {
            cause.insert("text".to_owned(), shortened(&text, TEXT_CHARS).into());
        }
        if !cause.is_empty() {
            data.insert("cause".to_owned(), cause.into());
        }
    }

    fn equipment(&self, data: &mut Map<String, Value>) {
        let mut all = Vec::new();
        for equipment in &self.table.equipment {
            let Some(id) = self.text(&equipment.id) else { continue };
            let mut one = Map::from_iter([("id".to_owned(), shortened(&id, ID_CHARS).into())]);
            if let Some(name) = self.text(&equipment.name) {
                one.insert("name".to_owned(), shortened(&name, NAME_CHARS).into());
            }
            if !equipment.kind.is_empty() {
                one.insert("kind".to_owned(), equipment.kind.clone().into());
            }
            all.push(Value::Object(one));
        }
        if !all.is_empty() {
            data.insert("equipment".to_owned(), all.into());
        }
    }

    fn affected(&self, id: &str, data: &mut Map<String, Value>, warnings: &mut Vec<String>) -> Result<(), Rejection> {
        let mut affected = Map::new();
        if let Some((pointer, text)) = self.first(&self.table.customers) {
            match text.parse::<u32>() {
                Ok(count) => drop(affected.insert("customers".to_owned(), count.into())),
                Err(_) => warnings.push(format!(
                    "{}: `{}` is no number of customers and is left out",
                    self.place_of(&pointer),
                    shortened(&text, 60)
                )),
            }
        }
        if let Some(addresses) = &self.table.addresses {
            let found = match &addresses.list {
                None => addresses_of(addresses, self.item),
                Some(list) => {
                    let elements = self.item.pointer(list).and_then(Value::as_array);
                    elements.into_iter().flatten().flat_map(|element| addresses_of(addresses, element)).collect()
                }
            };
            if found.len() > ADDRESSES_MAX {
                return Err(rejection("too-many-addresses", format!("{} of one outage", found.len()), entry(id)));
            }
            if !found.is_empty() {
                affected.insert("addresses".to_owned(), found.into());
            }
        }
        if !affected.is_empty() {
            data.insert("affected".to_owned(), affected.into());
        }
        Ok(())
    }
}

fn addresses_of(addresses: &Addresses, item: &Value) -> Vec<Value> {
    let optional = |pointer: &str| if pointer.is_empty() { None } else { text(item, pointer) };
    let fias = addresses.fias.iter().find_map(|pointer| text(item, pointer)).map(|id| id.to_ascii_lowercase());
    let fias = fias.filter(|id| is_uuid(id));
    let texts = addresses.text.iter().filter_map(|pointer| text(item, pointer));
    let texts: Vec<String> = texts.take(if addresses.all { usize::MAX } else { 1 }).collect();
    let separator = Some(addresses.split.as_str()).filter(|separator| !separator.is_empty());
    let parts = texts.iter().flat_map(|text| match separator {
        Some(separator) => text.split(separator).map(str::trim).collect(),
        None => vec![text.as_str()],
    });
    let mut found: Vec<Value> = Vec::new();
    for part in parts.filter(|part| !part.is_empty()) {
        let mut text = part.to_owned();
        if let Some(detail) = optional(&addresses.detail) {
            text = format!("{text}, {detail}");
        }
        if let Some(within) = optional(&addresses.within) {
            text = format!("{text} ({within})");
        }
        let mut address = json!({ "text": shortened(&text, TEXT_CHARS) });
        if let (Some(fias), Some(address)) = (&fias, address.as_object_mut()) {
            address.insert("fias".to_owned(), fias.clone().into());
        }
        found.push(address);
    }
    if found.is_empty() {
        found.extend(fias.map(|fias| json!({ "fias": fias })));
        found.extend(optional(&addresses.within).map(|within| json!({ "text": shortened(&within, TEXT_CHARS) })));
    }
    found
}

/// A text or a number there, without blanks around it.
fn text(item: &Value, pointer: &str) -> Option<String> {
    match item.pointer(pointer)? {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
