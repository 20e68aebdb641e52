use busbar_sdk::{TestHub, mutations};
use serde_json::{Value, json};

use super::*;

fn decoded_with(settings: &Settings, text: &[u8]) -> (Result<(), Rejection>, TestHub) {
    let mut seen = TestHub::default();
    let result = decode(settings, &mut Xml::of_bytes(text), &mut seen);
    (result, seen)
}

fn good(text: &str) -> TestHub {
    let (result, seen) = decoded_with(&Settings::default(), text.as_bytes());
    assert!(result.is_ok(), "{result:?}");
    seen
}

/// The whole message, or the one entry of it that is left out.
fn refused(text: &str) -> (String, String) {
    let (result, seen) = decoded_with(&Settings::default(), text.as_bytes());
    seen.refusal(result)
}

fn data(draft: &Draft) -> Value {
    serde_json::from_str(&draft.data).unwrap()
}

fn message(verb: &str, noun: &str, payload: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header><Password>secret</Password></s:Header><s:Body>\n\
         <m:Message xmlns:m=\"http://iec.ch/TC57/2011/schema/message\"><m:Header><m:Verb>{verb}</m:Verb><m:Noun>{noun}</m:Noun>\
         <m:Timestamp>2026-11-20T06:00:00Z</m:Timestamp><m:MessageID>id-1</m:MessageID></m:Header>\n\
         <m:Payload>\n{payload}</m:Payload></m:Message></s:Body></s:Envelope>\n"
    )
}

const REGISTER: &str = "0.0.0.1.1.1.12.0.0.0.0.0.0.0.0.3.72.0";
const DELTA: &str = "0.0.5.4.1.1.12.0.0.0.0.0.0.0.0.0.72.0";

fn reading(at: &str, value: &str, kind: &str) -> String {
    format!("<Readings><timeStamp>{at}</timeStamp><value>{value}</value><ReadingType ref=\"{kind}\"/></Readings>\n")
}

fn meter_reading(content: &str) -> String {
    let meter =
        "<Meter><mRID>M-7</mRID><serialNumber>0011</serialNumber></Meter><UsagePoint><mRID>TU-7</mRID></UsagePoint>";
    message(
        "created",
        "MeterReadings",
        &format!("<MeterReadings><MeterReading>\n{content}{meter}</MeterReading></MeterReadings>"),
    )
}

fn interval(at: &str, value: &str) -> String {
    format!("<IntervalReadings><timeStamp>{at}</timeStamp><value>{value}</value></IntervalReadings>\n")
}

fn block(readings: &str) -> String {
    format!("<IntervalBlocks>{readings}<ReadingType ref=\"{DELTA}\"/></IntervalBlocks>\n")
}

fn event(kind: &str, status: &str, at: &str) -> String {
    format!(
        "<EndDeviceEvent><createdDateTime>{at}</createdDateTime><Assets><mRID>M-7</mRID></Assets><EndDeviceEventType ref=\"{kind}\"/>\
         <status><value>{status}</value></status></EndDeviceEvent>\n"
    )
}

fn events(content: &str) -> String {
    message("created", "EndDeviceEvents", &format!("<EndDeviceEvents>{content}</EndDeviceEvents>"))
}

#[test]
fn registers_of_one_moment_are_one_message() {
    let night = "0.0.0.1.1.1.12.0.0.0.0.2.0.0.0.3.72.0";
    let text = meter_reading(
        &(reading("2026-11-20T05:00:00Z", "10452.7", REGISTER)
            + &reading("2026-11-19T21:30:00Z", "4409", night)
            + &reading("2026-11-20T08:00:00+03:00", "4410.0", night)),
    );
    let seen = good(&text);
    assert_eq!(seen.drafts.len(), 2);
    assert_eq!(seen.drafts[1].subject.as_deref(), Some("TU-7"));
    assert_eq!(seen.drafts[1].time.as_deref(), Some("2026-11-20T08:00:00+03:00"));
    assert_eq!(
        data(&seen.drafts[1]),
        json!({
            "meter": {"id": "M-7", "serialNumber": "0011"}, "meteringPoint": "TU-7", "takenOn": "2026-11-20",
            "takenAt": "2026-11-20T08:00:00+03:00", "origin": "ami",
            "registers": [
                {"register": REGISTER, "quantity": "active-energy-forward", "unit": "kWh", "value": "10452.7"},
                {"register": night, "tariffZone": "tou-2", "quantity": "active-energy-forward", "unit": "kWh", "value": "4410"},
            ],
        })
    );
    assert_eq!(data(&seen.drafts[0])["takenOn"], "2026-11-20");
}

#[test]
fn blocks_and_differences_are_intervals() {
    let expected = json!([
        {"startAt": "2026-11-20T00:00:00+03:00", "value": "0.25"},
        {"startAt": "2026-11-20T00:30:00+03:00", "value": "0.3", "quality": "estimated"},
    ]);
    let second = interval("2026-11-19T22:00:00Z", "300")
        .replace("</value>", "</value><ReadingQualities><ReadingQualityType ref=\"1.8.1\"/></ReadingQualities>");
    let as_block = good(&meter_reading(&block(&(interval("2026-11-19T21:30:00Z", "250") + &second))));
    let data = data(&as_block.drafts[0]);
    assert_eq!(data["values"], expected);
    assert_eq!((data["interval"].as_str(), data["revision"].as_i64()), (Some("PT30M"), Some(1_795_154_400)));
    assert_eq!((data["meteringPoint"].as_str(), data["channel"].as_str()), (Some("TU-7"), Some(DELTA)));
    let second = second
        .replace("IntervalReadings", "Readings")
        .replace("</Readings>", &format!("<ReadingType ref=\"{DELTA}\"/></Readings>"));
    let as_readings = good(&meter_reading(&(reading("2026-11-19T21:30:00Z", "250", DELTA) + &second)));
    assert_eq!(as_block.drafts[0].id, as_readings.drafts[0].id);
    let settings: Settings = serde_json::from_value(json!({"interval-time": "start"})).unwrap();
    let (_, seen) = decoded_with(&settings, meter_reading(&block(&interval("2026-11-19T21:00:00Z", "250"))).as_bytes());
    assert_eq!(self::data(&seen.drafts[0])["values"][0], expected[0]);
}

#[test]
fn a_meter_without_point_stands_for_itself_and_a_resend_for_the_same() {
    let text = meter_reading(&reading("2026-11-20T05:00:00Z", "1", REGISTER));
    let text = text.replace("<UsagePoint><mRID>TU-7</mRID></UsagePoint>", "");
    let seen = good(&text);
    assert_eq!(seen.drafts[0].subject.as_deref(), Some("M-7"));
    assert!(data(&seen.drafts[0]).get("meteringPoint").is_none());
    let id = |text: &str| good(text).drafts[0].id.clone();
    assert_eq!(id(&text), id(&text.replace("id-1", "id-2").replace("2026-11-20T06", "2026-11-21T06")));
    assert_ne!(id(&text), id(&text.replace("<value>1<", "<value>2<")));
}

#[test]
fn a_lost_and_a_restored_supply() {
    let text = events(
        &(event("3.26.0.85", "", "2026-11-20T05:00:00.25Z")
            + &event("", "POWER_RESTORE", "2026-11-20T05:10:00.1234567Z")),
    );
    let seen = good(&text);
    assert_eq!(
        data(&seen.drafts[0]),
        json!({
            "id": "M-7", "kind": "unknown", "status": "started", "revision": 1_795_150_800_250_i64, "changedAt": "2026-11-20T08:00:00+03:00",
            "affected": {"meteringPoints": ["M-7"]}, "startedAt": "2026-11-20T08:00:00+03:00",
        })
    );
    let restored = data(&seen.drafts[1]);
    assert_eq!(
        (restored["status"].as_str(), restored["revision"].as_i64()),
        (Some("restored"), Some(1_795_151_400_123))
    );
    assert_eq!(restored["restoredAt"], "2026-11-20T08:10:00+03:00");
    assert_ne!(seen.drafts[0].id, seen.drafts[1].id);
    let within = event("3.26.0.216", "", "2026-11-20T05:10:00Z")
        .replace("EndDeviceEvent>", "EndDeviceEvents>")
        .replace("<Assets><mRID>M-7</mRID></Assets>", "");
    assert_eq!(good(&meter_reading(&within)).drafts[0].subject.as_deref(), Some("TU-7"));
}

#[test]
fn other_events() {
    let text = events(
        &(event("3.12.0.257", "TAMPER", "2026-11-20T05:00:00Z") + &event("3.26.136.47", "", "2026-11-20T05:00:00Z")),
    );
    let left_out: Vec<String> = good(&text).left_out.into_iter().filter_map(|entry| entry.place).collect();
    assert_eq!(
        left_out,
        [4, 5].map(|line| format!("line {line}, element Envelope/Body/Message/Payload/EndDeviceEvents/EndDeviceEvent"))
    );
    let settings: Settings =
        serde_json::from_value(json!({"other-events": "ignore", "power-fail": ["3.26.136.47"]})).unwrap();
    let (result, seen) = decoded_with(&settings, text.as_bytes());
    assert!(result.is_ok());
    assert_eq!((seen.drafts.len(), seen.warnings.len()), (1, 1));
    assert!(!seen.warnings[0].contains("secret"));
}

#[test]
fn what_is_left_out_leaves_the_rest() {
    const VOLTS: &str = "0.0.0.6.0.1.54.0.0.0.0.0.0.0.0.0.29.0";
    let one = reading("2026-11-20T05:00:00Z", "1", REGISTER);
    let volts = reading("2026-11-20T05:00:00Z", "230", VOLTS);
    let negative = reading("2026-11-20T06:00:00Z", "-1", REGISTER);
    let text = meter_reading(&(one.clone() + &volts + &negative + &one));
    let seen = good(&text);
    let codes: Vec<&str> = seen.left_out.iter().map(|entry| entry.code.as_str()).collect();
    assert_eq!((seen.drafts.len(), codes), (1, vec!["unsupported-reading-type", "bad-value"]));
    // Pushed, it is a unit: the sender is told, and nothing is stated.
    let (_, reply, seen) = received("POST", &text);
    assert!(reply.contains("FAILED") && reply.contains("unsupported-reading-type"), "{reply}");
    assert_eq!((seen.drafts.len(), seen.left_out.len()), (0, 0));
}

#[test]
fn everything_that_is_wrong_has_its_code_and_place() {
    let one = reading("2026-11-20T05:00:00Z", "1", REGISTER);
    let text = meter_reading(&one);
    let path = "Envelope/Body/Message/Payload";
    let reading_path = format!("line 5, element {path}/MeterReadings/MeterReading/Readings");
    let short = "line 5".to_owned();
    let two = interval("2026-11-19T21:30:00Z", "1") + &interval("2026-11-19T21:45:00Z", "1");
    for (text, code, place) in [
        (message("get", "MeterReadings", ""), "not-news", format!("line 3, element {path}")),
        (message("create", "MeterReadingRequests", ""), "not-news", format!("line 3, element {path}")),
        (message("create", "EndDeviceControls", ""), "not-news", format!("line 3, element {path}")),
        (message("", "", "<EndDeviceControls/>"), "not-news", format!("line 4, element {path}/EndDeviceControls")),
        (message("", "", "<GetMeterReadings/>"), "not-news", format!("line 4, element {path}/GetMeterReadings")),
        ("<R><Reply><Result>OK</Result></Reply></R>".into(), "not-news", "line 1".into()),
        ("<html/>".into(), "not-news", "line 1".into()),
        (message("deleted", "MeterReadings", ""), "unsupported-verb", format!("line 3, element {path}")),
        (message("created", "x", "<Workers/>"), "unsupported-payload", format!("line 4, element {path}/Workers")),
        (meter_reading(""), "no-data", "line 6".into()),
        (text.replace(REGISTER, "1.2.3"), "unsupported-reading-type", format!("{reading_path}/ReadingType")),
        (text.replace(".72.0", ".23.0"), "unsupported-reading-type", format!("{reading_path}/ReadingType")),
        (text.replace("0.0.0.1.1.1.12", "0.0.0.0.1.1.12"), "unsupported-reading-type", short.clone()),
        (text.replace("0.0.0.1.1.1.12", "0.0.0.4.1.1.12"), "unsupported-reading-type", short.clone()),
        (
            text.replace(&format!("<ReadingType ref=\"{REGISTER}\"/>"), ""),
            "unsupported-reading-type",
            reading_path.clone(),
        ),
        (text.replace("05:00:00Z<", "5:00<"), "bad-time", format!("{reading_path}/timeStamp")),
        (text.replace("<value>1<", "<value>?<"), "bad-value", format!("{reading_path}/value")),
        (text.replace("<value>1<", "<value>-1<"), "bad-value", short.clone()),
        (text.replace("<value>1</value>", ""), "missing-field", reading_path.clone()),
        (
            meter_reading(&(one.clone() + &one.replace("<value>1<", "<value>2<"))),
            "repeated-reading",
            "lines 5, 6".into(),
        ),
        (meter_reading(&block(&two)), "repeated-reading", "lines 5, 6".into()),
        (
            text.replace("M-7", "").replace("TU-7", ""),
            "no-meter",
            format!("line 4, element {path}/MeterReadings/MeterReading"),
        ),
        (
            text.replace("TU-7", &"x".repeat(65)),
            "no-meter",
            format!("line 4, element {path}/MeterReadings/MeterReading"),
        ),
        (
            events(&event("3.26.0.85", "", "noon")),
            "bad-time",
            format!("line 4, element {path}/EndDeviceEvents/EndDeviceEvent"),
        ),
        (
            events(&event("3.26.0.85", "", "noon").replace("M-7", "")),
            "no-meter",
            format!("line 4, element {path}/EndDeviceEvents/EndDeviceEvent"),
        ),
        (
            text.replace("<m:Header>", "<m:Header>text"),
            "unexpected-text",
            "line 2, element Envelope/Body/Message/Header".into(),
        ),
        (text.replace("</m:Payload>", "</m:Load>"), "not-xml", format!("line 6, element {path}")),
    ] {
        assert_eq!(refused(&text), (code.to_owned(), place), "{text}");
    }
}

#[test]
fn too_much_is_refused() {
    let event = event("3.26.0.216", "", "2026-11-20T05:10:00Z").replace("EndDeviceEvent>", "EndDeviceEvents>");
    for content in
        [reading("2026-11-20T05:00:00Z", "1", REGISTER).repeat(50_001), block("").repeat(50_001), event.repeat(1001)]
    {
        assert_eq!(refused(&meter_reading(&content)).0, "too-many-readings");
    }
    let registers: String = (0..51)
        .map(|tou| reading("2026-11-20T05:00:00Z", "1", &format!("0.0.0.1.1.1.12.0.0.0.0.{tou}.0.0.0.3.72.0")))
        .collect();
    assert_eq!(refused(&meter_reading(&registers)).0, "too-many-readings");
}

fn received(method: &str, body: &str) -> (u16, String, TestHub) {
    let request = HookRequest {
        method: method.into(),
        path: "/".into(),
        query: String::new(),
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
    };
    let mut seen = TestHub::default();
    let response = receive(&Settings::default(), &request, &mut seen);
    (response.status, String::from_utf8(response.body).unwrap(), seen)
}

#[test]
fn a_push_is_answered() {
    let text = meter_reading(&reading("2026-11-20T05:00:00Z", "1", REGISTER));
    let (status, body, seen) = received("POST", &text);
    assert_eq!((status, seen.drafts.len()), (200, 1));
    assert!(body.contains("<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\">"), "{body}");
    assert!(body.contains("<ResponseMessage xmlns=\"http://iec.ch/TC57/2011/schema/message\">"), "{body}");
    assert!(body.contains("<CorrelationID>id-1</CorrelationID>") && body.contains("<Result>OK</Result>"), "{body}");
    let broken = text.replace("</MeterReading>", "</MeterReading><MeterReading><Readings/></MeterReading>");
    let (status, body, seen) = received("POST", &broken);
    assert_eq!((status, seen.drafts.len(), seen.warnings.len()), (200, 0, 1));
    assert!(body.contains("<Result>FAILED</Result>") && body.contains("<code>missing-field</code>"), "{body}");
    let (_, body, _) = received("POST", "junk");
    assert!(body.contains("<code>not-xml</code>") && !body.contains("soap"), "{body}");
    assert_eq!(received("GET", "").0, 405);
}

#[test]
fn hostile_bytes_never_panic() {
    let seed = meter_reading(
        &(reading("2026-11-20T05:00:00Z", "1", REGISTER)
            + &block(&interval("2026-11-19T21:30:00Z", "250"))
            + &event("3.26.0.85", "", "2026-11-20T05:00:00.25Z").replace("EndDeviceEvent>", "EndDeviceEvents>")),
    );
    good(&seed);
    for end in 0..seed.len() - 1 {
        assert!(decoded_with(&Settings::default(), &seed.as_bytes()[..end]).0.is_err(), "{end}");
    }
    for bytes in mutations::of(seed.as_bytes(), 8000) {
        let _ = decoded_with(&Settings::default(), &bytes);
    }
}
