use super::*;
use crate::http_client;
use std::time::Duration;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn billing(faults: Faults, ledger_file: Option<PathBuf>) -> Billing {
    start(ANY, Options { token: "t".to_owned(), accounts: None, ledger_file, faults }).await.unwrap()
}

async fn pay(billing: &Billing, key: &str, reference: &str, token: &str) -> Option<(u16, Value)> {
    let url = format!("http://{}/api/payments", billing.addr());
    let body = json!({ "reference": reference, "account": "17", "amount": "10.50", "currency": "RUB" });
    let request = http_client().unwrap().post(url).bearer_auth(token).header("idempotency-key", key);
    let response = request.json(&body).send().await.ok()?;
    Some((response.status().as_u16(), response.json().await.unwrap()))
}

#[tokio::test]
async fn a_key_is_executed_once_and_answered_alike() {
    let billing = billing(Faults::default(), None).await;
    let first = pay(&billing, "k1", "p1", "t").await;
    assert_eq!(first, Some((201, json!({ "entry": "B-000001", "account": "17", "due": "-10.50" }))));
    assert_eq!(pay(&billing, "k1", "p1", "t").await, first);
    assert_eq!(pay(&billing, "k1", "p2", "t").await.unwrap().0, 422);
    assert_eq!(pay(&billing, "k2", "p2", "wrong").await.unwrap().0, 401);
    assert_eq!(pay(&billing, "k2", "p1", "t").await.unwrap().0, 201);
    let ledger = billing.ledger();
    assert_eq!((ledger.effects.len(), ledger.repeats(), ledger.total(Kind::Payment)), (2, 1, 2100));
    assert_eq!((ledger.refused, ledger.unauthorized), (1, 1));
    assert_eq!(ledger.executed_twice(), ["p1"]);
    assert_eq!(ledger.order("17").collect::<Vec<_>>(), ["p1", "p1"]);
}

#[tokio::test]
async fn faults_lose_replies_after_executing_and_refuse_before() {
    let always = Faults { lose_reply: 1.0, delay: Duration::from_millis(5), ..Faults::default() };
    let billing = billing(always, None).await;
    assert_eq!(pay(&billing, "k1", "p1", "t").await, None);
    assert_eq!(billing.ledger().effects.len(), 1);
    billing.set_faults(Faults { unavailable: 1.0, ..Faults::default() });
    assert_eq!(pay(&billing, "k2", "p2", "t").await.unwrap().0, 503);
    assert_eq!(billing.ledger().effects.len(), 1);
    billing.set_faults(Faults::default());
    assert_eq!(pay(&billing, "k1", "p1", "t").await.unwrap().0, 201);
    assert_eq!(billing.ledger().requests.get("k1"), Some(&2));
}

#[tokio::test]
async fn the_ledger_file_outlives_the_process() {
    let file = std::env::temp_dir().join(format!("standins-ledger-{}.jsonl", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let before = billing(Faults::default(), Some(file.clone())).await;
    let first = pay(&before, "k1", "p1", "t").await;
    let addr = before.addr();
    drop(before);
    let after = billing(Faults::default(), Some(file.clone())).await;
    assert_eq!(pay(&after, "k1", "p1", "t").await, first);
    assert_eq!((after.ledger().effects.len(), after.ledger().repeats()), (1, 1));
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
    assert!(reqwest::get(format!("http://{addr}/")).await.is_err());
    std::fs::remove_file(file).unwrap();
}
