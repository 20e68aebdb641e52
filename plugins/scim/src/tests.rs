use busbar_sdk::http::Response;
use busbar_sdk::memory::MapStore;
use busbar_sdk::{Draft, Failure, HookRequest};
use serde_json::{Value, json};

use crate::mapping::Kind;
use crate::poll::{self, Cursor, Page};
use crate::push;
use crate::settings::{Settings, Unit};

#[derive(Default, Clone)]
struct Map(MapStore);

impl Map {
    fn call(&mut self, method: &str, path: &str, body: &str) -> (u16, Value, Vec<Draft>) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = HookRequest {
            method: method.into(),
            path: path.into(),
            query: query.into(),
            headers: vec![],
            body: body.into(),
        };
        let mut drafts = Vec::new();
        let response = push::handle(&Settings::default(), &request, &mut self.0, &mut drafts);
        (response.status, serde_json::from_slice(&response.body).unwrap_or_default(), drafts)
    }

    fn page(&mut self, cursor: Cursor, status: u16, body: &Value) -> Result<Page, Failure> {
        let response = Response { status, headers: vec![], body: body.to_string().into_bytes() };
        poll::page(&Settings { unit: Unit::None, ..Settings::default() }, cursor, &response, &mut self.0)
    }
}

fn data(draft: &Draft) -> Value {
    serde_json::from_str(&draft.data).unwrap()
}

#[test]
fn the_life_of_a_user() {
    let mut store = Map::default();
    let (status, list, _) = store.call("GET", "/scim/v2/Users?filter=userName+eq+%22a.gromov%22", "");
    assert_eq!((status, list["totalResults"].as_u64()), (200, Some(0)));
    let body = r#"{"userName":"a.gromov","externalId":"E1","password":"secret","active":true,"id":"mine"}"#;
    let (status, user, stated) = store.call("POST", "/scim/v2/Users", body);
    let id = user["id"].as_str().unwrap().to_owned();
    assert_eq!((status, stated.len(), data(&stated[0])["login"].as_str()), (201, 1, Some("a.gromov")));
    assert!(user.get("password").is_none() && !format!("{:?}", store.0).contains("secret") && id != "mine");
    assert_eq!(store.call("POST", "/Users", body).0, 409);
    let path = format!("/v2/Users/{id}");
    let (_, list, _) = store.call("GET", "/Users?filter=externalId%20eq%20%22e1%22", "");
    assert_eq!(list["Resources"][0]["id"], id);
    assert_eq!(store.call("GET", &path, "").1["userName"], "a.gromov");
    let off = r#"{"Operations":[{"op":"Replace","path":"active","value":"False"}]}"#;
    let (status, _, off_stated) = store.call("PATCH", &path, off);
    assert_eq!((status, data(&off_stated[0])["status"].as_str()), (200, Some("suspended")));
    assert!(store.call("PATCH", &path, off).2.is_empty());
    let (_, _, on_stated) = store.call("PUT", &path, body);
    assert_eq!((data(&on_stated[0]), on_stated[0].id != stated[0].id), (data(&stated[0]), true));
    let (status, _, gone) = store.call("DELETE", &path, "");
    assert_eq!((status, data(&gone[0])), (204, json!({"employee": id, "status": "left"})));
    assert_eq!((store.call("DELETE", &path, "").0, store.call("GET", &path, "").0), (404, 404));
    let (status, again, stated) = store.call("POST", "/Users", body);
    assert_eq!((status, again["id"].as_str(), stated.len()), (201, Some(id.as_str()), 1));
}

#[test]
fn names_are_taken_and_given_up() {
    let mut store = Map::default();
    let id = |answer: (u16, Value, Vec<Draft>)| answer.1["id"].as_str().unwrap_or_default().to_owned();
    let a = id(store.call("POST", "/Users", r#"{"userName":"a"}"#));
    let b = id(store.call("POST", "/Users", r#"{"userName":"b"}"#));
    assert_eq!(store.call("PUT", &format!("/Users/{b}"), r#"{"userName":"A"}"#).0, 409);
    assert_eq!(store.call("PUT", &format!("/Users/{a}"), r#"{"userName":"c"}"#).0, 200);
    let new = store.call("POST", "/Users", r#"{"userName":"a"}"#);
    assert_eq!(new.0, 201);
    assert!(![a, b].contains(&id(new)));
}

#[test]
fn groups_are_units() {
    let mut store = Map::default();
    let (_, group, stated) = store.call("POST", "/Groups", r#"{"displayName":"Сбыт","members":[{"value":"1"}]}"#);
    let id = group["id"].as_str().unwrap();
    assert_eq!(data(&stated[0]), json!({"unit": id, "name": "Сбыт", "status": "active"}));
    let members = r#"{"Operations":[{"op":"remove","path":"members[value eq \"1\"]"},{"op":"add","path":"members","value":[{"value":"2"}]}]}"#;
    let (status, _, stated) = store.call("PATCH", &format!("/Groups/{id}"), members);
    assert_eq!((status, stated.len()), (200, 0));
    let closed = store.call("DELETE", &format!("/Groups/{id}"), "").2;
    assert_eq!(data(&closed[0]), json!({"unit": id, "name": "Сбыт", "status": "closed"}));
}

#[test]
fn what_is_refused() {
    let mut store = Map::default();
    let large = format!(r#"{{"userName":"a","title":"{}"}}"#, "x".repeat(62_000));
    for (method, path, body, status, kind) in [
        ("POST", "/Users", "{", 400, "invalidSyntax"),
        ("POST", "/Users", "[]", 400, "invalidSyntax"),
        ("POST", "/Users", "{}", 400, "invalidValue"),
        ("POST", "/Users", r#"{"schemas":["urn:x"],"userName":"a"}"#, 400, "invalidValue"),
        (
            "POST",
            "/Groups",
            r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"a"}"#,
            400,
            "invalidValue",
        ),
        ("POST", "/Users", large.as_str(), 413, ""),
        ("PUT", "/Users/none", r#"{"userName":"a"}"#, 404, ""),
        ("PATCH", "/Users/none", "{}", 404, ""),
        ("GET", "/Users?filter=(((", "", 400, "invalidFilter"),
        ("POST", "/Bulk", "{}", 501, ""),
        ("POST", "/Users/.search", "{}", 501, ""),
        ("GET", "/Schemas/urn:x", "", 404, ""),
        ("GET", "/Schemas?filter=id+pr", "", 403, ""),
        ("PUT", "/ResourceTypes", "", 405, ""),
        ("POST", "/Users", r#"{"userName":"a","active":"perhaps"}"#, 400, "invalidValue"),
        ("POST", "/Users/1", "", 405, ""),
        ("DELETE", "/", "", 404, ""),
    ] {
        let (found, error, stated) = store.call(method, path, body);
        let found_kind = error["scimType"].as_str().unwrap_or_default();
        assert_eq!((found, found_kind, stated.len()), (status, kind, 0), "{method} {path} {body:.60}");
        assert_eq!(error["status"].as_str(), Some(status.to_string().as_str()));
    }
}

fn list(total: u64, users: &[(&str, &str)]) -> Value {
    let resources: Vec<Value> = users
        .iter()
        .map(|(id, moment)| json!({"id": id, "userName": id, "displayName": id, "meta": {"lastModified": moment}}))
        .collect();
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": total, "Resources": resources})
}

fn url(cursor: &Cursor) -> String {
    url_of(Unit::None, cursor)
}

fn url_of(unit: Unit, cursor: &Cursor) -> String {
    let settings = Settings { base_url: "https://x/v2/".into(), unit, ..Settings::default() };
    poll::request(&settings, cursor).unwrap().url
}

#[test]
fn rounds_overlap_by_one() {
    let mut store = Map::default();
    let empty = list(0, &[]);
    let page = store
        .page(Cursor::default(), 200, &list(3, &[("a", "2026-01-01T00:00:00Z"), ("b", "2026-01-03T00:00:00Z")]))
        .unwrap();
    assert_eq!((page.drafts.len(), page.more), (2, true));
    assert_eq!(url(&page.cursor), "https://x/v2/Users?startIndex=3&count=50");
    let page = store.page(page.cursor, 200, &list(3, &[("c", "2026-01-02T00:00:00Z")])).unwrap();
    assert_eq!(
        (page.drafts.len(), page.more, url(&page.cursor).as_str()),
        (1, true, "https://x/v2/Groups?startIndex=1&count=50")
    );
    let page = store.page(page.cursor, 200, &empty).unwrap();
    assert!(!page.more);
    // Nothing was seen before the first round, so that all is read once more; from then on only what is new.
    assert_eq!(url(&page.cursor), "https://x/v2/Users?startIndex=1&count=50");
    let page = store.page(page.cursor, 200, &list(1, &[("a", "2026-01-04T00:00:00Z")])).unwrap();
    assert_eq!(page.drafts.len(), 0);
    let page = store.page(page.cursor, 200, &empty).unwrap();
    assert!(
        url(&page.cursor)
            .ends_with("Users?startIndex=1&count=50&filter=meta.lastModified+ge+%222026-01-03T00%3A00%3A00Z%22")
    );
    // Who comes into a group is not modified by that.
    assert!(url_of(Unit::Group, &page.cursor).ends_with("Users?startIndex=1&count=50"));
    let refused = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "400", "scimType": "invalidFilter"});
    let page = store.page(page.cursor, 400, &refused).unwrap();
    assert!(page.more && !url(&page.cursor).contains("filter"));
}

#[test]
fn a_polled_state_that_comes_back_is_stated_again() {
    let mut store = Map::default();
    let mut ids = std::collections::BTreeSet::new();
    for (name, news) in [("A", 1), ("A", 0), ("B", 1), ("A", 1), ("A", 0)] {
        let mut body = list(1, &[("x", "")]);
        body["Resources"][0]["displayName"] = json!(name);
        let page = store.page(Cursor::default(), 200, &body).unwrap();
        assert_eq!(page.drafts.len(), news);
        ids.extend(page.drafts.into_iter().map(|draft| draft.id));
    }
    assert_eq!(ids.len(), 3);
}

#[test]
fn what_a_server_may_answer_wrongly() {
    let many: Vec<(&str, &str)> = vec![("a", ""); 61];
    let group = json!({"schemas": [Kind::Group.schema()], "id": "1", "displayName": "x"});
    let mut strange = list(1, &[("a", "")]);
    strange["Resources"][0]["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:ResourceType"]);
    let mut nameless = list(1, &[("a", "")]);
    nameless["Resources"][0]["userName"] = json!("");
    let error = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "404"});
    for (body, code, place) in [
        (json!("x"), "not-scim", Some("body")),
        (group, "not-a-list", Some("/schemas")),
        (
            json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"]}),
            "not-a-list",
            Some("/totalResults"),
        ),
        (list(61, &many), "too-many-resources", Some("/Resources")),
        (list(1, &[]), "cut-list", Some("/totalResults")),
        (error, "refused", None),
    ] {
        let failure = Map::default().page(Cursor::default(), 200, &body).err();
        let Some(Failure::Rejected(rejection)) = failure else { panic!("{body}") };
        assert_eq!((rejection.code.as_str(), rejection.place.as_deref()), (code, place), "{body:.100}");
    }
    // One bad resource among good ones.
    for (bad, code, place) in [
        (strange["Resources"][0].clone(), "unexpected-resource", "User a/schemas"),
        (nameless["Resources"][0].clone(), "bad-resource", "User a/userName"),
        (json!({ "id": "", "userName": "a" }), "bad-resource", "/Resources/0/id"),
        (json!(7), "bad-resource", "/Resources/0"),
    ] {
        let mut body = list(2, &[("b", ""), ("c", "")]);
        body["Resources"][0] = bad;
        let page = Map::default().page(Cursor::default(), 200, &body).unwrap();
        assert_eq!((page.drafts.len(), page.left_out.len()), (1, 1), "{body}");
        assert_eq!((page.left_out[0].code.as_str(), page.left_out[0].place.as_deref()), (code, Some(place)));
    }
    let busy = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "503"});
    assert!(matches!(Map::default().page(Cursor::default(), 200, &busy), Err(Failure::Transient(_))));
}

/// Whatever the bytes: an answer.
#[test]
fn mutations_never_trap() {
    let mut store = Map::default();
    let user = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"a","emails":[{"value":"a@b","type":"work"}]}"#;
    let id = store.call("POST", "/Users", user).1["id"].as_str().unwrap().to_owned();
    let patch = r#"{"Operations":[{"op":"add","path":"emails[type eq \"work\" and (value pr)].value","value":"x@y"},{"op":"replace","value":{"name.givenName":"G"}}]}"#;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(store.call("PATCH", &format!("/Users/{id}"), &deep).0, 400);
    let page = list(1, &[("a", "2026-01-01T00:00:00Z")]).to_string();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..6_000 {
        let (method, path, seed) = match round % 3 {
            0 => ("POST", "/Users".to_owned(), user),
            1 => ("PATCH", format!("/Users/{id}"), patch),
            _ => ("", String::new(), page.as_str()),
        };
        let mut bytes = seed.as_bytes().to_vec();
        for _ in 0..2 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = random as usize % bytes.len();
            if random >> 60 == 0 {
                bytes.truncate(at.max(1));
            } else {
                bytes[at] = (random >> 32) as u8;
            }
        }
        let mut store = store.clone();
        if method.is_empty() {
            let response = Response { status: 200, headers: vec![], body: bytes };
            let _ = poll::page(&Settings::default(), Cursor::default(), &response, &mut store.0);
        } else {
            let request =
                HookRequest { method: method.into(), path, query: String::new(), headers: vec![], body: bytes };
            push::handle(&Settings::default(), &request, &mut store.0, &mut Vec::new());
        }
    }
}

/// What Entra and Okta send, and what must come back for them to read it (RFC 7643, 2.3).
#[test]
fn what_is_sent_comes_back_in_its_type() {
    const EXTENSION: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let mut store = Map::default();
    let body = json!({ "userName": "a", "active": "True", EXTENSION: { "manager": "boss" } }).to_string();
    let (status, user, _) = store.call("POST", "/Users", &body);
    assert_eq!(
        (status, &user["active"], &user[EXTENSION]),
        (201, &json!(true), &json!({ "manager": { "value": "boss" } }))
    );
    let path = format!("/Users/{}", user["id"].as_str().unwrap());
    let mut patch = |operation: Value| {
        let (status, body, drafts) = store.call("PATCH", &path, &json!({ "Operations": [operation] }).to_string());
        let kind = body["scimType"].as_str().unwrap_or_default().to_owned();
        (status, kind, body, drafts.first().map(data))
    };
    for (operation, pointer, expected) in [
        (json!({ "op": "Replace", "path": "active", "value": [{ "value": "False" }] }), "/active", json!(false)),
        (
            json!({ "op": "replace", "path": format!("{EXTENSION}.employeeNumber"), "value": "56789" }),
            "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/employeeNumber",
            json!("56789"),
        ),
        (
            json!({ "op": "Add", "path": "manager", "value": [{ "$ref": "x", "value": "b2" }] }),
            "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/manager",
            json!({ "$ref": "x", "value": "b2" }),
        ),
        (json!({ "op": "replace", "value": { "id": user["id"], "title": "t" } }), "/title", json!("t")),
        (
            json!({ "op": "add", "path": "roles[primary eq \"True\"].value", "value": "r" }),
            "/roles",
            json!([{ "primary": true, "value": "r" }]),
        ),
    ] {
        let (status, kind, body, _) = patch(operation.clone());
        assert_eq!((status, kind.as_str(), body.pointer(pointer)), (200, "", Some(&expected)), "{operation} {body}");
    }
    let gone = json!({ "op": "Replace", "path": format!("{EXTENSION}:manager"), "value": "" });
    assert_eq!(patch(gone).3.unwrap().get("manager"), None);
    for (operation, expected) in [
        (json!({ "op": "replace", "path": "salary", "value": "1" }), "invalidPath"),
        (json!({ "op": "replace", "path": "name.nick", "value": "1" }), "invalidPath"),
        (json!({ "op": "replace", "value": { "salary": "1" } }), "invalidPath"),
        (json!({ "op": "replace", "path": format!("{EXTENSION}:salary"), "value": "1" }), "invalidPath"),
        (json!({ "op": "replace", "path": "manager.displayName", "value": "1" }), "mutability"),
        (json!({ "op": "replace", "path": "id", "value": "other" }), "mutability"),
        (json!({ "op": "replace", "path": "active", "value": "perhaps" }), "invalidValue"),
    ] {
        assert_eq!(patch(operation.clone()).1, expected, "{operation}");
    }
}

#[test]
fn all_in_pages_and_as_much_as_is_wanted() {
    const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
    let mut store = Map::default();
    for name in ["a", "b", "c"] {
        let body =
            json!({ "userName": name, "title": "T", "emails": [{ "value": format!("{name}@x"), "type": "work" }] });
        assert_eq!(store.call("POST", "/Users", &body.to_string()).0, 201);
    }
    let mut list = |query: &str| {
        let (_, list, _) = store.call("GET", &format!("/Users?{query}"), "");
        (list["totalResults"].as_u64(), list["Resources"].as_array().map_or(0, Vec::len), list)
    };
    for (query, total, count) in [
        ("", 3, 3),
        ("startIndex=2&count=1", 3, 1),
        ("startIndex=9", 3, 0),
        ("count=0", 3, 0),
        ("filter=title+pr&count=2", 3, 2),
        (&format!("filter={USER}:userName+eq+%22A%22"), 1, 1),
        (&format!("filter={USER}:title+eq+%22T%22"), 3, 3),
        ("filter=emails.value+eq+%22b@x%22", 1, 1),
        ("filter=emails+co+%22c@%22", 1, 1),
        ("filter=id+eq+%22none%22", 0, 0),
        ("filter=userName+eq+%22none%22", 0, 0),
    ] {
        let (found, shown, _) = list(query);
        assert_eq!((found, shown), (Some(total), count), "{query}");
    }
    let keys = |list: Value| list["Resources"][0].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(list("attributes=userName").2), "id schemas userName");
    assert_eq!(keys(list(&format!("attributes={USER}:title,emails.type")).2), "emails id schemas title");
    assert_eq!(list("attributes=emails.type").2["Resources"][0]["emails"], json!([{ "type": "work" }]));
    assert_eq!(keys(list("excludedAttributes=meta,emails,title,id").2), "id schemas userName");
    assert_eq!(list("excludedAttributes=emails.value").2["Resources"][0]["emails"], json!([{ "type": "work" }]));
}

#[test]
fn what_the_server_is() {
    let mut store = Map::default();
    for (path, count) in [("/Schemas", 3), ("/ResourceTypes", 2)] {
        assert_eq!(store.call("GET", path, "").1["totalResults"], count);
    }
    let (_, schema, _) = store.call("GET", "/Schemas/urn:ietf:params:scim:schemas:core:2.0:User", "");
    assert_eq!(schema["attributes"][0]["name"], "userName");
    assert_eq!(store.call("GET", "/ResourceTypes/Group", "").1["endpoint"], "/Groups");
    assert_eq!(store.call("GET", "/ServiceProviderConfig", "").1["patch"]["supported"], true);
}
