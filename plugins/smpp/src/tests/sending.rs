use super::*;

const SUBMITTED: u32 = pdu::SUBMIT_SM | pdu::RESPONSE;

#[test]
fn sent_answered_and_delivered() {
    let mut far = Far::bound(json!({}), MapStore::default());
    let step = far.give(7, &notification("n-1", "Свет"), false).unwrap();
    let pdus = sent(&step);
    assert_eq!(heads(&step), [(pdu::SUBMIT_SM, 0, 2)]);
    let mut expected = b"\0\x05\0ENERGO\0\x01\x0179161234567\0\0\0\0\0\0\x01\0\x08\0\x08".to_vec();
    expected.extend([0x04, 0x21, 0x04, 0x32, 0x04, 0x35, 0x04, 0x42]);
    assert_eq!(pdus[0].body, expected);
    assert_eq!(step.timer_ms, Some(20_000));
    assert_eq!(settled(&far.get(&response(pdu::SUBMIT_SM, 0, 2, "0A1F")).unwrap()), [(7, "ok".to_owned())]);
    assert!(far.said().is_empty());
    // The receipt has the id in decimal.
    let step = far.get(&receipt(50, "2591", "DELIVRD")).unwrap();
    assert_eq!(heads(&step), [(pdu::DELIVER_SM | pdu::RESPONSE, 0, 50)]);
    let expected = json!({ "id": "n-1", "channel": "sms", "account": "5001", "sender": "ENERGO", "providerId": "0A1F", "parts": 1,
        "deliveredAt": "2026-11-22T12:00:00+03:00" });
    assert_eq!(far.said(), [("notification.delivered.v1".to_owned(), expected)]);
    assert!(far.is_forgotten());
    // It comes again: not ours any more, acknowledged after a while.
    assert!(sent(&far.get(&receipt(51, "2591", "DELIVRD")).unwrap()).is_empty());
    assert_eq!(heads(&far.timer(5).unwrap()), [(pdu::DELIVER_SM | pdu::RESPONSE, 0, 51)]);
    assert!(far.said().is_empty());
}

#[test]
fn a_receipt_before_the_answer() {
    let mut far = Far::bound(json!({}), MapStore::default());
    far.give(7, &notification("n-1", "Hi"), false).unwrap();
    let step = far.get(&receipt(50, "x1", "DELIVRD")).unwrap();
    assert_eq!((sent(&step).len(), step.timer_ms), (0, Some(5000)));
    let step = far.get(&response(pdu::SUBMIT_SM, 0, 2, "X1")).unwrap();
    assert_eq!((heads(&step), far.said().len()), (vec![(pdu::DELIVER_SM | pdu::RESPONSE, 0, 50)], 1));
}

#[test]
fn an_id_in_the_other_system_must_have_the_same_phone() {
    let mut far = Far::bound(json!({}), MapStore::default());
    far.give(7, &notification("n-1", "Hi"), false).unwrap();
    far.get(&response(pdu::SUBMIT_SM, 0, 2, "256")).unwrap();
    let other = deliver(50, "79990000000", 4, 0, b"id:100 stat:DELIVRD", &[]);
    far.get(&other).unwrap();
    assert!(far.said().is_empty());
    far.get(&deliver(51, "8 916 123-45-67", 4, 0, b"id:100 stat:UNDELIV err:007", &[])).unwrap();
    let said = far.said();
    assert_eq!(said[0].1["reason"], json!({ "code": "undeliverable", "text": "UNDELIV, error 007" }));
}

#[test]
fn parts_are_joined_by_a_header() {
    let mut far = Far::bound(json!({}), MapStore::default());
    let step = far.give(7, &notification("n-1", &"я".repeat(135)), false).unwrap();
    let pdus = sent(&step);
    assert_eq!(pdus.len(), 3);
    let part = |at: usize| {
        let body = &pdus[at].body;
        let start = body.len() - [140, 140, 8][at];
        // esm_class; length and header without the reference.
        (body[24], body[start - 1], body[start..start + 3].to_vec(), body[start + 4..start + 6].to_vec())
    };
    assert_eq!(part(0), (0x40, 140, vec![5, 0, 3], vec![3, 1]));
    assert_eq!(part(1), (0x40, 140, vec![5, 0, 3], vec![3, 2]));
    assert_eq!(part(2), (0x40, 8, vec![5, 0, 3], vec![3, 3]));
    // One write for all: what was sent is known before it is.
    assert_eq!(far.store.0.keys().filter(|key| key.starts_with("sent:")).count(), 1);
    assert!(settled(&far.get(&response(pdu::SUBMIT_SM, 0, 3, "b")).unwrap()).is_empty());
    assert!(settled(&far.get(&response(pdu::SUBMIT_SM, 0, 2, "a")).unwrap()).is_empty());
    assert_eq!(settled(&far.get(&response(pdu::SUBMIT_SM, 0, 4, "c")).unwrap()), [(7, "ok".to_owned())]);
    // Delivered when all are; failed when one is, once.
    far.get(&receipt(50, "a", "DELIVRD")).unwrap();
    assert!(far.said().is_empty());
    let kept = far.store.clone();
    far.get(&receipt(51, "c", "DELIVRD")).unwrap();
    far.get(&receipt(52, "b", "DELIVRD")).unwrap();
    let said = far.said();
    assert_eq!((said.len(), said[0].0.as_str(), &said[0].1["parts"]), (1, "notification.delivered.v1", &json!(3)));
    assert!(far.is_forgotten());
    far.store = kept;
    far.get(&receipt(51, "c", "EXPIRED")).unwrap();
    far.get(&receipt(51, "c", "EXPIRED")).unwrap();
    far.get(&receipt(52, "b", "UNDELIV")).unwrap();
    let said = far.said();
    let reason = json!({ "code": "expired", "text": "EXPIRED, part 3 of 3" });
    assert_eq!((said.len(), &said[0].1["reason"]), (1, &reason));
    assert!(far.is_forgotten());
}

#[test]
fn long_texts_whole() {
    let mut far = Far::bound(json!({ "long": "payload", "receipts": false }), MapStore::default());
    let pdus = sent(&far.give(7, &notification("n-1", &"a".repeat(161)), false).unwrap());
    let body = &pdus[0].body;
    assert_eq!(body[body.len() - 166..body.len() - 161], [0, 0x04, 0x24, 0, 161]);
    assert_eq!(settled(&far.get(&response(pdu::SUBMIT_SM, 0, 2, "a")).unwrap()), [(7, "ok".to_owned())]);
    // No receipts, nothing to remember.
    assert!(far.is_forgotten());
}

#[test]
fn the_window_is_kept() {
    let mut far = Far::bound(json!({ "window": 2 }), MapStore::default());
    for n in 0..3 {
        far.give(n, &notification(&n.to_string(), "Hi"), false).unwrap();
    }
    let step = far.get(&response(pdu::SUBMIT_SM, 0, 3, "b")).unwrap();
    assert_eq!((heads(&step), settled(&step)), (vec![(pdu::SUBMIT_SM, 0, 4)], vec![(1, "ok".to_owned())]));
    let mut far = Far::bound(json!({ "per-second": 2 }), MapStore::default());
    assert_eq!(sent(&far.give(1, &notification("1", "Hi"), false).unwrap()).len(), 1);
    let step = far.give(2, &notification("2", "Hi"), false).unwrap();
    assert_eq!((sent(&step).len(), step.timer_ms), (0, Some(500)));
    far.now += 500;
    assert_eq!(sent(&far.timer(0).unwrap()).len(), 1);
}

#[test]
fn too_much_slows_down() {
    let mut far = Far::bound(json!({ "window": 1 }), MapStore::default());
    far.give(1, &notification("1", &"я".repeat(71)), false).unwrap();
    far.give(2, &notification("2", "Hi"), false).unwrap();
    // The first part is taken, the second not; the other message was not sent at all.
    far.get(&response(pdu::SUBMIT_SM, 0, 2, "a")).unwrap();
    let step = far.get(&response(pdu::SUBMIT_SM, 0x58, 3, "")).unwrap();
    assert_eq!(settled(&step), [(2, "rate-limited 1000".to_owned()), (1, "rate-limited 1000".to_owned())]);
    assert_eq!(code_of(&far.give(2, &notification("2", "Hi"), false).unwrap_err()), "rate-limited 1000");
    far.now += 1000;
    // Only the part that is missing is sent.
    let pdus = sent(&far.give(1, &notification("1", &"я".repeat(71)), false).unwrap());
    assert_eq!((pdus.len(), pdus[0].body[pdus[0].body.len() - 9]), (1, 2));
    // Again too much: twice as long.
    let step = far.get(&response(pdu::SUBMIT_SM, 0x14, 4, "")).unwrap();
    assert_eq!(settled(&step), [(1, "rate-limited 2000".to_owned())]);
    far.now += 2000;
    far.give(1, &notification("1", &"я".repeat(71)), false).unwrap();
    assert_eq!(settled(&far.get(&response(pdu::SUBMIT_SM, 0, 5, "b")).unwrap()), [(1, "ok".to_owned())]);
    // Sent already, whole.
    assert_eq!(settled(&far.give(1, &notification("1", &"я".repeat(71)), false).unwrap()), [(1, "ok".to_owned())]);
}

#[test]
fn refused_parts() {
    let mut far = Far::bound(json!({}), MapStore::default());
    far.give(1, &notification("1", &"я".repeat(71)), false).unwrap();
    far.get(&response(pdu::SUBMIT_SM, 0x45, 2, "")).unwrap();
    let step = far.get(&response(pdu::SUBMIT_SM, 0, 3, "b")).unwrap();
    assert_eq!(settled(&step), [(1, "refused part 1 of 2".to_owned())]);
    // A person tries again: only that part.
    assert_eq!(sent(&far.give(1, &notification("1", &"я".repeat(71)), false).unwrap()).len(), 1);
    let step = far.get(&pdu::encode(pdu::GENERIC_NACK, 8, 4, b"")).unwrap();
    assert_eq!(settled(&step), [(1, "transient".to_owned())]);
    let Err(Failure::Transient(delay)) = &step.settled[0].outcome else { panic!() };
    assert!(delay.reason.ends_with("1 of 2 parts are on their way and will not be sent again"), "{}", delay.reason);
    // No such number: said, and done.
    far.give(2, &notification("2", "Hi"), false).unwrap();
    let step = far.get(&response(pdu::SUBMIT_SM, 0x0B, 5, "")).unwrap();
    assert_eq!(settled(&step), [(2, "ok".to_owned())]);
    assert_eq!(far.said()[0].1["reason"]["code"], "unknown-recipient");
}

#[test]
fn no_answer() {
    let mut far = Far::bound(json!({ "enquire-s": 100 }), MapStore::default());
    far.give(1, &notification("1", "Hi"), false).unwrap();
    let step = far.timer(20).unwrap();
    assert_eq!(settled(&step), [(1, "unknown-outcome: 1 of 1 parts got no answer".to_owned())]);
    // It comes late: the receipt will be understood.
    far.get(&response(pdu::SUBMIT_SM, 0, 2, "a")).unwrap();
    far.get(&receipt(50, "a", "DELIVRD")).unwrap();
    assert_eq!((far.said().len(), far.seen.warnings.len()), (1, 0));
    // The connection is lost with one sent and one waiting.
    let mut far = Far::bound(json!({ "window": 1 }), MapStore::default());
    far.give(1, &notification("1", "Hi"), false).unwrap();
    far.give(2, &notification("2", "Hi"), false).unwrap();
    let ended: Vec<_> =
        far.smpp.disconnected().iter().map(|s| (s.delivery, code_of(s.outcome.as_ref().unwrap_err()))).collect();
    let lost = "unknown-outcome: the connection was lost before 1 of 1 parts were answered".to_owned();
    assert_eq!(ended, [(1, lost), (2, "transient".to_owned())]);
    // The hub was killed: what was sent is not repeated, what was not is; and a person may repeat it.
    let mut far = Far::bound(json!({}), far.store);
    let failure = far.give(1, &notification("1", "Hi"), true).unwrap_err();
    assert_eq!(code_of(&failure), "unknown-outcome: part 1 of 1 was sent, and no answer came");
    assert_eq!(sent(&far.give(2, &notification("2", "Hi"), true).unwrap()).len(), 1);
    assert_eq!(sent(&far.give(1, &notification("1", "Hi"), false).unwrap()).len(), 1);
    // The host gave up and tries again while it is still on its way here.
    assert!(sent(&far.give(9, &notification("1", "Hi"), false).unwrap()).is_empty());
    assert_eq!(settled(&far.get(&response(pdu::SUBMIT_SM, 0, 3, "b")).unwrap()), [(9, "ok".to_owned())]);
    assert_eq!(SUBMITTED, 0x8000_0004);
}

#[test]
fn what_is_not_sent() {
    let mut far = Far::bound(json!({ "max-parts": 2 }), MapStore::default());
    let with = |more: Value| {
        let mut data = json!({ "id": "n", "channel": "sms", "recipient": { "phone": "+79161234567" }, "text": "Hi" });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Message { data: data.to_string(), ..notification("n", "") }
    };
    for (more, expected) in [
        (json!({ "channel": "email" }), "unsupported-channel /data/channel"),
        (json!({ "text": null }), "no-text /data/text"),
        (json!({ "recipient": { "customer": "c" } }), "no-phone /data/recipient/phone"),
        (json!({ "sender": "ЭНЕРГО" }), "bad-sender /data/sender"),
        (json!({ "sender": "ENERGOSBYT-1" }), "bad-sender /data/sender"),
        (json!({ "text": "я".repeat(135) }), "too-many-parts /data/text"),
        (json!({ "validUntilAt": "soon" }), "bad-validity /data/validUntilAt"),
        (
            json!({ "notBeforeAt": "2026-11-23T10:00:00+03:00", "validUntilAt": "2026-11-23T10:00:00+03:00" }),
            "bad-validity /data/validUntilAt",
        ),
    ] {
        assert_eq!(code_of(&far.give(1, &with(more), false).unwrap_err()), expected);
    }
    // Its time is over: said, not sent.
    let step = far.give(1, &with(json!({ "validUntilAt": "2026-11-22T11:00:00+03:00" })), false).unwrap();
    assert_eq!((settled(&step), sent(&step).len()), (vec![(1, "ok".to_owned())], 0));
    assert_eq!(far.said()[0].1["reason"]["code"], "expired");
    // Times in UTC; a short number; a long one.
    let more = json!({ "notBeforeAt": "2026-11-23T10:00:00+03:00", "validUntilAt": "2026-11-23T12:00:00+03:00", "sender": "4040" });
    let body = sent(&far.give(2, &with(more), false).unwrap()).remove(0).body;
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(text.contains("261123070000000+\u{0}261123090000000+\u{0}"), "{text}");
    assert!(body.starts_with(b"\0\x03\x004040\0\x01\x01"));
    let body = sent(&far.give(3, &with(json!({ "sender": "+74955550101" })), false).unwrap()).remove(0).body;
    assert!(body.starts_with(b"\0\x01\x0174955550101\0"));
    let mut far = Far::bound(json!({ "sender": "" }), MapStore::default());
    assert_eq!(code_of(&far.give(1, &with(json!({})), false).unwrap_err()), "no-sender /data/sender");
}

#[test]
fn receipts_that_never_come() {
    let mut store = MapStore::default();
    let old =
        crate::memory::Sent { parts: vec![part("x")], ..crate::memory::Sent::new("n".into(), None, None, "+7", 1, 1) };
    store.set("begun", b"99999".to_vec());
    store.set("begun:99999", b"\"old\"".to_vec());
    store.set("sent:old", serde_json::to_vec(&old).unwrap());
    store.set("id:x", br#"{"key":"old","part":0}"#.to_vec());
    let mut far = Far::bound(json!({}), store);
    far.give(1, &notification("1", "Hi"), false).unwrap();
    assert_eq!(far.store.get("begun").unwrap(), b"0");
    assert_eq!((far.store.get("sent:old"), far.store.get("id:x")), (None, None));
    // The counter, the first that is looked for, the slot, what was sent.
    assert_eq!(far.store.0.len(), 4);
    let (kind, data) = far.said().remove(0);
    assert_eq!((kind.as_str(), &data["reason"]["code"]), ("notification.failed.v1", &json!("unknown")));
}

const LONG: &str =
    "Уважаемый потребитель! Отключение с 9:00 до 17:00 по адресу ул. Липовая, дома 1-15. Справки по телефону.";

fn counted(sequence: u32, id: &str, arrived: &str) -> Vec<u8> {
    let text = format!("id:{id} sub:{arrived} dlvrd:{arrived} done date:2611221200 stat:DELIVRD err:000");
    deliver(sequence, "79161234567", 4, 0, text.as_bytes(), &[])
}

fn two_parts(more: Value, first: &str, second: &str) -> Far {
    let mut far = Far::bound(more, MapStore::default());
    far.give(1, &notification("1", LONG), false).unwrap();
    far.get(&[response(pdu::SUBMIT_SM, 0, 2, first), response(pdu::SUBMIT_SM, 0, 3, second)].concat()).unwrap();
    far
}

fn kinds(far: &mut Far) -> Vec<String> {
    far.said()
        .into_iter()
        .map(|(kind, data)| format!("{kind} {}", data["reason"]["code"].as_str().unwrap_or("")))
        .collect()
}

#[test]
fn receipts_of_several_parts() {
    const DELIVERED: &str = "notification.delivered.v1 ";
    // One id for all parts, a receipt for each.
    let mut far = two_parts(json!({}), "AA1", "AA1");
    far.get(&receipt(9, "AA1", "DELIVRD")).unwrap();
    assert!(far.said().is_empty());
    far.get(&receipt(10, "AA1", "DELIVRD")).unwrap();
    assert_eq!(kinds(&mut far), [DELIVERED]);
    assert!(far.is_forgotten());
    // One receipt for all that says so, and one of a centre that does it always.
    let mut far = two_parts(json!({}), "AA1", "AA2");
    far.get(&counted(9, "AA2", "002")).unwrap();
    assert_eq!(kinds(&mut far), [DELIVERED]);
    let mut far = two_parts(json!({ "one-receipt": true }), "AA1", "AA2");
    far.get(&receipt(9, "AA1", "DELIVRD")).unwrap();
    assert_eq!(kinds(&mut far), [DELIVERED]);
}

#[test]
fn what_is_never_heard_of_is_unknown_at_last() {
    let mut far = two_parts(json!({ "outcome-wait-s": 7200 }), "AA1", "AA2");
    far.get(&receipt(9, "AA1", "DELIVRD")).unwrap();
    far.timer(7199).unwrap();
    assert!(far.said().is_empty());
    // Over a restart.
    let mut far = Far { now: far.now, ..Far::bound(json!({ "outcome-wait-s": 7200 }), far.store) };
    far.timer(1).unwrap();
    let (kind, data) = far.said().remove(0);
    assert_eq!(kind, "notification.failed.v1");
    assert_eq!(
        data["reason"],
        json!({ "code": "unknown", "text": "no receipt within 2 h, 1 of 2 parts were delivered" })
    );
    far.timer(7200).unwrap();
    assert!(far.said().is_empty());
    // It comes nevertheless.
    far.get(&receipt(10, "AA2", "DELIVRD")).unwrap();
    assert_eq!(kinds(&mut far), ["notification.delivered.v1 "]);
    // Settled in time: nothing more is said. Not before it may be sent at all.
    let mut far = two_parts(json!({ "outcome-wait-s": 7200 }), "AA1", "AA2");
    far.get(&[receipt(9, "AA1", "DELIVRD"), receipt(10, "AA2", "DELIVRD")].concat()).unwrap();
    assert_eq!(far.said().len(), 1);
    far.timer(8000).unwrap();
    assert!(far.said().is_empty());
    let mut far = Far::bound(json!({ "outcome-wait-s": 3600 }), MapStore::default());
    let mut later = notification("1", "Hi");
    later.data = later.data.replace("\"channel\"", "\"notBeforeAt\":\"2026-11-22T13:00:00+03:00\",\"channel\"");
    far.give(1, &later, false).unwrap();
    far.get(&response(pdu::SUBMIT_SM, 0, 2, "x")).unwrap();
    far.timer(7199).unwrap();
    assert!(far.said().is_empty());
    far.timer(1).unwrap();
    assert_eq!(kinds(&mut far), ["notification.failed.v1 unknown"]);
}

fn part(id: &str) -> crate::memory::Part {
    crate::memory::Part { state: crate::memory::PartState::Accepted, id: id.into() }
}
