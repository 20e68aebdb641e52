use busbar_sdk::TestHub;
use serde_json::{Value, json};

use super::{BOX, ENTITY, MESSAGE, NOW_TICKS, answering, event, known, letter, patch, run, stated};

#[test]
fn a_value_that_nobody_knows_is_stated_as_unknown() {
    for name in ["RevocationStatus", "RecipientResponseStatus", "RoamingNotificationStatus"] {
        for value in [format!("Unknown{name}"), format!("{name}OfNextYear")] {
            let info = json!({ "DocumentDirection": "Outbound", "DeliveryTimestampTicks": NOW_TICKS, name: value });
            let drafts = stated(&letter(&info), &mut TestHub::default());
            let data: Value = serde_json::from_str(&drafts.first().unwrap().data).unwrap();
            assert_eq!(data.pointer("/status"), Some(&json!("unknown")));
            assert_eq!(data.pointer("/reason/text"), Some(&json!(format!("{name} {value}"))));
        }
    }
    for (name, kind) in [
        ("UniversalTransferDocument", Some("transfer-document")),
        ("InvoiceCorrection", Some("correction")),
        ("Nonformalized", None),
        ("Waybill_2030", Some("unknown")),
    ] {
        let drafts = stated(&letter(&json!({ "TypeNamedId": name })), &mut TestHub::default());
        let data: Value = serde_json::from_str(&drafts.first().unwrap().data).unwrap();
        assert_eq!(data.pointer("/document/kind").and_then(Value::as_str), kind, "{name}");
    }
}

#[test]
fn what_money_is_in_is_known_or_the_document_is_left_out() {
    let of = |currency: &Value, total: &str| json!({ "UniversalTransferDocumentMetadata": { "Total": total, "Currency": currency } });
    let listed = |key: &str, currency: &str| {
        json!({ "UniversalTransferDocumentMetadata": null,
            "Metadata": [{ "Key": "TotalSum", "Value": "5.00" }, { "Key": key, "Value": currency }] })
    };
    for (info, expected) in [
        (of(&json!(643), "118.5"), "118.50 RUB"),
        (of(&json!("810"), "1"), "1.00 RUB"),
        (of(&json!(784), "118.50"), "118.50 AED"),
        (of(&json!("036"), "118.50"), "118.50 AUD"),
        (of(&json!("USD"), "118.50"), "118.50 USD"),
        (of(&json!(392), "118.00"), "118 JPY"),
        (of(&json!("414"), "1.005"), "1.005 KWD"),
        (listed("CurrencyCode", "978"), "5.00 EUR"),
        (of(&json!(392), "118.50"), "bad-amount"),
        (of(&json!(643), "118.505"), "bad-amount"),
        (of(&json!(643), "много"), "bad-amount"),
        (of(&json!(123), "118.50"), "unknown-currency"),
        (of(&json!(959), "118.50"), "unknown-currency"),
        (listed("Currency", "000"), "unknown-currency"),
        (json!({ "DocumentDirection": "Sideways" }), "unknown-direction"),
    ] {
        let mut hub = TestHub::default();
        let drafts = stated(&letter(&info), &mut hub);
        let came = match drafts.first() {
            Some(draft) => {
                let data: Value = serde_json::from_str(&draft.data).unwrap();
                let at = |path: &str| data.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
                format!("{} {}", at("/amount/value"), at("/amount/currency"))
            }
            None => hub.left_out.first().unwrap().code.clone(),
        };
        assert_eq!(came, expected, "{info}");
    }
}

#[test]
fn a_document_that_joins_a_letter_later_is_stated() {
    let mut message = letter(&json!({}));
    let mut other = message["Entities"][0].clone();
    other["EntityId"] = MESSAGE.into();
    message["Entities"].as_array_mut().unwrap().push(other);
    let events = json!({ "Events": [event("Patch", "k2", &patch())] });
    let mut hub = TestHub { known: known().known, ..answering(&[(200, events.clone()), (200, message.clone())]) };
    run(&json!({}), None, &mut hub).unwrap();
    assert_eq!(hub.drafts.len(), 1);
    assert_eq!(hub.data(0)["files"][0]["id"], format!("{MESSAGE}/{MESSAGE}"));
    // Nobody has heard of either where the feed is read from later on.
    let mut hub = answering(&[(200, events), (200, message)]);
    run(&json!({}), None, &mut hub).unwrap();
    assert_eq!(hub.drafts.len(), 2);
}

#[test]
fn a_letter_and_its_change_in_one_poll_are_one_document() {
    let message = letter(&json!({}));
    let events = json!({ "Events": [event("Message", "k1", &message), event("Patch", "k2", &patch())] });
    let mut hub = answering(&[(200, events), (200, message)]);
    run(&json!({}), None, &mut hub).unwrap();
    assert_eq!((hub.requests.len(), hub.drafts.len()), (2, 1));
}

#[test]
fn events_may_share_a_key() {
    let other = |id: &str| {
        let mut message = letter(&json!({}));
        message["MessageId"] = id.into();
        message
    };
    let page = |keys: &[(&str, &str)]| {
        let events: Vec<Value> = keys.iter().map(|(key, id)| event("Message", key, &other(id))).collect();
        json!({ "Events": events })
    };
    let mut hub = answering(&[(200, page(&[("k1", MESSAGE), ("k1", ENTITY), ("k2", BOX)]))]);
    let (cursor, _) = run(&json!({}), None, &mut hub).unwrap();
    assert_eq!((hub.drafts.len(), cursor.contains("k2")), (3, true));
    // A page that ends where it began is none.
    let mut hub = answering(&[(200, page(&[("k2", MESSAGE)]))]);
    assert_eq!(run(&json!({}), Some(&cursor), &mut hub).unwrap_err(), "bad-answer answer/Events/0/IndexKey");
    // A poll that ends among events with one key begins with all of them again.
    let id = |index: usize| format!("0b9d4c1e-7a52-4f0e-9d6b-{index:012}");
    let patch = |index: usize| json!({ "MessageId": id(index), "TimestampTicks": NOW_TICKS });
    let key = |index: usize| if index < 20 { format!("k{index}") } else { "k20".to_owned() };
    let events: Vec<Value> = (0..30).map(|index| event("Patch", &key(index), &patch(index))).collect();
    let mut answers = vec![(200, json!({ "Events": events }))];
    answers.extend((0..30).map(|_| (404, json!({}))));
    let (cursor, more) = run(&json!({}), None, &mut answering(&answers)).unwrap();
    assert_eq!((cursor.contains(r#""k19""#), more), (true, true));
}
