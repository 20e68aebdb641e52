//! Prowide's model of ISO 20022 (Maven pw-iso20022): days at a bank that it writes as a statement and as a notification are
//! read to the same payments, each once; the payment orders that the adapter writes it reads as they were meant.

use super::{Dice, Judge, report};
use crate::conformance::RULES;
use crate::hub::{LOADED, RUNTIME};
use busbar_server::cli::{Input, Setup, run_scripted};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const VERSION: &str = "Maven pw-iso20022 SRU2025-10.3.5";

async fn run(entry: &str, name: &str, bytes: Vec<u8>, config: Value) -> Value {
    let setup: Setup =
        serde_json::from_value(json!({ "entry": entry, "now": "2026-11-28T12:00:00Z", "config": config })).unwrap();
    let input = Input { entry: entry.into(), name: name.into(), bytes };
    run_scripted(&RUNTIME, &LOADED["iso20022"], &RULES, setup, input).await.unwrap().show()
}

/// `id → account and amount` of the payments.
fn payments(shown: &Value) -> BTreeMap<String, String> {
    let all = shown["messages"].as_array().unwrap().iter().filter(|m| m["type"] == "payment.received.v1");
    let fact =
        |data: &Value| format!("{} {}", data["account"].as_str().unwrap(), data["amount"]["value"].as_str().unwrap());
    all.map(|m| (m["id"].as_str().unwrap().to_string(), fact(&m["data"]))).collect()
}

fn sorted(facts: impl Iterator<Item = String>) -> Vec<String> {
    let mut facts: Vec<_> = facts.collect();
    facts.sort();
    facts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_prowide_writes_in_two_shapes_is_read_once() {
    let mut dice = Dice::thrown("camt");
    let seed = dice.below(1 << 40).to_string();
    let Some(days) = Judge::Java.ask(&["camt", "EUR", &seed, "150"], Vec::new()).await else { return };
    let mut differences = Vec::new();
    for (number, day) in days.iter().enumerate() {
        let meant = sorted(
            day["credits"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| format!("{} {}", c["account"].as_str().unwrap(), c["amount"].as_str().unwrap())),
        );
        let mut both = BTreeMap::new();
        for shape in ["notification", "statement"] {
            let shown = run("decode", &format!("{shape}.xml"), day[shape].as_str().unwrap().into(), json!({})).await;
            if shown["result"] != "ok" {
                differences.push(format!("{shape} {number}: {}", shown["result"]));
                continue;
            }
            let found = payments(&shown);
            if sorted(found.values().cloned()) != meant {
                differences.push(format!("{shape} {number}: {found:?}, meant are {meant:?}"));
            }
            both.extend(found);
        }
        if both.len() != meant.len() {
            differences.push(format!("day {number}: {} payments of {} credits\n{day}", both.len(), meant.len()));
        }
    }
    differences.truncate(5);
    report("ISO 20022 camt.053.001.08 and camt.054.001.08", VERSION, days.len() * 2, &differences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_read_by_prowide_as_they_were_meant() {
    let mut dice = Dice::thrown("pain");
    let names = ["ООО «Провода & Ко»", "ИП Сидоров <опт>", "O'Neil \"Power\"", "АО Сети"];
    let mut files = Vec::new();
    let mut meant = Vec::new();
    for file in 0..30 {
        let orders: Vec<Value> = (0..1 + dice.below(5)).map(|n| order(&mut dice, &names, file * 10 + n)).collect();
        let shown = run("encode", "orders", Value::from(orders.clone()).to_string().into_bytes(), json!({})).await;
        assert_eq!(shown["result"], "ok", "{shown}");
        files.push(shown["file"]["content"].clone());
        let fact = |o: &Value| {
            let (data, amount) = (&o["data"], &o["data"]["amount"]);
            let value: f64 = amount["value"].as_str().unwrap().parse().unwrap();
            json!([format!("{value:.2}"), amount["currency"], data["payee"]["name"], [data["purpose"]]])
        };
        meant.push(sorted(orders.iter().map(|order| fact(order).to_string())));
    }
    let count = files.len();
    let Some(read) = Judge::Java.ask(&["pain"], files).await else { return };
    let mut differences = Vec::new();
    for (found, meant) in read.iter().zip(&meant) {
        let found = sorted(found.as_array().unwrap().iter().map(|order| {
            let mut order = order.clone();
            let value: f64 = order[0].as_str().unwrap().parse().unwrap();
            order[0] = format!("{value:.2}").into();
            order.to_string()
        }));
        if &found != meant {
            differences.push(format!("{found:?}, meant are {meant:?}"));
        }
    }
    report("ISO 20022 pain.001, written", VERSION, count, &differences);
}

fn order(dice: &mut Dice, names: &[&str], number: u64) -> Value {
    let value = format!("{}.{:02}", 1 + dice.below(1_000_000), dice.below(100));
    let party = |name: &str, account: &str| json!({ "name": name, "taxId": "5000000025", "account": account, "bic": "044000002", "correspondentAccount": "30101810000000000002" });
    json!({
        "id": format!("order-{number}"), "type": "payment.order.issued.v1", "source": "/test/accounting", "specversion": "1.0",
        "data": {
            "number": number.to_string(), "issuedOn": "2026-11-20", "executeOn": "2026-11-21",
            "amount": { "value": value, "currency": "RUB" },
            "payer": party("АО «Заречная энергосбытовая компания»", "40702810500000000042"),
            "payee": party(dice.of(names), "40702810300000000051"),
            "purpose": format!("Оплата по счёту № {number} & прочее"), "priority": "5", "paymentCode": "0",
        },
    })
}
