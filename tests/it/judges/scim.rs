//! SCIM 2.0 in both directions. Pushes by scim2-tester: what it finds when it discovers, creates, reads, replaces, changes and
//! removes users and groups with values that it throws itself. Reading of a scim2-server that scim2-client fills and changes.

use super::{Dice, Judge, report};
use crate::hub::{Hub, wait_for};
use crate::peers::{Peer, data};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const DIRECTORY: &str = r#"
[systems.directory]
adapter = "scim"
hook = { open = true }
[systems.directory.limits]
concurrency = 1
[systems.directory.grants]
emit = ["employee.changed.v1", "unit.changed.v1"]
state = true
clock = true
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_finds_the_server_that_it_expects() {
    let hub = Hub::start(DIRECTORY);
    let url = format!("{}/hooks/directory", hub.url);
    let Some(checks) = Judge::Python.ask(&["scim", &url], Vec::new()).await else { return };
    let fine =
        |check: &&Value| ["SUCCESS", "COMPLIANT", "ACCEPTABLE", "SKIPPED"].map(Value::from).contains(&check["status"]);
    let differences: Vec<String> = checks.iter().filter(|check| !fine(check)).map(Value::to_string).collect();
    let skipped = checks.iter().filter(|check| check["status"] == "SKIPPED");
    skipped.for_each(|check| println!("skipped by scim2-tester: {} {}", check["title"], check["reason"]));
    let done = checks.iter().filter(|check| fine(check) && check["status"] != "SKIPPED").count();
    assert!(done > 100, "{done} checks of {}", checks.len());
    report("SCIM 2.0, pushes", "PyPI scim2-tester 0.5.2", done, &differences);
}

const USERS: usize = 70;
const GROUPS: usize = 6;
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// The server, what it holds by the README of scim, and the hub that reads it.
struct Scene {
    server: Peer,
    port: u16,
    dice: Dice,
    users: Vec<Value>,
    groups: Vec<Value>,
    /// Resources that were made up.
    made: usize,
    /// Of each resource by its id what must be stated.
    expected: BTreeMap<String, Value>,
}

impl Scene {
    fn start(dice: Dice) -> Option<Self> {
        let port = crate::servers::free_port();
        let mut command = Judge::Python.command(&["people", &port.to_string(), "token-of"])?;
        let server = Peer::start(&mut command);
        let (users, groups, expected) = (Vec::new(), Vec::new(), BTreeMap::new());
        Some(Self { server, port, dice, users, groups, made: 0, expected })
    }

    fn toml(&self, unit: &str, page: u64) -> String {
        let url = format!("http://127.0.0.1:{}", self.port);
        format!(
            r#"
[systems.directory]
adapter = "scim"
poll = {{ every-ms = 100 }}
credentials = {{ word = {{ file = "secrets/scim" }} }}
[systems.directory.config]
base-url = "{url}/v2"
bearer = "word"
page-size = {page}
unit = "{unit}"
[systems.directory.grants]
http = ["{url}"]
private-addresses = ["127.0.0.1"]
credentials = ["word"]
emit = ["employee.changed.v1", "unit.changed.v1"]
state = true
"#
        )
    }

    /// What the server holds after it.
    fn told(&mut self, command: &str, kind: &str, resource: &Value) -> Value {
        self.server.say(&json!([command, kind, resource]).to_string());
        serde_json::from_str(&self.server.heard()).unwrap()
    }

    fn user(&mut self) -> Value {
        self.made += 1;
        let (number, dice) = (self.made, &mut self.dice);
        let mut user =
            json!({ "userName": format!("{}{number}", dice.of(&["o.ilina", "Щёголев ", "a+b@energo.example/"])) });
        if !dice.one_in(3) {
            user["displayName"] =
                format!("{} {number}", dice.of(&["Ильина, Ольга", "\"Юг\" \\ <опт>", "O'Neil\u{a0}A"])).into();
        }
        if dice.one_in(2) {
            user["name"] = json!({ "familyName": "Громов", "givenName": dice.of(&["Андрей", "Ёж"]) });
        }
        if dice.one_in(2) {
            user["title"] = dice.of(&["Оператор", "Head; of \"grid\"", "Инженер\n1 категории"]).into();
        }
        if !dice.one_in(3) {
            user["active"] = dice.one_in(2).into();
        }
        let mails = ["work", "home", "other"]
            .map(|kind| json!({ "type": kind, "value": format!("{kind}{number}@energo.example") }));
        user["emails"] = mails.into_iter().filter(|_| dice.one_in(2)).collect();
        let phones = [("fax", "+7 495 5550100"), ("work", "tel:+7-495-555-01-01;ext=17"), ("mobile", "+7 900 5550102")];
        let phones = phones.map(|(kind, value)| json!({ "type": kind, "value": value }));
        user["phoneNumbers"] = phones.into_iter().filter(|_| dice.one_in(2)).collect();
        let mut enterprise =
            json!({ "department": dice.of(&["Сбыт", "Сети", "ИТ"]), "employeeNumber": format!("{number:06}") });
        if !self.users.is_empty() && dice.one_in(2) {
            let manager = dice.below(self.users.len() as u64) as usize;
            let id = self.users[manager]["id"].as_str().unwrap();
            enterprise["manager"] = json!({ "value": id, "$ref": format!("Users/{id}") });
        }
        user[ENTERPRISE] = enterprise;
        user["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE]);
        user
    }

    fn group(&mut self) -> Value {
        self.made += 1;
        let members: Vec<Value> =
            self.users.iter().filter(|_| self.dice.one_in(5)).map(|user| json!({ "value": user["id"] })).collect();
        json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": format!("{} {}", self.dice.of(&["Отдел сбыта", "IT & grid"]), self.made), "members": members })
    }

    fn fill(&mut self) {
        for _ in 0..USERS {
            let user = self.user();
            let made = self.told("create", "User", &user);
            self.users.push(made);
        }
        for _ in 0..GROUPS {
            let group = self.group();
            let made = self.told("create", "Group", &group);
            self.groups.push(made);
        }
    }

    /// A user, or a group, becomes another one.
    fn replace(&mut self, kind: &str, number: usize) {
        let old = if kind == "User" { &self.users[number] } else { &self.groups[number] };
        let id = old["id"].clone();
        let mut new = if kind == "User" { self.user() } else { self.group() };
        new["id"] = id;
        let made = self.told("replace", kind, &new);
        if kind == "User" { self.users[number] = made } else { self.groups[number] = made }
    }

    /// What must be stated now of everybody, as scim2-client reads it from the server.
    fn expect(&mut self, unit: &str) {
        for (kind, ids) in [("User", ids(&self.users)), ("Group", ids(&self.groups))] {
            for id in ids {
                let held = self.told("read", kind, &id);
                let data = if kind == "User" { employee(&held, unit) } else { group(&held) };
                self.expected.insert(id.as_str().unwrap().to_string(), data);
            }
        }
    }

    async fn agrees(&mut self, hub: &Hub, differences: &mut Vec<String>) {
        let (mut count, mut found) = (0, BTreeMap::new());
        // What is not there by then is a difference.
        for _ in 0..100 {
            (count, found) = latest(hub, count).await.unwrap_or((count, found));
            found.iter_mut().for_each(|(id, data)| moment_passed_over(data, self.expected.get(id)));
            if found == self.expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let keys = found.keys().chain(self.expected.keys()).collect::<std::collections::BTreeSet<_>>();
        let differ = keys.into_iter().filter(|id| found.get(*id) != self.expected.get(*id));
        differences
            .extend(differ.map(|id| format!("{id}: found {:?}, held {:?}", found.get(id), self.expected.get(id))));
    }
}

/// A later moment alone is no news; an earlier one was never held.
fn moment_passed_over(found: &mut Value, held: Option<&Value>) {
    let moment = |data: &Value| data["changedAt"].as_str().unwrap().to_string();
    if let Some(held) = held.filter(|held| moment(found) < moment(held)) {
        found["changedAt"] = held["changedAt"].clone();
    }
}

fn ids(resources: &[Value]) -> Vec<Value> {
    resources.iter().map(|resource| resource["id"].clone()).collect()
}

/// By the README: of several values the one at work; not at home, no fax, no pager.
fn employee(user: &Value, unit: &str) -> Value {
    let text = |value: &Value| value.as_str().map(String::from);
    let of = |list: &str, kinds: &[&str]| {
        let all = || user[list].as_array().into_iter().flatten();
        kinds.iter().find_map(|kind| all().find(|one| one["type"] == *kind)).and_then(|one| text(&one["value"]))
    };
    let phone = of("phoneNumbers", &["work", "mobile"]);
    let is_at_work = phone.as_deref().is_some_and(|phone| phone.starts_with("tel:"));
    let number = phone.map(|_| if is_at_work { "+74955550101" } else { "+79005550102" });
    let name = [&user["name"]["familyName"], &user["name"]["givenName"]].map(text);
    let name = text(&user["displayName"]).or_else(|| Some([name[0].clone()?, name[1].clone()?].join(" ")));
    let direct: Vec<&Value> =
        user["groups"].as_array().into_iter().flatten().filter(|group| group["type"] == "direct").collect();
    let unit = match (unit, &direct[..]) {
        ("group", [only]) => text(&only["value"]),
        ("group", _) => None,
        _ => text(&user[ENTERPRISE]["department"]),
    };
    let status = if user["active"] == false { "suspended" } else { "active" };
    let fields = [
        ("employee", text(&user["id"])),
        ("status", Some(status.into())),
        ("login", text(&user["userName"])),
        ("name", name),
        ("position", text(&user["title"])),
        ("personnelNumber", text(&user[ENTERPRISE]["employeeNumber"])),
        ("manager", text(&user[ENTERPRISE]["manager"]["value"])),
        ("unit", unit),
        ("email", of("emails", &["work", "other"])),
        ("phone", number.map(String::from)),
        ("extension", is_at_work.then(|| "17".into())),
        ("changedAt", text(&user["meta"]["lastModified"])),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?.trim().into())));
    Value::Object(fields.collect::<Map<_, Value>>())
}

fn group(group: &Value) -> Value {
    json!({ "unit": group["id"], "name": group["displayName"], "status": "active", "changedAt": group["meta"]["lastModified"] })
}

/// What was stated of each resource last, where there is more than before.
async fn latest(hub: &Hub, known: usize) -> Option<(usize, BTreeMap<String, Value>)> {
    let messages = hub.messages("source=/test/directory").await;
    let mut found = BTreeMap::new();
    for message in messages.iter().rev().filter(|_| messages.len() > known) {
        found.insert(message["subject"].as_str().unwrap().to_string(), data(hub, message).await);
    }
    (messages.len() > known).then_some((messages.len(), found))
}

async fn judged(unit: &str) {
    let dice = Dice::thrown(&format!("scim {unit}"));
    let Some(mut scene) = Scene::start(dice) else { return };
    scene.fill();
    let page = 1 + scene.dice.below(60);
    let toml = scene.toml(unit, page);
    let hub = Hub::prepared(&toml, |folder| std::fs::write(folder.join("secrets/scim"), "token-of").unwrap());
    let mut differences = Vec::new();
    scene.expect(unit);
    scene.agrees(&hub, &mut differences).await;
    let mut cases = USERS + GROUPS;
    for _ in 0..3 {
        // Who is deleted is not listed any more: the last statement stands.
        let number = scene.dice.below(scene.users.len() as u64) as usize;
        let gone = scene.users.remove(number);
        scene.told("delete", "User", &gone["id"]);
        for _ in 0..8 {
            let number = scene.dice.below(scene.users.len() as u64) as usize;
            scene.replace("User", number);
        }
        // Who comes into a group, or goes, is not modified: only the group is.
        let number = scene.dice.below(GROUPS as u64) as usize;
        scene.replace("Group", number);
        scene.expect(unit);
        scene.agrees(&hub, &mut differences).await;
        cases += USERS + GROUPS;
    }
    let polls = wait_for("intakes", async || Some(hub.intakes("system=directory&outcome=refused").await)).await;
    differences.extend(polls.iter().map(|intake| format!("refused: {intake}")));
    differences.truncate(10);
    report(
        &format!("SCIM 2.0, read, unit = {unit}"),
        "PyPI scim2-server 0.8.3, scim2-client 0.13.2",
        cases,
        &differences,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_read_with_the_groups_of_users() {
    judged("group").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_read_with_the_departments_of_users() {
    judged("department").await;
}
