//! What came of a call in a scripted world, as the cases show it.

use super::script::SeenEffects;
use crate::egress::{Authorization, HttpRequest};
use busbar_core::ports::{HookResponse, Run};
use busbar_core::{Call, Failure, Message, Rejection, StateWrite};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Everything observable of one call.
pub struct Outcome {
    pub result: Value,
    pub response: Option<Value>,
    pub answer: Option<Value>,
    /// `{cursor, more}` of a poll.
    pub polled: Option<Value>,
    /// `{name, content}` of an encoded file, and its `encoding` where that is not UTF-8.
    pub file: Option<Value>,
    /// What each event of a connection led to.
    pub steps: Option<Value>,
    pub messages: Vec<Value>,
    /// `{code, reason, place}` of each entry that was left out.
    pub left_out: Vec<Value>,
    pub state: Map<String, Value>,
    pub seen: SeenEffects,
    /// The `time` that the host gives where the adapter states none.
    pub host_time: String,
}

pub fn stated_event(mut value: Value) -> anyhow::Result<Message> {
    if let Some(map) = value.as_object_mut() {
        map.entry("specversion").or_insert_with(|| "1.0".into());
        map.entry("source").or_insert_with(|| "/case/crm".into());
    }
    Ok(Message::from_structured(value)?)
}

pub fn outcome<T>(run: Run<T>) -> (Outcome, Option<T>) {
    let (result, value) = match run.result {
        Ok(value) => (json!("ok"), Some(value)),
        Err(failure) => (json!({ "failure": show_failure(&failure) }), None),
    };
    let write =
        |w: StateWrite| (w.key, w.value.map_or(Value::Null, |v| String::from_utf8_lossy(&v).into_owned().into()));
    let outcome = Outcome {
        result,
        response: None,
        answer: None,
        polled: None,
        file: None,
        steps: None,
        messages: run.emitted.into_iter().map(|e| draft(&e.message, e.place)).collect(),
        left_out: run.left_out.entries.iter().map(show_rejection).collect(),
        state: run.state.into_iter().map(write).collect(),
        seen: SeenEffects::default(),
        host_time: String::new(),
    };
    (outcome, value)
}

pub fn show_failure(failure: &Failure) -> Value {
    let delay = |case: &str, reason: &str, retry_after_ms: &Option<u64>| {
        let mut shown = json!({ "case": case, "reason": reason });
        if let Some(ms) = retry_after_ms {
            shown["retry-after-ms"] = json!(ms);
        }
        shown
    };
    match failure {
        Failure::Transient { reason, retry_after_ms } => delay("transient", reason, retry_after_ms),
        Failure::RateLimited { reason, retry_after_ms } => delay("rate-limited", reason, retry_after_ms),
        Failure::Rejected(rejection) => {
            let mut shown = json!({ "case": "rejected" });
            shown.as_object_mut().into_iter().for_each(|shown| shown.extend(parts(rejection)));
            shown
        }
        Failure::Unauthorized(text) => json!({ "case": "unauthorized", "reason": text }),
        Failure::UnknownOutcome(text) => json!({ "case": "unknown-outcome", "reason": text }),
        Failure::Other(text) => json!({ "case": "other", "reason": text }),
        Failure::Hub(problem) => json!({ "case": "hub", "code": problem.code.as_str(), "reason": problem.detail }),
    }
}

fn parts(rejection: &Rejection) -> Map<String, Value> {
    let Rejection { code, reason, place } = rejection;
    let place = place.iter().map(|place| ("place", place));
    let all = [("code", code), ("reason", reason)].into_iter().chain(place);
    all.map(|(name, value)| (name.to_string(), json!(value))).collect()
}

fn show_rejection(rejection: &Rejection) -> Value {
    Value::Object(parts(rejection))
}

pub fn draft(message: &Message, place: Option<String>) -> Value {
    let mut map = Map::new();
    map.insert("id".into(), message.id.clone().into());
    map.insert("type".into(), message.r#type.clone().into());
    let optional = [("subject", &message.subject), ("time", &message.time), ("partitionkey", &message.partitionkey)];
    for (name, value) in optional {
        if let Some(value) = value {
            map.insert(name.into(), value.clone().into());
        }
    }
    map.insert("data".into(), serde_json::Value::clone(&message.data));
    if let Some(place) = place {
        map.insert("place".into(), place.into());
    }
    Value::Object(map)
}

pub fn show_response(response: &HookResponse) -> Value {
    let headers: BTreeMap<String, String> =
        response.headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone())).collect();
    json!({ "status": response.status, "headers": headers, "body": String::from_utf8_lossy(&response.body) })
}

pub fn show_request(request: &HttpRequest) -> Value {
    let headers: BTreeMap<String, String> =
        request.headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone())).collect();
    let mut shown = json!({ "method": request.method, "url": request.url, "headers": headers });
    if !request.body.is_empty() {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        shown["body"] = serde_json::from_str(&text).unwrap_or(Value::String(text));
    }
    if let Some(authorization) = &request.authorization {
        shown["authorization"] = match authorization {
            Authorization::Basic(name) => json!({ "basic": name }),
            Authorization::Bearer(name) => json!({ "bearer": name }),
            Authorization::Header(_, name) => json!({ "header": name }),
            Authorization::Parameters(names) => {
                json!({ "parameters": names.iter().cloned().collect::<BTreeMap<_, _>>() })
            }
        };
    }
    shown
}

fn show_ahead(call: &Call) -> Value {
    let part = |name: &str| call.request.get(name).and_then(Value::as_str).unwrap_or_default();
    json!(format!("{} {}", part("method"), part("url")))
}

impl Outcome {
    /// The same keys as `expected.json` may have.
    pub fn show(&self) -> Value {
        let mut shown = json!({
            "result": self.result,
            "messages": self.messages.iter().map(|m| self.stated(m)).collect::<Vec<_>>(),
            "left-out": self.left_out,
            "calls": self.seen.http.iter().map(show_request).collect::<Vec<_>>(),
            "asked": self.seen.asked.iter().map(|q| self.stated(&draft(q, None))).collect::<Vec<_>>(),
            "state": self.state,
            "ahead": self.seen.ahead.iter().map(show_ahead).collect::<Vec<_>>(),
        });
        let extra =
            [("response", &self.response), ("polled", &self.polled), ("file", &self.file), ("steps", &self.steps)];
        for (name, value) in extra.into_iter().filter_map(|(n, v)| v.as_ref().map(|v| (n, v))) {
            shown[name] = value.clone();
        }
        if let Some(answer) = &self.answer {
            shown["answer"] = self.stated(answer);
        }
        shown
    }

    /// A draft as the adapter stated it: without what the host added.
    fn stated(&self, draft: &Value) -> Value {
        let mut draft = draft.clone();
        if draft["time"] == self.host_time.as_str()
            && let Some(map) = draft.as_object_mut()
        {
            map.remove("time");
        }
        draft
    }
}

/// What is no UTF-8 is shown as windows-1251, which has a character for each byte: none would be seen to change otherwise.
pub fn show_file(name: &str, content: &[u8]) -> Value {
    if let Ok(text) = std::str::from_utf8(content) {
        return json!({ "name": name, "content": text });
    }
    let (text, _) = encoding_rs::WINDOWS_1251.decode_without_bom_handling(content);
    json!({ "name": name, "content": text, "encoding": "windows-1251" })
}
