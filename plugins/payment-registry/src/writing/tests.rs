use super::*;
use crate::mapping::decode;
use busbar_sdk::{Lines, TestHub};
use serde_json::{Value, json};

fn settings(config: &Value) -> Settings {
    Settings::compiled(serde_json::from_value(config.clone()).unwrap()).ok().unwrap()
}

fn message(id: &str, r#type: &str, data: &Value) -> Message {
    busbar_sdk::test_hub::message("/test/billing", id, r#type, data.to_string())
}

fn balance(account: &str, value: &str, name: &str) -> Value {
    json!({
        "account": account,
        "amountDue": { "value": value, "currency": "RUB" },
        "asOfOn": "2026-11-20",
        "customer": { "name": name, "address": "Заречный, Липовая ул; 4" },
    })
}

fn balances(all: &[Value]) -> Vec<Message> {
    all.iter().enumerate().map(|(at, data)| message(&at.to_string(), "account.balance.v1", data)).collect()
}

fn written(config: &Value, messages: &[Message]) -> Result<(String, Vec<u8>), Failure> {
    let settings = settings(config);
    let mut registry = registry(&settings, messages)?;
    registry.number = "007".to_owned();
    let name = registry.file_name(&settings)?;
    let mut bytes = Vec::new();
    registry.write(&settings, |chunk| bytes.extend_from_slice(chunk))?;
    Ok((name, bytes))
}

fn refused(config: &Value, messages: &[Message]) -> (String, String) {
    match written(config, messages) {
        Err(Failure::Rejected(rejection)) => (rejection.code, rejection.place.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_debt_registry_for_sber() {
    let config = json!({
        "profile": "sber-debt",
        "values": { "inn": "5000000025", "bank-account": "40702810500000000042" },
    });
    let messages = balances(&[balance("500100200300", "1000.50", "Соколова Мария"), balance("0004217", "-12", "Ким")]);
    let (name, bytes) = written(&config, &messages).unwrap();
    assert_eq!(name, "5000000025_40702810500000000042_007_1126.txt");
    assert_eq!(Encoding::Windows1251.decode(&bytes), "500100200300;Соколова Мария;1000,50\r\n0004217;Ким;-12,00\r\n");
}

#[test]
fn what_was_written_is_read_again() {
    let config = json!({ "profile": "gorod-saldo", "values": { "service": "11501" } });
    let data = [balance("500100200300", "1000.50", "Соколова М.А."), balance("0004217", "530.25", "Ким Ә.П.")];
    let (name, bytes) = written(&config, &balances(&data)).unwrap();
    assert!(name.starts_with("saldo_11501_20261120"), "{name}");
    let text = Encoding::Ibm866.decode(&bytes).into_owned();
    let first = "Соколова М.А.;Заречный, Липовая ул  4;500100200300;1000.50;;01/11/2026;20/11/2026;1:1000.50\r\n";
    assert!(text.starts_with(&format!("#FILESUM 1530.75\r\n#TYPE 7\r\n#SERVICE 11501\r\n{first}")), "{text}");
    assert!(text.contains("Ким ?.П."), "{text}");
    let seen = read(&config, &bytes);
    let accounts: Vec<Value> = seen.drafts.iter().map(|d| serde_json::from_str(&d.data).unwrap()).collect();
    assert_eq!(accounts[0]["amountDue"], data[0]["amountDue"]);
    assert_eq!(accounts[0]["asOfOn"], data[0]["asOfOn"]);
    assert_eq!(accounts[1]["account"], "0004217");
    // Written from what was read, it is the same file again.
    let again: Vec<Message> =
        seen.drafts.iter().map(|d| message(&d.id, &d.type_, &serde_json::from_str(&d.data).unwrap())).collect();
    assert_eq!(written(&config, &again).unwrap().1, bytes);
}

#[test]
fn payments_are_written_and_read_again() {
    let pay = |account: &str, value: &str| {
        json!({
            "account": account, "amount": { "value": value, "currency": "RUB" }, "fee": { "value": "1.00", "currency": "RUB" },
            "channel": "cash-desk", "paidOn": "2026-11-20", "paidAt": "2026-11-20T18:30:05+03:00",
            "document": { "number": format!("op-{account}") }, "payer": { "name": "Ким О.П." },
        })
    };
    let all = [pay("500100200300", "10"), pay("0004217", "20.5")];
    let messages: Vec<Message> = all.iter().map(|data| message("1", "payment.received.v1", data)).collect();
    let pipe = json!({ "profile": "pipe" });
    let (_, bytes) = written(&pipe, &messages).unwrap();
    let lines = "500100200300|Ким О.П.|20.11.2026|10.00\r\n0004217|Ким О.П.|20.11.2026|20.50\r\n=|2|30.50\r\n";
    assert_eq!(Encoding::Ibm866.decode(&bytes), lines);
    assert_eq!(read(&pipe, &bytes).drafts.len(), 2);
    let own = json!({ "profile": {
        "like": "pipe",
        "columns": ["{account}", "{operation}", "{paid-on}", "{paid-time}", "{amount}", "{fee}", "{net}"],
        "footer": ["={count}|{sum}|{fees}|{net-sum}"],
    }});
    let (_, bytes) = written(&own, &messages).unwrap();
    let seen = read(&own, &bytes);
    let data: Value = serde_json::from_str(&seen.drafts[1].data).unwrap();
    assert_eq!(
        (data["paidAt"].as_str(), data["document"]["number"].as_str()),
        (Some("2026-11-20T18:30:05+03:00"), Some("op-0004217"))
    );
}

fn read(config: &Value, bytes: &[u8]) -> TestHub {
    let mut rest = bytes;
    let mut seen = TestHub::default();
    let mut lines = Lines::new(|_| std::mem::take(&mut rest).to_vec());
    decode(&settings(config), "x.txt", &mut lines, &mut seen).unwrap();
    seen
}

#[test]
fn of_two_balances_the_newer_is_written() {
    let config = json!({ "profile": "sber-debt", "values": { "inn": "1", "bank-account": "2" } });
    let mut old = balance("7", "1.00", "Ким");
    old["asOfOn"] = "2026-11-19".into();
    let messages = balances(&[balance("7", "2.00", "Ким"), old, balance("8", "3.00", "Ким")]);
    let (_, bytes) = written(&config, &messages).unwrap();
    assert_eq!(Encoding::Windows1251.decode(&bytes), "7;Ким;2,00\r\n8;Ким;3,00\r\n");
}

#[test]
fn a_message_that_cannot_be_written_is_named() {
    let config = json!({ "profile": "gorod-saldo", "values": { "service": "1" } });
    let good = balance("7", "1.00", "Ким");
    let with = |pointer: &str, value: Value| {
        let mut data = good.clone();
        *data.pointer_mut(pointer).unwrap() = value;
        data
    };
    for (data, code, place) in [
        (with("/account", "7;8".into()), "unwritable-value", "/1/data/account"),
        (with("/account", "Ә".into()), "unwritable-value", "/1/data/account"),
        (with("/amountDue/currency", "USD".into()), "wrong-currency", "/1/data/amountDue"),
        (with("/amountDue/value", "1.005".into()), "bad-amount", "/1/data/amountDue"),
        (with("/asOfOn", "2026-02-30".into()), "bad-date", "/1/data/asOfOn"),
        (with("/customer/name", "#TYPE 7".into()), "unwritable-value", "/1/data"),
        (json!({}), "unreadable-data", "/1/data"),
    ] {
        assert_eq!(refused(&config, &balances(&[good.clone(), data])), (code.to_owned(), place.to_owned()));
    }
    let other = [message("1", "payment.received.v1", &json!({}))];
    assert_eq!(refused(&config, &other), ("wrong-type".to_owned(), "/0/type".to_owned()));
    assert_eq!(refused(&config, &[]).0, "no-messages");
    let unnamed = json!({ "profile": "gorod-saldo" });
    assert_eq!(
        refused(&unnamed, &balances(std::slice::from_ref(&good))),
        ("bad-config".to_owned(), "config, values".to_owned())
    );
    let folder = json!({ "profile": { "like": "pipe", "records": "balances", "file-name": "../{day}" } });
    assert_eq!(refused(&folder, &balances(&[good])).0, "bad-config");
}

#[test]
fn files_are_numbered_within_a_month() {
    for (state, number) in
        [(None, "001"), (Some("1126:007"), "008"), (Some("1026:007"), "001"), (Some("rubbish"), "001")]
    {
        assert_eq!(next_number(state.map(str::as_bytes), "1126").ok().as_deref(), Some(number), "{state:?}");
    }
    assert_eq!(next_number(Some(b"1126:999"), "1126").unwrap_err().code, "numbers-used-up");
}

#[test]
fn ends_of_months() {
    for (day, end) in [("2024-02-10", "2024-02-29"), ("2026-12-31", "2026-12-31")] {
        let day = dates::parse_iso_date(day).unwrap();
        assert_eq!(month_end(day).map(dates::iso_date).as_deref(), Some(end));
    }
}
