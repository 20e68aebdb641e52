#![allow(clippy::unwrap_used)]

use busbar_sdk::test_hub::{TestHub, message, plain};
use busbar_sdk::{HookRequest, mutations};
use serde_json::json;

use super::*;
use crate::hub;

const INVOICE: &str = r#"{"account":"500100200300","number":"2026-11-000017","issuedOn":"2026-11-01",
    "amount":{"value":"1052.98","currency":"RUB"}}"#;
const CALL: &str = "OutSum=1052.980000&InvId=17&SignatureValue=5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A&Fee=10.5&Shp_invoice=1042\
    &Shp_account=500100200300";
const STATE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<OperationStateResponse xmlns="http://auth.robokassa.ru/Merchant/WebService/"><Result><Code>0</Code></Result>
<State><Code>100</Code><RequestDate>2026-11-22T12:00:00+03:00</RequestDate>
<StateDate>2026-11-22T09:30:00.1234567+03:00</StateDate></State>
<Info><IncCurrLabel>BankCard</IncCurrLabel><IncSum>1084.57</IncSum><OutSum>1052.980000</OutSum></Info></OperationStateResponse>"#;

fn world() -> TestHub {
    TestHub { hash: |_| vec![0x5A; 16], ..TestHub::default() }
}

fn text_of(pieces: &[Piece]) -> String {
    String::from_utf8(plain(pieces)).unwrap()
}

fn settings() -> Settings {
    serde_json::from_value(json!({ "login": "zes", "credential-1": "one", "credential-2": "two" })).unwrap()
}

fn receive(query: &str, world: &mut TestHub) -> Result<String, Failure> {
    let request =
        HookRequest { method: "GET".into(), path: "/".into(), query: query.into(), headers: vec![], body: vec![] };
    let response = hub::receive(&settings(), &request, world)?;
    world.commit();
    Ok(String::from_utf8(response.body).unwrap())
}

#[test]
fn what_is_signed() {
    let invoice = serde_json::from_str::<Invoice>(INVOICE).unwrap();
    let link = Link::of(&settings(), ("/demo/billing", "invoice-17"), &invoice, 0).ok().flatten().unwrap();
    let wanted = format!("zes:1052.98:{}:<one>:Shp_account=500100200300:Shp_invoice=2026-11-000017", link.number);
    assert_eq!(text_of(&link.signed(&settings())), wanted);
    assert_eq!(text_of(&settings().signed_question("17")), "zes:17:<two>");
    let parameters = |text: &str| -> Vec<(String, String)> {
        text.split('&').filter_map(|pair| pair.split_once('=')).map(|(a, b)| (a.into(), b.into())).collect()
    };
    let call = Call::of(&parameters(CALL)).ok().unwrap();
    let signed =
        |call: &Call| -> Vec<String> { call.signed(&settings()).iter().map(|pieces| text_of(pieces)).collect() };
    assert_eq!(signed(&call), ["1052.980000:17:<two>:Shp_account=500100200300:Shp_invoice=1042"]);
    // By bytes as the SDK sorts them, by small letters, by capitals.
    let call =
        Call::of(&parameters("OutSum=1&InvId=17&SignatureValue=5A&shp_b=1&Shp_a=2&Shp_B_=3&Shp_Bc=4")).ok().unwrap();
    assert_eq!(
        signed(&call),
        [
            "1:17:<two>:Shp_B_=3:Shp_Bc=4:Shp_a=2:shp_b=1",
            "1:17:<two>:Shp_a=2:shp_b=1:Shp_B_=3:Shp_Bc=4",
            "1:17:<two>:Shp_a=2:shp_b=1:Shp_Bc=4:Shp_B_=3",
        ]
    );
    // What everybody signs in another way is not sent.
    let invoice = serde_json::from_str::<Invoice>(&INVOICE.replace("2026-11-000017", "11/ЮЛ")).unwrap();
    let link = Link::of(&settings(), ("/demo/billing", "invoice-17"), &invoice, 0).ok().flatten().unwrap();
    assert!(text_of(&link.signed(&settings())).ends_with(":<one>:Shp_account=500100200300"));
}

#[test]
fn a_call_and_its_repeat() {
    let mut world = world();
    for _ in 0..2 {
        assert_eq!(receive(CALL, &mut world).unwrap(), "OK17");
    }
    assert_eq!(world.drafts.len(), 1);
    assert_eq!(
        world.data(0),
        json!({
            "account": "500100200300", "amount": { "value": "1052.98", "currency": "RUB" }, "channel": "acquiring",
            "paidOn": "2026-11-22", "paidAt": "2026-11-22T10:00:00+03:00", "document": { "number": "17" }, "invoice": "1042",
        })
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (from, to, wanted) in [
        ("1052.980000", "1052.981", "bad-field"),
        ("1052.980000", "0.00", "bad-field"),
        ("1052.980000", "-1.00", "bad-field"),
        ("InvId=17", "InvId=1%007", "bad-field"),
        ("InvId=17", "InvId=0", "bad-field"),
        ("Fee=10.5", "OutSumCurrency=USD", "bad-currency"),
        ("Fee=10.5", "OutSumCurrency=XYZ", "bad-currency"),
        ("InvId=17", "InvId=00000000000000000017", "bad-field"),
        ("&InvId=17", "", "missing-field"),
        ("OutSum=", "Sum=", "missing-field"),
        ("SignatureValue=5A5A", "SignatureValue=", "unauthorized"),
        ("SignatureValue=5A5A", "SignatureValue=5x5x", "unauthorized"),
        ("Fee=10.5", "InvId=18", "bad-request"),
    ] {
        let code = match receive(&CALL.replace(from, to), &mut world()) {
            Err(Failure::Rejected(rejection)) => rejection.code,
            Err(Failure::Unauthorized(_)) => "unauthorized".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(code, wanted, "{to}");
    }
    let mut world = world();
    receive(&format!("{CALL}&IsTest=1"), &mut world).unwrap();
    assert_eq!((world.drafts.len(), world.warnings.len()), (0, 1));
}

#[test]
fn one_payment_and_another() {
    // Alike but for the number: two. The same by another form, another order of parameters, with a fee, by POST or later: one.
    for (other, drafts) in [
        (CALL.replace("InvId=17", "InvId=18"), 2),
        (CALL.replace("1052.980000", "1052.98"), 1),
        (CALL.replace("Fee=10.5", "Fee=11"), 1),
        (CALL.replace("InvId=17", "invid=017"), 1),
        (format!("IncCurrLabel=BankCard&{CALL}"), 1),
    ] {
        let mut world = world();
        receive(CALL, &mut world).unwrap();
        world.now_ms += 48 * 3_600_000;
        receive(&other, &mut world).unwrap();
        assert_eq!(world.drafts.len(), drafts, "{other}");
    }
    // One number with another sum or account is no repeat.
    for (from, to, wanted) in
        [("1052.980000", "1052.99", "other-sum"), ("=500100200300", "=500100200301", "other-account")]
    {
        let mut world = world();
        receive(CALL, &mut world).unwrap();
        let failure = receive(&CALL.replace(from, to), &mut world).unwrap_err();
        assert!(matches!(failure, Failure::Rejected(rejection) if rejection.code == wanted), "{to}");
        assert_eq!(world.drafts.len(), 1);
    }
    // What was found by asking comes again as a call.
    let (mut world, _) = asked(STATE);
    world.commit();
    let number = world.data(0)["number"].as_str().unwrap().to_owned();
    receive(&CALL.replace("InvId=17", &format!("InvId={number}")), &mut world).unwrap();
    assert_eq!(world.drafts.len(), 2);
}

#[test]
fn states_that_nobody_knows_are_none() {
    for state in ["", "0", "7", "101", "-5", "x"] {
        let (world, failure) = asked(&STATE.replace(">100<", &format!(">{state}<")));
        assert!((world.drafts.len(), world.warnings.len()) == (1, 1) && failure.is_none(), "{state}");
    }
    for moment in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "soon"] {
        let (world, _) = asked(&STATE.replace("2026-11-22T09:30:00.1234567+03:00", moment));
        assert_eq!(world.data(1)["paidAt"], "2026-11-22T12:00:00+03:00", "{moment}");
    }
}

#[test]
fn sums() {
    for (text, wanted) in [
        ("1052.98", Some(105_298)),
        ("1052.980000", Some(105_298)),
        ("1052.9", Some(105_290)),
        ("1052", Some(105_200)),
        ("1052.", None),
        ("1052.981", None),
        ("1,5", None),
        ("1.5.0", None),
        ("1.ы", None),
        ("", None),
    ] {
        assert_eq!(minor(text), wanted, "{text}");
    }
}

/// A link was made; two hours later the service answers this.
fn asked(answer: &str) -> (TestHub, Option<Failure>) {
    let mut world = world();
    let invoice = message("/demo/billing", "invoice-17", "invoice.issued.v1", INVOICE);
    hub::deliver(&settings(), &invoice, &mut world).unwrap();
    world.commit();
    world.now_ms += 2 * 3_600_000;
    world.answer(&[(200, answer)]);
    let mut cursor = None;
    loop {
        match hub::poll(&settings(), cursor.as_deref(), &mut world) {
            Ok(polled) if !polled.more => return (world, None),
            Ok(polled) => cursor = polled.cursor,
            Err(failure) => return (world, Some(failure)),
        }
    }
}

#[test]
fn a_link_without_a_call_is_asked_about() {
    let (world, _) = asked(STATE);
    assert_eq!(world.drafts.len(), 2);
    let number = world.data(0)["number"].as_str().unwrap().to_owned();
    assert_eq!(world.drafts[1].id, payment_id(&number));
    let stated = world.data(1);
    // The sum of the link, not what the payer paid with the fee on it.
    assert_eq!((&stated["amount"]["value"], &stated["account"]), (&json!("1052.98"), &json!("500100200300")));
    assert_eq!(stated["paidAt"], "2026-11-22T09:30:00+03:00");
    let url = &world.requests[0].url;
    assert!(url.contains(&format!("InvoiceID={number}&Signature=")), "{url}");
    for state in ["5", "10", "50", "80", "60"] {
        let (world, failure) = asked(&STATE.replace(">100<", &format!(">{state}<")));
        assert!(world.drafts.len() == 1 && failure.is_none(), "{state}");
    }
}

#[test]
fn answers_that_are_errors() {
    let result = |code: &str| asked(&STATE.replace("<Code>0<", &format!("<Code>{code}<")));
    assert!(result("3").1.is_none());
    assert!(matches!(result("1").1, Some(Failure::Unauthorized(_))));
    assert!(matches!(result("1000").1, Some(Failure::Transient(_))));
    for answer in ["", "<html>", "<a/>", &STATE.replace("<Code>100<", "<Code>7<"), &STATE.replace("</", "<")] {
        let (world, failure) = asked(answer);
        assert!(failure.is_none() && world.warnings.len() == 1, "{answer}");
    }
}

#[test]
fn damaged_inputs_are_never_a_panic() {
    for bytes in mutations::of(CALL.as_bytes(), 3_000) {
        drop(receive(&String::from_utf8_lossy(&bytes), &mut world()));
    }
    for bytes in mutations::of(STATE.as_bytes(), 3_000) {
        drop(asked(&String::from_utf8_lossy(&bytes)));
    }
}
