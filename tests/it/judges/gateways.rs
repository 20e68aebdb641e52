//! What gateways call the hub with, signed by libraries of others: taken as it is, and refused once anything in it is changed.

use super::{Dice, Judge, report};
use crate::hub::Hub;
use serde_json::{Value, json};

const CASES: usize = 40;
const SHOPS: &str = r#"
[systems.robokassa]
adapter = "robokassa"
hook = { open = true }
credentials = { first = { file = "secrets/gateway" }, second = { file = "secrets/gateway" } }
[systems.robokassa.config]
login = "shop"
credential-1 = "first"
credential-2 = "second"
hash = "sha256"
[systems.robokassa.grants]
credentials = ["first", "second"]
emit = ["payment.link.issued.v1", "payment.received.v1", "payment.rejected.v1"]
lookup = true
clock = true
state = true
[systems.tbank]
adapter = "tbank"
hook = { open = true }
credentials = { terminal = { file = "secrets/gateway" } }
[systems.tbank.config]
terminal-key = "1700000000000"
credential = "terminal"
return-url = "https://portal.example/paid"
[systems.tbank.grants]
credentials = ["terminal"]
emit = ["payment.link.issued.v1", "payment.received.v1", "payment.rejected.v1", "payment.refunded.v1"]
lookup = true
clock = true
state = true
[systems.sber]
adapter = "sber-acquiring"
hook = { open = true }
credentials = { checksum = { file = "secrets/gateway" } }
[systems.sber.config]
credential = "checksum"
account-pattern = "^([0-9]+)-"
[systems.sber.grants]
credentials = ["checksum"]
emit = ["payment.received.v1", "payment.rejected.v1", "payment.refunded.v1"]
lookup = true
clock = true
"#;
const PASSWORD: &str = "invented-pass-2";

fn hub() -> Hub {
    Hub::prepared(SHOPS, |folder| std::fs::write(folder.join("secrets/gateway"), PASSWORD).unwrap())
}

/// Another digit in the sum, or another account.
fn changed(dice: &mut Dice, call: &Value, names: [&str; 2]) -> Value {
    let mut call = call.clone();
    let name = dice.of(&names);
    call[name] = match &call[name] {
        Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
        other => format!("1{}", other.as_str().unwrap()).into(),
    };
    call
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_robokassa_is_said_to_sign_is_taken() {
    let mut dice = Dice::thrown("robokassa");
    let call = |dice: &mut Dice, n: usize| {
        let sum = format!("{}.{:02}0000", 1 + dice.below(90_000), dice.below(100));
        let mut call =
            json!({ "OutSum": sum, "InvId": (7_000_000 + n).to_string(), "Shp_account": format!("50010020{n:04}") });
        for name in ["Shp_invoice", "Shp_A", "Shp_zone"] {
            if dice.one_in(2) {
                call[name] = format!("2026-{}", dice.below(1000)).into();
            }
        }
        call
    };
    let calls: Vec<Value> = (0..CASES).map(|n| call(&mut dice, n)).collect();
    let Some(signatures) = Judge::Python.ask(&["robokassa", PASSWORD], calls.clone()).await else { return };
    let hub = hub();
    let mut differences = Vec::new();
    for (call, signature) in calls.iter().zip(&signatures) {
        for (call, wanted) in [(changed(&mut dice, call, ["OutSum", "Shp_account"]), 401), (call.clone(), 200)] {
            let mut form: Vec<(String, String)> = call.as_object().unwrap().iter().map(text).collect();
            form.push(("SignatureValue".into(), signature.as_str().unwrap().to_uppercase()));
            let url = reqwest::Url::parse_with_params(&format!("{}/hooks/robokassa", hub.url), &form).unwrap();
            let answer = hub.send(hub.client.get(url)).await;
            if answer.status != wanted {
                differences.push(format!("{call}: {wanted} wanted, {answer:?}"));
            }
        }
    }
    report("Robokassa's calls", "PyPI robokassa 1.0.8", 2 * CASES, &differences);
}

fn text((name, value): (&String, &Value)) -> (String, String) {
    (name.clone(), value.as_str().unwrap_or_default().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_tbank_is_said_to_sign_is_taken() {
    let mut dice = Dice::thrown("tbank");
    let call = |dice: &mut Dice, n: usize| {
        let status = dice.of(&["CONFIRMED", "AUTHORIZED", "REJECTED"]);
        let mut call = json!({ "TerminalKey": "1700000000000", "OrderId": format!("500100-{n}"), "Success": status != "REJECTED",
            "Status": status, "PaymentId": 5_600_000_000u64 + n as u64, "ErrorCode": "0", "Amount": 100 + dice.below(900_000) });
        if dice.one_in(2) {
            call["Pan"] = "430000******0777".into();
            call["ExpDate"] = "1130".into();
        }
        if dice.one_in(2) {
            call["Data"] = json!({ "Phone": "+70000000001" });
        }
        call
    };
    let calls: Vec<Value> = (0..CASES).map(|n| call(&mut dice, n)).collect();
    let Some(tokens) = Judge::Python.ask(&["tbank", PASSWORD], calls.clone()).await else { return };
    let hub = hub();
    let mut differences = Vec::new();
    for (call, token) in calls.iter().zip(&tokens) {
        for (mut call, wanted) in [(changed(&mut dice, call, ["Amount", "OrderId"]), 401), (call.clone(), 200)] {
            call["Token"] = token.clone();
            let answer = hub.send(hub.client.post(format!("{}/hooks/tbank", hub.url)).json(&call)).await;
            if answer.status != wanted {
                differences.push(format!("{call}: {wanted} wanted, {answer:?}"));
            }
        }
    }
    report("T-Bank's notifications", "PyPI tbank-kassa 0.5.0", 2 * CASES, &differences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sber_is_said_to_sign_is_taken() {
    let mut dice = Dice::thrown("sber");
    let call = |dice: &mut Dice, n: usize| {
        let mut call = json!({ "mdOrder": format!("12b59da8-f68f-7c8d-12b5-{n:012}"), "orderNumber": format!("500100{n:06}-7"),
            "operation": "deposited", "status": "1", "amount": (100 + dice.below(900_000)).to_string() });
        let further = [
            ("callbackCreationDate", "Fri Nov 20 21:46:52 MSK 2026"),
            ("Zone", "А + Б; и=ещё"),
            ("clientId", " 77 "),
            ("bindingId", ""),
            ("currency", "643"),
            ("_empty", "100%"),
        ];
        for (name, value) in further {
            if dice.one_in(2) {
                call[name] = value.into();
            }
        }
        call
    };
    let calls: Vec<Value> = (0..CASES).map(|n| call(&mut dice, n)).collect();
    let Some(checksums) = Judge::Python.ask(&["lines", "gateways", "sber", PASSWORD], calls.clone()).await else {
        return;
    };
    let hub = hub();
    let url = format!("{}/hooks/sber", hub.url);
    let mut differences = Vec::new();
    for (call, checksum) in calls.iter().zip(&checksums) {
        let certified = json!({ "checksum": checksum[1], "sign_alias": "SHA-256 with RSA" });
        let signed = json!({ "checksum": checksum[0], "sign_alias": dice.of(&["", "symmetric"]) });
        // What the bank's certificate signs is refused: the adapter knows the key alone.
        let tries = [
            (changed(&mut dice, call, ["amount", "orderNumber"]), &signed, 401),
            (call.clone(), &certified, 401),
            (call.clone(), &signed, 200),
        ];
        for (mut call, signed, wanted) in tries {
            call.as_object_mut().unwrap().extend(signed.as_object().unwrap().clone());
            let form: Vec<(String, String)> = call.as_object().unwrap().iter().map(text).collect();
            let asked = reqwest::Url::parse_with_params(&url, &form).unwrap();
            let posted = hub.client.post(&url).header("content-type", "application/x-www-form-urlencoded");
            let request = match dice.one_in(2) {
                true => hub.client.get(asked),
                false => posted.body(asked.query().unwrap().to_string()),
            };
            let answer = hub.send(request).await;
            if answer.status != wanted {
                differences.push(format!("{call}: {wanted} wanted, {answer:?}"));
            }
        }
    }
    let stated = hub.messages("type=payment.received.v1").await.len();
    assert_eq!(stated, CASES, "payments are stated");
    report("Sber's callbacks", "PyPI sberbank-async-cryptography 1.0.0", 3 * CASES, &differences);
}
