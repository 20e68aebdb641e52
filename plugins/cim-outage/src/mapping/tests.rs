use busbar_sdk::{TestHub, mutations};
use serde_json::Value;

use super::*;

fn decoded(bytes: &[u8]) -> Result<Vec<Draft>, Rejection> {
    let mut rest = bytes;
    let mut read = |max: u32| {
        let (chunk, later) = rest.split_at(rest.len().min(max as usize));
        rest = later;
        chunk.to_vec()
    };
    let mut seen = TestHub::default();
    decode(&Settings::default(), &mut read, &mut seen)?;
    match seen.left_out.pop() {
        // The rest of these tests has one outage in each file.
        Some(entry) => Err(entry),
        None => Ok(seen.drafts),
    }
}

#[test]
fn one_bad_outage_among_good_ones() {
    let bad = "<UnplannedOutage><mRID>UO-1</mRID><statusKind>exploded</statusKind></UnplannedOutage>";
    let text = xml("created", &format!("{PLANNED}{bad}<Outage><statusKind>restored</statusKind></Outage>"));
    let mut rest = text.as_bytes();
    let mut read = |max: u32| {
        let (chunk, later) = rest.split_at(rest.len().min(max as usize));
        rest = later;
        chunk.to_vec()
    };
    let mut seen = TestHub::default();
    decode(&Settings::default(), &mut read, &mut seen).unwrap();
    let codes: Vec<&str> = seen.left_out.iter().map(|entry| entry.code.as_str()).collect();
    assert_eq!((seen.drafts.len(), codes), (1, vec!["bad-status", "no-id"]));
}

fn only(text: &str) -> Value {
    let drafts = decoded(text.as_bytes()).unwrap();
    assert_eq!(drafts.len(), 1);
    serde_json::from_str(&drafts[0].data).unwrap()
}

fn refused(text: &str) -> (String, String) {
    let rejection = decoded(text.as_bytes()).unwrap_err();
    (rejection.code, rejection.place.unwrap_or_default())
}

fn xml(verb: &str, outages: &str) -> String {
    format!(
        "<m:EventMessage xmlns:m='http://iec.ch/TC57/2011/schema/message'><m:Header><m:Verb>{verb}</m:Verb><m:Noun>Outages</m:Noun>\
         <m:Timestamp>2026-11-20T06:00:00.250Z</m:Timestamp><m:MessageID>id-1</m:MessageID></m:Header>\n\
         <m:Payload><o:Outages xmlns:o='http://iec.ch/TC57/2014/Outages#'>{outages}</o:Outages></m:Payload></m:EventMessage>"
    )
}

const PLANNED: &str = "<PlannedOutage><mRID>PO-7</mRID><cause>Ремонт</cause><statusKind>confirmed</statusKind>\
    <estimatedPeriod><start>2026-12-01T09:00:00</start><end>2026-12-01T13:00:00</end></estimatedPeriod>\
    <UsagePoint><mRID>TU-1</mRID><Location><mainAddress><streetDetail><type>ул.</type><name>Липовая</name><number>4</number>\
    <code>3F1C7A52-0b6e-4d19-9a84-5c2e7d90ab11</code></streetDetail><townDetail><name>Заречный</name></townDetail></mainAddress>\
    </Location></UsagePoint><Feeder ref='F-4'/></PlannedOutage>";

#[test]
fn planned_and_unplanned_in_xml() {
    let data = only(&xml("created", PLANNED));
    let expected = serde_json::json!({
        "id": "PO-7", "kind": "planned", "status": "planned", "cause": { "text": "Ремонт" },
        "plannedStartAt": "2026-12-01T09:00:00+03:00", "expectedRestorationAt": "2026-12-01T13:00:00+03:00",
        "changedAt": "2026-11-20T09:00:00+03:00", "revision": 1_795_154_400_250_i64,
        "equipment": [{ "id": "F-4", "kind": "feeder" }],
        "affected": { "meteringPoints": ["TU-1"],
            "addresses": [{ "text": "Заречный, ул. Липовая, 4", "fias": "3f1c7a52-0b6e-4d19-9a84-5c2e7d90ab11" }] }
    });
    assert_eq!(data, expected);
    assert_eq!(only(&xml("canceled", PLANNED))["status"], "cancelled");
    for (verb, status, expected) in [
        ("created", "predicted", "predicted"),
        ("created", "confirmed", "started"),
        ("changed", "OutageStatusKind.confirmed", ""),
        ("changed", "confirmed", "updated"),
        ("changed", "partiallyRestored", "partially-restored"),
        ("changed", "restored", "restored"),
        ("changed", "closed", "closed"),
        ("closed", "", "closed"),
        ("created", "", "started"),
    ] {
        let outage = format!("<UnplannedOutage><mRID>1</mRID><statusKind>{status}</statusKind></UnplannedOutage>");
        if expected.is_empty() {
            assert_eq!(refused(&xml(verb, &outage)).0, "bad-status");
        } else {
            assert_eq!(only(&xml(verb, &outage))["status"], expected, "{status}");
        }
    }
}

#[test]
fn the_same_in_json() {
    let json = r#"{"EventMessage":{"Header":{"Verb":"changed","Noun":"Outages","Timestamp":"2026-11-20T06:00:00Z","MessageID":"m"},
        "Payload":{"Outages":{"UnplannedOutage":[{"mRID":"U-1","status":{"value":"confirmed","dateTime":"2026-11-20T05:59:00Z"},
        "originalCustomersServed":100,"customersRestored":40,"actualPeriod":{"start":"2026-11-20T05:00:00+05:00"}}]}}}}"#;
    let data = only(json);
    assert_eq!((&data["status"], &data["affected"]["customers"]), (&"updated".into(), &60.into()));
    assert_eq!(
        (&data["startedAt"], &data["changedAt"]),
        (&"2026-11-20T03:00:00+03:00".into(), &"2026-11-20T08:59:00+03:00".into())
    );
    let bare = only(
        r#"[{"Outages":[{"mRID":"U-1","outageKind":"UnplannedOutage","actualPeriod":{"end":"2026-11-20T05:00:00Z"}}]}]"#,
    );
    assert_eq!((&bare["kind"], &bare["status"]), (&"emergency".into(), &"restored".into()));
}

#[test]
fn lists_within_lists() {
    let data = only(
        r#"{"PlannedOutages":[{"mRID":"1","UsagePoints":{"UsagePoint":["TU-1",{"mRID":"TU-2"}]},"Equipments":{"Switch":{"mRID":"S"}}}]}"#,
    );
    assert_eq!(data["affected"]["meteringPoints"], serde_json::json!(["TU-1", "TU-2"]));
    assert_eq!(data["equipment"], serde_json::json!([{ "id": "S", "kind": "switch" }]));
}

#[test]
fn a_resend_is_the_same_message() {
    let one = |text: &str| decoded(text.as_bytes()).unwrap()[0].id.clone();
    let sent = xml("created", PLANNED);
    assert_eq!(one(&sent), one(&sent.replace("id-1", "id-2")));
    assert_ne!(one(&sent), one(&sent.replace("Ремонт", "Замена")));
    assert_ne!(one(&sent), one(&sent.replace("06:00:00", "07:00:00")));
}

#[test]
fn refusals() {
    let one = |inner: &str| xml("created", &format!("<UnplannedOutage><mRID>1</mRID>{inner}</UnplannedOutage>"));
    let at = "line 2, element EventMessage/Payload/Outages/UnplannedOutage";
    for (text, code, place) in [
        (one("<statusKind>odd</statusKind>"), "bad-status", format!("{at}/statusKind")),
        (one("<ERT>soon</ERT>"), "bad-time", format!("{at}/ERT")),
        (one("<customersAffected>many</customersAffected>"), "bad-value", format!("{at}/customersAffected")),
        (
            one("<actualPeriod><start>2026-11-20T06:00:00</start><end>2026-11-20T05:00:00</end></actualPeriod>"),
            "bad-period",
            format!("{at}/actualPeriod"),
        ),
        (one("").replace("<mRID>1</mRID>", ""), "no-id", at.to_owned()),
        (one("").replace("<mRID>1<", &format!("<mRID>{}<", "1".repeat(65))), "bad-id", format!("{at}/mRID")),
        (one("").replace("Verb>created<", "Verb>get<"), "not-news", "line 2, element EventMessage/Payload".to_owned()),
        (xml("created", ""), "no-data", String::new()),
        (
            xml("created", "<MeterReading/>"),
            "unsupported-payload",
            "line 2, element EventMessage/Payload/Outages/MeterReading".to_owned(),
        ),
        ("{\"Payload\":{\"X\":{}}}".to_owned(), "unsupported-payload", "/Payload/X".to_owned()),
        ("{\"Payload\":".to_owned(), "not-json", "line 1, column 11".to_owned()),
        (format!("[{}]", " ".repeat(5 << 20)), "too-large", String::new()),
    ] {
        assert_eq!(refused(&text), (code.to_owned(), place));
    }
}

#[test]
fn pushed_and_answered_in_its_own_form() {
    let push = |body: &str| {
        let (method, path, query) = ("POST".to_owned(), "/".to_owned(), String::new());
        receive(&Settings::default(), &HookRequest { method, path, query, headers: vec![], body: body.into() })
    };
    let (response, drafts) = push(&xml("created", PLANNED));
    let text = String::from_utf8(response.body).unwrap();
    assert!(text.contains("<CorrelationID>id-1</CorrelationID>") && text.contains("<Result>OK</Result>"), "{text}");
    assert_eq!(drafts.len(), 1);
    let (response, drafts) = push(r#"{"Header":{"MessageID":"m"},"Payload":{"PlannedOutage":[{"mRID":"1"},{}]}}"#);
    let reply: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!((&reply["Header"]["CorrelationID"], &reply["Reply"]["Error"]["code"]), (&"m".into(), &"no-id".into()));
    assert!(drafts.is_empty());
    let many = "<UnplannedOutage><mRID>1</mRID></UnplannedOutage>".repeat(1001);
    let (response, drafts) = push(&xml("created", &many));
    assert!(String::from_utf8(response.body).unwrap().contains("too-many-outages") && drafts.is_empty());
}

#[test]
fn mutations_never_trap() {
    let json = r#"{"Header":{"Verb":"changed"},"Payload":{"UnplannedOutages":[{"mRID":"U","ERT":"2026-11-20T05:00:00.5Z","customersAffected":3}]}}"#;
    for seed in [xml("created", PLANNED).as_str(), json] {
        for bytes in mutations::of(seed.as_bytes(), 4000) {
            let _ = decoded(&bytes);
        }
    }
    let deep = xml("created", &"<UnplannedOutage>".repeat(100_000));
    assert_eq!(refused(&deep).0, "xml-limit");
    assert_eq!(refused(&"[".repeat(100_000)).0, "not-json");
}
