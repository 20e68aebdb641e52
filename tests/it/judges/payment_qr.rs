//! Payment codes of ГОСТ Р 56042 by the crate gost-56042: it reads the codes of invoices, with the lengths that the standard gives
//! the values, and writes codes that are read.

use super::{Dice, Judge, report, run};
use serde_json::{Value, json};

const VERSION: &str = "crates.io gost-56042 0.1.0";
const CASES: usize = 200;
const ENCODINGS: [&str; 3] = ["utf-8", "windows-1251", "koi8-r"];
const NAMES: [&str; 4] =
    ["АО Заречная энергосбытовая компания", "ООО Свет-Сбыт", "АО ВЭК | филиал", "ИП Сидоров #1 ^ ~"];

fn invoice(dice: &mut Dice, number: usize) -> Value {
    let mut data = json!({
        "account": format!("{:01$}", dice.below(1_000_000_000), dice.of(&[9, 9, 64])), "number": format!("2026-11-{number:06}"), "issuedOn": "2026-11-01",
        "amount": { "value": format!("{}.{:02}", dice.below(90_000), 1 + dice.below(99)), "currency": "RUB" },
    });
    if dice.one_in(2) {
        data["period"] = json!({ "start": "2026-10-01", "end": "2026-10-31" });
    }
    json!({ "specversion": "1.0", "id": format!("invoice-{number}"), "source": "/test/billing", "type": "invoice.issued.v1",
        "time": "2026-11-01T09:00:00+03:00", "data": data })
}

fn kopecks(value: &str) -> String {
    value.replace('.', "").trim_start_matches('0').to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_of_invoices_are_read_as_they_were_meant() {
    let mut dice = Dice::thrown("payment-qr, written");
    let (mut codes, mut meant) = (Vec::new(), Vec::new());
    for number in 0..CASES {
        let (encoding, name) = (dice.of(&ENCODINGS), dice.of(&NAMES));
        let purpose = dice.of(&[
            "ЛС {account}; счёт {invoice}",
            "{account}",
            "Свет: {account} = {invoice}",
            "{account}, {account}, {account}, {account}",
        ]);
        let payee = json!({ "name": name, "account": "40702810500000000042", "bank-name": "Банк Озёрный", "bic": "044000002",
            "correspondent-account": dice.of(&["0", "30101810000000000002"]) });
        let config = json!({ "payee": payee, "encoding": encoding, "purpose": purpose, "further": { "PayeeINN": "5000000025" } });
        let order = invoice(&mut dice, number);
        let shown = run("payment-qr", "deliver", &order.to_string(), json!({ "config": config })).await;
        let data = &order["data"];
        let purpose = purpose.replace("{account}", data["account"].as_str().unwrap());
        let purpose = purpose.replace("{invoice}", data["number"].as_str().unwrap());
        if purpose.chars().count() > 210 {
            assert_eq!(shown["result"]["failure"]["code"], "value-too-long", "{shown}");
            continue;
        }
        let told = &shown["messages"][0]["data"];
        codes.push(json!({ "text": told["qr"], "encoding": encoding }));
        let sum = kopecks(data["amount"]["value"].as_str().unwrap());
        let mut pairs = json!([
            ["Name", name],
            ["PersonalAcc", payee["account"]],
            ["BankName", payee["bank-name"]],
            ["BIC", payee["bic"]],
            ["CorrespAcc", payee["correspondent-account"]],
            ["Sum", sum],
            ["Purpose", purpose],
            ["PersAcc", data["account"]]
        ]);
        let pairs_of = pairs.as_array_mut().unwrap();
        if data["period"].is_object() {
            pairs_of.push(json!(["PaymPeriod", "10.2026"]));
        }
        pairs_of.extend([
            json!(["QuittId", data["number"]]),
            json!(["QuittDate", "01.11.2026"]),
            json!(["PayeeINN", "5000000025"]),
        ]);
        meant.push(pairs);
    }
    let Some(read) = Judge::Rust.ask(&["read"], codes.clone()).await else { return };
    let differences = read.iter().zip(&meant).zip(&codes).filter(|((read, meant), _)| read != meant);
    let differences: Vec<String> =
        differences.map(|((read, meant), code)| format!("{code}: {read}, meant is {meant}")).collect();
    report("ГОСТ Р 56042, codes of invoices", VERSION, codes.len(), &differences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_that_the_crate_writes_are_read_as_they_were_meant() {
    let mut dice = Dice::thrown("payment-qr, read");
    let code = |dice: &mut Dice| {
        let mut further = vec![json!(["PersAcc", format!("{:06}", dice.below(1_000_000))])];
        for (key, values) in [
            ("Sum", ["100", "148760", "0"]),
            ("Purpose", ["ЛС = 5, за октябрь", "Оплата", "За свет"]),
            ("QuittId", ["7", "2026/11-Д", "000"]),
            ("PaymPeriod", ["102026", "10.2026", "октябрь"]),
            ("LastName", ["Соколова", "Ким", "Ёлкин"]),
            ("TechCode", ["02", "02", "02"]),
        ] {
            if dice.one_in(2) {
                further.insert(dice.below(further.len() as u64 + 1) as usize, json!([key, dice.of(&values)]));
            }
        }
        json!({ "Name": dice.of(&["АО Лес", "=АО Лес", "ООО Ёж"]), "PersonalAcc": "40702810500000000042", "BankName": "Банк Озёрный",
            "BIC": "044000002", "CorrespAcc": "30101810000000000002", "encoding": dice.of(&ENCODINGS),
            "separator": dice.of(&["|", "#", "~", "^", ";", "*"]), "further": further })
    };
    let codes: Vec<Value> = (0..CASES).map(|_| code(&mut dice)).collect();
    let Some(written) = Judge::Rust.ask(&["write"], codes.clone()).await else { return };
    let mut differences = Vec::new();
    for (code, bytes) in codes.iter().zip(&written) {
        let bytes: Vec<u8> = serde_json::from_value(bytes.clone()).unwrap_or_else(|_| panic!("{code}: {bytes}"));
        let value = |key: &str| {
            let pair = code["further"].as_array().unwrap().iter().find(|pair| pair[0] == key);
            pair.map(|pair| pair[1].clone()).unwrap_or_default()
        };
        let sum = value("Sum").as_str().filter(|sum| *sum != "0").map(|sum| format!("{:0>3}", sum));
        let amount = sum.map(|sum| format!("{}.{}", &sum[..sum.len() - 2], &sum[sum.len() - 2..]));
        let meant = json!([value("PersAcc"), value("QuittId"), amount, code["Name"]]);
        let shown = run("payment-qr", "decode", &bytes, json!({})).await;
        let data = &shown["messages"][0]["data"];
        let found = json!([data["account"], data["invoice"], data["amount"]["value"], data["issuer"]["name"]]);
        if found != meant {
            differences.push(format!("{code}: {found}, meant is {meant}; {}", shown["result"]));
        }
    }
    report("ГОСТ Р 56042, codes read", VERSION, CASES, &differences);
}
