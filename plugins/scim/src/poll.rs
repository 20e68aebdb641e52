//! Reading a server page by page: the request, and what its answer becomes. Pure.

use busbar_sdk::encoding::without_bom;
use busbar_sdk::http::{Authorization, Request, Response};
use busbar_sdk::memory::{Progress, Store};
use busbar_sdk::replies::{Outcome, failure_of, outcome_of_status};
use busbar_sdk::{Draft, Failure, Header, Rejection, rejected, rejection};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::mapping::{self as resource, Kind, get};
use crate::memory;
use crate::settings::{Settings, Unit};

/// Resources of one answer: each may be a write of the state, of which the host allows 64.
const RESOURCES_MAX: usize = 60;

/// Where the reading stands. A round reads all pages of users, then of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cursor {
    groups: bool,
    /// Resources of this kind read in this round.
    read: u64,
    /// The server refuses filters: everything is read each time.
    unfiltered: bool,
    /// By `meta.lastModified`.
    users_seen: Progress,
    groups_seen: Progress,
}

impl Cursor {
    /// # Errors
    /// `bad-cursor`: another adapter left it.
    pub fn of(bytes: Option<Vec<u8>>) -> Result<Self, Rejection> {
        let Some(bytes) = bytes else { return Ok(Self::default()) };
        serde_json::from_slice(&bytes)
            .map_err(|_| rejection("bad-cursor", "the cursor kept from the last poll is not this adapter's", ""))
    }

    fn kind(&self) -> Kind {
        if self.groups { Kind::Group } else { Kind::User }
    }

    fn seen(&mut self) -> &mut Progress {
        if self.groups { &mut self.groups_seen } else { &mut self.users_seen }
    }

    fn since<'a>(&'a self, settings: &Settings) -> Option<&'a str> {
        let seen = if self.groups { &self.groups_seen } else { &self.users_seen };
        // Who comes into a group, or is left by one that is deleted, is not modified by that (RFC 7643, 4.1.2).
        let tells = self.groups || settings.unit != Unit::Group;
        Some(seen.since.as_str()).filter(|since| settings.filter && tells && !self.unfiltered && !since.is_empty())
    }
}

/// # Errors
/// `not-configured` without a `base-url`.
pub fn request(settings: &Settings, cursor: &Cursor) -> Result<Request, Failure> {
    if settings.base_url.is_empty() {
        return Err(rejected("not-configured", "the settings have no `base-url`", "config"));
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("startIndex", &(cursor.read + 1).to_string());
    query.append_pair("count", &settings.page_size.to_string());
    if let Some(since) = cursor.since(settings) {
        query.append_pair("filter", &format!("meta.lastModified ge \"{since}\""));
    }
    let base = settings.base_url.trim_end_matches('/');
    let authorization = match (settings.bearer.as_str(), settings.basic.as_str()) {
        ("", "") => None,
        ("", basic) => Some(Authorization::Basic(basic.to_owned())),
        (bearer, _) => Some(Authorization::Bearer(bearer.to_owned())),
    };
    Ok(Request {
        method: "GET".to_owned(),
        url: format!("{base}/{}?{}", cursor.kind().endpoint(), query.finish()),
        headers: vec![Header {
            name: "accept".to_owned(),
            value: "application/scim+json, application/json".to_owned(),
        }],
        body: Vec::new(),
        authorization,
        timeout_ms: None,
    })
}

/// What an answer says.
#[derive(Default)]
pub struct Page {
    pub drafts: Vec<Draft>,
    /// Resources that are none as they stand, while the others are.
    pub left_out: Vec<Rejection>,
    pub cursor: Cursor,
    pub more: bool,
}

/// # Errors
/// A refusal of the server by its status; `not-scim`, `not-a-list`, `cut-list`, `too-many-resources` with its place in
/// the answer.
pub fn page(
    settings: &Settings,
    mut cursor: Cursor,
    response: &Response,
    store: &mut impl Store,
) -> Result<Page, Failure> {
    let what = format!("GET {}", cursor.kind().endpoint());
    if matches!(response.status, 400 | 501) && cursor.since(settings).is_some() {
        cursor.unfiltered = true;
        cursor.read = 0;
        return Ok(Page { cursor, more: true, ..Page::default() });
    }
    let outcome = outcome_of_status(response.status);
    if outcome != Outcome::Ok {
        return Err(failure_of(outcome, response, &what));
    }
    let body: Value = serde_json::from_slice(without_bom(&response.body))
        .map_err(|error| rejected("not-scim", format!("{what} answered no JSON: {error}"), "body"))?;
    let body = body.as_object().ok_or_else(|| rejected("not-scim", format!("{what} answered no object"), "body"))?;
    check_schema(body, &what, response)?;
    let total = get(body, "totalResults").and_then(Value::as_u64);
    let total = total.ok_or_else(|| rejected("not-a-list", "a list without totalResults", "/totalResults"))?;
    let empty = Vec::new();
    let resources = get(body, "Resources").and_then(Value::as_array).unwrap_or(&empty);
    if resources.len() > RESOURCES_MAX {
        let reason = format!("{} resources at once: the server does not keep to `count`", resources.len());
        return Err(rejected("too-many-resources", reason, "/Resources"));
    }
    let (mut drafts, mut left_out) = (Vec::new(), Vec::new());
    for (index, resource) in resources.iter().enumerate() {
        match one(settings, &cursor, resource, &format!("/Resources/{index}")) {
            Ok((kind, id, data)) => {
                let moment = resource.as_object().and_then(resource::last_modified);
                if let Some(moment) = moment.filter(|moment| moment.ends_with('Z')) {
                    cursor.seen().see(moment);
                }
                drafts.extend(memory::note(store, kind, &id, &data, None, &format!("/Resources/{index}")));
            }
            Err(entry) => left_out.push(entry),
        }
    }
    let count = u64::try_from(resources.len()).unwrap_or(u64::MAX);
    cursor.read = cursor.read.saturating_add(count);
    // The end of a round is not reached where something was kept back: it would never be asked for again.
    if count == 0 && cursor.read < total {
        let reason = format!("{what}: totalResults is {total}, and after {} there is nothing", cursor.read);
        return Err(rejected("cut-list", reason, "/totalResults"));
    }
    let more = advance(settings, &mut cursor, total);
    Ok(Page { drafts, left_out, cursor, more })
}

/// Its kind, id and data. A resource that is none is named by its id, as its number changes with the others.
fn one(
    settings: &Settings,
    cursor: &Cursor,
    resource: &Value,
    place: &str,
) -> Result<(Kind, String, Map<String, Value>), Rejection> {
    let object = resource.as_object();
    let object = object.ok_or_else(|| rejection("bad-resource", "a resource that is no object", place))?;
    let id = resource::text(object, "id").unwrap_or_default();
    let place = match id.chars().count() {
        1..=64 => format!("{} {id}", cursor.kind().resource_type()),
        _ => place.to_owned(),
    };
    let kind = resource::kind(object, cursor.kind(), &place)?;
    let data = resource::data(settings, kind, id, object, &place)?;
    Ok((kind, id.to_owned(), data))
}

/// Whether there is more to read in this round.
fn advance(settings: &Settings, cursor: &mut Cursor, total: u64) -> bool {
    if cursor.read < total {
        return true;
    }
    cursor.seen().end_round();
    cursor.read = 0;
    cursor.groups = !cursor.groups && settings.groups;
    cursor.groups
}

/// An error may come with status 200 through a gateway; a resource or a bulk answer is no list.
fn check_schema(body: &Map<String, Value>, what: &str, response: &Response) -> Result<(), Failure> {
    let schemas = get(body, "schemas").and_then(Value::as_array);
    let ends = |end: &str| {
        let mut schemas = schemas.into_iter().flatten().filter_map(Value::as_str);
        schemas.any(|schema| schema.to_ascii_lowercase().ends_with(end))
    };
    if ends(":error") {
        let status = get(body, "status");
        let status =
            status.and_then(|status| status.as_str().and_then(|text| text.parse().ok()).or_else(|| status.as_u64()));
        let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(response.status);
        let outcome = match outcome_of_status(status) {
            Outcome::Ok => Outcome::Rejected,
            outcome => outcome,
        };
        return Err(failure_of(outcome, &Response { status, ..response.clone() }, what));
    }
    if !ends(":listresponse") {
        return Err(rejected("not-a-list", format!("{what} answered no ListResponse"), "/schemas"));
    }
    Ok(())
}
