//! Cases: an input, what the world answers, and what must come out. Run through the real component.

use super::script::{Script, SeenEffects, Setup};
use crate::egress::{Authorization, HttpRequest};
use crate::wasm::{self, Caller, Effects, Entry, Loaded, Runtime};
use anyhow::{Context, bail};
use busbar_core::ports::{Attempting, Emitted, HookRequest, HookResponse, InputFile, Run};
use busbar_core::{Call, Failure, Message, Rejection, Rules, StateWrite};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
    host_time: String,
}

/// The input of one call.
#[derive(Clone)]
pub struct Input {
    pub entry: Entry,
    pub name: String,
    pub bytes: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestInput {
    method: String,
    #[serde(default = "root")]
    path: String,
    #[serde(default)]
    query: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
    /// In place of `body`, where that is no UTF-8.
    #[serde(default, rename = "body-bytes")]
    body_bytes: Vec<u8>,
}

fn root() -> String {
    "/".into()
}

/// Runs one call with a scripted world.
///
/// # Errors
/// When the input has not the form that its entry point needs.
pub async fn run_scripted(
    runtime: &Arc<Runtime>,
    loaded: &Arc<Loaded>,
    rules: &Arc<Rules>,
    setup: Setup,
    input: Input,
) -> anyhow::Result<Outcome> {
    let attempts = setup.attempts.max(1);
    let script = Arc::new(Script::new(setup)?);
    let caller = script.caller(runtime, loaded, rules);
    let mut outcome = match input.entry {
        Entry::Decode => decode(&caller, input).await,
        Entry::Deliver => deliver(&caller, event(&input.bytes)?, attempts).await,
        Entry::Receive => {
            let (mut outcome, response) = outcome(wasm::receive(&caller, request(&input.bytes)?).await);
            outcome.response = response.as_ref().map(show_response);
            outcome
        }
        Entry::Poll => {
            let cursor = (!input.bytes.is_empty()).then_some(input.bytes);
            let (mut outcome, polled) = outcome(wasm::poll(&caller, cursor).await);
            let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
            outcome.polled = polled.map(|p| json!({ "cursor": p.cursor.as_ref().map(text), "more": p.more }));
            outcome
        }
        Entry::Encode => encode(&caller, &input.bytes).await?,
        Entry::Answer => {
            let (mut outcome, answer) = outcome(wasm::answer(&caller, event(&input.bytes)?).await);
            outcome.answer = answer.map(|message| draft(&message, None));
            outcome
        }
        Entry::Connection => super::sessions::run(caller, &script, &input.bytes).await?,
    };
    outcome.seen = script.take_seen();
    outcome.host_time = wasm::rfc3339(script.now_ms()).unwrap_or_default();
    Ok(outcome)
}

/// The last of so many attempts, each with the calls of the ones before.
async fn deliver(caller: &Caller, message: Message, attempts: u32) -> Outcome {
    let message = Arc::new(message);
    let mut recorded = Vec::new();
    let mut attempt = 1;
    loop {
        let attempting = Attempting { delivery: 1, attempt, message: message.clone(), recorded: recorded.clone() };
        let run = wasm::deliver(caller, attempting).await;
        if attempt >= attempts {
            return outcome(run).0;
        }
        recorded.extend(run.calls);
        attempt += 1;
    }
}

async fn decode(caller: &Caller, input: Input) -> Outcome {
    let collected: Arc<Mutex<Vec<Emitted>>> = Arc::default();
    let sink = collected.clone();
    let size_bytes = u64::try_from(input.bytes.len()).unwrap_or(u64::MAX);
    let file = InputFile { name: input.name, size_bytes, reader: Box::new(Cursor::new(input.bytes)) };
    let sink = Box::new(move |emitted: Vec<Emitted>| {
        sink.lock().unwrap_or_else(PoisonError::into_inner).extend(emitted);
        Ok(())
    });
    let mut run = wasm::decode(caller, file, sink).await;
    if run.result.is_ok() {
        run.emitted = std::mem::take(&mut collected.lock().unwrap_or_else(PoisonError::into_inner));
    }
    outcome(run).0
}

async fn encode(caller: &Caller, input: &[u8]) -> anyhow::Result<Outcome> {
    let events: Vec<Value> = busbar_core::parse_json(input)
        .map_err(anyhow::Error::from)
        .and_then(|value| Ok(serde_json::from_value(value)?))
        .context("the input of `encode` is an array of messages")?;
    let messages: Vec<_> = events.into_iter().map(|e| stated_event(e).map(Arc::new)).collect::<Result<_, _>>()?;
    let file = Written::default();
    let (mut outcome, name) = outcome(wasm::encode(caller, &messages, Box::new(file.clone())).await);
    let content = file.0.lock().unwrap_or_else(PoisonError::into_inner);
    outcome.file = name.map(|name| show_file(&name, &content));
    Ok(outcome)
}

/// What is no UTF-8 is shown as windows-1251, which has a character for each byte: none would be seen to change otherwise.
fn show_file(name: &str, content: &[u8]) -> Value {
    if let Ok(text) = std::str::from_utf8(content) {
        return json!({ "name": name, "content": text });
    }
    let (text, _) = encoding_rs::WINDOWS_1251.decode_without_bom_handling(content);
    json!({ "name": name, "content": text, "encoding": "windows-1251" })
}

/// An encoded file in memory.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn event(bytes: &[u8]) -> anyhow::Result<Message> {
    stated_event(busbar_core::parse_json(bytes)?)
}

pub(super) fn stated_event(mut value: Value) -> anyhow::Result<Message> {
    if let Some(map) = value.as_object_mut() {
        map.entry("specversion").or_insert_with(|| "1.0".into());
        map.entry("source").or_insert_with(|| "/case/crm".into());
    }
    Ok(Message::from_structured(value)?)
}

fn request(bytes: &[u8]) -> anyhow::Result<HookRequest> {
    let input: RequestInput = serde_json::from_value(busbar_core::parse_json(bytes)?)?;
    let body = match input.body {
        Value::Null => input.body_bytes,
        Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    };
    let headers = input.headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    Ok(HookRequest { method: input.method, path: input.path, query: input.query, headers, body })
}

pub(super) fn outcome<T>(run: Run<T>) -> (Outcome, Option<T>) {
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

pub(super) fn show_failure(failure: &Failure) -> Value {
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

fn draft(message: &Message, place: Option<String>) -> Value {
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

fn show_response(response: &HookResponse) -> Value {
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

/// Runs the case in `folder`, with the settings of a deployment's system where given; the error says what came out otherwise than expected.
///
/// # Errors
/// The difference, key by key, or what is wrong with the case itself.
pub async fn run_case(
    runtime: &Arc<Runtime>,
    loaded: &Arc<Loaded>,
    rules: &Arc<Rules>,
    folder: &Path,
    settings: Option<&Map<String, Value>>,
) -> anyhow::Result<()> {
    let (mut setup, input) = read_case(loaded, folder)?;
    if let Some(settings) = settings {
        setup.config = settings.clone();
    }
    let expected: Map<String, Value> = read_json(&folder.join("expected.json"))?.context("no expected.json")?;
    let shown = run_scripted(runtime, loaded, rules, setup, input).await?.show();
    let mut differences = Vec::new();
    for (key, wanted) in &expected {
        let found = shown.get(key).unwrap_or(&Value::Null);
        if found != wanted {
            differences.push(format!("{key}:\n  expected {wanted}\n  found    {found}"));
        }
    }
    if differences.is_empty() { Ok(()) } else { bail!("{}", differences.join("\n")) }
}

/// What the case in `folder` feeds in.
///
/// # Errors
/// What is wrong with the case.
pub fn read_case(loaded: &Loaded, folder: &Path) -> anyhow::Result<(Setup, Input)> {
    let setup: Setup = read_json(&folder.join("setup.json"))?.unwrap_or_default();
    // An adapter with one entry point need not be told which.
    let entry = match (setup.entry, loaded.inspection.exports.as_slice()) {
        (Some(entry), _) => entry,
        (None, [only]) => *only,
        (None, _) => bail!("setup.json must name the `entry`, one of {}", loaded.inspection.entries()),
    };
    let input = input_file(folder)?;
    let bytes = std::fs::read(&input)?;
    let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((setup, Input { entry, name, bytes }))
}

fn input_file(folder: &Path) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut inputs = entries.flatten().map(|e| e.path()).filter(|p| p.file_stem().is_some_and(|s| s == "input"));
    inputs.next().with_context(|| format!("{} has no input.*", folder.display()))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?)),
        Err(_) => Ok(None),
    }
}
