use busbar_sdk::test_hub::{TestHub, message};
use busbar_sdk::{Draft, Message, mutations};
use serde_json::{Value, json};

use super::*;

const PAID: &str = "mdOrder=3ff6962a-7dcc&orderNumber=500100200300-17&operation=deposited&status=1&amount=123456";

fn served(query: &str, known: Vec<Message>) -> (Result<HookResponse, Failure>, TestHub) {
    let raw = json!({ "credential": "key", "account-pattern": "^([0-9]+)-", "invoice-pattern": "-([0-9]+)$" });
    let settings = Settings::compiled(serde_json::from_value(raw).unwrap()).ok().unwrap();
    let query = format!("{query}&checksum={}&sign_alias=x", "5A".repeat(32));
    let request = HookRequest { method: "GET".into(), path: "/".into(), query, headers: vec![], body: vec![] };
    let mut hub = TestHub { hash: |_| vec![0x5A; 32], known, ..TestHub::default() };
    let result = handle(&settings, &request, &mut hub);
    (result, hub)
}

fn code(query: &str) -> String {
    match served(query, vec![]).0 {
        Err(Failure::Rejected(rejection)) => rejection.code,
        other => format!("{:?}", other.map(|response| response.status)),
    }
}

#[test]
fn a_payment_and_its_repeat() {
    let (result, hub) = served(PAID, vec![]);
    assert_eq!(result.unwrap().status, 200);
    assert_eq!(
        String::from_utf8(hub.hashed.concat()).unwrap(),
        "amount;123456;mdOrder;3ff6962a-7dcc;operation;deposited;orderNumber;500100200300-17;status;1;"
    );
    let data = hub.data(0);
    assert_eq!(
        data,
        json!({
            "account": "500100200300", "amount": { "value": "1234.56", "currency": "RUB" }, "channel": "acquiring",
            "paidOn": "2026-11-22", "paidAt": "2026-11-22T10:00:00+03:00", "document": { "number": "3ff6962a-7dcc" }, "invoice": "17",
        })
    );
    let (result, again) = served(PAID, vec![message_of(&hub.drafts[0])]);
    assert_eq!((result.unwrap().status, again.drafts.len()), (200, 0));
}

#[test]
fn refunds_in_parts_and_a_reversal() {
    let payment = message_of(&served(PAID, vec![]).1.drafts[0]);
    let refund = |more: &str| {
        let query = format!(
            "mdOrder=3ff6962a-7dcc&orderNumber=x&operation=refunded&status=1&operationRefundedAmount=100{more}"
        );
        served(&query, vec![payment.clone()]).1.drafts.remove(0)
    };
    let data: Value = serde_json::from_str(&refund("").data).unwrap();
    assert_eq!((data["account"].as_str(), data["amount"]["value"].as_str()), (Some("500100200300"), Some("1.00")));
    assert_ne!(refund("&refundedAmount=100").id, refund("&refundedAmount=200").id);
    assert_eq!(refund("&externalRefundId=r1&refundedAmount=1").id, refund("&externalRefundId=r1&refundedAmount=2").id);
    let reversal = "mdOrder=3ff6962a-7dcc&orderNumber=x&operation=reversed&status=1";
    let (_, hub) = served(reversal, vec![payment]);
    let data = hub.data(0);
    assert_eq!(data["amount"]["value"], "1234.56");
    assert!(served(reversal, vec![]).1.drafts.is_empty());
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (from, to, wanted) in [
        ("amount=123456", "amount=1234.56", "bad-field"),
        ("amount=123456", "amount=0", "bad-field"),
        ("&amount=123456", "", "missing-field"),
        ("mdOrder=3ff6962a-7dcc&", "", "missing-field"),
        ("status=1", "status=2", "bad-field"),
        ("amount=123456", "amount=123456&currency=840", "bad-currency"),
        ("amount=123456", "amount=123456&currency=xyz", "bad-currency"),
        ("=deposited", "=rewarded", "unknown-operation"),
        ("=deposited", "=", "missing-field"),
        ("status=1", "status=1&status=0", "bad-request"),
        ("operation=deposited&", "", "missing-field"),
    ] {
        assert_eq!(code(&PAID.replace(from, to)), wanted, "{to}");
    }
    for (operation, status) in
        [("deposited", "0"), ("approved", "1"), ("bindingCreated", "1"), ("declinedByTimeout", "0")]
    {
        let (result, hub) = served(
            &PAID.replace("=deposited", &format!("={operation}")).replace("status=1", &format!("status={status}")),
            vec![],
        );
        assert_eq!((result.unwrap().status, hub.drafts.len(), hub.infos.len()), (200, 0, 1), "{operation}");
    }
}

#[test]
fn moments_of_java() {
    for (text, seconds) in [
        ("Mon Jan 31 21:46:52 UTC 2022", Some(1_643_665_612)),
        ("Tue Feb 01 00:46:52 MSK 2022", Some(1_643_665_612)),
        ("Tue Feb 1 00:46:52 GMT+03:00 2022", Some(1_643_665_612)),
        ("Mon Feb 30 21:46:52 UTC 2022", None),
        ("Tue Feb 01 04:46:52 KRAT 2022", Some(1_643_665_612)),
        ("Mon Jan 31 21:46:52 CET 2022", None),
        ("Mon Jan 31 21:46:52 UTC 1066", None),
        ("2022-01-31T21:46:52", None),
        ("", None),
    ] {
        assert_eq!(moment(text), seconds, "{text}");
    }
}

#[test]
fn one_payment_and_another() {
    let (_, mut paid) = served(PAID, vec![]);
    let known = message_of(&paid.drafts.remove(0));
    // Alike but for the order: two. The same once more, however written, and without a moment that can be read: one.
    for (other, wanted) in [
        (PAID.replace("3ff6962a-7dcc", "3ff6962a-7dcd"), Ok(1)),
        (format!("callbackCreationDate=yesterday&{PAID}"), Ok(0)),
        (format!("{PAID}&depositedAmount=123456&currency=643"), Ok(0)),
        (PAID.replace("123456", "123457"), Err("other-sum")),
        (PAID.replace("500100200300", "500100200301"), Err("other-account")),
    ] {
        let (result, hub) = served(&other, vec![known.clone()]);
        let came = match &result {
            Err(Failure::Rejected(rejection)) => Err(rejection.code.as_str()),
            _ => Ok(hub.drafts.len()),
        };
        assert_eq!(came, wanted, "{other}");
    }
    let (result, hub) = served(&format!("{PAID}&callbackCreationDate=yesterday"), vec![]);
    assert_eq!(
        (result.is_ok(), hub.drafts.len(), hub.warnings.len()),
        (true, 1, 1),
        "the moment it came at, and a warning"
    );
}

#[test]
fn one_refund_and_another() {
    let (_, mut paid) = served(PAID, vec![]);
    let payment = message_of(&paid.drafts.remove(0));
    let refund = |more: &str| {
        format!("mdOrder=3ff6962a-7dcc&orderNumber=x&operation=refunded&status=1&operationRefundedAmount=100{more}")
    };
    // Two of one sum on one day are told apart by their number or the sum of all so far; without either nobody can.
    for (first, second, wanted) in [
        ("&refundedAmount=100", "&refundedAmount=200", Ok(1)),
        ("&refundedAmount=100", "&refundedAmount=100", Ok(0)),
        ("&externalRefundId=r1", "&externalRefundId=r2", Ok(1)),
        ("&externalRefundId=r1", "&externalRefundId=r1&refundedAmount=100", Ok(0)),
        ("&refundedAmount=100", "&externalRefundId=r1&refundedAmount=100", Ok(0)),
        ("", "", Err("ambiguous-refund")),
    ] {
        let (_, mut hub) = served(&refund(first), vec![payment.clone()]);
        let known = message_of(&hub.drafts.remove(0));
        let (result, hub) = served(&refund(second), vec![payment.clone(), known]);
        let came = match &result {
            Err(Failure::Rejected(rejection)) => Err(rejection.code.as_str()),
            _ => Ok(hub.drafts.len()),
        };
        assert_eq!(came, wanted, "{first} {second}");
    }
    // Of two orders under one number of the shop's, of two sums without any, and whole payments of one sum.
    let (_, mut paid) = served(&PAID.replace("7dcc", "7dcd"), vec![]);
    let other = message_of(&paid.drafts.remove(0));
    let reversal = "mdOrder=3ff6962a-7dcc&orderNumber=x&operation=reversed&status=1";
    for (first, from, to) in [
        (refund("&externalRefundId=r1"), "7dcc", "7dcd"),
        (refund(""), "Amount=100", "Amount=101"),
        (reversal.to_owned(), "7dcc", "7dcd"),
    ] {
        let payments = vec![payment.clone(), other.clone()];
        let (_, mut hub) = served(&first, payments.clone());
        let known = [payments, vec![message_of(&hub.drafts.remove(0))]].concat();
        for (second, drafts) in [(first.clone(), 0), (first.replace(from, to), 1)] {
            let (result, hub) = served(&second, known.clone());
            // The same sum once more, without a number, is refused.
            assert_eq!((result.is_ok() || drafts == 0, hub.drafts.len()), (true, drafts), "{second}");
        }
    }
}

fn message_of(draft: &Draft) -> Message {
    message("/demo/sber", &draft.id, &draft.type_, draft.data.as_str())
}

#[test]
fn damaged_requests_are_never_a_panic() {
    let whole = format!("{PAID}&callbackCreationDate=Mon%20Jan%2031%2021:46:52%20UTC%202022");
    for bytes in mutations::of(whole.as_bytes(), 3_000) {
        drop(served(&String::from_utf8_lossy(&bytes), vec![]));
    }
}
