//! What who may not see personal data sees of errors and recorded calls: what stands on a list here, and nothing else, so
//! that a new code, header or field is hidden until somebody has decided.

use super::views::Error;
use busbar_core::{Call, CallKind, CallOutcome, Catalog, ErrorRecord, Text};
use serde_json::{Map, Value, json};

const HIDDEN: &str = "***";

/// Headers that say nothing about anybody.
const HEADERS: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "allow",
    "cache-control",
    "ce-id",
    "ce-source",
    "ce-specversion",
    "ce-time",
    "ce-type",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expires",
    "keep-alive",
    "retry-after",
    "server",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
];

/// Attributes of a question or answer; its data are shown as their schema says.
const ATTRIBUTES: &[&str] = &["specversion", "id", "source", "type", "time", "datacontenttype"];

/// Outcomes of a call whose `error` is the hub's own reason, not the far end's.
const OWN_REASONS: &[CallOutcome] = &[CallOutcome::Denied, CallOutcome::TooLarge, CallOutcome::Withheld];

/// Further fields of a call's request and answer, by its kind.
fn fields(kind: CallKind) -> &'static [&'static str] {
    match kind {
        CallKind::Http => &["method", "status", "idempotent", "authorization"],
        CallKind::State => &["bytes"],
        CallKind::Publish => &["exchange", "routing-key"],
        CallKind::File => &["index", "bytes", "messages"],
        CallKind::Connection => &["peer"],
        CallKind::Ask => &[],
    }
}

/// A text that may say something about somebody.
pub fn hidden() -> String {
    HIDDEN.to_string()
}

/// An error without what may quote a file, a system or a person. A code is a word; where it is none, it is hidden too.
pub fn error(record: ErrorRecord) -> Error {
    if record.text() == Text::Shown {
        return Error::from(record);
    }
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let code = if record.code.len() <= 64 && record.code.chars().all(is_word) { record.code } else { hidden() };
    let why = if record.by_adapter { "an adapter's own words" } else { "it may quote what came in" };
    let record =
        ErrorRecord { code, detail: format!("{HIDDEN} ({why})"), place: record.place.map(|_| hidden()), ..record };
    Error::from(record)
}

/// A call without bodies, paths, and whatever else may say something about somebody.
pub fn call(catalog: &Catalog, call: Call) -> Call {
    let own_reason = OWN_REASONS.contains(&call.outcome);
    let show = |value: Value| match (call.kind, value) {
        (CallKind::Ask, value) if value.get("type").is_some() => event(catalog, value),
        (kind, Value::Object(members)) => Value::Object(shown(kind, own_reason, members)),
        _ => json!(HIDDEN),
    };
    Call { request: show(call.request), answer: call.answer.map(show), ..call }
}

fn shown(kind: CallKind, own_reason: bool, members: Map<String, Value>) -> Map<String, Value> {
    let show = |(name, value): (String, Value)| {
        let value = match (name.as_str(), value) {
            ("error", value) if own_reason => value,
            ("url", Value::String(url)) => json!(origin(&url)),
            ("headers", value) => headers(value),
            ("body" | "data", body) => {
                let bytes = body.as_str().map_or_else(|| body.to_string().len(), str::len);
                json!(format!("{HIDDEN} ({bytes} bytes)"))
            }
            (name, value) if fields(kind).contains(&name) => value,
            _ => json!(HIDDEN),
        };
        (name, value)
    };
    members.into_iter().map(show).collect()
}

/// Account numbers and names stand in paths and queries.
fn origin(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => format!("{}/{HIDDEN}", url.origin().ascii_serialization()),
        Err(_) => hidden(),
    }
}

/// Pairs of names and values.
fn headers(pairs: Value) -> Value {
    let Value::Array(pairs) = pairs else { return json!(HIDDEN) };
    let show = |pair: Value| match pair.as_array().map(Vec::as_slice) {
        Some([Value::String(name), value]) => {
            let is_harmless = HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header));
            json!([name, if is_harmless { value.clone() } else { json!(HIDDEN) }])
        }
        _ => json!(HIDDEN),
    };
    Value::Array(pairs.into_iter().map(show).collect())
}

/// A CloudEvent with the fields of its data that its schema does not mark.
fn event(catalog: &Catalog, event: Value) -> Value {
    let Value::Object(members) = event else { return json!(HIDDEN) };
    let kind = members.get("type").and_then(Value::as_str).unwrap_or_default().to_string();
    let show = |(name, value): (String, Value)| {
        let value = match name.as_str() {
            "data" => catalog.mask(&kind, &value),
            name if ATTRIBUTES.contains(&name) => value,
            _ => json!(HIDDEN),
        };
        (name, value)
    };
    Value::Object(members.into_iter().map(show).collect())
}

/// The name of an input: of a request to a hook its path may be an account's.
pub fn request_name(name: &str) -> String {
    match name.split_once(' ') {
        Some((method, _)) => format!("{method} {HIDDEN}"),
        None => hidden(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: CallKind, outcome: &str, request: Value, answer: Value) -> Value {
        let call = Call {
            attempt: 1,
            ordinal: 0,
            kind,
            request,
            answer: Some(answer),
            outcome: outcome.into(),
            started_at_ms: 0,
            duration_us: 0,
        };
        let seen = super::call(&Catalog::default(), call);
        json!([seen.request, seen.answer])
    }

    #[test]
    fn of_a_request_only_what_is_listed_is_seen() {
        let request = json!({
            "method": "POST", "url": "https://user:secret@bank.example:8443/accounts/secret?phone=secret", "idempotent": true,
            "headers": [["Content-Type", "text/xml"], ["Cookie", "secret"], ["x-trace", "secret"]], "body": "secret",
            "authorization": { "bearer": "token" }, "added-later": "secret",
        });
        let answer = json!({
            "status": 200, "headers": [["set-cookie", "secret"], ["Retry-After", "5"]], "body": { "base64": "secret" },
        });
        let shown = seen(CallKind::Http, "ok", request, answer);
        assert!(!shown.to_string().contains("secret"), "{shown}");
        let expected = json!([
            {
                "method": "POST", "url": "https://bank.example:8443/***", "idempotent": true,
                "headers": [["Content-Type", "text/xml"], ["Cookie", "***"], ["x-trace", "***"]],
                "body": "*** (6 bytes)", "authorization": { "bearer": "token" }, "added-later": "***",
            },
            { "status": 200, "headers": [["set-cookie", "***"], ["Retry-After", "5"]], "body": "*** (19 bytes)" },
        ]);
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_hubs_own_reason_is_seen_and_the_far_ends_is_not() {
        let why = json!({ "error": "127.0.0.1 is a loopback address" });
        assert_eq!(seen(CallKind::Http, "denied", json!({}), why.clone())[1], why);
        assert_eq!(seen(CallKind::Http, "unreachable", json!({}), why)[1]["error"], "***");
    }

    #[test]
    fn of_other_calls_only_what_is_listed_is_seen() {
        let secret = |name: &str| json!({ name: "secret", "bytes": 7, "peer": "10.0.0.1:5" });
        use CallKind::{Ask, Connection, File, Publish, State};
        for kind in [State, File, Publish, Connection, Ask] {
            for name in ["key", "name", "subject", "error", "text"] {
                let shown = seen(kind, "ok", secret(name), secret(name));
                assert!(!shown.to_string().contains("secret"), "{kind:?} {name}: {shown}");
            }
        }
        assert_eq!(seen(CallKind::State, "ok", secret("key"), json!("secret"))[0]["bytes"], 7);
        let question = json!({ "id": "1", "type": "t.v1", "subject": "secret", "data": { "phone": "secret" } });
        let shown = seen(CallKind::Ask, "ok", question, json!({ "error": "secret" }));
        assert_eq!(shown, json!([{ "id": "1", "type": "t.v1", "subject": "***", "data": "***" }, { "error": "***" }]));
    }

    #[test]
    fn an_adapters_words_are_not_taken_for_the_hubs() {
        let record = |code: &str, by_adapter| ErrorRecord {
            code: code.into(),
            detail: "Pelageya".into(),
            place: Some("Pelageya".into()),
            by_adapter,
            answer: Some("422".into()),
        };
        let seen = |record| serde_json::to_string(&error(record)).unwrap_or_default();
        for hidden in [
            record("too-large", true),
            record("an-own-code", true),
            record("rejected", false),
            record("Pelageya", true),
        ] {
            assert!(!seen(hidden.clone()).contains("Pelageya"), "{hidden:?}");
        }
        assert!(seen(record("too-large", false)).contains("Pelageya"));
    }
}
