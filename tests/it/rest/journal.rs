//! Looking into the journal: filters, pages, what is hidden from whom, and questions.

use crate::hub::{Hub, OFFICER, PUBLISHER, READER, Standin, TOKEN, payment, wait_for};
use busbar_standins::billing::{self, Options};
use serde_json::{Value, json};

/// Billing behind `rest-json`, at this address.
fn billing(url: &str) -> String {
    format!(
        r#"
[systems.billing]
adapter = "rest-json"
[systems.billing.credentials]
token = {{ file = "secrets/token" }}
[systems.billing.config]
base-url = "{url}/api"
authorization = {{ kind = "bearer", credential = "token" }}
[systems.billing.config.deliver."payment.received.v1"]
path = "/payments"
body = '{{reference: .id, account: .data.account, amount: .data.amount.value, currency: .data.amount.currency, note: .data.purpose}}'
[systems.billing.config.answer."account.lookup.v1"]
request = {{ path = "/accounts/{{.data.account}}", statuses = {{ 404 = "ok" }} }}
type = "account.lookup.answer.v1"
data = 'if .status == 404 then {{account: .question.data.account, found: false}} else {{account: .body.number, found: true, customer: {{name: .body.holder}}}} end'
[systems.billing.policy]
attempts = 1
[systems.billing.grants]
http = ["{url}"]
private-addresses = ["127.0.0.1"]
credentials = ["token"]
[[routes]]
types = ["payment.received.v1"]
to = ["billing"]
when = "data.amount.value != '0.00'"
[[routes]]
types = ["account.lookup.v1"]
to = ["billing"]
"#
    )
}

async fn with_billing() -> (Hub, billing::Billing) {
    let accounts =
        [("0042".to_string(), billing::Account { holder: "Pelageya Ozernaya".into(), ..Default::default() })];
    let options = Options { token: TOKEN.into(), accounts: Some(accounts.into()), ..Options::default() };
    let standin = billing::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    (Hub::start(&billing(&format!("http://{}", standin.addr()))), standin)
}

fn question(account: &str) -> String {
    json!({
        "specversion": "1.0", "id": "q-1", "source": "/test/desk", "type": "account.lookup.v1",
        "subject": account, "data": { "account": account },
    })
    .to_string()
}

#[tokio::test]
async fn a_question_is_answered_through_the_system_and_stands_in_the_journal() {
    let (hub, _billing) = with_billing().await;
    let ask = |body: String, query: &str| {
        let request = hub.client.post(format!("{}/v1/questions{query}", hub.url)).bearer_auth(PUBLISHER);
        hub.send(request.header("content-type", "application/cloudevents+json").body(body))
    };
    let answer = ask(question("0042"), "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/cloudevents+json"), "{answer:?}");
    assert_eq!(answer.body["type"], "account.lookup.answer.v1");
    assert_eq!(
        answer.body["data"],
        json!({ "account": "0042", "found": true, "customer": { "name": "Pelageya Ozernaya" } })
    );
    assert_eq!(ask(question("0043"), "").await.body["data"]["found"], false);
    ask(payment("x", "1", "1.00").to_string(), "").await.problem(422, "not-a-question");
    ask(question(""), "").await.problem(422, "invalid-data");
    ask("{".into(), "").await.problem(400, "invalid-json");
    // The record does not hold up the answer.
    wait_for("both questions in the journal", async || {
        let intakes = hub.intakes("system=billing&outcome=accepted").await;
        let asked: Vec<_> =
            intakes.iter().filter(|i| i["kind"] == "question" && i["calls"][0]["kind"] == "http").collect();
        (asked.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_or_fails_says_so() {
    let slow = Standin::slow(|_, _| (200, "{}".into(), std::time::Duration::from_secs(3))).await;
    let hub = Hub::start(&billing(&slow.url));
    let request = hub.client.post(format!("{}/v1/questions?deadline-ms=200", hub.url)).bearer_auth(PUBLISHER);
    let request = request.header("content-type", "application/cloudevents+json").body(question("1"));
    hub.send(request).await.problem(504, "answer-timeout");
    let broken = Standin::start(|_, _| (500, "")).await;
    let hub = Hub::start(&billing(&broken.url));
    let request = hub.client.post(format!("{}/v1/questions", hub.url)).bearer_auth(PUBLISHER);
    let request = request.header("content-type", "application/cloudevents+json").body(question("1"));
    hub.send(request).await.problem(502, "answer-failed");
    wait_for("it in the journal", async || {
        let intakes = hub.intakes("outcome=refused").await;
        intakes.first().map(|intake| assert_eq!(intake["error"]["code"], "answer-failed"))
    })
    .await;
}

#[tokio::test]
async fn a_refused_question_stands_in_the_journal() {
    let (hub, _billing) = with_billing().await;
    for (body, code) in [("{".to_string(), "invalid-json"), (question(""), "invalid-data")] {
        let request = hub.client.post(format!("{}/v1/questions", hub.url)).bearer_auth(PUBLISHER);
        hub.send(request.header("content-type", "application/cloudevents+json").body(body)).await;
        let intakes = hub.intakes("outcome=refused").await;
        assert_eq!(intakes.first().map(|i| &i["error"]["code"]), Some(&json!(code)), "{intakes:?}");
    }
}

#[tokio::test]
async fn personal_data_is_for_those_with_the_right() {
    let (hub, billing) = with_billing().await;
    let taken = hub.publish(&payment("p-1", "0042", "10.00")).await;
    hub.settled(&taken["seq"], &["done"]).await;
    // Billing refuses an account that it does not know, and says so in the answer's body.
    let refused = hub.publish(&payment("p-2", "0099", "10.00")).await;
    hub.settled(&refused["seq"], &["parked"]).await;
    hub.send(
        hub.client
            .post(format!("{}/v1/questions", hub.url))
            .bearer_auth(PUBLISHER)
            .header("content-type", "application/cloudevents+json")
            .body(question("0042")),
    )
    .await;
    let mut leaky = payment("p-3", "0042", "10.00");
    leaky["data"]["payer"] = json!({ "name": ["Pelageya Ozernaya"] });
    hub.post("application/cloudevents+json", leaky.to_string()).await.problem(422, "invalid-data");
    let paths = [
        format!("/v1/messages/{}", taken["seq"].as_str().unwrap()),
        format!("/v1/messages/{}", refused["seq"].as_str().unwrap()),
        "/v1/messages".into(),
        "/v1/intakes".into(),
    ];
    for path in &paths {
        let shown = hub.get(READER, path).await.body.to_string();
        assert!(!shown.contains("Pelageya") && !shown.contains(TOKEN), "{path}: {shown}");
    }
    let trace = hub.get(READER, &paths[0]).await.body;
    assert_eq!(trace["message"]["data"]["purpose"], "***");
    assert_eq!(trace["message"]["data"]["amount"]["value"], "10.00");
    assert!(trace["deliveries"][0]["calls"][0]["request"]["body"].as_str().unwrap().starts_with("*** ("), "{trace}");
    let trace = hub.get(OFFICER, &paths[0]).await.body;
    assert_eq!(trace["message"]["data"]["purpose"], "Pelageya Ozernaya pays for light");
    assert!(trace["deliveries"][0]["calls"][0]["request"]["body"].as_str().unwrap().contains("Pelageya"), "{trace}");
    assert!(!trace.to_string().contains(TOKEN) && !hub.log().contains("Pelageya") && !hub.log().contains(TOKEN));
    assert_eq!(billing.ledger().effects.len(), 1);
}

#[tokio::test]
async fn what_a_system_says_about_a_customer_is_hidden_too() {
    let telling = Standin::start(|_, _| (422, "{\"error\":\"Pelageya Ozernaya has moved\"}")).await;
    let hub = Hub::start(&billing(&telling.url));
    let taken = hub.publish(&payment("p-1", "0042", "10.00")).await;
    hub.settled(&taken["seq"], &["parked"]).await;
    for path in [format!("/v1/messages/{}", taken["seq"].as_str().unwrap()), "/v1/messages".into()] {
        let shown = hub.get(READER, &path).await.body.to_string();
        assert!(!shown.contains("Pelageya"), "{path}: {shown}");
    }
    assert!(!hub.log().contains("Pelageya"), "the log has it");
}

#[tokio::test]
async fn filters_and_pages() {
    let (hub, _billing) = with_billing().await;
    for number in 0..25 {
        let sum = if number % 5 == 0 { "0.00" } else { "1.00" };
        let mut event = payment(&format!("p-{number:02}"), if number % 2 == 0 { "0042" } else { "0099" }, sum);
        event["time"] = json!("2026-11-20T10:00:00+03:00");
        let taken = hub.publish(&event).await;
        hub.settled(&taken["seq"], &["done", "parked", "waiting"]).await;
    }
    let (mut ids, mut after) = (Vec::new(), String::new());
    for page in 0.. {
        let answer = hub.get(READER, &format!("/v1/messages?limit=10{after}")).await.body;
        let rows = answer["messages"].as_array().unwrap();
        assert!(rows.len() <= 10 && page < 4);
        ids.extend(rows.iter().map(|m| m["id"].as_str().unwrap().to_string()));
        match answer["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|n| format!("p-{n:02}")).collect();
    assert_eq!(ids, expected, "newest first, each once");
    let count = async |query: &str| hub.messages(query).await.len();
    assert_eq!(count("id=p-07").await, 1);
    assert_eq!(count("source=/test/cash&type=payment.received.v1").await, 25);
    assert_eq!(count("type=invoice.issued.v1").await, 0);
    assert_eq!(count("subject=0042").await, 13);
    // A route's condition left five without a delivery; unknown accounts are parked at the first, the rest wait behind.
    assert_eq!(count("system=billing").await, 20);
    assert_eq!(count("system=billing&state=done").await, 10);
    assert_eq!(count("system=billing&state=parked").await, 1);
    assert_eq!(count("system=billing&state=waiting").await, 9);
    assert_eq!(count("system=billing&state=parked&subject=0042").await, 0);
    assert_eq!(count("state=dead").await, 0);
    let systems = hub.get(READER, "/v1/systems").await.body;
    let billing: &Value = &systems.as_array().unwrap()[0];
    assert_eq!(
        (&billing["name"], &billing["deliveries"]["done"], &billing["deliveries"]["parked"]),
        (&json!("billing"), &json!(10), &json!(1))
    );
}

/// What a file says is in an adapter's words; what the hub refuses by itself says nothing about anybody.
#[tokio::test]
async fn a_reader_sees_the_hubs_own_reason_and_no_adapters_words() {
    let denied = "[systems.portal]\nadapter = \"hostile\"\n[systems.portal.config]\nbehaviour = \"http\"\n\
                  url = \"http://127.0.0.1:9/people/42\"\n[systems.portal.grants]\nhttp = [\"http://127.0.0.1:9\"]\n\
                  [[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"portal\"]\n";
    let bank = "[systems.bank]\nadapter = \"hostile\"\n[systems.bank.config]\nbehaviour = \"leave-out\"\n\
                [systems.bank.hook]\nopen = true\n";
    let hub = Hub::start(&format!("{bank}{denied}"));
    let taken = hub.publish(&payment("p-1", "0042", "10.00")).await;
    let path = format!("/v1/messages/{}", taken["seq"].as_str().unwrap());
    let call = wait_for("an attempt", async || {
        let call = hub.get(READER, &path).await.body["deliveries"][0]["calls"][0].clone();
        call.is_object().then_some(call)
    })
    .await;
    assert_eq!((&call["outcome"], &call["request"]["url"]), (&json!("denied"), &json!("http://127.0.0.1:9/***")));
    assert!(call["answer"]["error"].as_str().unwrap().contains("loopback"), "{call}");
    // The adapter leaves an entry out, and says why.
    assert_eq!(hub.send(hub.client.post(format!("{}/hooks/bank/leave-out?phone=7900", hub.url))).await.status, 200);
    for (key, is_shown) in [(READER, false), (OFFICER, true)] {
        let intakes = hub.get(key, "/v1/intakes?system=bank").await.body["intakes"].clone();
        let entry = intakes.as_array().unwrap().iter().find(|i| i["outcome"] == "left-out").unwrap().clone();
        assert_eq!(entry["error"]["code"], "as-asked");
        assert_eq!(entry["error"]["detail"] == "as asked" && entry["error"]["place"] == "here", is_shown, "{entry}");
        let input = intakes.as_array().unwrap().iter().find(|i| i["outcome"] == "incomplete").unwrap();
        assert_eq!(input["name"], if is_shown { "POST leave-out" } else { "POST ***" });
    }
}
