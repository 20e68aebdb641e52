//! What an identity provider calls (RFC 7644, 3): users and groups are made, replaced, changed, deleted and looked for.

use busbar_sdk::{Draft, Header, HookRequest, HookResponse, ids};
use serde_json::{Map, Value, json};

use crate::filter::Filter;
use crate::mapping::{self as resource, Kind, get, text};
use crate::memory;
use crate::patch::{self, Refusal};
use crate::settings::Settings;
use busbar_sdk::Store;

/// Bytes of a resource that is remembered; the host's limit for one value is 64 KiB.
const RESOURCE_BYTES_MAX: usize = 60 * 1024;
/// Not remembered: secrets, pictures, what only the server itself says, and members, of which there may be thousands and
/// which no message carries.
const DROPPED: [&str; 8] = ["password", "photos", "x509Certificates", "id", "meta", "groups", "members", "schemas"];
/// By what a resource is looked for.
const INDEXED: [&str; 3] = ["userName", "displayName", "externalId"];

/// An answer that is an error.
struct Problem(u16, &'static str, String);

impl From<Refusal> for Problem {
    fn from(Refusal(kind, detail): Refusal) -> Self {
        Problem(400, kind, detail)
    }
}

type Answer = Result<(u16, Option<Value>), Problem>;

/// Answers a request. `drafts` is what it states.
pub fn handle(
    settings: &Settings,
    request: &HookRequest,
    store: &mut impl Store,
    drafts: &mut Vec<Draft>,
) -> HookResponse {
    let mut push = Push { settings, store, drafts };
    let (status, body) = match push.route(request) {
        Ok(answer) => answer,
        Err(Problem(status, kind, detail)) => {
            let mut error = json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
                "status": status.to_string(),
                "detail": detail,
            });
            if let (false, Some(error)) = (kind.is_empty(), error.as_object_mut()) {
                error.insert("scimType".to_owned(), json!(kind));
            }
            (status, Some(error))
        }
    };
    let headers = vec![Header { name: "content-type".to_owned(), value: "application/scim+json".to_owned() }];
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    HookResponse { status, headers: if body.is_empty() { Vec::new() } else { headers }, body }
}

struct Push<'a, S: Store> {
    settings: &'a Settings,
    store: &'a mut S,
    drafts: &'a mut Vec<Draft>,
}

impl<S: Store> Push<'_, S> {
    fn route(&mut self, request: &HookRequest) -> Answer {
        let mut path: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
        while path.first().is_some_and(|part| part.eq_ignore_ascii_case("scim") || part.eq_ignore_ascii_case("v2")) {
            path.remove(0);
        }
        let kind = match path.first() {
            Some(&"Users") => Kind::User,
            Some(&"Groups") => Kind::Group,
            Some(&"ServiceProviderConfig") if request.method == "GET" => return Ok((200, Some(provider()))),
            Some(&("Bulk" | "Me" | ".search")) => return not_offered("Bulk, Me and .search are not offered"),
            _ => return Err(Problem(404, "", "there are Users, Groups and ServiceProviderConfig".to_owned())),
        };
        match (request.method.as_str(), path.get(1), path.len()) {
            ("POST", Some(&".search"), 2) => not_offered(".search is not offered"),
            ("POST", None, _) => self.create(kind, request),
            ("GET", None, _) => self.search(kind, &request.query),
            ("GET", Some(id), 2) => {
                let resource = self.known(kind, id)?;
                Ok((200, Some(self.shown(kind, id, &resource))))
            }
            ("PUT", Some(id), 2) => {
                let before = self.known(kind, id)?;
                let resource = self.body(kind, request)?;
                self.keep(kind, id, Some(before), resource).map(|body| (200, Some(body)))
            }
            ("PATCH", Some(id), 2) => {
                let before = self.known(kind, id)?;
                let mut resource = before.clone();
                patch::apply(&mut resource, &parse(&request.body)?)?;
                self.keep(kind, id, Some(before), resource).map(|body| (200, Some(body)))
            }
            ("DELETE", Some(id), 2) => self.delete(kind, id),
            _ => Err(Problem(405, "", format!("{} is not offered here", request.method))),
        }
    }

    fn create(&mut self, kind: Kind, request: &HookRequest) -> Answer {
        let resource = self.body(kind, request)?;
        let name = text(&resource, kind.name_attribute()).unwrap_or_default().to_lowercase();
        // The first number that is free: a user who was renamed keeps the id of the old name.
        let id = (0..100_u32)
            .map(|number| ids::derived(&["scim-id", kind.endpoint(), &name, &number.to_string()]))
            .find(|id| memory::load(self.store, kind, id).is_none_or(|known| known.resource.is_none()));
        let Some(id) = id else { return Err(Problem(409, "uniqueness", "the name was used too often".to_owned())) };
        self.keep(kind, &id, None, resource).map(|body| (201, Some(body)))
    }

    fn delete(&mut self, kind: Kind, id: &str) -> Answer {
        let before = self.known(kind, id)?;
        let data = match kind {
            Kind::User => json!({ "employee": id, "status": "left" }),
            Kind::Group => {
                let name: String = text(&before, "displayName").unwrap_or(id).chars().take(300).collect();
                json!({ "unit": id, "name": name, "status": "closed" })
            }
        };
        let data = data.as_object().cloned().unwrap_or_default();
        self.drafts.extend(memory::note(self.store, kind, id, &data, None, ""));
        for (attribute, value) in indexed(kind, &before) {
            memory::forget(self.store, kind, attribute, &value);
        }
        Ok((204, None))
    }

    /// `userName eq "…"` and the like: what providers ask before they make somebody.
    fn search(&mut self, kind: Kind, query: &str) -> Answer {
        let filter =
            form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "filter").map(|(_, value)| value);
        let Some(filter) = filter else {
            return Err(Problem(
                400,
                "tooMany",
                "only one resource at a time is looked for: filter by its name".to_owned(),
            ));
        };
        let filter = Filter::parse(&filter);
        let equality = filter.as_ref().and_then(Filter::as_equality);
        let wanted = equality.and_then(|(name, value)| {
            let name = INDEXED.iter().find(|indexed| indexed.eq_ignore_ascii_case(name))?;
            Some((*name, value.as_str()?))
        });
        let Some((attribute, value)) = wanted.filter(|(name, _)| indexes(kind, name)) else {
            let detail = "the filter is userName, displayName (of groups) or externalId eq \"…\"";
            return Err(Problem(400, "invalidFilter", detail.to_owned()));
        };
        let id = memory::find(self.store, kind, attribute, value);
        let found = id.and_then(|id| Some((memory::load(self.store, kind, &id)?.resource?, id)));
        let same = |resource: &Map<String, Value>| {
            text(resource, attribute).is_some_and(|text| text.to_lowercase() == value.to_lowercase())
        };
        let resources: Vec<Value> = found
            .into_iter()
            .filter(|(resource, _)| same(resource))
            .map(|(resource, id)| self.shown(kind, &id, &resource))
            .collect();
        let list = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": resources.len(),
            "startIndex": 1,
            "itemsPerPage": resources.len(),
            "Resources": resources,
        });
        Ok((200, Some(list)))
    }

    fn known(&mut self, kind: Kind, id: &str) -> Result<Map<String, Value>, Problem> {
        let found = memory::load(self.store, kind, id).and_then(|known| known.resource);
        found.ok_or_else(|| Problem(404, "", format!("no {} of this id", kind.resource_type())))
    }

    fn body(&self, kind: Kind, request: &HookRequest) -> Result<Map<String, Value>, Problem> {
        let Value::Object(body) = parse(&request.body)? else {
            return Err(Problem(400, "invalidSyntax", "a resource is an object".to_owned()));
        };
        match resource::kind(&body, kind, "") {
            Ok(said) if said == kind => Ok(body),
            Ok(_) => Err(Problem(400, "invalidValue", "the resource is of the other endpoint".to_owned())),
            Err(rejection) => Err(Problem(400, "invalidValue", rejection.reason)),
        }
    }

    /// Checks a resource, states it where that is news, and remembers it.
    fn keep(
        &mut self,
        kind: Kind,
        id: &str,
        before: Option<Map<String, Value>>,
        mut resource: Map<String, Value>,
    ) -> Result<Value, Problem> {
        resource.retain(|name, value| !value.is_null() && !DROPPED.iter().any(|drop| drop.eq_ignore_ascii_case(name)));
        let data = resource::data(self.settings, kind, id, &resource, "")
            .map_err(|rejection| Problem(400, "invalidValue", rejection.reason))?;
        if Value::Object(resource.clone()).to_string().len() > RESOURCE_BYTES_MAX {
            return Err(Problem(413, "", format!("the resource is larger than {RESOURCE_BYTES_MAX} bytes")));
        }
        let before = before.map(|before| indexed(kind, &before)).unwrap_or_default();
        let after = indexed(kind, &resource);
        for (attribute, value) in &after {
            let other = memory::find(self.store, kind, attribute, value).filter(|other| other != id);
            let taken =
                other.is_some_and(|other| memory::load(self.store, kind, &other).is_some_and(|o| o.resource.is_some()));
            if taken && *attribute == kind.name_attribute() {
                return Err(Problem(409, "uniqueness", format!("there is a {} of this name", kind.resource_type())));
            }
        }
        for (attribute, value) in before.iter().filter(|old| !after.contains(old)) {
            memory::forget(self.store, kind, attribute, value);
        }
        for (attribute, value) in after.iter().filter(|new| !before.contains(new)) {
            memory::index(self.store, kind, attribute, value, id);
        }
        let shown = self.shown(kind, id, &resource);
        self.drafts.extend(memory::note(self.store, kind, id, &data, Some(resource), ""));
        Ok(shown)
    }

    fn shown(&self, kind: Kind, id: &str, resource: &Map<String, Value>) -> Value {
        let mut shown = resource.clone();
        let mut schemas = vec![kind.schema()];
        schemas.extend(get(resource, resource::ENTERPRISE).map(|_| resource::ENTERPRISE));
        let mut meta = json!({ "resourceType": kind.resource_type() });
        if let (false, Some(meta)) = (self.settings.public_url.is_empty(), meta.as_object_mut()) {
            let base = self.settings.public_url.trim_end_matches('/');
            meta.insert("location".to_owned(), json!(format!("{base}/{}/{id}", kind.endpoint())));
        }
        for (name, value) in [("schemas", json!(schemas)), ("id", json!(id)), ("meta", meta)] {
            shown.insert(name.to_owned(), value);
        }
        Value::Object(shown)
    }
}

fn not_offered(detail: &str) -> Answer {
    Err(Problem(501, "", detail.to_owned()))
}

fn parse(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem(400, "invalidSyntax", format!("no JSON: {error}")))
}

/// A display name is a group's name; of users there may be many of the same.
fn indexes(kind: Kind, attribute: &str) -> bool {
    attribute == kind.name_attribute() || attribute == "externalId"
}

fn indexed(kind: Kind, resource: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let value = |name: &&'static str| Some((*name, text(resource, name)?.to_lowercase()));
    INDEXED.iter().filter(|name| indexes(kind, name)).filter_map(value).collect()
}

/// RFC 7643, 5.
fn provider() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": 1 },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": false },
        "authenticationSchemes": [],
    })
}
