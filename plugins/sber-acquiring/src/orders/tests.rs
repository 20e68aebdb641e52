#![allow(clippy::unwrap_used)]

use busbar_sdk::mutations;
use busbar_sdk::test_hub::{TestHub, message};
use serde_json::json;

use super::*;

const INVOICE: &str = r#"{"account":"500100200300","number":"2026-11-000017","issuedOn":"2026-11-01",
    "amount":{"value":"1052.98","currency":"RUB"}}"#;
const PAGE: &str =
    r#"{"orderId":"7c1f2e9a-0001","formUrl":"https://pay.example/payment_ru.html?mdOrder=7c1f2e9a-0001"}"#;
const PAID: &str = r#"{"errorCode":"0","errorMessage":"Успешно","orderNumber":"busbar-1","orderStatus":2,"amount":105298,
    "currency":"643","depositedDate":1795338000000,"attributes":[{"name":"mdOrder","value":"7c1f2e9a-0001"}],
    "paymentAmountInfo":{"paymentState":"DEPOSITED","approvedAmount":105298,"depositedAmount":105298,"refundedAmount":0}}"#;

fn invoice() -> Message {
    message("/demo/billing", "invoice-17", "invoice.issued.v1", INVOICE)
}

/// Path and form of a request.
fn sent(hub: &TestHub, index: usize) -> String {
    let request = &hub.requests[index];
    let path = request.url.strip_prefix(&settings().base_url).unwrap();
    format!("{path}?{}", String::from_utf8(request.body.clone()).unwrap())
}

fn settings() -> Settings {
    let raw = json!({ "credential": "key", "user-credential": "login", "password-credential": "password", "return-url": "https://portal.example/paid" });
    Settings::compiled(serde_json::from_value(raw).unwrap()).ok().unwrap()
}

/// A page was made; two hours later the gateway says this of the order.
fn asked(status: &str) -> TestHub {
    let mut world = TestHub::answering(&[(200, PAGE)]);
    deliver(&settings(), &invoice(), &mut world).unwrap();
    world.commit();
    world.now_ms += 2 * 3_600_000;
    world.answer(&[(200, status)]);
    let mut cursor = None;
    loop {
        let Ok(polled) = poll(&settings(), cursor.as_deref(), &mut world) else { return world };
        cursor = polled.cursor;
        if !polled.more {
            return world;
        }
    }
}

fn types(world: &TestHub) -> Vec<String> {
    world.drafts.iter().map(|draft| draft.type_.clone()).collect()
}

#[test]
fn an_order_is_registered_in_kopecks() {
    let world = asked("{}");
    let number: String =
        ids::derived(&["sber-acquiring", "/demo/billing", "invoice-17"]).chars().take(NUMBER_DIGITS).collect();
    let wanted =
        format!("/register.do?orderNumber=busbar-{number}&amount=105298&returnUrl=https%3A%2F%2Fportal.example%2Fpaid");
    assert!(sent(&world, 0).starts_with(&wanted), "{}", sent(&world, 0));
    assert!(sent(&world, 0).ends_with("&expirationDate=2026-12-01T23%3A59%3A59"), "{}", sent(&world, 0));
    assert_eq!(sent(&world, 1), "/getOrderStatusExtended.do?orderId=7c1f2e9a-0001");
}

#[test]
fn an_order_without_a_callback_is_asked_about() {
    let world = asked(PAID);
    assert_eq!(types(&world), ["payment.link.issued.v1", "payment.received.v1"]);
    assert_eq!(world.drafts[1].id, mapping::payment_id("7c1f2e9a-0001"));
    assert_eq!(world.drafts[1].time.as_deref(), Some("2026-11-22T12:00:00+03:00"));
    assert_eq!(world.store.0.len(), 1);
    for (status, left) in [("0", 2), ("1", 2), ("5", 2), ("6", 2), ("3", 1), ("null", 2)] {
        let world = asked(&PAID.replace("Status\":2", &format!("Status\":{status}")));
        assert_eq!((world.drafts.len(), world.store.0.len()), (1, left), "{status}");
    }
}

#[test]
fn what_went_back_meanwhile_is_stated_too() {
    let sums = |world: &TestHub| -> Vec<String> {
        let data = world.drafts.iter().map(|draft| serde_json::from_str::<Value>(&draft.data).unwrap());
        data.map(|data| data["amount"]["value"].as_str().unwrap().to_owned()).collect()
    };
    let part = PAID
        .replace("depositedAmount\":105298,\"refundedAmount\":0", "depositedAmount\":100000,\"refundedAmount\":5298");
    let world = asked(&part);
    assert_eq!(sums(&world), ["1052.98", "1052.98", "52.98"]);
    // The id that a callback gives it, which says the sum of all so far.
    assert_eq!(world.drafts[2].id, mapping::refund_id("7c1f2e9a-0001", "5298", 5298));
    let listed = part.replace(
        "\"currency\"",
        "\"refunds\":[{\"amount\":5000},{\"amount\":298,\"externalRefundId\":\"r2\"}],\"currency\"",
    );
    let world = asked(&listed);
    assert_eq!(sums(&world), ["1052.98", "1052.98", "50.00", "2.98"]);
    assert_eq!(world.drafts[3].id, mapping::refund_id("7c1f2e9a-0001", "r2", 298));
    let world =
        asked(&PAID.replace("Status\":2", "Status\":4").replace("depositedAmount\":105298", "depositedAmount\":0"));
    assert_eq!(sums(&world), ["1052.98", "1052.98", "1052.98"]);
}

#[test]
fn the_number_of_an_order_that_exists_is_not_used_again() {
    let exists = r#"{"errorCode":1,"errorMessage":"Заказ с таким номером уже обработан"}"#;
    let mut world = TestHub::answering(&[(200, exists), (200, PAGE)]);
    deliver(&settings(), &invoice(), &mut world).unwrap();
    assert!(sent(&world, 1).contains("-2&amount=105298"), "{}", sent(&world, 1));
    assert_eq!(world.drafts.len(), 1);
}

#[test]
fn damaged_answers_are_never_a_panic() {
    for bytes in mutations::of(PAID.as_bytes(), 2_000) {
        drop(asked(&String::from_utf8_lossy(&bytes)));
    }
    for bytes in mutations::of(PAGE.as_bytes(), 2_000) {
        let mut world = TestHub::answering(&[(200, &String::from_utf8_lossy(&bytes))]);
        drop(deliver(&settings(), &invoice(), &mut world));
    }
}
