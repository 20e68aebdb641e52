//! The imports of WIT: every effect of an adapter passes here, is held against grants and limits,
//! and is written down.

use super::bindings::busbar::adapter as wit;
use super::effects::{AskFailure, Authorization, HttpFailure, HttpRequest, HttpResponse};
use super::state::{CallState, limit};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use busbar_core::ports::Emitted;
use busbar_core::{Code, Message, Problem};
use serde_json::{Value, json};
use std::io::Read;
use std::time::Instant;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wasmtime::Result;

/// What a line of log weighs without its text.
const LOG_LINE_BYTES: usize = 64;

/// Outcome of a request that was sent, and of which nothing was heard.
pub(super) const NO_ANSWER: &str = "no-answer";

fn trap(problem: Problem) -> wasmtime::Error {
    wasmtime::Error::new(problem)
}

/// `*` stands only in the grants that `busbar adapter try` and the cases run with: no deployment passes the
/// check with it.
fn granted(grants: &[String], wanted: &str) -> bool {
    grants.iter().any(|g| g == wanted || g == "*")
}

fn missing_grant(detail: String) -> Problem {
    Problem::new(Code::MissingGrant, detail)
}

impl wit::types::Host for CallState {}

impl wit::log::Host for CallState {
    async fn write(&mut self, level: wit::log::Level, text: String) -> Result<()> {
        // A line costs more than its text: empty ones are a flood, too.
        self.log_bytes = self.log_bytes.saturating_add(text.len()).saturating_add(LOG_LINE_BYTES);
        if self.log_bytes > self.limits().log_bytes {
            return Err(trap(limit(format!("more than {} bytes of log (limits.log-bytes)", self.limits().log_bytes))));
        }
        let level = match level {
            wit::log::Level::Debug => tracing::Level::DEBUG,
            wit::log::Level::Info => tracing::Level::INFO,
            wit::log::Level::Warn => tracing::Level::WARN,
            wit::log::Level::Error => tracing::Level::ERROR,
        };
        self.effects.log(level, &text);
        Ok(())
    }
}

impl wit::config::Host for CallState {
    async fn get(&mut self) -> Result<String> {
        Ok(self.system.config.clone())
    }
}

impl wit::http::Host for CallState {
    async fn send(&mut self, request: wit::http::Request) -> Result<Result<wit::http::Response, wit::http::HttpError>> {
        self.count_call().map_err(trap)?;
        let limits = self.limits().clone();
        let timeout_ms = request.timeout_ms.map_or(limits.http_timeout_ms, u64::from).min(limits.http_timeout_ms);
        let request = HttpRequest {
            method: request.method.to_ascii_uppercase(),
            url: request.url,
            headers: request.headers.into_iter().map(|h| (h.name, h.value)).collect(),
            body: request.body,
            authorization: request.authorization.map(authorization),
            timeout_ms,
        };
        let (started, shown) = (Instant::now(), show_request(&request));
        if let Some(answer) = self.recorded_answer(&request, &shown) {
            self.record("http", shown, Some(show_response(&answer)), "recorded", started);
            return Ok(Ok(response(answer)));
        }
        // Written down before it is sent: one that the deadline cuts must not look as if it never was.
        self.record("http", shown, None, NO_ANSWER, started);
        let result = match self.permitted(&request) {
            Ok(()) => self.effects.http(request).await,
            Err(failure) => Err(failure),
        };
        let (answer, outcome) = match &result {
            Ok(answer) => (Some(show_response(answer)), "ok"),
            Err(failure) => (Some(json!({ "error": failure.text() })), failure.word()),
        };
        if let Some(call) = self.calls.last_mut() {
            (call.answer, call.outcome) = (answer, outcome.into());
            call.duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        }
        Ok(result.map(response).map_err(|failure| match failure {
            HttpFailure::Denied(text) => wit::http::HttpError::Denied(text),
            HttpFailure::Invalid(text) => wit::http::HttpError::Invalid(text),
            HttpFailure::Unreachable(text) => wit::http::HttpError::Unreachable(text),
            HttpFailure::NoAnswer(text) => wit::http::HttpError::NoAnswer(text),
            HttpFailure::TooLarge(bytes) => wit::http::HttpError::TooLarge(bytes),
        }))
    }
}

impl CallState {
    fn permitted(&self, request: &HttpRequest) -> Result<(), HttpFailure> {
        let url = url::Url::parse(&request.url).map_err(|e| HttpFailure::Invalid(format!("`{}`: {e}", request.url)))?;
        let origin = url.origin().ascii_serialization();
        let origins = &self.system.grants.http;
        if !origins.iter().any(|g| g == "*" || g.trim_end_matches('/').eq_ignore_ascii_case(&origin)) {
            return Err(HttpFailure::Denied(format!("no grant for {origin} (grants.http)")));
        }
        let name = match &request.authorization {
            Some(Authorization::Basic(n) | Authorization::Bearer(n) | Authorization::Header(_, n)) => n,
            None => return Ok(()),
        };
        self.credential_granted(name).map_err(HttpFailure::Denied)
    }

    fn credential_granted(&self, name: &str) -> Result<(), String> {
        if granted(&self.system.grants.credentials, name) {
            return Ok(());
        }
        Err(format!("no grant for credential `{name}` (grants.credentials)"))
    }

    // Promise 5: an unsafe request that an earlier attempt saw answered for good is not sent again.
    fn recorded_answer(&mut self, request: &HttpRequest, shown: &Value) -> Option<HttpResponse> {
        if !request.is_unsafe() {
            return None;
        }
        let found = self.recorded.iter_mut().find(|slot| {
            slot.as_ref().is_some_and(|call| {
                call.kind == "http" && (call.outcome == "ok" || call.outcome == "recorded") && &call.request == shown
            })
        })?;
        let answer = parse_response(found.take()?.answer.as_ref()?)?;
        answer.is_final().then_some(answer)
    }
}

fn authorization(from: wit::http::Authorization) -> Authorization {
    match from {
        wit::http::Authorization::Basic(name) => Authorization::Basic(name),
        wit::http::Authorization::Bearer(name) => Authorization::Bearer(name),
        wit::http::Authorization::Header((header, name)) => Authorization::Header(header, name),
    }
}

fn response(from: HttpResponse) -> wit::http::Response {
    let header = |(name, value)| wit::types::Header { name, value };
    wit::http::Response {
        status: from.status,
        headers: from.headers.into_iter().map(header).collect(),
        body: from.body,
    }
}

/// A request as the journal shows it. Credentials are names; their bytes are added later.
pub(crate) fn show_request(request: &HttpRequest) -> Value {
    let mut shown = json!({
        "method": request.method,
        "url": request.url,
        "headers": request.headers,
        "body": show_body(&request.body),
    });
    if let Some(authorization) = &request.authorization {
        shown["authorization"] = match authorization {
            Authorization::Basic(name) => json!({ "basic": name }),
            Authorization::Bearer(name) => json!({ "bearer": name }),
            Authorization::Header(header, name) => json!({ "header": header, "credential": name }),
        };
    }
    shown
}

fn show_response(response: &HttpResponse) -> Value {
    json!({ "status": response.status, "headers": response.headers, "body": show_body(&response.body) })
}

fn show_body(body: &[u8]) -> Value {
    match std::str::from_utf8(body) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": BASE64_STANDARD.encode(body) }),
    }
}

fn parse_response(shown: &Value) -> Option<HttpResponse> {
    let body = match shown.get("body")? {
        Value::String(text) => text.clone().into_bytes(),
        other => BASE64_STANDARD.decode(other.get("base64")?.as_str()?).ok()?,
    };
    let status = u16::try_from(shown.get("status")?.as_u64()?).ok()?;
    let headers = serde_json::from_value(shown.get("headers")?.clone()).ok()?;
    Some(HttpResponse { status, headers, body })
}

impl wit::credentials::Host for CallState {
    async fn hmac_sha256(&mut self, name: String, data: Vec<u8>) -> Result<Result<Vec<u8>, String>> {
        if let Err(text) = self.credential_granted(&name) {
            return Err(trap(missing_grant(text)));
        }
        Ok(self.effects.hmac_sha256(&name, &data))
    }

    async fn verify_hmac_sha256(
        &mut self,
        name: String,
        data: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<Result<bool, String>> {
        let computed = wit::credentials::Host::hmac_sha256(self, name, data).await?;
        Ok(computed.map(|mac| bool::from(subtle::ConstantTimeEq::ct_eq(mac.as_slice(), signature.as_slice()))))
    }
}

impl wit::state::Host for CallState {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        self.state_granted()?;
        match self.state.get(&key) {
            Some(written) => Ok(written.clone()),
            None => self.effects.state(&key).await.map_err(trap),
        }
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<()> {
        self.write_state(key, Some(value))
    }

    async fn delete(&mut self, key: String) -> Result<()> {
        self.write_state(key, None)
    }
}

impl CallState {
    fn state_granted(&self) -> Result<()> {
        if self.system.grants.state {
            return Ok(());
        }
        Err(trap(missing_grant("no grant for state (grants.state)".into())))
    }

    fn write_state(&mut self, key: String, value: Option<Vec<u8>>) -> Result<()> {
        self.state_granted()?;
        let limits = self.limits();
        if value.as_ref().is_some_and(|v| v.len() > limits.state_value_bytes) || key.len() > 512 {
            return Err(trap(limit(format!(
                "state value over {} bytes (limits.state-value-bytes)",
                limits.state_value_bytes
            ))));
        }
        // Each write is in the record, also the hundredth of one key.
        if self.calls.iter().filter(|c| c.kind == "state").count() >= limits.state_writes {
            return Err(trap(limit(format!("more than {} state writes (limits.state-writes)", limits.state_writes))));
        }
        let shown = json!({ "key": key, "bytes": value.as_ref().map(Vec::len) });
        self.record("state", shown, None, "ok", Instant::now());
        self.state.insert(key, value);
        Ok(())
    }
}

impl wit::clock::Host for CallState {
    async fn now_ms(&mut self) -> Result<u64> {
        if !self.system.grants.clock {
            return Err(trap(missing_grant("no grant for the clock (grants.clock)".into())));
        }
        Ok(u64::try_from(self.now_ms).unwrap_or_default())
    }
}

impl wit::random::Host for CallState {
    async fn bytes(&mut self, len: u32) -> Result<Vec<u8>> {
        if !self.system.grants.random {
            return Err(trap(missing_grant("no grant for randomness (grants.random)".into())));
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > 4096 {
            return Err(trap(limit("more than 4096 random bytes at once")));
        }
        Ok(self.effects.random(len))
    }
}

impl wit::messages::Host for CallState {
    async fn emit(&mut self, drafts: Vec<wit::types::Draft>) -> Result<()> {
        for draft in drafts {
            self.count_message(&draft).map_err(trap)?;
            let emitted = self.emit_one(draft).map_err(trap)?;
            self.emitted.push(emitted);
        }
        if let Some(sink) = &mut self.sink
            && self.emitted.len() >= 256
        {
            sink(std::mem::take(&mut self.emitted)).map_err(trap)?;
        }
        Ok(())
    }

    async fn ask(
        &mut self,
        question: wit::types::Draft,
        deadline_ms: u32,
    ) -> Result<Result<wit::types::Message, wit::messages::AskError>> {
        self.count_call().map_err(trap)?;
        if !granted(&self.system.grants.ask, &question.type_) {
            return Err(trap(missing_grant(format!("no grant to ask `{}` (grants.ask)", question.type_))));
        }
        let started = Instant::now();
        let (question, _) = self.message(question).map_err(trap)?;
        let shown = question.to_structured();
        let deadline_ms = u64::from(deadline_ms).min(self.limits().deadline_ms);
        let result = self.effects.ask(question, deadline_ms).await;
        let (answer, outcome) = match &result {
            Ok(answer) => (Some(answer.to_structured()), "ok"),
            Err(AskFailure::NoAnswerer(text)) => (Some(json!({ "error": text })), "no-answerer"),
            Err(AskFailure::Timeout) => (None, "timeout"),
            Err(AskFailure::Failed(text)) => (Some(json!({ "error": text })), "failed"),
            Err(AskFailure::Refused(text)) => (Some(json!({ "error": text })), "refused"),
        };
        self.record("ask", shown, answer, outcome, started);
        Ok(result.as_ref().map(show_message).map_err(|failure| match failure {
            AskFailure::NoAnswerer(text) => wit::messages::AskError::NoAnswerer(text.clone()),
            AskFailure::Timeout => wit::messages::AskError::Timeout,
            AskFailure::Failed(text) => wit::messages::AskError::Failed(text.clone()),
            AskFailure::Refused(text) => wit::messages::AskError::Refused(text.clone()),
        }))
    }

    async fn lookup(&mut self, id: String) -> Result<Option<wit::types::Message>> {
        if !self.system.grants.lookup {
            return Err(trap(missing_grant("no grant to look up messages (grants.lookup)".into())));
        }
        let found = self.effects.lookup(&self.system.source.clone(), &id).await.map_err(trap)?;
        Ok(found.as_ref().map(show_message))
    }
}

impl CallState {
    fn count_message(&mut self, draft: &wit::types::Draft) -> Result<(), Problem> {
        if !granted(&self.system.grants.emit, &draft.type_) {
            return Err(missing_grant(format!("no grant to state `{}` (grants.emit)", draft.type_)));
        }
        self.messages += 1;
        let streamed = self.sink.is_some();
        let limits = self.limits();
        let (most, name) =
            if streamed { (limits.file_messages, "file-messages") } else { (limits.messages, "messages") };
        if self.messages > most {
            return Err(limit(format!("more than {most} messages (limits.{name})")));
        }
        if draft.data.len() > limits.body_bytes {
            return Err(limit(format!("a message over {} bytes (limits.body-bytes)", limits.body_bytes)));
        }
        if !streamed {
            let most = limits.message_bytes;
            self.message_bytes += draft.data.len();
            if self.message_bytes > most {
                return Err(limit(format!("more than {most} bytes of messages (limits.message-bytes)")));
            }
        }
        Ok(())
    }

    fn emit_one(&self, draft: wit::types::Draft) -> Result<Emitted, Problem> {
        let named = format!(
            "message {} (`{}`){}",
            self.messages,
            draft.id,
            draft.place.as_ref().map(|p| format!(" from {p}")).unwrap_or_default()
        );
        let invalid = |problem: Problem| Problem {
            place: problem.place.clone().or(draft.place.clone()),
            ..Problem::new(Code::InvalidEmit, format!("{named}: {}", problem.detail))
        };
        let (message, place) = self.message(draft.clone()).map_err(invalid)?;
        message.check().map_err(invalid)?;
        self.catalog().validate(&message.r#type, &message.data).map_err(invalid)?;
        Ok(Emitted { message, place })
    }

    /// A draft with what the host adds: source, time, trace and cause.
    pub(crate) fn message(&self, draft: wit::types::Draft) -> Result<(Message, Option<String>), Problem> {
        let cause = self.cause.as_deref();
        let message = Message {
            id: draft.id,
            source: self.system.source.clone(),
            r#type: draft.type_,
            subject: draft.subject,
            time: draft.time.or_else(|| rfc3339(self.now_ms)),
            dataschema: None,
            traceparent: cause.and_then(|c| c.traceparent.clone()),
            partitionkey: draft.partition_key,
            correlationid: cause.map(|c| c.correlationid.clone().unwrap_or_else(|| c.id.clone())),
            causationid: cause.map(|c| c.id.clone()),
            extensions: Default::default(),
            data: busbar_core::parse_json(draft.data.as_bytes())?,
        };
        Ok((message, draft.place))
    }
}

/// RFC 3339 in UTC.
pub(crate) fn rfc3339(ms: i64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
    time.format(&Rfc3339).ok()
}

/// A message as an adapter sees it.
pub(crate) fn show_message(message: &Message) -> wit::types::Message {
    wit::types::Message {
        id: message.id.clone(),
        source: message.source.clone(),
        type_: message.r#type.clone(),
        subject: message.subject.clone(),
        time: message.time.clone(),
        partition_key: message.partitionkey.clone(),
        correlation_id: message.correlationid.clone(),
        data: message.data.to_string(),
    }
}

impl wit::input::Host for CallState {
    async fn describe(&mut self) -> Result<wit::input::Info> {
        let input = self.input.as_ref().ok_or_else(no_input)?;
        Ok(wit::input::Info { name: input.name.clone(), size: input.size_bytes })
    }

    async fn read(&mut self, max: u32) -> Result<Vec<u8>> {
        let input = self.input.as_mut().ok_or_else(no_input)?;
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(1 << 20);
        let mut buffer = vec![0; max];
        let read =
            input.reader.read(&mut buffer).map_err(|e| trap(Problem::new(Code::FileUnreadable, e.to_string())))?;
        buffer.truncate(read);
        Ok(buffer)
    }
}

fn no_input() -> wasmtime::Error {
    trap(Problem::new(Code::MissingGrant, "`input` is there only while a file is decoded"))
}
