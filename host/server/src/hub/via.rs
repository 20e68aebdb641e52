//! Systems that speak canonical messages themselves: no adapter in between.

use super::effects::SystemSecrets;
use crate::cloudevents;
use crate::config::model::HttpMode;
use crate::egress::{Authorization, Egress, HttpFailure, HttpRequest, HttpResponse};
use crate::wasm::show_request;
use busbar_core::ports::{Clock, Outgoing, Run, Transport};
use busbar_core::{Call, CallKind, Code, Failure, Message, Problem};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// Of what a system says about a refusal.
const SAID_CHARS_MAX: usize = 500;

/// How a system without an adapter is reached.
pub enum Via {
    Http(Box<ViaHttp>),
    Amqp(ViaAmqp),
}

/// CloudEvents HTTP binding.
pub struct ViaHttp {
    pub url: String,
    pub mode: HttpMode,
    pub bearer: Option<String>,
    pub secrets: SystemSecrets,
    pub egress: Egress,
    pub timeout_ms: u64,
    pub clock: Arc<dyn Clock>,
}

/// `busbar.out` with the type as routing key; questions to `busbar.requests`.
pub struct ViaAmqp {
    pub transport: Option<Arc<dyn Transport>>,
    pub out: String,
    pub requests: String,
    pub clock: Arc<dyn Clock>,
}

impl Via {
    pub async fn deliver(&self, message: &Message, attempt: u32) -> Run<()> {
        match self {
            Self::Http(http) => http.deliver(message, attempt).await,
            Self::Amqp(amqp) => amqp.deliver(message, attempt).await,
        }
    }

    /// Asks the system and returns its answer, not yet held against a schema.
    ///
    /// # Errors
    /// `answer-timeout`, `answer-failed`, `unroutable`, `broker-unavailable`.
    pub async fn ask(&self, question: &Message, deadline_ms: u64) -> Result<Message, Problem> {
        match self {
            Self::Http(http) => http.ask(question, deadline_ms).await,
            Self::Amqp(amqp) => {
                let outgoing = amqp.outgoing(&amqp.requests, question);
                let transport = amqp.transport.as_ref().ok_or_else(|| unreachable("no broker"))?;
                Message::from_payload(&transport.ask(outgoing, deadline_ms).await?)
            }
        }
    }
}

impl ViaHttp {
    fn request(&self, message: &Message, timeout_ms: u64) -> HttpRequest {
        let (headers, body) = match self.mode {
            HttpMode::Binary => (cloudevents::http_headers(message), message.data.text().into()),
            HttpMode::Structured => {
                let headers = vec![("content-type".into(), "application/cloudevents+json; charset=utf-8".into())];
                (headers, message.to_structured().to_string().into_bytes())
            }
        };
        HttpRequest {
            method: "POST".into(),
            url: self.url.clone(),
            headers,
            body,
            authorization: self.bearer.clone().map(Authorization::Bearer),
            timeout_ms,
        }
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        self.secrets.send(&self.egress, request).await
    }

    async fn deliver(&self, message: &Message, attempt: u32) -> Run<()> {
        let request = self.request(message, self.timeout_ms);
        let (started, shown) = (Instant::now(), show_request(&request));
        let answer = self.send(request).await;
        let (outcome, shown_answer) = match &answer {
            Ok(response) => ("ok", Some(json!({ "status": response.status }))),
            Err(failure) => (failure.word(), Some(json!({ "error": failure.text() }))),
        };
        let result = match answer {
            Ok(response) if (200..300).contains(&response.status) => Ok(()),
            Ok(response) => Err(status_failure(
                response.status,
                retry_after_ms(&response),
                format!("{} {}", self.url, refusal(&response)),
            )),
            // The receiver deduplicates by (source, id): repeating is safe.
            Err(failure @ (HttpFailure::Unreachable(_) | HttpFailure::NoAnswer(_))) => {
                Err(Failure::Transient { reason: failure.text(), retry_after_ms: None })
            }
            Err(failure) => Err(Failure::Other(failure.text())),
        };
        single(result, vec![call(CallKind::Http, attempt, shown, shown_answer, outcome, started, self.clock.now_ms())])
    }

    async fn ask(&self, question: &Message, deadline_ms: u64) -> Result<Message, Problem> {
        let failed = |text: String| Problem::new(Code::AnswerFailed, format!("{}: {text}", named(question)));
        let response = self.send(self.request(question, deadline_ms)).await.map_err(|f| failed(f.text()))?;
        if !(200..300).contains(&response.status) {
            return Err(failed(refusal(&response)));
        }
        let headers = response.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        Message::from_payload(&cloudevents::from_http(headers, response.body))
    }
}

/// What a system answered, with what it says of it: that of the usual members of its JSON, or else the text, cut to a length.
fn refusal(response: &HttpResponse) -> String {
    let body = response.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&response.body);
    let json = serde_json::from_slice::<Value>(body).ok();
    let member = |name: &str| json.as_ref()?.get(name)?.as_str();
    let words = ["detail", "error", "message"].into_iter().find_map(member).map(Cow::Borrowed);
    let words = words.unwrap_or_else(|| String::from_utf8_lossy(body));
    // One more than is shown, which tells whether it was cut.
    let begin: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX + 1).collect();
    let mut said = begin.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = said.char_indices().nth(SAID_CHARS_MAX) {
        said.truncate(end);
        said.push('…');
    }
    let colon = if said.is_empty() { "" } else { ": " };
    format!("answered {}{colon}{said}", response.status)
}

/// `Retry-After` in seconds (RFC 9110, section 10.2.3); its date form is not used by machines here.
fn retry_after_ms(response: &HttpResponse) -> Option<u64> {
    let header = response.headers.iter().find(|(name, _)| name == "retry-after")?;
    let digits = header.1.trim();
    let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| digits.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000))
}

impl ViaAmqp {
    /// A message as it is published.
    pub fn published(&self, message: &Message) -> Outgoing {
        self.outgoing(&self.out, message)
    }

    fn outgoing(&self, exchange: &str, message: &Message) -> Outgoing {
        Outgoing {
            exchange: exchange.to_string(),
            routing_key: message.r#type.clone(),
            payload: cloudevents::payload(message),
            correlation_id: Some(message.id.clone()),
            ..Outgoing::default()
        }
    }

    async fn deliver(&self, message: &Message, attempt: u32) -> Run<()> {
        let started = Instant::now();
        let outgoing = self.published(message);
        let shown = json!({ "exchange": outgoing.exchange, "routing-key": outgoing.routing_key, "id": message.id });
        let result = match &self.transport {
            Some(transport) => {
                transport.publish(vec![outgoing]).await.pop().unwrap_or_else(|| Err(unreachable("no result")))
            }
            None => Err(unreachable("no broker")),
        };
        let outcome = result.as_ref().err().map_or("ok", |problem| problem.code.as_str());
        let calls = vec![call(CallKind::Publish, attempt, shown, None, outcome, started, self.clock.now_ms())];
        single(
            result.map_err(|problem| match problem.code {
                // It is refused again each time.
                Code::BrokerRefused => Failure::Hub(problem),
                _ => Failure::Transient { reason: problem.to_string(), retry_after_ms: None },
            }),
            calls,
        )
    }
}

fn call(
    kind: CallKind,
    attempt: u32,
    request: Value,
    answer: Option<Value>,
    outcome: &str,
    started: Instant,
    now_ms: i64,
) -> Call {
    Call {
        attempt,
        ordinal: 0,
        kind,
        request,
        answer,
        outcome: outcome.into(),
        started_at_ms: now_ms,
        duration_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
    }
}

/// A run without an adapter: one call, and how it ended.
pub(super) fn single(result: Result<(), Failure>, calls: Vec<Call>) -> Run<()> {
    Run { calls, ..Run::of(result) }
}

/// The failure that an HTTP status stands for.
fn status_failure(status: u16, retry_after_ms: Option<u64>, text: String) -> Failure {
    match status {
        401 | 403 => Failure::Unauthorized(text),
        429 => Failure::RateLimited { reason: text, retry_after_ms },
        408 | 425 | 500..=599 => Failure::Transient { reason: text, retry_after_ms },
        _ => Failure::Rejected(busbar_core::Rejection { code: format!("http-{status}"), reason: text, place: None }),
    }
}

/// A message for a log line or an error: what it is, not what it says.
pub(super) fn named(message: &Message) -> String {
    format!("{} {} from {}", message.r#type, message.id, message.source)
}

/// A problem that says that a part is missing.
fn unreachable(detail: &str) -> Problem {
    Problem::new(Code::BrokerUnavailable, detail)
}
