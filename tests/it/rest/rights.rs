//! What a key may state and ask, and who did.

use super::STRUCTURED;
use crate::hub::{Answer, Hub, payment};
use busbar_server::rest::key_digest;
use serde_json::{Value, json};

const CRM: &str = "key-of-the-crm";
const PORTAL: &str = "key-of-the-portal";

/// Billing answers one question; the CRM and the portal have keys of their own.
fn hub() -> Hub {
    let key = |name: &str, key: &str, rest: &str| {
        format!("[[http.keys]]\nname = \"{name}\"\nsha256 = \"{}\"\n{rest}\n", key_digest(key))
    };
    let crm = r#"
rights = ["publish", "ask", "read"]
sources = ["/crm", "/crm/*", "/test/partner"]
types = ["payment.received.*", "invoice.*"]
questions = ["account.lookup.v1"]"#;
    let portal = r#"
rights = ["publish"]
sources = ["*"]
types = ["payment.received.v1"]"#;
    let systems = r#"
[systems.bank]
adapter = "hostile"
[systems.partner]
via = "http"
url = "http://127.0.0.1:9"
"#;
    Hub::start(&[&key("crm", CRM, crm), &key("portal", PORTAL, portal), systems].concat())
}

async fn send(hub: &Hub, key: &str, path: &str, event: &Value) -> Answer {
    let request = hub.client.post(format!("{}{path}", hub.url)).bearer_auth(key);
    hub.send(request.header("content-type", STRUCTURED).body(event.to_string())).await
}

fn of(source: &str, id: &str) -> Value {
    let mut event = payment(id, "100", "1.00");
    event["source"] = source.into();
    event
}

#[tokio::test]
async fn a_key_states_only_its_own() {
    let hub = hub();
    for (n, (key, source, place)) in [
        (CRM, "/crm", ""),
        (CRM, "/crm/moscow", ""),
        (CRM, "/test/partner", ""),
        (CRM, "/crmx", "source"),
        (CRM, "https://bank.example", "source"),
        (CRM, "/test/bank", "source"),
        (PORTAL, "https://bank.example", ""),
        (PORTAL, "/test/bank", "source"),
        (PORTAL, "/test/partner", "source"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = send(&hub, key, "/v1/messages", &of(source, &format!("m{n}"))).await;
        match place {
            "" => assert_eq!(answer.status, 202, "{source}: {answer:?}"),
            place => assert_eq!(answer.problem(403, "forbidden"), place, "{source}"),
        }
    }
    let mut event = of("https://bank.example", "t1");
    event["type"] = "payment.rejected.v1".into();
    assert_eq!(send(&hub, PORTAL, "/v1/messages", &event).await.problem(403, "forbidden"), "type");
    let stated = hub.messages("source=/crm").await;
    assert_eq!(hub.trace(&stated[0]["seq"]).await["stated-by"], "key:crm");
    let refused = hub.intakes("system=portal").await;
    assert!(refused.len() == 3 && refused.iter().all(|i| i["stated-by"] == "key:portal"), "{refused:?}");
}

/// One of a batch is enough for all to be refused, and the place says which.
#[tokio::test]
async fn a_batch_holds_nothing_of_anothers() {
    let hub = hub();
    let request = hub.client.post(format!("{}/v1/messages", hub.url)).bearer_auth(CRM);
    let batch = json!([of("/crm", "b1"), of("/bank", "b2")]).to_string();
    let answer = hub.send(request.header("content-type", super::BATCHED).body(batch)).await;
    assert_eq!((answer.problem(403, "forbidden"), &answer.body["index"]), ("source".to_string(), &json!(1)));
    assert!(hub.messages("").await.is_empty());
}

#[tokio::test]
async fn a_key_asks_only_its_own_questions_and_it_is_kept_who_asked() {
    let hub = hub();
    let question = |source: &str, kind: &str| json!({ "specversion": "1.0", "id": "q", "source": source, "type": kind, "data": { "account": "77" } });
    let ask = async |key, event: &Value| send(&hub, key, "/v1/questions", event).await;
    ask(CRM, &question("/crm", "account.lookup.v1")).await.problem(404, "no-answerer");
    assert_eq!(ask(CRM, &question("/bank", "account.lookup.v1")).await.problem(403, "forbidden"), "source");
    assert_eq!(ask(CRM, &question("/crm", "document.status.lookup.v1")).await.problem(403, "forbidden"), "type");
    ask(PORTAL, &question("/crm", "account.lookup.v1")).await.problem(403, "forbidden");
    assert!(hub.intakes("system=crm").await.iter().all(|i| i["stated-by"] == "key:crm"));
}
