//! `/hooks/<system>/…`: other systems push in their own format; the system's adapter takes it.

use super::auth::credentials;
use super::messages::{media, read};
use super::{ApiProblem, Hook, Shared};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use busbar_core::ports::{HookRequest, HookResponse};
use busbar_core::{Code, IntakeKind, Problem, parse_json};
use std::collections::HashMap;

pub async fn hook(
    State(api): State<Shared>,
    path: Result<Path<HashMap<String, String>>, PathRejection>,
    request: Request,
) -> Result<Response, ApiProblem> {
    let Path(path) = path.map_err(|e| Problem::new(Code::NotFound, e.body_text()))?;
    let system = path.get("system").cloned().unwrap_or_default();
    let Some(hook) = api.hooks.get(&system) else {
        return Err(Problem::new(Code::NotFound, format!("no hook for `{system}`")).into());
    };
    // A crowd at one hook, slow or hostile, must leave room for the others.
    let Ok(_permit) = hook.at_once.try_acquire() else {
        let text = "too many requests at once for one system (half of http.concurrency-max)";
        return Err(Problem::new(Code::Busy, text).into());
    };
    let (parts, body) = request.into_parts();
    let body = match authenticate(hook, &parts.headers) {
        Ok(()) => read(body, api.limits.body_bytes_max).await.and_then(|body| unambiguous(&parts.headers, body)),
        Err(problem) => Err(problem),
    };
    let body = match body {
        Ok(body) => body,
        Err(problem) => {
            // Forged and oversized requests are part of the record, without what they carried.
            api.hub.refuse(IntakeKind::Hook, &system, parts.uri.path(), &problem).await;
            if problem.code != Code::Unauthorized {
                return Err(problem.into());
            }
            let given = parts.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
            let peer = parts.extensions.get().copied();
            return Err(api.throttle.answer(peer, given, problem, api.hub.clock.now_ms()).into());
        }
    };
    let prefix = format!("/hooks/{system}");
    let path = parts.uri.path().strip_prefix(&prefix).unwrap_or_default();
    let headers = parts.headers.iter().filter(|(name, _)| *name != AUTHORIZATION || hook.config.open);
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let request = HookRequest {
        method: parts.method.to_string(),
        path: if path.is_empty() { "/".into() } else { path.into() },
        query: parts.uri.query().unwrap_or_default().into(),
        headers: headers.collect(),
        body,
    };
    let response = api.hub.hook(&system, request).await?;
    Ok(respond(response))
}

/// JSON with a name twice would not be to its adapter what it was to whoever checked it before. What else may be wrong with it, the
/// adapter answers in its own protocol.
fn unambiguous(headers: &HeaderMap, body: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let kind = media(headers).and_then(|kind| kind.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind == "application/json" || kind.ends_with("+json");
    match is_json.then(|| parse_json(&body)) {
        Some(Err(problem)) if problem.code == Code::RepeatedName => Err(problem),
        _ => Ok(body),
    }
}

fn authenticate(hook: &Hook, headers: &HeaderMap) -> Result<(), Problem> {
    if hook.config.open {
        return Ok(());
    }
    let basic = |name: &String| {
        let given = credentials(headers, "Basic").and_then(|given| BASE64_STANDARD.decode(given).ok());
        given.is_some_and(|given| hook.secrets.matches(name, &given))
    };
    let bearer = |name: &String| {
        credentials(headers, "Bearer").is_some_and(|given| hook.secrets.matches(name, given.as_bytes()))
    };
    if hook.config.basic.as_ref().is_some_and(basic) || hook.config.bearer.as_ref().is_some_and(bearer) {
        return Ok(());
    }
    Err(Problem::new(Code::Unauthorized, "no valid credential came with the request"))
}

fn respond(from: HookResponse) -> Response {
    let mut response = Response::new(Body::from(from.body));
    *response.status_mut() = StatusCode::from_u16(from.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in from.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value))
            && !["content-length", "transfer-encoding", "connection"].contains(&name.as_str())
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}
