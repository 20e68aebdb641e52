//! Two payments alike but for one field are two; one payment in each of its shapes is one.

use super::tests::*;
use serde_json::{Value, json};

const LINE: &str = "20.11.2026;10:11:12;OP1;500100;Соколова М.А.;100.00;2.00\n";

fn config(more: Value) -> Value {
    let columns = ["{paid-on}", "{paid-time}", "{operation}", "{account}", "{name}", "{amount}", "{fee}"];
    let mut config =
        json!({ "profile": { "records": "payments", "encoding": "utf-8", "delimiter": ";", "columns": columns } });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn ids(text: &str) -> Vec<String> {
    let (result, seen) = decode_bytes(config(json!({})), text.as_bytes());
    assert!(result.is_ok(), "{result:?}");
    seen.drafts.into_iter().map(|draft| draft.id).collect()
}

#[test]
fn each_field_tells_two_apart() {
    let nameless = LINE.replace("OP1", "");
    for (of, value, other) in [
        (LINE, "OP1", "OP2"),
        (LINE, "20.11.2026", "21.11.2026"),
        (LINE, "500100", "500200"),
        (LINE, ";100.00", ";100.01"),
        (LINE, ";100.00;2.00", ";-100.00;-2.00"),
        (&nameless, "20.11.2026", "21.11.2026"),
        (&nameless, "10:11:12", "10:11:13"),
        (&nameless, "500100", "500200"),
        (&nameless, "Соколова", "Ким"),
        (&nameless, ";100.00", ";100.01"),
        (&nameless, ";2.00", ";3.00"),
    ] {
        let changed = of.replace(value, other);
        assert_ne!(ids(of), ids(&changed), "{value}");
        // Within one file a number names one payment, or the one that takes it back.
        let is_left_out = of == LINE && matches!(value, "500100" | ";100.00");
        let both = [ids(of), if is_left_out { Vec::new() } else { ids(&changed) }].concat();
        assert_eq!(ids(&format!("{of}{changed}")), both, "{value}");
    }
    // Two equal lines are two payments, and the same ones when the file comes again.
    let twice = ids(&nameless.repeat(2));
    assert!(twice[0] == ids(&nameless)[0] && twice[1] != twice[0]);
    // Only the header tells the day of these.
    let by_header = |day: &str, file: &str| {
        let profile =
            json!({ "like": "pipe", "header": ["DAY {paid-on}"], "footer": [], "columns": ["{account}", "{amount}"] });
        let config = json!({ "profile": profile, "same-line": "new-in-each-file" });
        decode_named(config, file, format!("DAY {day}\n500100|100\n").as_bytes()).1.drafts[0].id.clone()
    };
    assert_ne!(by_header("20.11.2026", "a"), by_header("21.11.2026", "a"));
    assert_ne!(by_header("20.11.2026", "a"), by_header("20.11.2026", "b"));
    assert_eq!(by_header("20.11.2026", "a"), by_header("20.11.2026", "a"));
}

#[test]
fn each_shape_is_the_same() {
    // What an operation's number names may be written in other ways.
    for (value, other) in
        [(";100.00", ";100"), ("10:11:12", "10:11:13"), ("Соколова М.А.", "Соколова"), (";2.00", "; 2,00 ")]
    {
        assert_eq!(ids(LINE), ids(&LINE.replace(value, other)), "{other}");
    }
    let nameless = LINE.replace("OP1", "");
    assert_eq!(ids(&nameless), ids(&format!("\n{}\r\n", nameless.trim_end())));
}

#[test]
fn what_stands_twice_with_one_number_names_both_places() {
    let (result, seen) = decode_bytes(config(json!({})), LINE.repeat(2).as_bytes());
    assert!(result.is_ok());
    let left_out = &seen.left_out[0];
    assert_eq!(
        (left_out.code.as_str(), left_out.place.as_deref()),
        ("repeated-operation", Some("line 2, field operation"))
    );
    assert!(left_out.reason.contains("line 1"), "{}", left_out.reason);
}

#[test]
fn a_balance_is_of_an_account_a_day_and_a_sum() {
    let line = "Ким О.П.;Мира 1;0004217;530.25;;01/11/2026;20/11/2026;1:1\n";
    let of = |line: &str, sum: &str| {
        good("gorod-saldo", &format!("#FILESUM {sum}\n#TYPE 7\n#SERVICE 1\n{line}")).drafts[0].id.clone()
    };
    for (value, other, sum) in
        [("0004217", "0004218", "530.25"), ("20/11/2026", "21/11/2026", "530.25"), ("530.25", "530.26", "530.26")]
    {
        assert_ne!(of(line, "530.25"), of(&line.replace(value, other), sum), "{value}");
    }
    assert_eq!(of(line, "530.25"), of(&line.replace("Ким О.П.;Мира 1", ";"), "530.25"));
}
