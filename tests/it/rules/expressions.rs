//! Conditions and keys: what they calculate, by cel-spec, and what is said of them before a message comes.

use busbar_core::{Catalog, Expr, Mistake, Route, Rules, Wanted};
use serde_json::{Value, json};

fn message(data: Value) -> busbar_core::Message {
    let event = json!({ "specversion": "1.0", "id": "1", "source": "/crm", "type": "bill.v1", "subject": "77",
        "time": "2026-11-22T01:30:00+05:00", "data": data });
    busbar_core::Message::from_structured(event).unwrap()
}

/// What a key expression gives for this data; an error's words where it fails.
fn key(expression: &str, data: Value) -> String {
    let schemas = vec![("bill.v1".to_string(), json!({}))];
    let route = Route {
        types: vec!["bill.v1".into()],
        to: vec!["billing".into()],
        when: None,
        key: Some(Expr::compile(expression).unwrap()),
        journal: busbar_core::Journal::Full,
    };
    let rules = Rules::new(Catalog::compile(schemas).unwrap(), vec![route]);
    let planned = rules.admit(message(data), None).unwrap().deliveries.remove(0);
    planned.error.map_or_else(|| planned.key.unwrap_or_default(), |error| error.detail)
}

/// Integers have one type, whatever their sign (JSON has one number; cel-spec, "JSON Data Conversion").
#[test]
fn integers_calculate_as_integers() {
    for (expression, data, expected) in [
        ("string(data.revision - 1)", json!({ "revision": 5 }), "4"),
        ("string(data.a - data.b)", json!({ "a": 3, "b": 5 }), "-2"),
        ("string(-data.a)", json!({ "a": 3 }), "-3"),
        ("data.a > -1 ? 'up' : 'down'", json!({ "a": 0 }), "up"),
        ("data.list[data.at]", json!({ "list": ["x", "y"], "at": 1 }), "y"),
        ("string(data.big)", json!({ "big": u64::MAX }), "18446744073709551615"),
        ("string(data.half * 2.0)", json!({ "half": 1.5 }), "3"),
    ] {
        assert_eq!(key(expression, data), expected, "{expression}");
    }
}

/// cel-spec, "Timezones": without a zone a time is asked in UTC.
#[test]
fn times_are_asked_in_utc_unless_a_zone_is_given() {
    for (expression, expected) in [
        ("string(timestamp(time).getHours())", "20"),
        ("string(timestamp(time).getDate())", "21"),
        ("string(timestamp(time).getHours('+05:00'))", "1"),
        ("string(timestamp(time).getHours('Asia/Yekaterinburg'))", "1"),
        ("string(timestamp(time))", "2026-11-21T20:30:00Z"),
        ("string(timestamp(time) == timestamp('2026-11-21T20:30:00Z'))", "true"),
        (
            "string(timestamp('2026-11-22T00:00:00.123456789Z') - timestamp('2026-11-22T00:00:00Z') < duration('1s'))",
            "true",
        ),
        ("string(duration('90m').getHours())", "1"),
    ] {
        assert_eq!(key(expression, json!({})), expected, "{expression}");
    }
}

fn schema() -> Value {
    json!({
        "type": "object", "required": ["amount", "kind"],
        "properties": {
            "amount": { "$ref": "#/$defs/money" }, "revision": { "type": "integer" }, "note": { "type": "string" },
            "kind": { "type": "string", "enum": ["bill", "refund"] }, "lines": { "type": "array", "items": {} },
            "document": { "type": "object", "required": ["number"], "properties": { "number": { "type": "string" } } },
            "free": { "type": "object" },
        },
        "$defs": { "money": { "type": "object", "required": ["value"], "properties": {
            "value": { "type": "string" }, "currency": { "type": "string" } } } },
    })
}

fn mistakes(expression: &str, wanted: Wanted) -> Vec<Mistake> {
    Expr::compile(expression).unwrap().mistakes(&[("bill.v1", &schema())], wanted)
}

#[test]
fn what_can_never_be_right_is_said() {
    for (expression, wanted, part) in [
        ("data.amount.valu == '1'", Wanted::Truth, "no field `data.amount.valu`"),
        ("data.amount.value > 100", Wanted::Truth, "text is compared with a number"),
        ("data.amount.value == 100", Wanted::Truth, "never equal"),
        ("data.kind == 'bil'", Wanted::Truth, "is never `bil`"),
        ("data.kind in ['refund', 'bil']", Wanted::Truth, "is never `bil`"),
        ("data.kind", Wanted::Truth, "must give true or false"),
        ("data.amount", Wanted::Key, "must give text"),
        ("data.kind.startswith('b')", Wanted::Truth, "no function `startswith`"),
        ("data.amount.contains('1')", Wanted::Truth, "`contains` is asked of an object"),
        ("data.amount.value - 1 > 0", Wanted::Truth, "calculates with text"),
        ("subject == 5", Wanted::Truth, "never equal"),
        ("!subject", Wanted::Truth, "text stands where true or false is needed"),
        ("subject && true", Wanted::Truth, "text stands where"),
        ("data.kind.length > 3", Wanted::Truth, ""),
        ("has(data.amount.curency)", Wanted::Truth, "no field `data.amount.curency`"),
    ] {
        let found = mistakes(expression, wanted);
        let certain: Vec<_> = found.iter().filter(|mistake| mistake.certain).collect();
        if part.is_empty() {
            continue;
        }
        assert!(certain.iter().any(|mistake| mistake.text.contains(part)), "{expression}: {found:?}");
    }
    let near = mistakes("data.amount.valu == '1'", Wanted::Truth).remove(0).unknown.unwrap();
    assert_eq!((near.0.as_str(), near.1.contains(&"value".to_string())), ("valu", true));
}

#[test]
fn what_fails_for_some_messages_only_is_said_apart() {
    for (expression, parts) in [
        ("data.note == 'x'", vec!["`data.note`"]),
        ("has(data.document.number)", vec!["`data.document`"]),
        ("data.document.number == '1'", vec!["`data.document`"]),
        ("has(data.document) && has(data.document.number)", vec![]),
        ("has(data.document) && data.document.number == '1'", vec![]),
        ("has(data.note) && data.note == 'x'", vec![]),
        ("data.revision > 1 || has(data.note)", vec!["`data.revision`"]),
    ] {
        let found = mistakes(expression, Wanted::Truth);
        assert!(found.iter().all(|mistake| !mistake.certain), "{expression}: {found:?}");
        assert_eq!(found.len(), parts.len(), "{expression}: {found:?}");
        assert!(parts.iter().all(|part| found.iter().any(|m| m.text.contains(part))), "{expression}: {found:?}");
    }
}

#[test]
fn what_is_right_is_left_alone() {
    for (expression, wanted) in [
        ("data.amount.value != '0.00' && data.kind in ['bill']", Wanted::Truth),
        ("double(data.amount.value) > 100.0", Wanted::Truth),
        ("size(data.kind) > 3 && subject.startsWith('7')", Wanted::Truth),
        ("has(data.lines) && data.lines.exists(line, line.sum > 5)", Wanted::Truth),
        ("timestamp(time).getHours('+03:00') >= 8", Wanted::Truth),
        ("has(data.free) && data.free.anything == 1", Wanted::Truth),
        ("data.kind == 'bill' ? subject : data.kind", Wanted::Key),
        ("subject + '/' + data.kind", Wanted::Key),
        ("null", Wanted::Key),
        ("has(data.revision) ? data.revision : 0", Wanted::Key),
    ] {
        assert_eq!(mistakes(expression, wanted), [], "{expression}");
    }
    // Nothing is known of the data where a route takes every type.
    let any = Expr::compile("data.whatever.there == 5").unwrap();
    assert_eq!(any.mistakes(&[], Wanted::Truth), []);
}
