//! Cases: an input, what the world answers, and what must come out. Run through the real component.

use super::outcome::{Outcome, draft, outcome, show_file, show_response, stated_event};
use super::script::{Script, Setup};
use crate::wasm::{self, Caller, Effects, Entry, Loaded, Runtime};
use anyhow::{Context, bail};
use busbar_core::ports::{Attempting, Emitted, HookRequest, InputFile};
use busbar_core::{Message, Rules};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
