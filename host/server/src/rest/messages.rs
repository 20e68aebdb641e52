//! Messages and questions in.

use super::auth::KeyHolder;
use super::{ApiProblem, Shared};
use crate::cloudevents;
use crate::config::model::Right;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use busbar_core::{Code, IntakeKind, Message, Payload, Problem, parse_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::error::Error;
use std::io::ErrorKind;
use utoipa::{IntoParams, ToSchema};

const BATCH_MAX: usize = 1_000;

/// What became of the messages, in their order.
#[derive(Serialize, ToSchema)]
pub struct AcceptedMessages {
    accepted: Vec<AcceptedMessage>,
}

/// One message that is durable now.
#[derive(Serialize, ToSchema)]
pub struct AcceptedMessage {
    /// The journal's number: `/v1/messages/<seq>`.
    seq: String,
    id: String,
    source: String,
    /// It was known already; nothing changed.
    duplicate: bool,
}

/// Send messages: CloudEvents 1.0 in structured (`application/cloudevents+json`), batched
/// (`application/cloudevents-batch+json`) or binary mode (`ce-` headers). A batch is taken all or none.
/// The answer comes when everything is durable; sending again is safe.
#[utoipa::path(post, path = "/v1/messages", tag = "messages", security(("key" = ["publish"])),
    request_body(content = Value, description = "A CloudEvent", content_type = "application/cloudevents+json"),
    responses((status = 202, body = AcceptedMessages), (status = "4XX", body = super::problem::Body), (status = 503, body = super::problem::Body)))]
pub async fn publish(State(api): State<Shared>, caller: KeyHolder, request: Request) -> Result<Response, ApiProblem> {
    caller.require(Right::Publish)?;
    match take(&api, &caller, request).await {
        Ok(accepted) => Ok((StatusCode::ACCEPTED, Json(accepted)).into_response()),
        Err((problem, index)) => {
            api.hub.refuse_stated(IntakeKind::Rest, &caller.stater.by, "/v1/messages", &problem).await;
            Err(index.map_or_else(|| problem.clone().into(), |i| ApiProblem::at_index(problem.clone(), i)))
        }
    }
}

async fn take(
    api: &Shared,
    caller: &KeyHolder,
    request: Request,
) -> Result<AcceptedMessages, (Problem, Option<usize>)> {
    let (parts, body) = request.into_parts();
    let whole = |problem| (problem, None);
    let body = read(body, api.limits.body_bytes_max).await.map_err(whole)?;
    let batched = media(&parts.headers).is_some_and(|m| m.starts_with("application/cloudevents-batch+json"));
    let messages = if batched {
        let Value::Array(events) = parse_json(&body).map_err(whole)? else {
            return Err((Problem::new(Code::InvalidEvent, "a batch is a list of events"), None));
        };
        if events.len() > BATCH_MAX {
            return Err((
                Problem::new(Code::TooLarge, format!("a batch of {} messages, at most {BATCH_MAX}", events.len())),
                None,
            ));
        }
        let parsed = events.into_iter().enumerate().map(|(i, e)| Message::from_structured(e).map_err(|p| (p, Some(i))));
        parsed.collect::<Result<Vec<_>, _>>()?
    } else {
        let payload = payload(&parts.headers, body).map_err(whole)?;
        vec![Message::from_payload(&payload).map_err(whole)?]
    };
    let names: Vec<_> = messages.iter().map(|m| (m.id.clone(), m.source.clone())).collect();
    let accepted =
        api.hub.accept(&caller.stater, messages).await.map_err(|r| (r.problem, batched.then_some(r.index)))?;
    let shown = accepted.into_iter().zip(names).map(|(accepted, (id, source))| AcceptedMessage {
        seq: accepted.seq.to_string(),
        id,
        source,
        duplicate: accepted.duplicate,
    });
    Ok(AcceptedMessages { accepted: shown.collect() })
}

/// How long to wait for an answer.
#[derive(Deserialize, IntoParams)]
pub struct Deadline {
    /// Milliseconds; 10,000 where absent, 30,000 at most.
    #[serde(rename = "deadline-ms")]
    deadline_ms: Option<u64>,
}

/// Ask a question and wait for its answer, both CloudEvents; the answer comes in structured mode.
#[utoipa::path(post, path = "/v1/questions", tag = "messages", security(("key" = ["ask"])), params(Deadline),
    request_body(content = Value, description = "A CloudEvent of a question type", content_type = "application/cloudevents+json"),
    responses((status = 200, body = Value, content_type = "application/cloudevents+json"), (status = "4XX", body = super::problem::Body), (status = "5XX", body = super::problem::Body)))]
pub async fn ask(
    State(api): State<Shared>,
    caller: KeyHolder,
    deadline: Result<Query<Deadline>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiProblem> {
    caller.require(Right::Ask)?;
    let Query(deadline) = deadline.map_err(|e| Problem::new(Code::InvalidEvent, e.body_text()).at("query"))?;
    let question = match question(&api, &caller, request).await {
        Ok(question) => question,
        Err(problem) => {
            api.hub.refuse_stated(IntakeKind::Rest, &caller.stater.by, "/v1/questions", &problem).await;
            return Err(problem.into());
        }
    };
    let deadline_ms = deadline.deadline_ms.unwrap_or(10_000).min(30_000);
    let answer = api.hub.questions.ask(question, &caller.stater.by, deadline_ms).await?;
    let text = answer.to_structured().to_string();
    Ok(([(header::CONTENT_TYPE, "application/cloudevents+json")], text).into_response())
}

/// A question that some system answers; what became of it is written down by who asks it.
async fn question(api: &Shared, caller: &KeyHolder, request: Request) -> Result<Message, Problem> {
    let (parts, body) = request.into_parts();
    let body = read(body, api.limits.body_bytes_max).await?;
    let question = Message::from_payload(&payload(&parts.headers, body)?)?;
    caller.stater.may_ask(&question)?;
    api.hub.rules.answerer(&question)?;
    Ok(question)
}

/// # Errors
/// `too-large`, `bad-request` of malformed chunks, or `timeout` when the sender stops sending.
pub async fn read(body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    let result = to_bytes(body, most).await;
    result.map(|b| b.to_vec()).map_err(|e| {
        let causes = || causes(&e);
        let kind = causes().find_map(|e| e.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
        // axum wraps the reason; only its text tells that of the limit apart.
        let text = causes().nth(1).map_or_else(|| e.to_string(), ToString::to_string);
        match kind {
            Some(ErrorKind::InvalidInput | ErrorKind::InvalidData) => {
                let last = causes().last().map_or_else(String::new, ToString::to_string);
                Problem::new(Code::BadRequest, format!("the body's chunks are malformed: {last}"))
            }
            None if text.contains("limit") => {
                Problem::new(Code::TooLarge, format!("the body is over {most} bytes (http.body-bytes-max)"))
            }
            _ => Problem::new(Code::Timeout, format!("the body did not come whole: {text}")),
        }
    })
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

pub fn media(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok())
}

/// # Errors
/// `invalid-event` naming the attribute whose header stands twice or is no text: leaving one out would change the message.
fn payload(headers: &HeaderMap, body: Vec<u8>) -> Result<Payload, Problem> {
    let mut texts = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let is_read = name.as_str().starts_with(cloudevents::HTTP_PREFIX) || *name == header::CONTENT_TYPE;
        if is_read && headers.get_all(name).iter().nth(1).is_some() {
            return Err(Problem::new(Code::InvalidEvent, format!("header `{name}` stands twice")).at(name.as_str()));
        }
        match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => texts.push((name.as_str(), text)),
            Err(_) => {
                if let Some(attribute) = name.as_str().strip_prefix(cloudevents::HTTP_PREFIX) {
                    return Err(Problem::new(Code::InvalidEvent, format!("header `{name}` is not UTF-8")).at(attribute));
                }
            }
        }
    }
    let payload = cloudevents::from_http(texts.into_iter(), body);
    match payload.attributes.iter().find(|(_, value)| value.contains(char::REPLACEMENT_CHARACTER)) {
        Some((name, _)) => Err(Problem::new(Code::InvalidEvent, format!("header `ce-{name}` is not UTF-8")).at(name)),
        None => Ok(payload),
    }
}
