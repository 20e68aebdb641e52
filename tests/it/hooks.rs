//! Hooks of a running hub: payment terminals by OSMP, and signed webhooks in. Deliveries are in `deliveries`.

pub mod deliveries;
mod people;
mod refusals;
mod tokens;
mod webhooks;

use crate::hub::{Hub, LOGIN, OFFICER, TOKEN, wait_for};
use busbar_standins::billing::{self, Account, Options};
use busbar_standins::terminal::{Reply, Terminal};
use futures::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;

/// Terminals that ask billing at this address about accounts; nothing is delivered anywhere.
fn terminals(url: &str) -> String {
    format!(
        r#"
[systems.terminals]
adapter = "osmp"
[systems.terminals.hook]
basic = "login"
[systems.terminals.credentials]
login = {{ file = "secrets/login" }}
[systems.terminals.config]
max-sum = "15000.00"
deadline-ms = 2000
[systems.terminals.grants]
emit = ["payment.received.v1"]
ask = ["account.lookup.v1"]
clock = true
lookup = true
[systems.billing]
adapter = "rest-json"
[systems.billing.credentials]
token = {{ file = "secrets/token" }}
[systems.billing.config]
base-url = "{url}/api"
authorization = {{ kind = "bearer", credential = "token" }}
[systems.billing.config.answer."account.lookup.v1"]
request = {{ path = "/accounts/{{.data.account}}", statuses = {{ 404 = "ok" }} }}
type = "account.lookup.answer.v1"
data = 'if .status == 404 then {{account: .question.data.account, found: false}} else {{account: .body.number, found: true}} end'
[systems.billing.grants]
http = ["{url}"]
private-addresses = ["127.0.0.1"]
credentials = ["token"]
[[routes]]
types = ["account.lookup.v1"]
to = ["billing"]
"#
    )
}

struct Network {
    hub: Hub,
    terminal: Terminal,
    billing: Option<billing::Billing>,
}

impl Network {
    async fn start() -> Self {
        let accounts = ["500100200300", "0042"].map(|number| (number.to_string(), Account::default()));
        let options = Options { token: TOKEN.into(), accounts: Some(accounts.into()), ..Options::default() };
        let billing = billing::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
        let hub = Hub::start(&terminals(&format!("http://{}", billing.addr())));
        let terminal = Terminal::new(&format!("{}/hooks/terminals", hub.url), LOGIN.0, LOGIN.1).unwrap();
        Self { hub, terminal, billing: Some(billing) }
    }

    async fn pay(&self, txn: &str, account: &str, sum: &str) -> Reply {
        self.terminal.pay(txn, "20261120101112", account, sum).await.unwrap()
    }

    async fn payments(&self) -> usize {
        self.hub.messages("source=/test/terminals").await.len()
    }
}

#[tokio::test]
async fn a_terminal_checks_pays_repeats_and_is_told_what_is_wrong() {
    let network = Network::start().await;
    let check = network.terminal.check("1", "500100200300", "10.00").await.unwrap();
    assert_eq!((check.status, check.result, check.osmp_txn_id.as_deref()), (200, Some(0), Some("1")), "{}", check.body);
    assert_eq!(network.terminal.check("2", "999", "10.00").await.unwrap().result, Some(4));
    assert_eq!(network.payments().await, 0, "a check is no payment");

    let paid = network.pay("77", "500100200300", "10.45").await;
    assert_eq!((paid.result, paid.sum.as_deref()), (Some(0), Some("10.45")), "{}", paid.body);
    let again = network.pay("77", "500100200300", "10.45").await;
    assert_eq!((again.result, &again.prv_txn), (Some(0), &paid.prv_txn));
    assert!(paid.prv_txn.is_some());
    assert_eq!(network.pay("77", "500100200300", "99.00").await.result, Some(300), "the same id, another sum");
    assert_eq!(network.pay("77", "0042", "10.45").await.result, Some(300), "the same id, another account");
    assert_eq!(network.pay("78", "999", "10.00").await.result, Some(4));
    assert_eq!(network.pay("79", "500100200300", "20000.00").await.result, Some(242));
    assert_eq!(network.terminal.pay("80", "20260230101112", "0042", "1.00").await.unwrap().result, Some(300));
    let messages = network.hub.messages("source=/test/terminals").await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    let trace = network.hub.trace(&messages[0]["seq"]).await;
    assert_eq!(trace["message"]["data"]["amount"], json!({ "value": "10.45", "currency": "RUB" }));
    assert_eq!(trace["message"]["time"], "2026-11-20T10:11:12+03:00");
    assert_eq!((&trace["intake"]["kind"], &trace["intake"]["outcome"]), (&json!("hook"), &json!("accepted")));
    // What was asked meanwhile stands with it.
    assert_eq!(trace["intake"]["calls"][0]["kind"], "ask");
}

#[tokio::test]
async fn a_wrong_credential_is_refused_and_recorded_without_it() {
    let network = Network::start().await;
    let url = format!(
        "{}/hooks/terminals?command=pay&txn_id=1&account=0042&sum=1.00&txn_date=20261120101112",
        network.hub.url
    );
    let ask = || network.hub.client.get(&url);
    let wrong = [
        ask(),
        ask().basic_auth(LOGIN.0, Some("guessed-password")),
        ask().basic_auth("guessed-user", Some(LOGIN.1)),
        ask().basic_auth(LOGIN.0, None::<&str>),
        ask().bearer_auth(LOGIN.1),
        ask().header("authorization", "Basic %%%"),
        ask().bearer_auth(OFFICER),
    ];
    let count = wrong.len();
    for request in wrong {
        let answer = network.hub.send(request).await;
        answer.problem(401, "unauthorized");
        assert!(answer.header("www-authenticate").contains("Basic"), "{answer:?}");
    }
    let intakes = wait_for("the count", async || {
        let intakes = network.hub.intakes("system=terminals").await;
        (intakes[0]["times"] == json!(count)).then_some(intakes)
    })
    .await;
    assert_eq!(intakes.len(), 1, "{intakes:?}");
    let text = json!(intakes).to_string();
    for intake in &intakes {
        assert_eq!((&intake["outcome"], &intake["error"]["code"]), (&json!("refused"), &json!("unauthorized")));
    }
    let log = network.hub.log();
    for secret in ["guessed", LOGIN.1, "0042", OFFICER] {
        assert!(!text.contains(secret) && !log.contains(secret), "{secret} is in the record or the log");
    }
    assert_eq!(network.payments().await, 0);
    // RFC 9110, section 11.1: the scheme's case does not matter.
    let basic = ask().basic_auth(LOGIN.0, Some(LOGIN.1)).build().unwrap().headers()["authorization"]
        .to_str()
        .unwrap()
        .to_string();
    assert_eq!(network.hub.send(ask().header("authorization", basic.replace("Basic", "basic"))).await.status, 200);
}

#[tokio::test]
async fn twenty_identical_pays_at_once_are_one_payment() {
    let network = Network::start().await;
    let replies = join_all((0..20).map(|_| network.pay("501", "0042", "12.00"))).await;
    let receipts: BTreeSet<_> = replies.iter().map(|r| r.prv_txn.clone()).collect();
    assert!(replies.iter().all(|r| r.result == Some(0)), "{:?}", replies.iter().map(|r| &r.body).collect::<Vec<_>>());
    assert!(receipts.len() == 1 && receipts.first().unwrap().is_some(), "{receipts:?}");
    assert_eq!(network.payments().await, 1);
}

#[tokio::test]
async fn of_two_pays_with_one_id_and_different_sums_exactly_one_wins() {
    let network = Network::start().await;
    for round in 0..15 {
        let txn = format!("6{round:03}");
        let (one, other) = tokio::join!(network.pay(&txn, "0042", "10.00"), network.pay(&txn, "0042", "20.00"));
        let mut results = [one.result, other.result];
        results.sort();
        assert_eq!(results, [Some(0), Some(300)], "{}\n{}", one.body, other.body);
        let won = if one.result == Some(0) { "10.00" } else { "20.00" };
        let id = format!("payment-{txn}");
        let messages = network.hub.messages(&format!("id={id}")).await;
        assert_eq!(messages.len(), 1);
        assert_eq!(network.hub.trace(&messages[0]["seq"]).await["message"]["data"]["amount"]["value"], won);
    }
}

#[tokio::test]
async fn a_pay_is_known_after_a_crash_and_without_billing() {
    let mut network = Network::start().await;
    let first = network.pay("900", "0042", "12.00").await;
    network.hub.kill();
    network.hub.restart();
    network.billing = None;
    network.terminal = Terminal::new(&format!("{}/hooks/terminals", network.hub.url), LOGIN.0, LOGIN.1).unwrap();
    let again = network.pay("900", "0042", "12.00").await;
    assert_eq!((again.result, &again.prv_txn), (Some(0), &first.prv_txn), "{}", again.body);
    assert_eq!(network.pay("901", "0042", "12.00").await.result, Some(1), "nobody answers: ask again");
    wait_for("one payment", async || (network.payments().await == 1).then_some(())).await;
}
