use super::*;

const TAKEN: u32 = pdu::DELIVER_SM | pdu::RESPONSE;

#[test]
fn what_people_write() {
    let mut far = Far::bound(json!({}), MapStore::default());
    let step = far.get(&deliver(3, "79160000001", 0, 8, &[0x04, 0x14, 0x04, 0x30], &[])).unwrap();
    assert_eq!(heads(&step), [(TAKEN, 0, 3)]);
    let id = far.seen.drafts[0].id.clone();
    let expected = json!({ "id": id, "receivedOn": "2026-11-22", "receivedAt": "2026-11-22T12:00:00+03:00", "channel": "sms",
        "customer": { "phone": "+79160000001" }, "text": "Да" });
    assert_eq!(far.said(), [("appeal.received.v1".to_owned(), expected)]);
    // The answer was lost and it comes again: once. Ten minutes later it was written again.
    assert_eq!(
        heads(&far.get(&deliver(4, "79160000001", 0, 8, &[0x04, 0x14, 0x04, 0x30], &[])).unwrap()),
        [(TAKEN, 0, 4)]
    );
    assert!(far.said().is_empty());
    far.now += 600_000;
    far.get(&deliver(5, "79160000001", 0, 8, &[0x04, 0x14, 0x04, 0x30], &[])).unwrap();
    assert_eq!(far.said().len(), 1);
    // Other alphabets; a name; message_payload; data_sm.
    far.get(&deliver(6, "BANK", 0, 0, &[0x00, 0x41], &[])).unwrap();
    far.get(&deliver(7, "900", 0, 3, b"\xE9", &[])).unwrap();
    far.get(&deliver(8, "79160000001", 0, 0, b"", &[(0x0424, b"long")])).unwrap();
    let data: Vec<u8> = [&b"\0\x01\x0179160000001\0\x01\x014040\0\0\0\0"[..], &[4, 0x24, 0, 2, b'h', b'i']].concat();
    let step = far.get(&pdu::encode(pdu::DATA_SM, 0, 9, &data)).unwrap();
    assert_eq!(heads(&step), [(pdu::DATA_SM | pdu::RESPONSE, 0, 9)]);
    let said: Vec<_> =
        far.said().into_iter().map(|(_, data)| (data["customer"].clone(), data["text"].clone())).collect();
    assert_eq!(
        json!(said),
        json!([[{ "name": "BANK" }, "@A"], [{ "name": "900" }, "é"], [{ "phone": "+79160000001" }, "long"],
            [{ "phone": "+79160000001" }, "hi"]])
    );
    // No text, and broken ones.
    assert_eq!(heads(&far.get(&deliver(10, "7916", 0, 4, b"\x01", &[])).unwrap()), [(TAKEN, 0, 10)]);
    assert_eq!(heads(&far.get(&deliver(11, "7916", 0x40, 0, &[9, 0], &[])).unwrap()), [(TAKEN, 1, 11)]);
    let mut short = deliver(12, "7916", 0, 0, b"1234", &[]);
    let length = short.len();
    short[length - 5] = 5;
    assert_eq!(heads(&far.get(&short).unwrap()), [(TAKEN, 1, 12)]);
    assert_eq!((far.said().len(), far.seen.warnings.len()), (0, 2));
    let left_out = far.seen.left_out.remove(0);
    assert_eq!((left_out.code.as_str(), left_out.place.as_deref()), ("no-text-in-coding", Some("message to 4040")));
}

fn part(sequence: u32, number: u8, bytes: &[u8]) -> Vec<u8> {
    deliver(sequence, "79160000001", 0x40, 8, &[&[5, 0, 3, 9, 3, number][..], bytes].concat(), &[])
}

#[test]
fn in_parts_over_a_restart() {
    // U+1F600 is torn apart by the first two.
    let mut far = Far::bound(json!({}), MapStore::default());
    assert_eq!(heads(&far.get(&part(3, 2, &[0xDE, 0x00])).unwrap()), [(TAKEN, 0, 3)]);
    let mut far = Far::bound(json!({}), far.store);
    far.get(&part(4, 3, &[0x04, 0x30])).unwrap();
    assert!(far.said().is_empty());
    far.get(&part(5, 1, &[0xD8, 0x3D])).unwrap();
    assert_eq!(far.said()[0].1["text"], "😀а");
    // The last part again, its answer was lost: it begins nothing.
    far.get(&part(6, 1, &[0xD8, 0x3D])).unwrap();
    far.timer(601).unwrap();
    assert!(far.said().is_empty());
}

#[test]
fn parts_that_never_come() {
    let mut far = Far::bound(json!({ "enquire-s": 3600, "response-s": 3600 }), MapStore::default());
    let step = far.get(&part(3, 2, &[0x04, 0x30])).unwrap();
    assert_eq!(step.timer_ms, Some(600_000));
    let mut far = Far::bound(json!({ "enquire-s": 3600, "response-s": 3600 }), far.store);
    far.timer(600).unwrap();
    let said = far.said();
    assert_eq!((&said[0].1["text"], &said[0].1["receivedAt"]), (&json!("…а…"), &json!("2026-11-22T12:00:00+03:00")));
    assert_eq!(far.seen.warnings, ["2 of 3 parts of a message never came; it is stated without them"]);
    far.timer(600).unwrap();
    assert!(far.said().is_empty());
    // Too many parts, and more incomplete messages than are kept.
    let many = deliver(3, "7916", 0x40, 0, &[5, 0, 3, 9, 51, 1, b'a'], &[]);
    assert_eq!(heads(&far.get(&many).unwrap()), [(TAKEN, 0x65, 3)]);
    for n in 0..200_u32 {
        let source = format!("7916{n:07}");
        let text = [&[5, 0, 3, 9, 2, 1][..], &[b'a'; 134]].concat();
        far.get(&deliver(n, &source, 0x40, 0, &text, &[])).unwrap();
    }
    assert!(far.said().len() > 50);
    assert!(far.store.0.values().all(|value| value.len() < 60 << 10));
}

#[test]
fn many_receipts_at_once_stay_within_the_limits() {
    let mut far = Far::bound(json!({ "window": 100 }), MapStore::default());
    for n in 0..100 {
        far.give(n, &notification(&n.to_string(), "Hi"), false).unwrap();
    }
    let answers: Vec<u8> = (2..102).flat_map(|n| response(pdu::SUBMIT_SM, 0, n, &format!("id{n}"))).collect();
    let receipts: Vec<u8> = (2..102).flat_map(|n| receipt(n, &format!("id{n}"), "DELIVRD")).collect();
    let mut settled = 0;
    let mut step = far.get(&[answers, receipts].concat()).unwrap();
    let mut calls = 0;
    loop {
        settled += step.settled.len();
        calls += 1;
        if step.timer_ms != Some(1) {
            break;
        }
        step = far.timer(0).unwrap();
    }
    assert_eq!((settled, far.said().len(), far.is_forgotten()), (100, 100, true));
    assert!(calls >= 400 / 64);
    // Receipts of nothing are held, but not without end.
    let strange: Vec<u8> = (0..150).flat_map(|n| receipt(n, &format!("s{n}"), "DELIVRD")).collect();
    let step = far.get(&strange).unwrap();
    assert_eq!(heads(&step).iter().filter(|head| head.1 == 0x64).count(), 50);
    assert_eq!(heads(&far.timer(5).unwrap()).len(), 100);
}
