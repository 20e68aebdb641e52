//! What the people on duty go by: failures by cause, searches by time, pauses that hold, and who decided what.

use crate::hub::{Answer, Hub, OFFICER, OPERATOR, READER, Standin, binary, payment, wait_for};
use crate::servers;
use serde_json::{Value, json};
use std::process::{Command, Output};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Billing that answers with the status that stands in the purpose; `0`: with none, until the time is over.
async fn billing() -> Standin {
    Standin::slow(|seen, _| {
        let purpose = serde_json::from_str::<Value>(&seen.body).unwrap()["purpose"].as_str().unwrap().to_string();
        let status: u16 = purpose.parse().unwrap();
        let wait = std::time::Duration::from_secs(if status == 0 { 3 } else { 0 });
        (if status == 0 { 200 } else { status }, r#"{"error":"Pelageya"}"#.into(), wait)
    })
    .await
}

fn toml(url: &str, store: &str) -> String {
    format!(
        "{store}[systems.billing]\nadapter = \"rest-json\"\n[systems.billing.config]\nbase-url = \"{url}\"\n\
         [systems.billing.config.deliver.\"payment.received.v1\"]\npath = \"/payments\"\n[systems.billing.grants]\n\
         http = [\"{url}\"]\nprivate-addresses = [\"127.0.0.1\"]\n[systems.billing.limits]\nhttp-timeout-ms = 300\n\
         [systems.billing.policy]\nattempts = 1\n[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"billing\"]\n"
    )
}

fn stated(id: &str, status: u16) -> Value {
    let mut event = payment(id, &format!("account-{id}"), "10.00");
    event["data"]["purpose"] = status.to_string().into();
    event
}

async fn act(hub: &Hub, path: &str) -> Answer {
    hub.send(hub.client.post(format!("{}{path}", hub.url)).bearer_auth(OPERATOR)).await
}

fn busbar(hub: &Hub, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).env("BUSBAR_URL", &hub.url).env("BUSBAR_KEY", OPERATOR).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn groups(hub: &Hub, key: &str) -> Vec<Value> {
    hub.get(key, "/v1/failures").await.body["failures"].as_array().unwrap().clone()
}

fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap()
}

#[tokio::test]
async fn failures_are_grouped_by_what_the_far_end_said() {
    let standin = billing().await;
    let hub = Hub::start(&toml(&standin.url, ""));
    for (id, status) in [("1", 409), ("2", 422), ("3", 422), ("4", 422), ("5", 0), ("6", 200), ("7", 409)] {
        hub.publish(&stated(id, status)).await;
    }
    let total = |groups: &[Value]| groups.iter().map(|group| group["total"].as_u64().unwrap()).sum::<u64>();
    let found = wait_for("all to fail", async || {
        let found = groups(&hub, OFFICER).await;
        (total(&found) == 6).then_some(found)
    })
    .await;
    let told: Vec<_> = found.iter().map(|g| (g["answer"].as_str().unwrap(), g["total"].as_u64().unwrap())).collect();
    assert_eq!(told, [("422", 3), ("409", 2), ("no-answer", 1)], "{found:#?}");
    assert_eq!((&found[2]["code"], &found[2]["class"]), (&json!("transient"), &json!("retry")));
    assert_eq!((&found[0]["class"], &found[0]["deliveries"]), (&json!("reject"), &json!({ "parked": 3 })));
    // A group is named by its cause, in lists and operations; a person's words about it are kept.
    let cause = found[0]["cause"].as_str().unwrap();
    let listed = hub.get(OFFICER, &format!("/v1/deliveries?cause={cause}")).await.body;
    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 3);
    assert_eq!(listed["deliveries"][0]["error"]["answer"], "422");
    hub.get(OFFICER, "/v1/deliveries?cause=1").await.problem(400, "invalid-event");
    let long = "x".repeat(1_001);
    let refused = act(&hub, &format!("/v1/deliveries/skip?cause={cause}&comment={long}")).await;
    assert_eq!(refused.problem(413, "too-large"), "comment");
    let skipped = act(&hub, &format!("/v1/deliveries/skip?cause={cause}&comment=a+double")).await.body;
    assert_eq!(skipped["done"], 3, "{skipped}");
    assert_eq!(groups(&hub, OFFICER).await.len(), 2);
    // Without the right nobody sees what an adapter said, and why somebody decided.
    let masked = groups(&hub, READER).await;
    assert_eq!((&masked[0]["answer"], &masked[0]["total"]), (&json!("409"), &json!(2)));
    let audit = async |key| hub.get(key, "/v1/audit?deed=skip").await.body["audit"].as_array().unwrap().clone();
    let (officer, reader) = (audit(OFFICER).await, audit(READER).await);
    assert_eq!((officer.len(), reader.len()), (3, 3));
    assert_eq!((&officer[0]["comment"], &reader[0]["comment"]), (&json!("a double"), &json!("***")));
    assert_eq!((&officer[0]["by"], &officer[0]["state-now"]), (&json!("operator"), &json!("skipped")));
    counted(&hub).await;
    let shown = text(&busbar(&hub, &["failures"]));
    assert!(shown.contains("answered 409") && shown.contains("no-answer") && !shown.contains("422"), "{shown}");
}

/// Seven payments: one delivered, six parked, of which three were skipped.
async fn counted(hub: &Hub) {
    let counted = hub.get(READER, "/v1/statistics?by=all").await.body["statistics"].clone();
    assert_eq!((&counted[0]["received"], counted[0].get("system")), (&json!(7), None), "{counted}");
    let (system, kind) = ("billing", "payment.received.v1");
    let billing = json!({ "system": system, "type": kind, "received": 0, "bytes": 0, "done": 1, "parked": 6, "dead": 0, "skipped": 3 });
    assert_eq!(counted[1], billing);
    let table = busbar(hub, &["stats", "--by", "hour", "--csv", "--system", "billing"]);
    assert!(text(&table).lines().nth(1).unwrap().ends_with(",billing,payment.received.v1,0,0,1,6,0,3"), "{table:?}");
    let asked = format!("{}/v1/statistics?format=csv&by=all&system=billing", hub.url);
    let csv = hub.client.get(asked).bearer_auth(READER).send().await.unwrap().text().await.unwrap();
    assert!(csv.ends_with("\r\n,billing,payment.received.v1,0,0,1,6,0,3\r\n"), "{csv}");
    hub.get(READER, "/v1/statistics?by=week").await.problem(400, "invalid-event");
}

#[tokio::test]
async fn what_failed_or_came_since_a_time_is_found() {
    let standin = billing().await;
    let hub = Hub::start(&toml(&standin.url, ""));
    hub.publish(&stated("before", 422)).await;
    let failing = async || hub.get(OFFICER, "/v1/deliveries").await.body["deliveries"].as_array().unwrap().len();
    wait_for("the first to fail", async || (failing().await == 1).then_some(())).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let between = now();
    hub.publish(&stated("after", 422)).await;
    wait_for("the second to fail", async || (failing().await == 2).then_some(())).await;
    let ids = async |query: &str| {
        let found = hub.messages(query).await;
        found.iter().map(|message| message["id"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let between = between.replace('+', "%2B");
    assert_eq!(ids(&format!("since={between}")).await, ["after"]);
    assert_eq!(ids(&format!("until={between}")).await, ["before"]);
    assert_eq!(ids(&format!("since={between}&system=billing&state=parked")).await, ["after"]);
    assert_eq!(ids("until=2001-01-01T00:00:00Z").await, [""; 0]);
    let since = hub.get(OFFICER, &format!("/v1/deliveries?since={between}")).await.body;
    assert_eq!(since["deliveries"].as_array().unwrap().len(), 1);
    let with_text = async |query: &str| {
        let found = hub.get(OFFICER, &format!("/v1/messages?text=account-bef{query}")).await.body;
        (found["messages"].as_array().unwrap().len(), found["next"].clone())
    };
    assert_eq!(with_text("").await, (1, Value::Null));
    assert_eq!(with_text(&format!("&since={between}&system=billing")).await, (0, Value::Null));
    hub.get(READER, "/v1/messages?text=account-bef").await.problem(403, "forbidden");
    hub.get(OFFICER, "/v1/messages?since=18:00").await.problem(400, "invalid-event");
    assert!(text(&busbar(&hub, &["messages", "--since", "1h"])).contains("before"));
    let wrong = busbar(&hub, &["messages", "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2));
}

/// At every hub of a store, and after every start, until somebody resumes it.
#[tokio::test]
async fn a_pause_holds_for_all_hubs_and_over_restarts() {
    let standin = billing().await;
    let database = tokio::task::spawn_blocking(servers::database).await.unwrap();
    let toml = toml(&standin.url, &format!("[store]\nurl = \"{database}\"\n"));
    let (mut first, second) = (Hub::start(&toml), Hub::start(&toml));
    assert!(busbar(&first, &["pause", "billing", "--comment", "new version"]).status.success());
    let paused = async |hub: &Hub| {
        let systems = hub.get(OPERATOR, "/v1/systems").await.body;
        (systems[0]["paused"] == true).then(|| systems[0]["pause"].clone())
    };
    let pause = wait_for("the other hub to hear of it", async || paused(&second).await).await;
    assert_eq!((&pause["by"], &pause["comment"]), (&json!("operator"), &json!("new version")));
    second.publish(&stated("1", 200)).await;
    first.publish(&stated("2", 200)).await;
    first.restart();
    first.publish(&stated("3", 200)).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(standin.seen().len(), 0);
    // A second pause changes nothing of the first, and is kept as a decision as well.
    assert_eq!(act(&second, "/v1/systems/billing/pause?comment=me+too").await.status, 204);
    assert_eq!(paused(&first).await.unwrap()["comment"], "new version");
    assert!(text(&busbar(&first, &["systems"])).contains("paused by operator"));
    assert!(busbar(&second, &["resume", "billing"]).status.success());
    wait_for("all to be delivered", async || (standin.seen().len() == 3).then_some(())).await;
    let audit = text(&busbar(&first, &["audit", "--system", "billing"]));
    let deeds: Vec<_> = audit.lines().map(|line| line.split_whitespace().nth(3).unwrap().to_string()).collect();
    assert_eq!(deeds, ["resume", "pause", "pause"], "{audit}");
}

/// Also from the first moment of a start on, and when its system was left out of the deployment meanwhile.
#[tokio::test]
async fn a_pause_holds_what_waits_at_a_start() {
    let standin = billing().await;
    let toml = toml(&standin.url, "");
    let mut hub = Hub::start(&toml);
    assert_eq!(act(&hub, "/v1/systems/billing/pause").await.status, 204);
    for n in 0..20 {
        hub.publish(&stated(&n.to_string(), 200)).await;
    }
    let file = hub.folder.path().join("busbar.toml");
    let whole = std::fs::read_to_string(&file).unwrap();
    let without =
        whole.replace("[systems.billing", "[systems.elsewhere").replace("to = [\"billing\"]", "to = [\"elsewhere\"]");
    let resume = "/v1/systems/billing/resume";
    for content in [&whole, &without, &whole] {
        std::fs::write(&file, content).unwrap();
        hub.restart();
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        assert_eq!(standin.seen().len(), 0);
    }
    std::fs::write(&file, &without).unwrap();
    hub.restart();
    act(&hub, "/v1/systems/nobody/resume").await.problem(404, "not-found");
    assert_eq!(act(&hub, resume).await.status, 204);
    act(&hub, resume).await.problem(404, "not-found");
    std::fs::write(&file, &whole).unwrap();
    hub.restart();
    wait_for("all to be delivered", async || (standin.seen().len() == 20).then_some(())).await;
}

#[tokio::test]
async fn the_audit_is_a_chain_that_tells_what_was_changed() {
    let standin = billing().await;
    let database = tokio::task::spawn_blocking(servers::database).await.unwrap();
    let hub = Hub::start(&toml(&standin.url, &format!("[store]\nurl = \"{database}\"\n")));
    for act in ["pause", "resume", "pause"] {
        assert!(busbar(&hub, &[act, "billing"]).status.success());
    }
    let folder = hub.folder.path().display().to_string();
    let verify = || busbar(&hub, &["--json", "audit", "verify", &folder]);
    let whole: Value = serde_json::from_str(&text(&verify())).unwrap();
    let last = hub.get(OFFICER, "/v1/audit?limit=1").await.body["audit"][0].clone();
    assert_eq!((&whole["entries"], &whole["hash"]), (&json!(3), &last["hash"]));
    for (change, back, said) in [
        ("by_whom = 'nobody'", "by_whom = 'operator'", "columns of entry 2"),
        (
            "record = replace(record, 'resume', 'pause')",
            "record = replace(record, '\"pause\"', '\"resume\"')",
            "entry 2 was changed",
        ),
        ("seq = 7", "seq = 2", "entry 2 is missing"),
    ] {
        let set = |what: &str, at: i64| servers::psql(&database, &format!("UPDATE audit SET {what} WHERE seq = {at}"));
        set(change, 2);
        let output = verify();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(said), "{told}");
        set(back, if change.starts_with("seq") { 7 } else { 2 });
        assert!(verify().status.success(), "{}", String::from_utf8_lossy(&verify().stderr));
    }
}
