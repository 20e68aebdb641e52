use busbar_sdk::{Draft, TestHub, mutations};
use serde_json::{Value, json};

use super::*;

fn decoded(text: &[u8]) -> (Result<(), Rejection>, TestHub) {
    let mut seen = TestHub::default();
    let result = decode(&Settings::default(), &mut Xml::of_bytes(text), &mut seen);
    (result, seen)
}

fn good(text: &str) -> TestHub {
    let (result, seen) = decoded(text.as_bytes());
    assert!(result.is_ok(), "{result:?}");
    seen
}

/// The whole feed, or the one entry of it that is left out.
fn refused(text: &str) -> (String, String) {
    let (result, seen) = decoded(text.as_bytes());
    seen.refusal(result)
}

fn data(draft: &Draft) -> Value {
    serde_json::from_str(&draft.data).unwrap()
}

fn entry(own: &str, up: &str, related: &[&str], content: &str) -> String {
    let related: String = related.iter().map(|href| format!("<link rel='related' href='{href}'/>")).collect();
    format!(
        "<entry><id>urn:uuid:id-of{}</id><link rel='self' href='{own}'/><link rel='up' href='{up}'/>{related}\
         <content><e:{content}</content><updated>2026-11-20T00:00:00Z</updated></entry>\n",
        own.replace('/', "-")
    )
}

const POINT: &str = "/UsagePoint/7";
const READING: &str = "/UsagePoint/7/MeterReading/1";

fn point() -> String {
    let related = ["/UsagePoint/7/MeterReading", "/LocalTimeParameters/1"];
    let content = "UsagePoint><e:ServiceCategory><e:kind>0</e:kind></e:ServiceCategory></e:UsagePoint>";
    entry(POINT, "/UsagePoint", &related, content)
}

fn local() -> String {
    let content =
        "LocalTimeParameters><e:dstOffset>3600</e:dstOffset><e:tzOffset>-18000</e:tzOffset></e:LocalTimeParameters>";
    entry("/LocalTimeParameters/1", "/LocalTimeParameters", &[], content)
}

fn reading() -> String {
    let related = ["/UsagePoint/7/MeterReading/1/IntervalBlock", "/ReadingType/1"];
    entry(READING, "/UsagePoint/7/MeterReading", &related, "MeterReading/>")
}

fn reading_type(fields: &[(&str, &str)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("<e:{name}>{value}</e:{name}>")).collect();
    entry("/ReadingType/1", "/ReadingType", &[], &format!("ReadingType>{fields}</e:ReadingType>"))
}

const ENERGY: [(&str, &str); 6] = [
    ("accumulationBehaviour", "4"),
    ("commodity", "1"),
    ("flowDirection", "1"),
    ("intervalLength", "3600"),
    ("powerOfTenMultiplier", "0"),
    ("uom", "72"),
];

fn with(name: &str, value: &str) -> String {
    reading_type(&ENERGY.map(|field| if field.0 == name { (field.0, value) } else { field }))
}

/// 2012-03-01T05:00:00Z is midnight at -05:00.
const MIDNIGHT: i64 = 1_330_578_000;

fn readings(count: i64, length: i64) -> String {
    (0..count)
        .map(|index| {
            format!(
                "<e:IntervalReading><e:cost>9</e:cost><e:timePeriod><e:duration>{length}</e:duration><e:start>{}</e:start></e:timePeriod>\
                 <e:value>{}</e:value></e:IntervalReading>\n",
                MIDNIGHT + index * length,
                250 + index
            )
        })
        .collect()
}

fn block(readings: &str) -> String {
    let content = format!(
        "IntervalBlock><e:interval><e:duration>86400</e:duration><e:start>{MIDNIGHT}</e:start></e:interval>\n{readings}</e:IntervalBlock>"
    );
    entry("/UsagePoint/7/MeterReading/1/IntervalBlock/1", "/UsagePoint/7/MeterReading/1/IntervalBlock", &[], &content)
}

fn feed(entries: &[String]) -> String {
    format!(
        "<feed xmlns='http://www.w3.org/2005/Atom' xmlns:e='http://naesb.org/espi'>\n<id>x</id>\n{}</feed>\n",
        entries.concat()
    )
}

fn simple() -> String {
    feed(&[point(), local(), reading(), reading_type(&ENERGY), block(&readings(24, 3600))])
}

#[test]
fn a_block_becomes_a_message() {
    let seen = good(&simple());
    let [draft] = seen.drafts.as_slice() else { panic!("{:?}", seen.drafts) };
    assert_eq!(draft.subject.as_deref(), Some("id-of-UsagePoint-7"));
    assert_eq!(draft.time.as_deref(), Some("2026-11-19T19:00:00-05:00"));
    let data = data(draft);
    assert_eq!((data["quantity"].as_str(), data["unit"].as_str()), (Some("active-energy-forward"), Some("kWh")));
    assert_eq!((data["interval"].as_str(), data["measuredOn"].as_str()), (Some("PT1H"), Some("2012-03-01")));
    assert_eq!(data["revision"], 1_795_132_800);
    assert_eq!(data["values"][23], json!({"startAt": "2012-03-01T23:00:00-05:00", "value": "0.273"}));
}

#[test]
fn the_order_of_entries_does_not_matter() {
    let mut entries = [point(), local(), reading(), reading_type(&ENERGY), block(&readings(24, 3600))];
    let expected = good(&simple()).drafts;
    for _ in 0..entries.len() {
        entries.rotate_left(1);
        let found = good(&feed(&entries)).drafts;
        assert_eq!((found.len(), &found[0].id, &found[0].data), (1, &expected[0].id, &expected[0].data));
    }
}

#[test]
fn a_resend_keeps_its_id_and_a_correction_gets_another() {
    let id = |text: &str| good(text).drafts[0].id.clone();
    let text = simple();
    assert_eq!(
        id(&text),
        id(&text.replace("2026-11-20T00", "2026-11-21T00").replace("/IntervalBlock/1'", "/IntervalBlock/2'"))
    );
    for changed in [
        text.replace(">250<", ">251<"),
        text.replace("<e:value>250", "<e:ReadingQuality><e:quality>8</e:quality></e:ReadingQuality><e:value>250"),
        text.replace(">0</e:powerOfTenMultiplier", ">1</e:powerOfTenMultiplier"),
        text.replace("urn:uuid:id-of-UsagePoint-7", "urn:uuid:other"),
    ] {
        assert_ne!(id(&text), id(&changed));
    }
}

#[test]
fn qualities_signs_powers_and_missing_periods() {
    let quality = |code: &str| format!("<e:ReadingQuality><e:quality>{code}</e:quality></e:ReadingQuality>");
    let reading = |inner: &str| format!("<e:IntervalReading>{inner}</e:IntervalReading>");
    let readings = reading(&format!("<e:value>-1500</e:value>{}", quality("0")))
        + &reading(&format!("{}{}<e:value>2</e:value>", quality("17"), quality("8")))
        + &reading(&format!("<e:value>3</e:value>{}", quality("7")));
    let seen = good(&feed(&[
        point(),
        local(),
        reading_type(&ENERGY).replace("flowDirection>1<", "flowDirection>4<").replace("Multiplier>0<", "Multiplier>3<"),
        self::reading(),
        block(&readings),
    ]));
    let data = data(&seen.drafts[0]);
    assert_eq!(
        data["values"],
        json!([
            {"startAt": "2012-03-01T00:00:00-05:00", "value": "-1500"},
            {"startAt": "2012-03-01T01:00:00-05:00", "value": "2", "quality": "estimated"},
            {"startAt": "2012-03-01T02:00:00-05:00", "value": "3", "quality": "edited"},
        ])
    );
    assert_eq!(data["quantity"], "active-energy-net");
}

#[test]
fn registers_are_readings_at_the_end_of_their_periods() {
    let seen =
        good(&feed(&[point(), local(), reading(), with("accumulationBehaviour", "1"), block(&readings(2, 3600))]));
    assert_eq!(seen.drafts.len(), 2);
    assert_eq!(
        data(&seen.drafts[1]),
        json!({
            "meteringPoint": "id-of-UsagePoint-7", "takenOn": "2012-03-01", "takenAt": "2012-03-01T02:00:00-05:00", "origin": "ami",
            "registers": [{"quantity": "active-energy-forward", "unit": "kWh", "value": "0.251"}],
        })
    );
}

#[test]
fn long_blocks_are_cut_and_days_of_another_length_are_days() {
    let long = block(&readings(7000, 900)).replace(">86400<", ">31536000<");
    let seen = good(&feed(&[point(), local(), reading(), reading_type(&ENERGY), long]));
    let lengths: Vec<_> = seen.drafts.iter().map(|draft| data(draft)["values"].as_array().unwrap().len()).collect();
    assert_eq!(lengths, [3000, 3000, 1000]);
    assert!(data(&seen.drafts[0]).get("measuredOn").is_none());
    let summer = |start: i64, length: i64| {
        let text = feed(&[
            point(),
            local(),
            reading(),
            reading_type(&ENERGY),
            block("<e:IntervalReading><e:value>1</e:value></e:IntervalReading>"),
        ]);
        let text = text.replace(">86400<", &format!(">{length}<")).replace(&MIDNIGHT.to_string(), &start.to_string());
        let data = data(&good(&text).drafts[0]);
        (
            data["measuredOn"].as_str().unwrap_or("").to_owned(),
            data["values"][0]["startAt"].as_str().unwrap().to_owned(),
        )
    };
    let of = |day: &str, start: &str| (day.to_owned(), start.to_owned());
    assert_eq!(summer(1_331_442_000, 82_800), of("2012-03-11", "2012-03-11T00:00:00-05:00"));
    assert_eq!(summer(1_331_524_800, 86_400), of("2012-03-12", "2012-03-12T00:00:00-04:00"));
    assert_eq!(summer(1_331_530_000, 86_400), of("", "2012-03-12T00:26:40-05:00"));
}

#[test]
fn what_is_not_carried_is_named() {
    let summary = entry("/s", "", &[], "UsageSummary><e:x/></e:UsageSummary>");
    let seen = good(&simple().replace("</feed>", &format!("{summary}{}</feed>", block(""))));
    assert_eq!(seen.drafts.len(), 1);
    assert_eq!(seen.warnings.len(), 2, "{:?}", seen.warnings);
    assert!(seen.warnings.contains(&"UsageSummary has no place in the messages, ignored".to_owned()));
}

#[test]
fn reading_types_that_no_message_carries() {
    let type_of =
        |name: &str, value: &str| feed(&[point(), local(), reading(), with(name, value), block(&readings(24, 3600))]);
    let more = |fields: &str| simple().replace("<e:uom>", &format!("{fields}<e:uom>"));
    for text in [
        type_of("uom", "42"),
        type_of("flowDirection", "0"),
        type_of("commodity", "7"),
        type_of("accumulationBehaviour", "12"),
        type_of("powerOfTenMultiplier", "99"),
        more("<e:dataQualifier>8</e:dataQualifier>"),
        more("<e:tou>2</e:tou>"),
    ] {
        assert_eq!(refused(&text), ("unsupported-reading-type".to_owned(), "line 7, element feed/entry".to_owned()));
    }
}

#[test]
fn everything_that_is_wrong_has_its_code_and_place() {
    let all = readings(24, 3600);
    let build = |parts: [String; 5]| feed(&parts);
    let block_of = |readings: &str| build([point(), local(), reading(), reading_type(&ENERGY), block(readings)]);
    let type_of = |name: &str, value: &str| build([point(), local(), reading(), with(name, value), block(&all)]);
    let (at, inside) = ("line 7, element feed/entry", "line 7, element feed/entry/content/IntervalBlock");
    let text = simple();
    for (text, code, place) in [
        ("<ServiceCategory/>".into(), "not-this-format", "line 1, element ServiceCategory".into()),
        (feed(&[point()]), "no-data", "line 5".into()),
        (
            feed(&[point(), local(), reading_type(&ENERGY), String::new(), block(&all)]),
            "no-meter-reading",
            "line 6, element feed/entry".into(),
        ),
        (
            feed(&[point(), local(), reading(), String::new(), block(&all)]),
            "no-reading-type",
            "line 6, element feed/entry".into(),
        ),
        (
            feed(&[local(), reading(), reading_type(&ENERGY), String::new(), block(&all)]),
            "no-usage-point",
            "line 6, element feed/entry".into(),
        ),
        (text.replace("kind>0<", "kind>1<"), "not-electricity", at.into()),
        (
            text.replace("tzOffset>-18000<", "tzOffset>-99999<"),
            "bad-number",
            "line 4, element feed/entry/content".into(),
        ),
        (type_of("uom", "Wh"), "bad-number", "line 6, element feed/entry/content/ReadingType/uom".into()),
        (text.replacen("T00:00:00Z", "", 1), "bad-time", "line 3, element feed/entry/updated".into()),
        (text.replace("id-of-UsagePoint-7", &"x".repeat(65)), "bad-id", at.into()),
        (
            text.replace("<e:value>251</e:value>", ""),
            "missing-field",
            "line 9, element feed/entry/content/IntervalBlock/IntervalReading".into(),
        ),
        (
            text.replace(">251<", ">2x<"),
            "bad-value",
            "line 9, element feed/entry/content/IntervalBlock/IntervalReading/value".into(),
        ),
        (text.replace(">251<", ">-251<"), "bad-value", format!("{inside}, reading 2")),
        (block_of(&readings(25, 3600)), "bad-period", format!("{inside}, reading 25")),
        (
            block_of(&(readings(2, 3600) + &readings(1, 3600).replace(">250<", ">9<"))),
            "repeated-period",
            format!("{inside}, readings 1, 3"),
        ),
        (block_of(&readings(2, 90)), "bad-interval", inside.into()),
        (
            block_of("<e:IntervalReading><e:value>1</e:value></e:IntervalReading>")
                .replace("intervalLength>3600<", "intervalLength>0<"),
            "missing-field",
            format!("{inside}, reading 1"),
        ),
        (text.replace(">86400<", ">-1<"), "missing-field", format!("{inside}/interval")),
        (
            text.replace("<content><e:UsagePoint>", "<content><e:x/><e:UsagePoint>"),
            "bad-structure",
            "line 3, element feed/entry/content".into(),
        ),
        (text.replace("</feed>", ""), "truncated", "line 34, element feed".into()),
    ] {
        assert_eq!(refused(&text), (code.to_owned(), place), "{code}");
    }
}

#[test]
fn what_is_left_out_leaves_the_rest() {
    let values = |text: &str| {
        let seen = good(text);
        (data(&seen.drafts[0])["values"].as_array().unwrap().len(), seen.left_out.len())
    };
    let block_of = |readings: &str| feed(&[point(), local(), reading(), reading_type(&ENERGY), block(readings)]);
    let all = readings(24, 3600);
    assert_eq!(values(&block_of(&all.replace(">251<", ">-251<"))), (23, 1));
    assert_eq!(values(&block_of(&all.replace(">251<", ">x<"))), (23, 1));
    // Doubled with another value: neither is taken. With the same one: it is one. Out of order: in order.
    assert_eq!(values(&block_of(&(all.clone() + &readings(1, 3600).replace(">250<", ">9<")))), (23, 1));
    assert_eq!(values(&block_of(&(all.clone() + &readings(1, 3600)))), (24, 0));
    let parts: Vec<&str> = all.split_inclusive("</e:IntervalReading>\n").collect();
    let reversed: String = parts.into_iter().rev().collect();
    assert_eq!(good(&block_of(&reversed)).drafts[0].id, good(&block_of(&all)).drafts[0].id);
    // Another meter of the feed, with a block for each of two days, is told once.
    let other =
        |text: String| text.replace("/UsagePoint/7", "/UsagePoint/8").replace("/ReadingType/1", "/ReadingType/2");
    let gas = other(point()).replace("kind>0<", "kind>1<") + &other(reading()) + &other(block(&all)).repeat(2);
    let seen = good(&simple().replace("</feed>", &format!("{gas}</feed>")));
    assert_eq!((seen.drafts.len(), seen.left_out.len()), (1, 1), "{:?}", seen.left_out);
}

#[test]
fn too_much_is_refused() {
    let long = "x".repeat(501);
    assert_eq!(refused(&feed(&[entry(&long, "", &[], "MeterReading/>")])).0, "too-many-links");
    let related: Vec<_> = (0..1001).map(|_| "/x").collect();
    assert_eq!(refused(&feed(&[entry("/a", "", &related, "MeterReading/>")])).0, "too-many-links");
    let many: Vec<_> =
        (0..30_000).map(|index| entry(&format!("/{index}{}", "x".repeat(400)), "", &[], "MeterReading/>")).collect();
    assert_eq!(refused(&feed(&many)).0, "too-many-resources");
    let waiting: Vec<_> =
        (0..30_000).map(|_| block("").replace("/IntervalBlock'", &format!("/{}'", "x".repeat(450)))).collect();
    assert_eq!(refused(&feed(&waiting)).0, "too-many-resources");
    let content = format!("IntervalBlock/>{}", "<e:IntervalBlock/>".repeat(100_000));
    assert_eq!(refused(&feed(&[entry("/a", "", &[], &content)])).0, "too-many-readings");
    assert_eq!(refused(&feed(&[block(&readings(100_001, 60))])).0, "too-many-readings");
}

#[test]
fn hostile_bytes_never_panic() {
    let seed = feed(&[point(), local(), reading(), reading_type(&ENERGY), block(&readings(3, 3600))]);
    for end in 0..seed.len() - 1 {
        assert!(decoded(&seed.as_bytes()[..end]).0.is_err(), "{end}");
    }
    for bytes in mutations::of(seed.as_bytes(), 5000) {
        let _ = decoded(&bytes);
    }
}
