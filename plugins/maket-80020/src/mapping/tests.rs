use busbar_sdk::encoding::Encoding;
use busbar_sdk::{TestHub, mutations};
use serde_json::{Value, json};

use super::*;

pub fn decode_with(settings: &Settings, name: &str, bytes: &[u8]) -> (Result<(), Rejection>, TestHub) {
    let mut rest = bytes;
    let read = |max: u32| {
        let (now, later) = rest.split_at(rest.len().min(max as usize).min(700));
        rest = later;
        now.to_vec()
    };
    let mut seen = TestHub::default();
    let result = decode(settings, name, read, &mut seen);
    (result, seen)
}

fn good(text: &str) -> TestHub {
    let (result, seen) = decode_with(&Settings::default(), "f.xml", text.as_bytes());
    assert!(result.is_ok(), "{result:?}");
    seen
}

fn refused(text: &str) -> (String, String) {
    let rejection = decode_with(&Settings::default(), "f.xml", text.as_bytes()).0.unwrap_err();
    (rejection.code, rejection.place.unwrap_or_default())
}

fn data(draft: &Draft) -> Value {
    serde_json::from_str(&draft.data).unwrap()
}

/// Periods of the length, each with the number of its place in the day.
pub fn periods(length_minutes: u32) -> String {
    let clock = |minutes: u32| format!("{:02}{:02}", minutes / 60 % 24, minutes % 60);
    (0..1440 / length_minutes)
        .map(|index| {
            let start = index * length_minutes;
            let (start, end) = (clock(start), clock(start + length_minutes));
            format!("<period start=\"{start}\" end=\"{end}\"><value>{index}</value></period>\n")
        })
        .collect()
}

pub fn message(number: &str, points: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"windows-1251\"?>\n<message class=\"80020\" version=\"2\" number=\"{number}\">\n\
         <datetime><timestamp>20261120081503</timestamp><daylightsavingtime>0</daylightsavingtime><day>20261119</day></datetime>\n\
         <sender><name>ООО «Заречье»</name><inn>5000000017</inn></sender>\n\
         <area timezone=\"1\"><inn>5000000100</inn><name>Заречье</name>\n{points}</area>\n</message>\n"
    )
}

pub fn point(code: &str, channel: &str, periods: &str) -> String {
    format!(
        "<measuringpoint code=\"{code}\" name=\"ПС\"><measuringchannel code=\"{channel}\" desc=\"счетчик\">\n{periods}\
         </measuringchannel></measuringpoint>\n"
    )
}

fn simple() -> String {
    message("817", &point("500001090000101", "01", &periods(30)))
}

#[test]
fn a_channel_becomes_a_message() {
    let seen = good(&simple());
    let [draft] = seen.drafts.as_slice() else { panic!("{:?}", seen.drafts) };
    assert_eq!(draft.subject.as_deref(), Some("500001090000101"));
    assert_eq!(draft.time.as_deref(), Some("2026-11-20T08:15:03+03:00"));
    assert_eq!(draft.place.as_deref(), Some("line 6"));
    let data = data(draft);
    assert_eq!(data["values"].as_array().unwrap().len(), 48);
    assert_eq!(data["values"][47], json!({"startAt": "2026-11-19T23:30:00+03:00", "value": "47"}));
    assert_eq!((data["revision"].as_u64(), data["interval"].as_str()), (Some(817), Some("PT30M")));
    assert_eq!((data["quantity"].as_str(), data["unit"].as_str()), (Some("active-energy-forward"), Some("kWh")));
    assert_eq!((data["measuredOn"].as_str(), data["channel"].as_str()), (Some("2026-11-19"), Some("01")));
    // The declared encoding is not the real one.
    assert_eq!(seen.warnings, ["UTF-8 although windows-1251 is declared"]);
}

#[test]
fn the_id_is_of_what_is_stated_not_of_how() {
    let id = |text: &str| good(text).drafts[0].id.clone();
    let text = simple();
    assert_eq!(id(&text), id(&text.replace("20261120081503", "20261120090000").replace("ПС", "Подстанция")));
    let (result, seen) = decode_with(&Settings::default(), "other.xml", &Encoding::Windows1251.encode(&text));
    assert!(result.is_ok() && seen.warnings.is_empty());
    assert_eq!(id(&text), seen.drafts[0].id);
    for changed in [
        text.replace("\"817\"", "\"818\""),
        text.replace("<value>5<", "<value>6<"),
        text.replace("<value>5<", "<value status=\"1\">5<"),
        text.replace("20261119", "20261118"),
        text.replace("5000000017", "5000000018"),
        text.replace("5000000100", "5000000101"),
        text.replace("code=\"01\"", "code=\"02\""),
    ] {
        assert_ne!(id(&text), id(&changed));
    }
}

#[test]
fn dispatchers_flows_hours_and_empty_values() {
    let hours = periods(60)
        .replace("<value>3</value>", "<value status=\"1\"/>")
        .replace("<value>4<", "<value status=\"1\">-4<");
    let flows = format!(
        "<deliverygroup name=\"ТЭЦ\" code=\"GZARECH1\">{hours}</deliverygroup>\
         <peretok name=\"А - Б\" codefrom=\"PZARECHE\" codeto=\"PZARECH1\">{hours}</peretok>"
    );
    let seen = good(&message("1", &flows));
    let points: Vec<_> =
        seen.drafts.iter().map(|draft| data(draft)["meteringPoint"].as_str().unwrap().to_owned()).collect();
    assert_eq!(points, ["GZARECH1", "PZARECHE>PZARECH1"]);
    let data = data(&seen.drafts[1]);
    assert_eq!((data["quantity"].as_str(), data["interval"].as_str()), (Some("active-energy-net"), Some("PT1H")));
    assert_eq!(data["values"][3], json!({"startAt": "2026-11-19T03:00:00+03:00", "quality": "missing"}));
    assert_eq!(data["values"][4]["quality"], "non-commercial");
    assert_eq!(data["values"][4]["value"], "-4");
    assert!(data.get("channel").is_none());
}

#[test]
fn the_offset_of_the_day() {
    let start = |text: String, settings: &Settings| {
        let (result, seen) = decode_with(settings, "f", text.as_bytes());
        result.map(|()| data(&seen.drafts[0])["values"][0]["startAt"].as_str().unwrap().to_owned())
    };
    let summer =
        |day: &str| simple().replace("20261119", day).replace("<daylightsavingtime>0", "<daylightsavingtime>1");
    let default = Settings::default();
    assert_eq!(start(summer("20100714"), &default).unwrap(), "2010-07-14T00:00:00+04:00");
    assert_eq!(start(summer("20130310"), &default).unwrap(), "2013-03-10T00:00:00+04:00");
    assert_eq!(start(summer("20260714"), &default).unwrap(), "2026-07-14T00:00:00+03:00");
    let siberia = simple().replace("timezone=\"1\"", "timezone=\"2\"");
    assert_eq!(start(siberia.clone(), &default).unwrap_err().code, "unknown-timezone");
    let settings: Settings = serde_json::from_value(json!({"timezones": {"2": "+07:00"}})).unwrap();
    assert_eq!(start(siberia, &settings).unwrap(), "2026-11-19T00:00:00+07:00");
}

#[test]
fn everything_that_is_wrong_has_its_code_and_place() {
    let all = periods(30);
    let good = simple();
    let second = "<period start=\"0030\" end=\"0100\"><value>1</value></period>\n";
    let last = "<period start=\"2330\" end=\"0000\"><value>47</value></period>\n";
    let channel = "message/area/measuringpoint/measuringchannel";
    for (text, code, place) in [
        (good.replace("\"80020\"", "\"80040\""), "not-this-format", "line 2, element message"),
        ("<html/>".into(), "not-this-format", "line 1, element html"),
        (good.replace("version=\"2\"", "version=\"9\""), "unknown-version", "line 2, element message"),
        (good.replace("\"817\"", "\"\""), "bad-number", "line 2, element message"),
        (good.replace("\"817\"", "\"+7\""), "bad-number", "line 2, element message"),
        (good.replace("20261119", "20260230"), "bad-date", "line 3, element message/datetime/day"),
        (good.replace("20261120081503", "2026"), "bad-date", "line 3, element message/datetime/timestamp"),
        (good.replace("time>0<", "time>2<"), "bad-date", "line 3, element message/datetime/daylightsavingtime"),
        (good.replace("<inn>5000000017</inn>", ""), "missing-field", "line 5, element message/area"),
        (good.replace("<day>20261119</day>", ""), "missing-field", "line 5, element message/area"),
        (
            good.replace("<inn>5000000100</inn>", ""),
            "missing-field",
            "line 6, element message/area/measuringpoint/measuringchannel",
        ),
        (good.replace("5000000100", "5О"), "bad-inn", "line 5, element message/area/inn"),
        (good.replace("\"500001090000101\"", "\"\""), "bad-code", "line 6, element message/area/measuringpoint"),
        (good.replace("code=\"01\"", "code=\"05\""), "unknown-channel", &format!("line 6, element {channel}")),
        (good.replace(second, ""), "missing-period", &format!("line 8, element {channel}/period")),
        (good.replace(last, ""), "missing-period", &format!("line 6, element {channel}")),
        (good.replace(second, &second.repeat(2)), "repeated-period", &format!("line 9, element {channel}/period")),
        (good.replace("end=\"0100\"", "end=\"0130\""), "bad-period", &format!("line 8, element {channel}/period")),
        (good.replace("end=\"0030\"", "end=\"0010\""), "bad-period", &format!("line 7, element {channel}/period")),
        (good.replace("start=\"0100\"", "start=\"01:00\""), "bad-period", &format!("line 9, element {channel}/period")),
        (good.replace("<value>1</value>", ""), "missing-field", &format!("line 8, element {channel}")),
        (good.replace("<value>1<", "<value>1e3<"), "bad-value", &format!("line 8, element {channel}/period/value")),
        (good.replace("<value>1<", "<value>-1<"), "bad-value", &format!("line 8, element {channel}/period/value")),
        (good.replace("<value>1<", "<value><"), "bad-value", &format!("line 8, element {channel}/period/value")),
        (
            good.replace("<value>1<", "<value status=\"7\">1<"),
            "unknown-status",
            &format!("line 8, element {channel}/period/value"),
        ),
        (
            good.replace("</area>", "<accountpoint/></area>"),
            "unknown-element",
            "line 56, element message/area/accountpoint",
        ),
        (
            message("1", &(point("1", "01", &all) + &point("1", "01", &all))),
            "repeated-channel",
            &format!("line 56, element {channel}"),
        ),
        (message("1", ""), "no-data", "line 8"),
        (good.replace("</message>", ""), "truncated", "line 58, element message"),
        (good.replace("</sender>", "</area>"), "not-xml", "line 4, element message/sender"),
        (format!("<!DOCTYPE m [<!ENTITY a 'b'>]>{good}"), "xml-dtd", "line 1"),
        (String::new(), "not-xml", "line 1"),
    ] {
        assert_eq!(refused(&text), (code.to_owned(), place.to_owned()), "{code}");
    }
}

#[test]
fn archives() {
    let second = simple().replace("\"817\"", "\"818\"");
    let pack = |files: &[(&str, &str)]| {
        let mut archive = Vec::new();
        let files = files.iter().map(|(name, text)| (*name, text.as_bytes()));
        busbar_sdk::zip::write_archive(files, |bytes| archive.extend_from_slice(bytes)).unwrap();
        archive
    };
    let archive = pack(&[("a.xml", &simple()), ("sign.p7s", "x"), ("b/B.XML", &second)]);
    let (result, seen) = decode_with(&Settings::default(), "a.zip", &archive);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(seen.drafts.len(), 2);
    assert!(seen.warnings.contains(&"file sign.p7s: not .xml, ignored".to_owned()));
    let broken = pack(&[("a.xml", &simple()), ("b.xml", "<a>")]);
    let (result, mut seen) = decode_with(&Settings::default(), "a.zip", &broken);
    assert_eq!((result.is_ok(), seen.drafts.len(), seen.left_out.len()), (true, 1, 1));
    let rejection = seen.left_out.remove(0);
    assert_eq!(
        (rejection.code.as_str(), rejection.place.as_deref()),
        ("not-this-format", Some("file b.xml, line 1, element a"))
    );
    assert_eq!(decode_with(&Settings::default(), "a.zip", &pack(&[])).0.unwrap_err().code, "no-data");
    let mut random = 0x9E37_79B9_u32;
    for _ in 0..2000 {
        let mut bytes = archive.clone();
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let at = random as usize % bytes.len();
        bytes[at] ^= 1 << (random >> 29);
        let (result, seen) = decode_with(&Settings { receipts: true, ..Settings::default() }, "a.zip", &bytes);
        assert!(result.is_ok() && !seen.drafts.is_empty() || result.is_err(), "{result:?}");
    }
    assert_eq!(
        decode_with(&Settings::default(), "a.zip", &archive[..archive.len() - 9]).0.unwrap_err().code,
        "bad-zip"
    );
}

#[test]
fn receipts() {
    let settings = Settings { receipts: true, ..Settings::default() };
    let decoded = |text: &str| {
        let (result, seen) = decode_with(&settings, "in.xml", text.as_bytes());
        assert!(result.is_ok(), "{result:?}");
        let last = data(seen.drafts.last().unwrap());
        (seen.drafts.len(), last)
    };
    let (count, state) = decoded(&simple());
    assert_eq!((count, state["status"].as_str()), (2, Some("registered")));
    assert_eq!(
        state["document"],
        json!({"id": "80020_5000000017_20261119_817", "number": "817", "kind": "meter-data", "issuedOn": "2026-11-19"})
    );
    assert_eq!((state.get("reason"), state["changedAt"].as_str()), (None, Some("2026-11-22T10:00:00+03:00")));
    let (_, state) = decoded(&simple().replace("<value>1<", "<value status=\"1\">1<"));
    assert_eq!(
        (state["status"].as_str(), state["reason"]["code"].as_str()),
        (Some("registered"), Some("non-commercial-data"))
    );
    let (count, state) = decoded(&simple().replace("</area>", &format!("{}</area>", point("2", "09", ""))));
    assert_eq!(
        (count, state["status"].as_str(), state["reason"]["code"].as_str()),
        (1, Some("refused"), Some("unknown-channel"))
    );
    let (count, state) = decoded("PK");
    assert_eq!(
        (count, state["document"].clone(), state["reason"]["code"].as_str()),
        (1, json!({"id": "in.xml", "kind": "meter-data"}), Some("not-xml"))
    );
    let (_, state) = decoded("PK\x03\x04");
    assert_eq!(state["reason"]["code"], "bad-zip");
}

#[test]
fn hostile_bytes_never_panic() {
    let seed = message("817", &point("500001090000101", "01", &periods(60)));
    let settings = Settings::default();
    for end in 0..seed.len() {
        let result = decode_with(&settings, "f", &seed.as_bytes()[..end]).0;
        // What follows the root's end is blank.
        assert!(result.is_err() || seed[end..].trim().is_empty(), "{end}");
    }
    for bytes in mutations::of(seed.as_bytes(), 5000) {
        let _ = decode_with(&settings, "f", &bytes);
    }
}
