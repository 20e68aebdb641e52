//! Which resources there are, and which of them a request wants, and how much of each (RFC 7644, 3.4.2, 3.9).

use busbar_sdk::ids;
use busbar_sdk::memory::Store;
use serde_json::{Map, Value};

use crate::filter::plain_path;
use crate::mapping::{Kind, get};

/// Values of the state that hold the ids.
const SHARDS: u64 = 32;
const SHARD_BYTES_MAX: usize = 64 << 10;
/// Resources of one answer.
pub const RESULTS_MAX: usize = 100;
/// Resources that a filter may be compared with.
pub const COMPARED_MAX: usize = 1_000;

fn key(kind: Kind, shard: u64) -> String {
    format!("{}-all-{shard:02}", kind.endpoint().to_lowercase())
}

fn shard(store: &mut impl Store, kind: Kind, shard: u64) -> Vec<String> {
    let bytes = store.get(&key(kind, shard)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}

/// The ids of all, in order.
pub fn all(store: &mut impl Store, kind: Kind) -> Vec<String> {
    let mut all: Vec<String> = (0..SHARDS).flat_map(|number| shard(store, kind, number)).collect();
    all.sort();
    all
}

/// Writes down that a resource is there, or is not any more; `false` where there are too many.
pub fn note(store: &mut impl Store, kind: Kind, id: &str, is_there: bool) -> bool {
    let number = ids::derived_number(&[id], SHARDS);
    let mut ids = shard(store, kind, number);
    let was_there = ids.iter().any(|other| other == id);
    if was_there == is_there {
        return true;
    }
    if is_there {
        ids.push(id.to_owned());
    } else {
        ids.retain(|other| other != id);
    }
    let value = ids.join("\n").into_bytes();
    let fits = value.len() <= SHARD_BYTES_MAX;
    if fits {
        store.set(&key(kind, number), value);
    }
    fits
}

/// What a query asks for.
#[derive(Default)]
pub struct Query {
    pub filter: Option<String>,
    /// From 1.
    pub start: usize,
    pub count: usize,
    pub projection: Projection,
}

impl Query {
    pub fn of(query: &str) -> Self {
        let mut wanted = Self { start: 1, count: RESULTS_MAX, ..Self::default() };
        let names =
            |value: &str| value.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            // What is no number is as if it was not there; less than 1 or 0 is that (3.4.2.4).
            let number = value.parse::<i64>().ok();
            match name.to_ascii_lowercase().as_str() {
                "filter" => wanted.filter = Some(value.into_owned()),
                "startindex" => wanted.start = number.map_or(1, |n| usize::try_from(n).unwrap_or(1).max(1)),
                "count" => {
                    wanted.count = number.map_or(RESULTS_MAX, |n| usize::try_from(n).unwrap_or(0).min(RESULTS_MAX))
                }
                "attributes" => wanted.projection.only = names(&value),
                "excludedattributes" => wanted.projection.without = names(&value),
                _ => {}
            }
        }
        wanted
    }
}

/// `attributes` and `excludedAttributes` (3.9); `schemas` and `id` are always there.
#[derive(Default)]
pub struct Projection {
    only: Vec<String>,
    without: Vec<String>,
}

impl Projection {
    pub fn of(&self, kind: Kind, resource: Map<String, Value>) -> Map<String, Value> {
        if self.only.is_empty() {
            let mut resource = resource;
            for path in &self.without {
                remove(&mut resource, &plain_path(kind, path));
            }
            return resource;
        }
        let mut shown = Map::new();
        for (name, value) in &resource {
            if is_always(name) {
                shown.insert(name.clone(), value.clone());
            }
        }
        for path in &self.only {
            copy(&resource, &mut shown, &plain_path(kind, path));
        }
        shown
    }
}

fn is_always(name: &str) -> bool {
    matches!(name, "id" | "schemas")
}

fn remove(object: &mut Map<String, Value>, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    let Some(key) = object.keys().find(|key| key.eq_ignore_ascii_case(first)).cloned() else { return };
    match (rest.is_empty(), object.get_mut(&key)) {
        (true, _) if !is_always(&key) => drop(object.remove(&key)),
        (false, Some(Value::Object(inner))) => remove(inner, rest),
        (false, Some(Value::Array(values))) => {
            values.iter_mut().filter_map(Value::as_object_mut).for_each(|inner| remove(inner, rest));
        }
        _ => {}
    }
}

fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    let Some(value) = get(from, first) else { return };
    let Some(key) = from.keys().find(|key| key.eq_ignore_ascii_case(first)) else { return };
    match value {
        Value::Object(inner) if !rest.is_empty() => {
            let mut kept = to.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
            copy(inner, &mut kept, rest);
            if !kept.is_empty() {
                to.insert(key.clone(), Value::Object(kept));
            }
        }
        Value::Array(values) if !rest.is_empty() => {
            let mut kept: Vec<Value> = to.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
            kept.resize(values.len(), Value::Object(Map::new()));
            for (value, kept) in values.iter().zip(&mut kept) {
                if let (Some(inner), Some(kept)) = (value.as_object(), kept.as_object_mut()) {
                    copy(inner, kept, rest);
                }
            }
            to.insert(key.clone(), Value::Array(kept));
        }
        value => drop(to.insert(key.clone(), value.clone())),
    }
}
