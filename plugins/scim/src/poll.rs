//! Reading a server page by page: the request, and what its answer becomes. Pure.

use busbar_sdk::http::{Authorization, Request, Response};
use busbar_sdk::replies::{Outcome, failure_of, outcome_of_status};
use busbar_sdk::{Draft, Failure, Header, Rejection, rejected, rejection};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::mapping::{self as resource, Kind, get};
use crate::memory;
use crate::settings::Settings;
use busbar_sdk::Store;

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
    users_seen: Seen,
    groups_seen: Seen,
}

/// Latest `meta.lastModified` of a kind. Asked for is what changed since the round before the last: what changes while a
/// round is read is later than anything seen before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Seen {
    since: String,
    latest: String,
    now: String,
}

impl Seen {
    fn see(&mut self, moment: &str) {
        if moment.ends_with('Z') && moment > self.now.as_str() {
            self.now = moment.to_owned();
        }
    }

    fn end_round(&mut self) {
        self.since = std::mem::take(&mut self.latest);
        let now = std::mem::take(&mut self.now);
        self.latest = if now > self.since { now } else { self.since.clone() };
    }
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

    fn seen(&mut self) -> &mut Seen {
        if self.groups { &mut self.groups_seen } else { &mut self.users_seen }
    }

    fn since<'a>(&'a self, settings: &Settings) -> Option<&'a str> {
        let seen = if self.groups { &self.groups_seen } else { &self.users_seen };
        Some(seen.since.as_str()).filter(|since| settings.filter && !self.unfiltered && !since.is_empty())
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
pub struct Page {
    pub drafts: Vec<Draft>,
    pub cursor: Cursor,
    pub more: bool,
}

/// # Errors
/// A refusal of the server by its status; `not-scim`, `not-a-list`, `too-many-resources`, `unexpected-resource`,
/// `bad-resource` with its place in the answer.
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
        return Ok(Page { drafts: Vec::new(), cursor, more: true });
    }
    let outcome = outcome_of_status(response.status);
    if outcome != Outcome::Ok {
        return Err(failure_of(outcome, response, &what));
    }
    let body: Value = serde_json::from_slice(&response.body)
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
    let mut drafts = Vec::new();
    for (index, resource) in resources.iter().enumerate() {
        let place = format!("/Resources/{index}");
        let Some(resource) = resource.as_object() else {
            return Err(rejected("bad-resource", "a resource that is no object", place));
        };
        let kind = resource::kind(resource, cursor.kind(), &place)?;
        let id = resource::text(resource, "id").unwrap_or_default();
        let data = resource::data(settings, kind, id, resource, &place)?;
        if let Some(moment) = resource::last_modified(resource) {
            cursor.seen().see(moment);
        }
        drafts.extend(memory::note(store, kind, id, &data, None, &place));
    }
    let count = u64::try_from(resources.len()).unwrap_or(u64::MAX);
    cursor.read = cursor.read.saturating_add(count);
    let more = advance(settings, &mut cursor, total, count);
    Ok(Page { drafts, cursor, more })
}

/// Whether there is more to read in this round.
fn advance(settings: &Settings, cursor: &mut Cursor, total: u64, count: u64) -> bool {
    if count > 0 && cursor.read < total {
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
