//! Outgoing HTTP of adapters: held against grants, answered from the record where the rule says so, written
//! down before it is sent.

use super::bindings::busbar::adapter as wit;
use super::host::{granted, trap};
use super::state::CallState;
use crate::egress::{Authorization, HttpFailure, HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use busbar_core::Call;
use busbar_core::record::{Repeat, Verdict};
use busbar_core::{CallKind, CallOutcome};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;
use wasmtime::Result;

type Answer = std::result::Result<wit::http::Response, wit::http::HttpError>;

impl wit::http::Host for CallState {
    async fn send(&mut self, request: wit::http::Request) -> Result<Answer> {
        self.exchange(request, false).await
    }

    async fn nothing_done(&mut self) -> Result<()> {
        let answered = |call: &&mut Call| {
            call.kind == CallKind::Http && matches!(call.outcome, CallOutcome::Ok | CallOutcome::Recorded)
        };
        if let Some(call) = self.calls.iter_mut().rev().find(answered) {
            call.outcome = CallOutcome::NothingDone;
        }
        Ok(())
    }

    async fn send_idempotent(&mut self, request: wit::http::Request) -> Result<Answer> {
        self.exchange(request, true).await
    }
}

impl CallState {
    async fn exchange(&mut self, request: wit::http::Request, idempotent: bool) -> Result<Answer> {
        self.count_call().map_err(trap)?;
        let request = self.request(request);
        let repeat = Repeat::of(&request.method, idempotent);
        let (started, mut shown) = (Instant::now(), show_request(&request));
        if repeat == Repeat::Idempotent {
            shown["idempotent"] = json!(true);
        }
        let known = match self.recorded.verdict(&shown, repeat) {
            Verdict::Answer(answer) => Some(parse_response(&answer).map(|parsed| (answer, parsed))),
            Verdict::Unknown => Some(None),
            Verdict::Send => None,
        };
        match known {
            Some(Some((answer, parsed))) => {
                self.record(CallKind::Http, shown, Some(answer), CallOutcome::Recorded, started);
                return Ok(Ok(response(parsed)));
            }
            Some(None) => {
                let text = format!("an earlier attempt sent this {} and nobody knows what came of it", request.method);
                self.record(CallKind::Http, shown, Some(json!({ "error": text })), CallOutcome::Withheld, started);
                return Ok(Err(wit::http::HttpError::NoAnswer(text)));
            }
            None => {}
        }
        // Written down before it is sent: one that the deadline cuts must not look as if it never was.
        self.record(CallKind::Http, shown, None, CallOutcome::NoAnswer, started);
        let result = match self.permitted(&request) {
            Ok(()) => {
                if repeat.is_written_ahead() {
                    self.write_ahead().await?;
                }
                self.effects.http(request).await
            }
            Err(failure) => Err(failure),
        };
        let (answer, outcome) = match &result {
            Ok(answer) => (Some(show_response(answer)), CallOutcome::Ok),
            Err(failure) => (Some(json!({ "error": failure.text() })), failure.word().into()),
        };
        if let Some(call) = self.calls.last_mut() {
            (call.answer, call.outcome) = (answer, outcome);
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

    fn request(&self, from: wit::http::Request) -> HttpRequest {
        let most_ms = self.limits().http_timeout_ms;
        HttpRequest {
            method: from.method.to_ascii_uppercase(),
            url: from.url,
            headers: from.headers.into_iter().map(|h| (h.name, h.value)).collect(),
            body: from.body,
            authorization: from.authorization.map(authorization),
            timeout_ms: from.timeout_ms.map_or(most_ms, u64::from).min(most_ms),
        }
    }

    // Should the hub be killed before the answer is written, the next attempt must know that it was sent.
    async fn write_ahead(&mut self) -> Result<()> {
        let (Some(delivery), Some(call)) = (self.delivery, self.calls.last_mut()) else { return Ok(()) };
        let written = self.effects.ahead(delivery, call).await;
        written.map_err(|problem| {
            call.outcome = CallOutcome::NotSent;
            trap(problem)
        })
    }

    fn permitted(&self, request: &HttpRequest) -> Result<(), HttpFailure> {
        let url = url::Url::parse(&request.url).map_err(|e| HttpFailure::Invalid(format!("`{}`: {e}", request.url)))?;
        let origin = url.origin().ascii_serialization();
        let origins = &self.system.grants.http;
        if !origins.iter().any(|g| g == "*" || g.trim_end_matches('/').eq_ignore_ascii_case(&origin)) {
            return Err(HttpFailure::Denied(format!("no grant for {origin} (grants.http)")));
        }
        let names = match &request.authorization {
            Some(Authorization::Basic(n) | Authorization::Bearer(n) | Authorization::Header(_, n)) => vec![n],
            Some(Authorization::Parameters(parameters)) => parameters.iter().map(|(_, name)| name).collect(),
            None => Vec::new(),
        };
        names.into_iter().try_for_each(|name| self.credential_granted(name)).map_err(HttpFailure::Denied)
    }

    pub(super) fn credential_granted(&self, name: &str) -> Result<(), String> {
        if granted(&self.system.grants.credentials, name) {
            return Ok(());
        }
        Err(format!("no grant for credential `{name}` (grants.credentials)"))
    }
}

fn authorization(from: wit::http::Authorization) -> Authorization {
    match from {
        wit::http::Authorization::Basic(name) => Authorization::Basic(name),
        wit::http::Authorization::Bearer(name) => Authorization::Bearer(name),
        wit::http::Authorization::Header((header, name)) => Authorization::Header(header, name),
        wit::http::Authorization::Parameters(parameters) => Authorization::Parameters(parameters),
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
            Authorization::Parameters(names) => {
                json!({ "parameters": names.iter().cloned().collect::<BTreeMap<_, _>>() })
            }
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
