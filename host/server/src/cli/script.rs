//! Effects from a script: what `busbar adapter try` and the cases answer an adapter with.

use crate::config::model::{Grants, Instances, Limits};
use crate::egress::{HttpFailure, HttpRequest, HttpResponse};
use crate::wasm::{AskFailure, Caller, Effects, Entry, Loaded, Runtime, SystemSpec};
use async_trait::async_trait;
use busbar_core::{Call, Message, Problem, Rules, StateWrite};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `setup.json` of a case.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Setup {
    pub entry: Option<Entry>,
    /// Attempts of a delivery, each with the calls of the ones before; the last one's result counts.
    pub attempts: u32,
    pub system: Option<String>,
    pub config: Map<String, Value>,
    pub credentials: BTreeMap<String, String>,
    /// RFC 3339; the clock stands still there, unless a connection's input advances it.
    pub now: Option<String>,
    pub state: BTreeMap<String, String>,
    /// What a session has written since; it reads it again.
    #[serde(skip)]
    pub written: BTreeMap<String, Option<Vec<u8>>>,
    /// Messages that the system stated earlier.
    pub known: Vec<Stated>,
    /// Answers to outgoing requests, in order.
    pub http: VecDeque<HttpAnswer>,
    /// Answers to questions, in order.
    pub ask: VecDeque<AskAnswer>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    pub id: String,
    pub r#type: String,
    #[serde(default)]
    pub subject: Option<String>,
    #[serde(default)]
    pub time: Option<String>,
    pub data: Value,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct HttpAnswer {
    status: u16,
    headers: BTreeMap<String, String>,
    pub(super) body: Value,
    /// In place of `body`, where that is no UTF-8.
    pub(super) body_bytes: Vec<u8>,
    error: Option<String>,
    text: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AskAnswer {
    r#type: String,
    data: Value,
    error: Option<String>,
    text: String,
}

/// What an adapter did besides what its run says.
#[derive(Default)]
pub struct SeenEffects {
    pub http: Vec<HttpRequest>,
    /// Written ahead of being sent.
    pub ahead: Vec<Call>,
    pub asked: Vec<Message>,
    pub logs: Vec<(tracing::Level, String)>,
}

/// Effects that answer from a script and remember.
pub struct Script {
    setup: Mutex<Setup>,
    seen: Mutex<SeenEffects>,
    now_ms: AtomicI64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    /// # Errors
    /// When `now` is no RFC 3339 time.
    pub fn new(setup: Setup) -> anyhow::Result<Self> {
        let now = match &setup.now {
            Some(text) => OffsetDateTime::parse(text, &Rfc3339)?,
            None => OffsetDateTime::now_utc(),
        };
        let now_ms = i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        Ok(Self { setup: Mutex::new(setup), seen: Mutex::new(SeenEffects::default()), now_ms: AtomicI64::new(now_ms) })
    }

    pub fn advance(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// What a call wrote, for the calls after it.
    pub fn remember(&self, writes: &[StateWrite]) {
        let writes = writes.iter().map(|write| (write.key.clone(), write.value.clone()));
        locked(&self.setup).written.extend(writes);
    }

    pub fn take_seen(&self) -> SeenEffects {
        std::mem::take(&mut locked(&self.seen))
    }

    /// An adapter as a system with every grant has it.
    pub fn caller(self: &Arc<Self>, runtime: &Arc<Runtime>, loaded: &Arc<Loaded>, rules: &Arc<Rules>) -> Caller {
        let setup = locked(&self.setup);
        let name = setup.system.clone().unwrap_or_else(|| "case".into());
        let all = || vec!["*".to_string()];
        let grants = Grants {
            http: all(),
            credentials: all(),
            emit: all(),
            ask: all(),
            private_addresses: Vec::new(),
            lookup: true,
            state: true,
            clock: true,
            random: true,
        };
        let spec = SystemSpec {
            source: format!("/case/{name}"),
            name,
            config: Value::Object(setup.config.clone()).to_string(),
            grants,
            limits: Limits::default(),
            instances: Instances::default(),
            rules: rules.clone(),
        };
        Caller::new(runtime.clone(), loaded.clone(), Arc::new(spec), self.clone())
    }
}

pub(super) fn body(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// A message with only what a case says of it.
pub fn message(stated: Stated, source: &str) -> Message {
    Message {
        id: stated.id,
        source: source.to_string(),
        r#type: stated.r#type,
        subject: stated.subject,
        time: stated.time,
        dataschema: None,
        traceparent: None,
        partitionkey: None,
        correlationid: None,
        causationid: None,
        extensions: BTreeMap::new(),
        data: stated.data.into(),
    }
}

#[async_trait]
impl Effects for Script {
    async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        locked(&self.seen).http.push(request);
        let Some(answer) = locked(&self.setup).http.pop_front() else {
            return Err(HttpFailure::Denied("the script has no answer left for a request".into()));
        };
        match answer.error.as_deref() {
            None => Ok(HttpResponse {
                status: answer.status,
                headers: answer.headers.into_iter().collect(),
                body: if answer.body.is_null() { answer.body_bytes } else { body(&answer.body) },
            }),
            Some("unreachable") => Err(HttpFailure::Unreachable(answer.text)),
            Some("no-answer") => Err(HttpFailure::NoAnswer(answer.text)),
            Some("invalid") => Err(HttpFailure::Invalid(answer.text)),
            Some(_) => Err(HttpFailure::Denied(answer.text)),
        }
    }

    async fn ahead(&self, _delivery: i64, call: &Call) -> Result<(), Problem> {
        locked(&self.seen).ahead.push(call.clone());
        Ok(())
    }

    async fn ask(&self, question: Message, _deadline_ms: u64) -> Result<Message, AskFailure> {
        let id = question.id.clone();
        locked(&self.seen).asked.push(question);
        let Some(answer) = locked(&self.setup).ask.pop_front() else {
            return Err(AskFailure::NoAnswerer("the script has no answer left for a question".into()));
        };
        match answer.error.as_deref() {
            None => {
                let stated = Stated {
                    id: format!("answer-{id}"),
                    r#type: answer.r#type,
                    subject: None,
                    time: None,
                    data: answer.data,
                };
                Ok(message(stated, "/case/answerer"))
            }
            Some("timeout") => Err(AskFailure::Timeout),
            Some("no-answerer") => Err(AskFailure::NoAnswerer(answer.text)),
            Some("refused") => Err(AskFailure::Refused(answer.text)),
            Some(_) => Err(AskFailure::Failed(answer.text)),
        }
    }

    async fn lookup(&self, source: &str, id: &str) -> Result<Option<Message>, Problem> {
        let found = locked(&self.setup).known.iter().find(|k| k.id == id).cloned();
        Ok(found.map(|stated| message(stated, source)))
    }

    async fn state(&self, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        let setup = locked(&self.setup);
        match setup.written.get(key) {
            Some(written) => Ok(written.clone()),
            None => Ok(setup.state.get(key).map(|text| text.clone().into_bytes())),
        }
    }

    fn secret(&self, credential: &str) -> Result<SecretString, String> {
        let secret = locked(&self.setup).credentials.get(credential).cloned();
        secret.map(SecretString::from).ok_or_else(|| format!("no credential `{credential}`"))
    }

    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    // Always the same, so that a case has one result.
    fn random(&self, bytes: usize) -> Vec<u8> {
        (0u8..=255).cycle().take(bytes).collect()
    }

    fn log(&self, level: tracing::Level, text: &str) {
        locked(&self.seen).logs.push((level, text.to_string()));
    }
}
