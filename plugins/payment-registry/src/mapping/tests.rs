use super::*;
use busbar_sdk::mutations;
use busbar_sdk::{Draft, TestHub};
use serde_json::{Value, json};

const GOROD: &str = "#FILESUM    1530.75\n#TYPE        7\n#SERVICE     11501\n\
    Соколова М.А.;Заречный,Липовая ул,4,12;500100200300;1000.50;;01/11/2026;20/11/2026;1:1000.50\n\
    Ким О.П.;Заречный,Мира ул,3/1,17;0004217;530.25;;01/11/2026;20/11/2026;1:99.00\n";
const SBER: &str = "8610;0123;1;2;1250.00;12.50;CLIENTNO:500100200300;20/11/2026;method_pay:Онлайн;\
    CLIENTDOCNO:2026-10-0042;CounterVal_1:010456;CounterVal_2:5321,5;CounterVal_3:;\n\
    8610;0123;1;3;730.40;7.30;method_pay:УС;20/11/2026;clientno: 0004217;CLIENTDOCNO:;\n";
const PIPE: &str = "500100200300|Соколова М.А.|20.11.2026|1000.50\n0004217|Ким О.П.|20.11.2026|530,25\n=|2|1530.75\n";

fn settings(config: Value) -> Settings {
    Settings::compiled(serde_json::from_value(config).unwrap()).ok().unwrap()
}

pub(super) fn decode_bytes(config: Value, bytes: &[u8]) -> (Result<(), Rejection>, TestHub) {
    decode_named(config, "registry.txt", bytes)
}

pub(super) fn decode_named(config: Value, name: &str, bytes: &[u8]) -> (Result<(), Rejection>, TestHub) {
    let mut rest = bytes;
    let mut lines = Lines::new(|max| {
        let (now, later) = rest.split_at(rest.len().min(max as usize).min(1000));
        rest = later;
        now.to_vec()
    });
    let mut seen = TestHub::default();
    let result = decode(&settings(config), name, &mut lines, &mut seen);
    (result, seen)
}

pub(super) fn good(profile: &str, text: &str) -> TestHub {
    let (result, seen) = decode_bytes(json!({ "profile": profile }), text.as_bytes());
    assert!(result.is_ok(), "{result:?}");
    seen
}

fn refused(profile: &str, text: &str) -> (String, String) {
    let rejection = decode_bytes(json!({ "profile": profile }), text.as_bytes()).0.unwrap_err();
    (rejection.code, rejection.place.unwrap())
}

fn data(draft: &Draft) -> Value {
    serde_json::from_str(&draft.data).unwrap()
}

fn types(seen: &TestHub) -> Vec<&str> {
    seen.drafts.iter().map(|draft| draft.type_.as_str()).collect()
}

#[test]
fn a_debt_registry_becomes_balances() {
    let seen = good("gorod-saldo", GOROD);
    assert_eq!(types(&seen), ["account.balance.v1", "account.balance.v1"]);
    assert_eq!(
        data(&seen.drafts[1]),
        json!({
            "account": "0004217",
            "amountDue": { "value": "530.25", "currency": "RUB" },
            "asOfOn": "2026-11-20",
            "customer": { "name": "Ким О.П.", "address": "Заречный,Мира ул,3/1,17" },
        })
    );
}

#[test]
fn a_line_with_readings_is_two_messages() {
    let seen = good("sber-payments", SBER);
    assert_eq!(types(&seen), ["payment.received.v1", "meter.reading.taken.v1", "payment.received.v1"]);
    assert_eq!(
        data(&seen.drafts[0]),
        json!({
            "account": "500100200300",
            "amount": { "value": "1250.00", "currency": "RUB" },
            "fee": { "value": "12.50", "currency": "RUB" },
            "channel": "bank-registry",
            "paidOn": "2026-11-20",
            "invoice": "2026-10-0042",
        })
    );
    let registers: Vec<_> =
        data(&seen.drafts[1])["registers"].as_array().unwrap().iter().map(|r| r["value"].clone()).collect();
    assert_eq!(registers, ["10456", "5321.5"]);
    assert_eq!(data(&seen.drafts[2])["account"], "0004217");
}

#[test]
fn the_same_payment_has_the_same_id_in_any_file() {
    let first = good("pipe", PIPE);
    let ids = |seen: &TestHub| seen.drafts.iter().map(|draft| draft.id.clone()).collect::<Vec<_>>();
    let corrected = PIPE.replace("=|2|1530.75", "7|Гусев|20.11.2026|1.00\n=|3|1531.75");
    assert_eq!(ids(&good("pipe", &corrected)).get(..2), Some(ids(&first).as_slice()));
    let twice = PIPE.replace("=|2|1530.75", "0004217|Ким О.П.|20.11.2026|530,25\n=|3|2061.00");
    let seen = good("pipe", &twice);
    assert_eq!(ids(&seen).get(..2), Some(ids(&first).as_slice()));
    assert_ne!(seen.drafts[1].id, seen.drafts[2].id);
    let own = decode_bytes(json!({ "profile": "pipe", "same-line": "new-in-each-file" }), PIPE.as_bytes()).1;
    assert_ne!(ids(&own), ids(&first));
}

#[test]
fn the_same_line_of_another_day_is_another_payment() {
    let config = json!({ "profile": {
        "like": "pipe", "header": ["DATE {paid-on}"], "columns": ["{account}", "{amount}"], "footer": [],
    }});
    let id = |day: &str| {
        let text = format!("DATE {day}\n500100200300|10.00\n");
        decode_bytes(config.clone(), text.as_bytes()).1.drafts[0].id.clone()
    };
    assert_eq!(id("20.11.2026"), id("20.11.2026"));
    assert_ne!(id("20.11.2026"), id("21.11.2026"));
}

#[test]
fn what_does_not_match_is_refused() {
    for (profile, text, code, place) in [
        ("gorod-saldo", GOROD.replace("1530.75", "1530.76"), "total-mismatch", "line 1"),
        ("gorod-saldo", GOROD.replace("#TYPE        7", "#TYPE 9"), "bad-header", "line 2"),
        ("gorod-saldo", GOROD.replace("#TYPE        7\n", ""), "missing-header", "line 4"),
        ("gorod-saldo", GOROD.replace("#TYPE        7", "#TYPE 7\n#TYPE 7"), "repeated-header", "line 3"),
        ("gorod-saldo", GOROD.replace("0004217", "500100200300"), "repeated-account", "line 5, field account"),
        ("gorod-saldo", GOROD.replace("0004217", ""), "missing-field", "line 5, field account"),
        ("gorod-saldo", GOROD.replace("20/11/2026;1:99", "31/11/2026;1:99"), "bad-date", "line 5, field as-of-on"),
        ("pipe", PIPE.replace("=|2", "=|3"), "count-mismatch", "line 3"),
        ("pipe", PIPE.replace("1530.75", "1530.7"), "total-mismatch", "line 3"),
        ("pipe", PIPE.replace("=|2|1530.75", "=|2"), "bad-header", "line 3"),
        ("pipe", PIPE.replace("=|2|1530.75\n", ""), "truncated", "line 2"),
        ("pipe", PIPE.to_owned() + "1|2|20.11.2026|3\n", "data-after-end", "line 4"),
        ("pipe", PIPE.replace("|530,25", ""), "bad-columns", "line 2"),
        ("pipe", PIPE.replace("|530,25", "|530,25|x"), "bad-columns", "line 2"),
        ("pipe", PIPE.replace("530,25", "530,255"), "bad-amount", "line 2, field amount"),
        ("sber-payments", "\n\n".to_owned(), "empty-file", "line 2"),
        ("sber-debt", "1;Ким;5\n".to_owned(), "encode-only", "config, profile"),
    ] {
        assert_eq!(refused(profile, &text), (code.to_owned(), place.to_owned()), "{text}");
    }
}

#[test]
fn a_bad_line_among_good_ones_is_left_out_where_no_total_holds_them_together() {
    for (text, code, place) in [
        (SBER.replace(":5321,5", ":5,3,2"), "bad-reading", "line 1, field reading 2"),
        (SBER.replace("Val_2", "Val_1"), "repeated-field", "line 1, field reading 1"),
        (SBER.replace("method_pay:УС", "19/11/2026"), "repeated-field", "line 2, field paid-on"),
        (SBER.replace("20/11/2026;clientno", "clientno"), "missing-field", "line 2, field paid-on"),
        (SBER.replace("730.40;7.30", "730.40;-7.30"), "bad-amount", "line 2, field fee"),
        (format!("{SBER}8610;0123\n"), "bad-columns", "line 3"),
    ] {
        let seen = good("sber-payments", &text);
        let left_out: Vec<_> = seen.left_out.iter().map(|bad| (bad.code.as_str(), bad.place.as_deref())).collect();
        assert_eq!(left_out, [(code, Some(place))], "{text}");
        assert!(types(&seen).contains(&"payment.received.v1"));
    }
    assert_eq!(refused("sber-payments", "one;two\nthree\n"), ("bad-columns".into(), "line 1".into()));
}

#[test]
fn sums_of_nothing_and_less() {
    let pipe = |second: &str, sum: &str| PIPE.replace("530,25", second).replace("1530.75", sum);
    let seen = good("pipe", &pipe("0", "1000.50"));
    assert_eq!((types(&seen), seen.left_out[0].code.as_str()), (vec!["payment.received.v1"], "zero-sum"));
    let storno = pipe("-530,25", "470.25");
    let seen = good("pipe", &storno);
    assert_eq!(types(&seen), ["payment.received.v1", "payment.refunded.v1"]);
    assert_eq!(data(&seen.drafts[1])["amount"]["value"], "530.25");
    let nameless = good("pipe", &storno.replace("0004217", ""));
    assert_eq!((nameless.drafts.len(), nameless.left_out[0].code.as_str()), (1, "negative-sum"));
    let with = |config: Value, text: &str| decode_bytes(config, text.as_bytes());
    let (_, seen) = with(json!({ "profile": "pipe", "negative-sums": "left-out" }), &storno);
    assert_eq!((seen.drafts.len(), seen.left_out[0].code.as_str()), (1, "negative-sum"));
    for (config, text, code) in [
        (json!({ "profile": "pipe", "negative-sums": "refused" }), storno.clone(), "negative-sum"),
        (json!({ "profile": "pipe", "zero-sums": "refused" }), pipe("0", "1000.50"), "zero-sum"),
    ] {
        assert_eq!(with(config, &text).0.unwrap_err().code, code);
    }
    assert_eq!(good("pipe", &pipe("1 530-25", "2 530,75")).drafts.len(), 2);
}

#[test]
fn constants_of_the_settings_must_be_the_files() {
    let config = |service: &str| json!({ "profile": "gorod-saldo", "values": { "service": service } });
    assert!(decode_bytes(config("11501"), GOROD.as_bytes()).0.is_ok());
    let rejection = decode_bytes(config("130137"), GOROD.as_bytes()).0.unwrap_err();
    assert_eq!((rejection.code.as_str(), rejection.place.as_deref()), ("wrong-value", Some("line 3, field service")));
    let bad = serde_json::from_value(json!({ "profile": "pipe", "values": { "amount": "1" } })).unwrap();
    assert!(Settings::compiled(bad).is_err());
}

#[test]
fn every_encoding_and_line_end_gives_the_same_messages() {
    let plain = good("gorod-saldo", GOROD);
    for encoding in [Encoding::Utf8, Encoding::Windows1251, Encoding::Ibm866] {
        let mut bytes = encoding.encode(&GOROD.replace('\n', "\r\n")).into_owned();
        bytes.push(0x1a);
        let (result, seen) = decode_bytes(json!({ "profile": "gorod-saldo" }), &bytes);
        assert!(result.is_ok(), "{result:?}");
        let texts = |seen: &TestHub| seen.drafts.iter().map(|draft| draft.data.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&seen), texts(&plain));
        assert_eq!(seen.warnings.is_empty(), encoding == Encoding::Ibm866, "{:?}", seen.warnings);
    }
}

#[test]
fn a_new_bank_is_settings_only() {
    let profile = json!({
        "records": "payments", "encoding": "windows-1251", "delimiter": "\t", "title-lines": 1,
        "header": ["DATE {paid-on}"],
        "columns": ["{account}", "{operation}", "{paid-time}", "{amount}", "{net}", "{fee}", "{reading-1}", "{reading-2}"],
        "footer": ["={count};{sum};{net-sum};{fees}"],
        "date": "dd-mm-yyyy", "time": "hh-mi-ss",
    });
    let text = "ЛС\tОперация\nDATE 20-11-2026\n500100200300\t77001\t10-30-00\t100.00\t99.00\t1.00\t5\t\n\
        \t77002\t10-31-00\t50\t50\t\t\t7\n=2;150.00;149.00;1.00\n";
    let config = json!({ "profile": profile, "zones": { "1": "day" } });
    let (result, seen) = decode_bytes(config.clone(), text.as_bytes());
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(types(&seen), ["payment.received.v1", "meter.reading.taken.v1", "payment.rejected.v1"]);
    assert_eq!(data(&seen.drafts[0])["paidAt"], "2026-11-20T10:30:00+03:00");
    assert_eq!(data(&seen.drafts[1])["registers"][0]["tariffZone"], "day");
    assert_eq!(seen.drafts[2].subject.as_deref(), Some("77002"));
    assert_eq!(data(&seen.drafts[2])["reason"]["code"], "no-account");
    assert!(seen.warnings.iter().any(|text| text.contains("readings without an account")), "{:?}", seen.warnings);
    for (from, to, code, place) in [
        ("77002", "77001", "repeated-operation", "line 4, field operation"),
        ("10-31-00", "25-31-00", "bad-time", "line 4, field paid-time"),
        ("99.00\t1.00", "99.00\t2.00", "bad-amount", "line 3, field net"),
        (";1.00\n", ";1.01\n", "total-mismatch", "line 5"),
        (";149.00;", ";149.01;", "total-mismatch", "line 5"),
    ] {
        let rejection = decode_bytes(config.clone(), text.replace(from, to).as_bytes()).0.unwrap_err();
        assert_eq!((rejection.code.as_str(), rejection.place.as_deref()), (code, Some(place)), "{to}");
    }
    let long = text.replace("77002", &"7".repeat(65));
    assert_eq!(decode_bytes(config, long.as_bytes()).0.unwrap_err().code, "field-too-long");
}

#[test]
fn readings_alone_are_taken_without_a_payment() {
    let seen = good("sber-payments", &SBER.replace("1250.00;12.50", "0.00;0.00"));
    assert_eq!(types(&seen), ["meter.reading.taken.v1", "payment.received.v1"]);
}

#[test]
fn damaged_bytes_are_refused_or_read_but_never_a_panic() {
    for (profile, whole) in [("gorod-saldo", GOROD), ("sber-payments", SBER), ("pipe", PIPE)] {
        for bytes in mutations::of(whole.as_bytes(), 2_000) {
            if let (Err(rejection), _) = decode_bytes(json!({ "profile": profile }), &bytes) {
                assert!(rejection.place.is_some(), "{rejection:?}");
            }
        }
    }
}

#[test]
fn a_line_of_delimiters_is_refused() {
    let line = ";".repeat(60_000);
    assert_eq!(refused("sber-payments", &line).0, "bad-columns");
    assert_eq!(refused("sber-payments", &"x".repeat(70_000)).0, "line-too-long");
}
