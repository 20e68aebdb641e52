#![allow(clippy::unwrap_used)]

mod arrivals;

use busbar_sdk::http::{HttpError, Response};
use busbar_sdk::{Draft, Failure, Header, Message, TestHub, mutations, parse_settings, test_hub};
use serde_json::{Value, json};

use crate::settings::Settings;
use crate::{deliver, mapping, poll};

/// 2026-11-22 10:00 at +03:00.
const NOW_TICKS: i64 = 639_309_276_000_000_000;
const MESSAGE: &str = "0b9d4c1e-7a52-4f0e-9d6b-3c8f2e51a704";
const ENTITY: &str = "5e2a90d7-41bc-4c36-8f1d-b7a0639c2e18";
const BOX: &str = "7c1f5b20-93ad-4e58-a6c4-18d2f09b3e61";

/// Answers with status and body, and when to try again; status 0: with more than is taken.
fn answering(answers: &[(u16, Value)]) -> TestHub {
    let answer = |(status, body): &(u16, Value)| {
        let headers = vec![Header { name: "retry-after".into(), value: "7".into() }];
        let body = match body {
            Value::String(text) => text.clone().into_bytes(),
            body => body.to_string().into_bytes(),
        };
        match status {
            0 => Err(HttpError::TooLarge(1)),
            status => Ok(Response { status: *status, headers, body }),
        }
    };
    TestHub { answers: answers.iter().map(answer).collect(), hash: filled, ..TestHub::default() }
}

/// A hash is the content itself.
fn filled(content: &[u8]) -> Vec<u8> {
    content.iter().copied().chain(std::iter::repeat(0)).take(32).collect()
}

fn url(hub: &TestHub, index: usize) -> &str {
    &hub.requests.get(index).unwrap().url
}

fn settings(more: &Value) -> Settings {
    let mut settings = json!({ "box-id": BOX, "access-token": "token" });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    parse_settings(&settings.to_string()).unwrap()
}

fn info(more: &Value) -> Value {
    let mut info = json!({
        "DocumentDirection": "Inbound", "TypeNamedId": "UniversalTransferDocument", "FileName": "ON_NSCHFDOPPR_1.xml",
        "DocumentDate": "20.11.2026", "DocumentNumber": "118", "Title": "УПД № 118", "SendTimestampTicks": NOW_TICKS,
        "UniversalTransferDocumentMetadata": { "Total": "118340.00", "Vat": "21338.36", "Currency": 643 },
        "RevocationStatus": "RevocationStatusNone", "RecipientResponseStatus": "WaitingForRecipientSignature",
        "RecipientReceiptMetadata": { "ReceiptStatus": "WaitingForReceipt" }, "IsTest": false, "IsDeleted": false
    });
    info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    info
}

fn letter(more: &Value) -> Value {
    json!({
        "MessageId": MESSAGE, "TimestampTicks": NOW_TICKS, "FromTitle": "ООО «Провода»", "ToTitle": "АО «Энергосбыт»",
        "Entities": [
            { "EntityType": "Attachment", "EntityId": ENTITY, "Content": { "Size": 20480 }, "DocumentInfo": info(more) },
            { "EntityType": "Signature", "EntityId": MESSAGE, "ParentEntityId": ENTITY }
        ]
    })
}

fn event(kind: &str, key: &str, body: &Value) -> Value {
    json!({ "EventId": MESSAGE, kind: body, "IndexKey": key })
}

fn patch() -> Value {
    json!({ "MessageId": MESSAGE, "TimestampTicks": NOW_TICKS, "Entities": [] })
}

fn code(failure: &Failure) -> String {
    match failure {
        Failure::Rejected(rejection) => format!("{} {}", rejection.code, rejection.place.as_deref().unwrap_or("")),
        Failure::Transient(delay) => format!("transient {:?}", delay.retry_after_ms),
        Failure::Unauthorized(_) => "unauthorized".into(),
        other => format!("{other:?}"),
    }
}

fn run(more: &Value, cursor: Option<&str>, hub: &mut TestHub) -> Result<(String, bool), String> {
    let polled = poll::poll(&settings(more), cursor.map(str::as_bytes), hub).map_err(|failure| code(&failure))?;
    Ok((String::from_utf8(polled.cursor.unwrap()).unwrap(), polled.more))
}

#[test]
fn a_document_that_came_is_stated() {
    let events = json!({ "Events": [event("Message", "k1+/=", &letter(&json!({})))], "TotalCount": 1 });
    let mut hub = answering(&[(200, events)]);
    let (cursor, more) = run(&json!({}), None, &mut hub).unwrap();
    assert_eq!((cursor, more), (format!(r#"{{"from":{NOW_TICKS},"after":"k1+/="}}"#), false));
    assert_eq!(
        hub.data(0),
        json!({
            "document": { "id": format!("{MESSAGE}{ENTITY}").replace('-', ""), "number": "118",
                "kind": "transfer-document", "issuedOn": "2026-11-20" },
            "title": "УПД № 118", "sender": { "name": "ООО «Провода»" }, "recipient": { "name": "АО «Энергосбыт»" },
            "amount": { "value": "118340.00", "currency": "RUB" }, "tax": { "value": "21338.36", "currency": "RUB" },
            "files": [{ "name": "ON_NSCHFDOPPR_1.xml", "id": format!("{MESSAGE}/{ENTITY}"), "size": 20480 }]
        })
    );
    assert_eq!(hub.drafts.len(), 1, "that it was sent is no news of it");
    let again = format!(r#"{{"from":{NOW_TICKS},"after":"k1+/="}}"#);
    let mut next = answering(&[(200, json!({ "Events": [] }))]);
    assert_eq!(run(&json!({}), Some(&again), &mut next).unwrap(), (again, false));
    assert!(url(&next, 0).ends_with(&format!("timestampFromTicks={NOW_TICKS}&limit=100&afterIndexKey=k1%2B%2F%3D")));
}

#[test]
fn what_became_of_a_document() {
    let outbound = |more: Value| {
        let mut info = json!({ "DocumentDirection": "Outbound", "CustomDocumentId": "b7e0" });
        info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        info
    };
    for (info, expected) in [
        (outbound(json!({})), Some("sent")),
        (outbound(json!({ "DeliveryTimestampTicks": NOW_TICKS })), Some("delivered")),
        (outbound(json!({ "RecipientReceiptMetadata": { "ReceiptStatus": "Finished" } })), Some("delivered")),
        (outbound(json!({ "AmendmentRequestMetadata": { "AmendmentFlags": 1 } })), Some("correction-requested")),
        (outbound(json!({ "RecipientResponseStatus": "WithRecipientSignature" })), Some("signed")),
        (outbound(json!({ "RecipientResponseStatus": "WithRecipientPartiallySignature" })), Some("partly-signed")),
        (outbound(json!({ "RecipientResponseStatus": "RecipientSignatureRequestRejected" })), Some("refused")),
        (outbound(json!({ "RecipientResponseStatus": "InvalidRecipientSignature" })), Some("signature-invalid")),
        (outbound(json!({ "RoamingNotificationStatus": "RoamingNotificationStatusError" })), Some("undelivered")),
        (outbound(json!({ "RevocationStatus": "RequestsMyRevocation" })), Some("cancellation-requested")),
        (outbound(json!({ "RevocationStatus": "RevocationRejected" })), Some("cancellation-refused")),
        (outbound(json!({ "RevocationStatus": "RevocationAccepted" })), Some("cancelled")),
        (json!({ "RecipientResponseStatus": "WithRecipientSignature" }), Some("signed")),
        (json!({ "DeliveryTimestampTicks": NOW_TICKS }), None),
        (json!({ "IsTest": true, "RecipientResponseStatus": "WithRecipientSignature" }), None),
        (json!({ "IsDeleted": true, "RecipientResponseStatus": "WithRecipientSignature" }), None),
    ] {
        let message = letter(&info);
        let drafts = stated(&message, &mut known());
        let data: Vec<Value> = drafts.iter().map(|draft| serde_json::from_str(&draft.data).unwrap()).collect();
        let status = data.first().and_then(|data| data.get("status")).and_then(Value::as_str);
        assert_eq!(status, expected, "{info}");
        if info.get("CustomDocumentId").is_some() {
            assert_eq!(data.first().and_then(|data| data.pointer("/document/id")), Some(&json!("b7e0")));
        }
    }
}

/// A world where the letter's document was stated.
fn known() -> TestHub {
    let mut hub = TestHub::default();
    hub.drafts = stated(&letter(&json!({})), &mut hub);
    hub.commit();
    hub
}

fn stated(message: &Value, hub: &mut TestHub) -> Vec<Draft> {
    mapping::drafts(&settings(&json!({})), message, "m", "2026-11-22T10:00:00+03:00", &[], hub).unwrap()
}

#[test]
fn a_patch_is_looked_up_once() {
    let signed = letter(&json!({ "RecipientResponseStatus": "WithRecipientSignature" }));
    let draft = json!({ "MessageId": ENTITY, "TimestampTicks": NOW_TICKS, "ForDraft": true });
    let events = json!({ "Events": [event("Patch", "k1", &patch()), event("Patch", "k2", &patch()), event("Patch", "k3", &draft)] });
    let mut hub = TestHub { known: known().known, ..answering(&[(200, events), (200, signed)]) };
    run(&json!({}), None, &mut hub).unwrap();
    assert_eq!((hub.requests.len(), hub.drafts.len()), (2, 1));
    assert!(url(&hub, 1).contains(&format!("/V6/GetMessage?boxId={BOX}&messageId={MESSAGE}")));
    assert_eq!(hub.data(0).get("by"), Some(&json!({ "name": "АО «Энергосбыт»" })));
    let mut hub = answering(&[(200, json!({ "Events": [event("Patch", "k1", &patch())] })), (404, json!({}))]);
    assert!(run(&json!({}), None, &mut hub).is_ok());
}

#[test]
fn a_poll_stays_within_what_the_host_allows() {
    let other = |n: usize| {
        let mut patch = patch();
        patch["MessageId"] = format!("00000000-0000-0000-0000-{n:012}").into();
        event("Patch", &format!("k{n}"), &patch)
    };
    let events: Vec<Value> = (0..100).map(other).collect();
    let mut answers = vec![(200, json!({ "Events": events }))];
    answers.extend((0..100).map(|_| (404, json!({}))));
    let mut hub = answering(&answers);
    let (cursor, more) = run(&json!({}), None, &mut hub).unwrap();
    assert!(cursor.ends_with(r#""after":"k23"}"#) && more, "{cursor}");
    assert_eq!(hub.requests.len(), 25);
    let mut hub = answering(&[
        (0, json!({})),
        (0, json!({})),
        (200, json!({ "Events": [event("Message", "k", &letter(&json!({})))] })),
    ]);
    assert!(run(&json!({}), None, &mut hub).unwrap().1, "one event was asked for and came");
    assert!(
        url(&hub, 0).contains("limit=100") && url(&hub, 1).contains("limit=10") && url(&hub, 2).contains("limit=1")
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    let events = |event: Value| json!({ "Events": [event] });
    let mut bad_id = letter(&json!({}));
    bad_id["Entities"][0]["EntityId"] = "5e2a".into();
    for (status, body, expected) in [
        (200, json!("<html>"), "bad-answer answer"),
        (200, json!({ "Events": 7 }), "bad-answer answer/Events"),
        (200, events(json!({ "IndexKey": "k" })), "bad-answer answer/Events/0"),
        (200, events(json!({ "Message": letter(&json!({})) })), "bad-answer answer/Events/0/IndexKey"),
        (
            200,
            events(event("Message", "k", &json!({ "MessageId": MESSAGE }))),
            "bad-answer answer/Events/0/Message/TimestampTicks",
        ),
        (200, events(event("Message", "k", &bad_id)), "bad-answer answer/Events/0/Message/Entities/0/EntityId"),
        (402, json!({}), "no-subscription "),
        (403, json!({}), "unauthorized"),
    ] {
        let mut hub = answering(&[(status, body)]);
        assert_eq!(run(&json!({}), None, &mut hub).unwrap_err(), expected);
    }
    assert_eq!(run(&json!({}), Some("{}"), &mut TestHub::default()).unwrap_err(), "bad-cursor ");
    assert_eq!(
        run(&json!({ "since": "2026-02-30" }), None, &mut TestHub::default()).unwrap_err(),
        "bad-config config, since"
    );
}

fn document(more: &Value) -> Message {
    let mut data = json!({
        "document": { "id": "b7e0", "number": "УПД-118", "kind": "transfer-document", "issuedOn": "2026-11-20" },
        "amount": { "value": "118340.00", "currency": "RUB" },
        "files": [{ "name": "1.xml", "id": "store/118", "size": 3 }]
    });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    test_hub::message("/demo/accounting", "m1", "document.issued.v1", data.to_string())
}

fn send(more: &Value, hub: &mut TestHub) -> Result<(), String> {
    let types = json!({ "transfer-document": { "type": "UniversalTransferDocument", "function": "СЧФДОП", "metadata": { "Sum": "amount" } } });
    let settings = settings(&json!({ "files": { "url": "https://files.example/{id}?v=1" }, "types": types }));
    deliver::deliver(&settings, &document(more), hub).map_err(|failure| code(&failure))
}

#[test]
fn a_document_becomes_a_draft() {
    let mut hub = answering(&[(200, json!("abc")), (200, json!("pdf")), (200, letter(&json!({})))]);
    let files = json!({ "files": [{ "name": "1.xml", "id": "store/118", "sha256": format!("616263{}", "0".repeat(58)) }, { "name": "ё.pdf", "id": "b" }] });
    send(&files, &mut hub).unwrap();
    assert_eq!(url(&hub, 0), "https://files.example/store/118?v=1");
    let body: Value = serde_json::from_slice(&hub.requests.last().unwrap().body).unwrap();
    assert_eq!(
        body,
        json!({
            "FromBoxId": BOX, "IsDraft": true,
            "DocumentAttachments": [
                { "SignedContent": { "Content": "YWJj" }, "TypeNamedId": "UniversalTransferDocument", "Function": "СЧФДОП",
                    "CustomDocumentId": "b7e0", "Metadata": [{ "Key": "Sum", "Value": "118340.00" }] },
                { "SignedContent": { "Content": "cGRm" }, "TypeNamedId": "Nonformalized", "CustomDocumentId": "b7e0/1",
                    "Metadata": [{ "Key": "DocumentDate", "Value": "20.11.2026" },
                        { "Key": "DocumentNumber", "Value": "УПД-118" }, { "Key": "FileName", "Value": "ё.pdf" }] }
            ]
        })
    );
    assert_eq!(
        hub.data(0),
        json!({ "document": { "id": "b7e0", "number": "УПД-118", "kind": "transfer-document", "issuedOn": "2026-11-20" },
            "status": "draft", "changedAt": "2026-11-22T10:00:00+03:00" })
    );
}

#[test]
fn the_recipient_is_found_by_its_number() {
    let to = json!({ "recipient": { "name": "ООО", "taxId": "5000000017" } });
    let one = |id: &str, roaming: bool| json!({ "IsRoaming": roaming, "Boxes": [{ "BoxIdGuid": id }] });
    for (organisations, expected) in [
        (json!([one(MESSAGE, false)]), Ok(())),
        (json!([one(ENTITY, true), one(MESSAGE, false)]), Ok(())),
        (json!([one(MESSAGE, true)]), Ok(())),
        (json!([]), Err("unknown-recipient /data/recipient/taxId".to_owned())),
        (json!([one(ENTITY, false), one(MESSAGE, false)]), Err("ambiguous-recipient /data/recipient/taxId".to_owned())),
    ] {
        let found = json!({ "Organizations": organisations });
        let mut hub = answering(&[(200, json!("abc")), (200, found), (200, letter(&json!({})))]);
        assert_eq!(send(&to, &mut hub), expected);
        if expected.is_ok() {
            let body: Value = serde_json::from_slice(&hub.requests.last().unwrap().body).unwrap();
            assert_eq!(body.get("ToBoxId"), Some(&json!(MESSAGE)));
        }
    }
}

#[test]
fn what_is_no_document_to_send() {
    for (more, answers, expected) in [
        (json!({ "files": [] }), vec![], "no-files /data/files"),
        (json!({ "files": vec![json!({ "name": "1" }); 41] }), vec![], "too-many-files /data/files"),
        (json!({ "files": [{ "name": "1.xml" }] }), vec![], "no-file-id /data/files/0"),
        (json!({ "files": [{ "name": "1.xml", "id": "../../secrets" }] }), vec![], "no-file-id /data/files/0"),
        (json!({}), vec![(200, json!("abcd"))], "file-changed /data/files/0"),
        (
            json!({ "files": [{ "name": "1.xml", "id": "a", "sha256": "0".repeat(64) }] }),
            vec![(200, json!("abc"))],
            "file-changed /data/files/0",
        ),
        (json!({}), vec![(404, json!("no"))], "refused "),
        (json!({}), vec![(200, json!("abc")), (204, json!(""))], "transient Some(7000)"),
        (json!({}), vec![(200, json!("abc")), (409, json!("duplicate"))], "conflict "),
        (json!({}), vec![(200, json!("abc")), (200, json!({}))], "bad-answer answer/PostMessage/MessageId"),
        (json!({}), vec![(200, json!("abc"))], "transient None"),
    ] {
        let mut hub = answering(&answers);
        assert_eq!(send(&more, &mut hub), Err(expected.to_owned()));
        assert!(hub.drafts.is_empty());
    }
}

#[test]
fn an_operation_is_the_message_itself() {
    let answers = [(200, json!("abc")), (200, letter(&json!({})))];
    let (mut one, mut other) = (answering(&answers), answering(&answers));
    send(&json!({}), &mut one).unwrap();
    send(&json!({}), &mut other).unwrap();
    assert!(url(&one, 1).contains("/V3/PostMessage?operationId="));
    assert_eq!(url(&one, 1), url(&other, 1));
}

#[test]
fn no_bytes_make_a_trap() {
    let events =
        json!({ "Events": [event("Message", "k1", &letter(&json!({}))), event("Patch", "k2", &patch())] }).to_string();
    for bytes in mutations::of(events.as_bytes(), 3000) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut hub = answering(&[(200, Value::String(text.clone())), (200, Value::String(text))]);
        let _ = run(&json!({}), None, &mut hub);
    }
    let data = document(&json!({})).data;
    for bytes in mutations::of(data.as_bytes(), 2000) {
        let message = Message { data: String::from_utf8_lossy(&bytes).into_owned(), ..document(&json!({})) };
        let mut hub = answering(&[(200, json!("abc")), (200, letter(&json!({})))]);
        let settings = settings(&json!({ "files": { "url": "https://files.example/{id}" } }));
        let _ = deliver::deliver(&settings, &message, &mut hub);
    }
}
