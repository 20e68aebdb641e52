//! What an identity provider calls (RFC 7644, 3): users and groups are made, replaced, changed, deleted and looked for.

use busbar_sdk::encoding::without_bom;
use busbar_sdk::memory::Store;
use busbar_sdk::{Draft, Header, HookRequest, HookResponse, ids};
use serde_json::{Map, Value, json};

use crate::filter::{Filter, plain_path};
use crate::list::{self, Query};
use crate::mapping::{self as resource, Kind, text};
use crate::memory;
use crate::patch::{self, Refusal};
use crate::schema;
use crate::settings::Settings;

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
    let mut headers = Vec::new();
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
    let mut head = |name: &str, value: &str| headers.push(Header { name: name.to_owned(), value: value.to_owned() });
    if body.is_some() {
        head("content-type", "application/scim+json");
    }
    if status == 405 {
        head("allow", allowed(&path_of(request)));
    }
    if let (201, Some(location)) = (status, body.as_ref().and_then(|body| body.pointer("/meta/location")?.as_str())) {
        head("location", location);
    }
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    HookResponse { status, headers, body }
}

struct Push<'a, S: Store> {
    settings: &'a Settings,
    store: &'a mut S,
    drafts: &'a mut Vec<Draft>,
}

impl<S: Store> Push<'_, S> {
    fn route(&mut self, request: &HookRequest) -> Answer {
        let path = path_of(request);
        let query = Query::of(&request.query);
        let kind = match path.first() {
            Some(&"Users") => Kind::User,
            Some(&"Groups") => Kind::Group,
            Some(&("ServiceProviderConfig" | "Schemas" | "ResourceTypes")) => return self.discovery(request, &path),
            Some(&("Bulk" | "Me" | ".search")) => return not_offered("Bulk, Me and .search are not offered"),
            _ => return Err(Problem(404, "", "there are Users, Groups, Schemas, ResourceTypes".to_owned())),
        };
        let body = match (request.method.as_str(), path.get(1), path.len()) {
            ("POST", Some(&".search"), 2) => return not_offered(".search is not offered"),
            ("GET", None, _) => return self.search(kind, &query),
            ("POST", None, _) => (201, self.create(kind, request)?),
            ("GET", Some(id), 2) => {
                let resource = self.known(kind, id)?;
                (200, self.shown(kind, id, &resource))
            }
            ("PUT", Some(id), 2) => {
                let before = self.known(kind, id)?;
                let resource = self.body(kind, request)?;
                (200, self.keep(kind, id, Some(before), resource)?)
            }
            ("PATCH", Some(id), 2) => {
                let before = self.known(kind, id)?;
                let mut resource = before.clone();
                patch::apply(kind, id, &mut resource, &parse(&request.body)?)?;
                (200, self.keep(kind, id, Some(before), resource)?)
            }
            ("DELETE", Some(id), 2) => return self.delete(kind, id),
            _ => return Err(Problem(405, "", format!("{} is not offered here", request.method))),
        };
        let (status, body) = body;
        Ok((status, Some(Value::Object(query.projection.of(kind, body)))))
    }

    /// What this server is (RFC 7644, 4).
    fn discovery(&self, request: &HookRequest, path: &[&str]) -> Answer {
        if request.method != "GET" {
            return Err(Problem(405, "", format!("{} is not offered here", request.method)));
        }
        // Filters are refused there by the standard, lest somebody took a part for the whole.
        if Query::of(&request.query).filter.is_some() {
            return Err(Problem(403, "", "there is no filter here".to_owned()));
        }
        let mut all = match path.first() {
            Some(&"Schemas") => schema::schemas(),
            Some(&"ResourceTypes") => schema::resource_types(),
            _ => vec![schema::provider(list::RESULTS_MAX)],
        };
        for one in &mut all {
            let id = one.get("id").and_then(Value::as_str).map(|id| format!("/{id}")).unwrap_or_default();
            if let (Some(location), Some(meta)) = (
                self.location(&format!("{}{id}", path.first().unwrap_or(&""))),
                one.get_mut("meta").and_then(Value::as_object_mut),
            ) {
                meta.insert("location".to_owned(), json!(location));
            }
        }
        match (path, path.len()) {
            (["ServiceProviderConfig"], _) => Ok((200, all.pop())),
            ([_], _) => Ok((200, Some(list_of(all.len(), 1, all)))),
            ([_, id], _) => {
                let found = all.into_iter().find(|one| one.get("id").and_then(Value::as_str) == Some(*id));
                found.map(|one| (200, Some(one))).ok_or_else(|| Problem(404, "", "there is none of this id".to_owned()))
            }
            _ => Err(Problem(404, "", "there is no such place".to_owned())),
        }
    }

    fn create(&mut self, kind: Kind, request: &HookRequest) -> Result<Map<String, Value>, Problem> {
        let resource = self.body(kind, request)?;
        let name = text(&resource, kind.name_attribute()).unwrap_or_default().to_lowercase();
        // The first number that is free: a user who was renamed keeps the id of the old name.
        let id = (0..100_u32)
            .map(|number| ids::derived(&["scim-id", kind.endpoint(), &name, &number.to_string()]))
            .find(|id| memory::load(self.store, kind, id).is_none_or(|known| known.resource.is_none()));
        let Some(id) = id else { return Err(Problem(409, "uniqueness", "the name was used too often".to_owned())) };
        self.keep(kind, &id, None, resource)
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
        list::note(self.store, kind, id, false);
        Ok((204, None))
    }

    /// By name what providers ask before they make somebody; else all, or those that a filter matches.
    fn search(&mut self, kind: Kind, query: &Query) -> Answer {
        let bad = || Problem(400, "invalidFilter", "a filter that cannot be read".to_owned());
        let filter = query.filter.as_deref().map(|text| Filter::parse(text).ok_or_else(bad)).transpose()?;
        let by_name = filter.as_ref().and_then(Filter::as_equality).and_then(|(path, value)| {
            let path = plain_path(kind, path);
            let name =
                INDEXED.iter().find(|name| path.len() == 1 && path.iter().all(|p| p.eq_ignore_ascii_case(name)))?;
            Some((*name, value.as_str()?)).filter(|(name, _)| indexes(kind, name))
        });
        let ids = match by_name {
            Some((attribute, value)) => memory::find(self.store, kind, attribute, value).into_iter().collect(),
            None => list::all(self.store, kind),
        };
        if filter.is_some() && ids.len() > list::COMPARED_MAX {
            let detail = "too many to compare them all: filter by userName, displayName (of groups) or externalId eq";
            return Err(Problem(400, "tooMany", detail.to_owned()));
        }
        let mut found = Vec::new();
        let mut total = 0;
        for id in &ids {
            let is_of_page = total + 1 >= query.start && found.len() < query.count;
            if filter.is_none() && !is_of_page {
                total += 1;
                continue;
            }
            let Some(resource) = memory::load(self.store, kind, id).and_then(|known| known.resource) else { continue };
            let shown = self.shown(kind, id, &resource);
            if filter.as_ref().is_none_or(|filter| filter.matches(kind, &shown)) {
                total += 1;
                if is_of_page {
                    found.push(Value::Object(query.projection.of(kind, shown)));
                }
            }
        }
        Ok((200, Some(list_of(total, query.start, found))))
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
    ) -> Result<Map<String, Value>, Problem> {
        schema::typed(kind, &mut resource).map_err(|detail| Problem(400, "invalidValue", detail))?;
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
        if !list::note(self.store, kind, id, true) {
            return Err(Problem(507, "", format!("more {} than can be remembered", kind.endpoint())));
        }
        let shown = self.shown(kind, id, &resource);
        self.drafts.extend(memory::note(self.store, kind, id, &data, Some(resource), ""));
        Ok(shown)
    }

    fn shown(&self, kind: Kind, id: &str, resource: &Map<String, Value>) -> Map<String, Value> {
        let mut shown = resource.clone();
        let mut schemas = vec![kind.schema()];
        schemas.extend(resource.keys().map(String::as_str).filter(|key| key.get(..4) == Some("urn:")));
        let mut meta = json!({ "resourceType": kind.resource_type() });
        if let Some(location) = self.location(&format!("{}/{id}", kind.endpoint())) {
            meta["location"] = json!(location);
        }
        for (name, value) in [("schemas", json!(schemas)), ("id", json!(id)), ("meta", meta)] {
            shown.insert(name.to_owned(), value);
        }
        shown
    }

    fn location(&self, path: &str) -> Option<String> {
        let base = self.settings.public_url.trim_end_matches('/');
        (!base.is_empty()).then(|| format!("{base}/{path}"))
    }
}

fn path_of(request: &HookRequest) -> Vec<&str> {
    let path = request.path.split('/').filter(|part| !part.is_empty());
    path.skip_while(|part| part.eq_ignore_ascii_case("scim") || part.eq_ignore_ascii_case("v2")).collect()
}

fn allowed(path: &[&str]) -> &'static str {
    match path {
        ["Users" | "Groups"] => "GET, POST",
        ["Users" | "Groups", ..] => "GET, PUT, PATCH, DELETE",
        _ => "GET",
    }
}

fn list_of(total: usize, start: usize, resources: Vec<Value>) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

fn not_offered(detail: &str) -> Answer {
    Err(Problem(501, "", detail.to_owned()))
}

fn parse(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(without_bom(body))
        .map_err(|error| Problem(400, "invalidSyntax", format!("no JSON: {error}")))
}

/// A display name is a group's name; of users there may be many of the same.
fn indexes(kind: Kind, attribute: &str) -> bool {
    attribute == kind.name_attribute() || attribute == "externalId"
}

fn indexed(kind: Kind, resource: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let value = |name: &&'static str| Some((*name, text(resource, name)?.to_lowercase()));
    INDEXED.iter().filter(|name| indexes(kind, name)).filter_map(value).collect()
}
