#![allow(clippy::unwrap_used)]

use busbar_sdk::encoding::Encoding;
use busbar_sdk::{TestHub, parse_settings};

use super::*;

const PAYEE: &str = r#""payee": {"name": "АО Зареченская сбытовая", "account": "40702810500000000042",
    "bank-name": "Банк Озёрный", "bic": "044000002", "correspondent-account": "30101810000000000002"}"#;
const CODE: &str = "ST00012|Name=АО Лес|PersonalAcc=40702810500000000042|BankName=Банк Озёрный|BIC=044000002|\
CorrespAcc=30101810000000000002|PersAcc=0004217|Sum=105298";

fn settings(further: &str) -> Settings {
    parse_settings(&format!("{{{PAYEE}{further}}}")).unwrap()
}

fn invoice(number: &str, value: &str) -> Invoice {
    let data = json!({ "account": "500100200300", "number": number, "issuedOn": "2026-11-01",
        "period": { "start": "2026-10-01", "end": "2026-10-31" }, "amount": { "value": value, "currency": "RUB" } });
    serde_json::from_value(data).unwrap()
}

fn decoded(settings: &Settings, file: &[u8]) -> (Result<(), Rejection>, TestHub) {
    let mut rest = file;
    let mut lines = Lines::new(|max| {
        let (now, later) = rest.split_at(rest.len().min(max as usize));
        rest = later;
        now.to_vec()
    });
    let mut seen = TestHub::default();
    let result = decode(settings, &mut lines, &mut seen);
    (result, seen)
}

fn refusal(file: &[u8]) -> (String, String) {
    let rejection = decoded(&settings(""), file).0.unwrap_err();
    (rejection.code, rejection.place.unwrap_or_default())
}

fn text_of(draft: &Draft) -> String {
    let data: Value = serde_json::from_str(&draft.data).unwrap();
    data["qr"].as_str().unwrap().to_owned()
}

#[test]
fn round_trip() {
    for name in ["utf-8", "windows-1251", "koi8-r"] {
        let settings = settings(&format!(r#", "encoding": "{name}", "further": {{"TechCode": "02"}}"#));
        for number in ["2026-11-000017", "7|8", "|#~^;*$%&!"] {
            let made = link(&settings, &invoice(number, "1487.60")).unwrap().unwrap();
            let bytes = settings.encoding.encoding().encode(&text_of(&made)).into_owned();
            let (result, seen) = decoded(&settings, &bytes);
            assert!(result.is_ok(), "{result:?}");
            assert!(seen.warnings.is_empty());
            let read = &seen.drafts[0];
            assert_eq!((&read.id, &read.data, &read.subject), (&made.id, &made.data, &made.subject));
        }
    }
}

#[test]
fn the_text_made() {
    let made = link(&settings(r#", "further": {"PayeeINN": "7700000016"}"#), &invoice("17|1", "1487.6")).unwrap();
    assert_eq!(
        text_of(&made.unwrap()),
        "ST00012#Name=АО Зареченская сбытовая#PersonalAcc=40702810500000000042#BankName=Банк Озёрный#BIC=044000002\
         #CorrespAcc=30101810000000000002#Sum=148760#Purpose=ЛС: 500100200300, счёт 17|1#PersAcc=500100200300\
         #PaymPeriod=10.2026#QuittId=17|1#QuittDate=01.11.2026#PayeeINN=7700000016"
    );
    assert!(link(&settings(""), &invoice("17", "-0.01")).unwrap().is_none());
}

#[test]
fn what_cannot_be_written() {
    let code = |further: &str, number: &str, value: &str| match link(&settings(further), &invoice(number, value)) {
        Err(Failure::Rejected(rejection)) => rejection.code,
        other => format!("{other:?}"),
    };
    assert_eq!(code("", "17", "0.005"), "bad-amount");
    assert_eq!(code("", "1\t7", "1.00"), "bad-character");
    assert_eq!(code("", "|#~^;*$%&!?@+:/\\<>{}[]_", "1.00"), "no-separator");
    assert_eq!(code(r#", "encoding": "koi8-r""#, "№ 17", "1.00"), "not-in-encoding");
    assert_eq!(code(r#", "further": {"sum": "1"}"#, "17", "1.00"), "bad-config");
    assert_eq!(code(r#", "account-key": "Sum""#, "17", "1.00"), "bad-config");
    let long = format!(
        r#", "further": {{{}}}"#,
        (0..8).map(|key| format!(r#""K{key}": "{}""#, "ы".repeat(210))).collect::<Vec<_>>().join(",")
    );
    assert_eq!(code(&long, "17", "1.00"), "text-too-long");
}

#[test]
fn encodings_and_separators() {
    let data = |bytes: &[u8]| {
        let (result, seen) = decoded(&settings(""), bytes);
        assert!(result.is_ok(), "{result:?}");
        let data: Value = serde_json::from_str(&seen.drafts[0].data).unwrap();
        (data["issuer"]["name"].as_str().unwrap().to_owned(), seen.warnings.len())
    };
    let good = ("АО Лес".to_owned(), 0);
    let text =
        |digit: &str, separator: &str| CODE.replace("ST00012", &format!("ST0001{digit}")).replace('|', separator);
    assert_eq!(data(text("2", "\u{1d}").as_bytes()), good);
    assert_eq!(data(&Encoding::Windows1251.encode(&text("1", "§"))), good);
    assert_eq!(data(&Encoding::Koi8R.encode(&text("3", "~"))), good);
    // A head that is not true.
    assert_eq!(data(text("1", "|").as_bytes()), ("АО Лес".to_owned(), 1));
    assert_eq!(data(&Encoding::Windows1251.encode(&text("2", "|"))), ("АО Лес".to_owned(), 1));
    assert_eq!(refusal(text("2", "§").as_bytes()).0, "bad-separator");
}

#[test]
fn readings() {
    let file = format!(
        "\u{feff}{CODE}|CounterId=011070134856213|CounterVal=10452,7|QuittDate=01.11.2026|\r\n\n{CODE}|COUNTERVAL=007"
    );
    let (result, seen) = decoded(&settings(""), file.as_bytes());
    assert!(result.is_ok(), "{result:?}");
    let data: Vec<Value> = seen.drafts.iter().map(|draft| serde_json::from_str(&draft.data).unwrap()).collect();
    assert_eq!(data.len(), 4);
    assert_eq!((&data[1]["takenOn"], &data[1]["registers"][0]["value"]), (&json!("2026-11-01"), &json!("10452.7")));
    assert_eq!(data[1]["meter"]["serialNumber"], "011070134856213");
    assert_eq!((&data[3]["takenOn"], &data[3]["registers"][0]["value"]), (&json!("2026-11-22"), &json!("7")));
    assert_eq!(seen.drafts[2].place.as_deref(), Some("line 3"));
}

#[test]
fn refusals() {
    let with = |what: &str| refusal(format!("\n{CODE}|{what}").as_bytes());
    let expected = |code: &str, place: &str| (code.to_owned(), place.to_owned());
    assert_eq!(refusal(b"\r\n \n"), expected("no-codes", ""));
    assert_eq!(refusal(b"ST00012"), expected("truncated", "line 1"));
    assert_eq!(refusal(b"ST00012Name=A"), expected("bad-separator", "line 1"));
    assert_eq!(refusal(b"ST00012=Name"), expected("bad-separator", "line 1"));
    assert_eq!(refusal(b"ST00014|PersAcc=1"), expected("unknown-encoding", "line 1"));
    assert_eq!(refusal(b"ST00022|PersAcc=1"), expected("unknown-version", "line 1"));
    assert_eq!(refusal(b"BEGIN:VCARD"), expected("not-this-format", "line 1"));
    assert_eq!(with("Purpose"), expected("unreadable-field", "line 2, field 8"));
    assert_eq!(with("a b=1"), expected("unreadable-field", "line 2, field 8"));
    assert_eq!(with("SUM=1"), expected("repeated-field", "line 2, field 8"));
    assert_eq!(with("Purpose=a\tb"), expected("bad-character", "line 2, field 8"));
    assert_eq!(with("CounterVal=-1"), expected("bad-field", "line 2, field CounterVal"));
    assert_eq!(with("CounterVal=1|QuittDate=31.02.2026"), expected("bad-field", "line 2, field QuittDate"));
    assert_eq!(with(&format!("Purpose={}", "я".repeat(1500))), expected("text-too-long", "line 2"));
    let of = |from: &str, to: &str| refusal(CODE.replace(from, to).as_bytes());
    assert_eq!(of("PersAcc=0004217", "PersAcc="), expected("missing-field", "line 1, field PersAcc"));
    assert_eq!(of("|BIC=044000002", ""), expected("missing-field", "line 1, field BIC"));
    assert_eq!(of("BIC=0", "BIC="), expected("bad-field", "line 1, field BIC"));
    assert_eq!(of("PersAcc=0004217", "PersAcc=00 04"), expected("bad-field", "line 1, field PersAcc"));
    assert_eq!(of("105298", "1052.98"), expected("bad-field", "line 1, field Sum"));
    assert_eq!(refusal(&vec![b'S'; 70_000]), expected("line-too-long", "line 1"));
}

#[test]
fn a_sum_of_nothing_is_for_the_payer_to_say() {
    let (_, seen) = decoded(&settings(""), CODE.replace("105298", "0").as_bytes());
    assert!(!seen.drafts[0].data.contains("amount"));
}

#[test]
fn damaged_input_is_refused_not_crashed_on() {
    let settings = settings("");
    let file = format!("{CODE}|CounterId=1|CounterVal=5\n{}", CODE.replace('|', "#")).into_bytes();
    for end in 0..file.len() {
        let _ = decoded(&settings, &file[..end]);
    }
    let mut seed = 42_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for _ in 0..5000 {
        let mut damaged = file.clone();
        for _ in 0..=random() % 4 {
            let at = random() % damaged.len();
            damaged[at] = u8::try_from(random() % 256).unwrap();
        }
        let _ = decoded(&settings, &damaged);
    }
}

#[test]
fn what_a_scanner_read_as_western_european_is_read_back() {
    for (declared, encoding) in [('1', Encoding::Windows1251), ('3', Encoding::Koi8R), ('2', Encoding::Utf8)] {
        // koi8-r has neither.
        let name = if declared == '3' { "АО Лес" } else { "АО “Лес” №1" };
        let right = CODE.replace("АО Лес", name).replacen("ST00012", &format!("ST0001{declared}"), 1);
        let bytes = encoding.encode(&right).into_owned();
        let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let (result, seen) = decoded(&settings(""), latin.as_bytes());
        assert!(result.is_ok(), "{result:?}");
        let (_, as_printed) = decoded(&settings(""), &bytes);
        assert_eq!((&seen.drafts[0].id, &seen.drafts[0].data), (&as_printed.drafts[0].id, &as_printed.drafts[0].data));
        assert!(seen.warnings.iter().any(|text| text.contains("western European")), "{:?}", seen.warnings);
    }
    // Letters of western Europe that no Russian text makes stay.
    let name = CODE.replace("АО Лес", "АО Müller");
    assert!(text_of(&decoded(&settings(""), name.as_bytes()).1.drafts[0]).contains("Müller"));
}

#[test]
fn a_bad_code_among_good_ones_is_left_out() {
    let (result, seen) = decoded(
        &settings(""),
        format!("{CODE}\nST00014|PersAcc=1\n\n{}", CODE.replace("0004217", "0004218")).as_bytes(),
    );
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(seen.drafts.len(), 2);
    let bad = &seen.left_out[0];
    assert_eq!((bad.code.as_str(), bad.place.as_deref()), ("unknown-encoding", Some("line 2")));
}

#[test]
fn each_part_of_a_text_tells_two_codes_apart() {
    let of = |text: &str| {
        decoded(&settings(""), text.as_bytes()).1.drafts.into_iter().map(|draft| draft.id).collect::<Vec<_>>()
    };
    let code = format!("{CODE}|CounterId=7|CounterVal=10|QuittDate=01.11.2026|QuittId=5");
    let found = of(&code);
    assert_eq!(found.len(), 2);
    assert_ne!(found[0], found[1]);
    for (value, other) in [
        ("0004217", "0004218"),
        ("105298", "105299"),
        ("CounterVal=10", "CounterVal=11"),
        ("QuittId=5", "QuittId=6"),
        ("01.11", "02.11"),
    ] {
        let changed = of(&code.replace(value, other));
        assert!(changed[0] != found[0] && changed[1] != found[1], "{value}");
    }
    assert_eq!(of(&format!("\u{feff}{code}\r\n")), found);
}
