//! Signing in with an API key, and out; the language and the colours.

use super::Held;
use super::fields::{Fields, back};
use super::page::{self, PageProblem, ProblemShown, Shown};
use super::texts::{Language, Texts};
use super::viewer::{LANGUAGE, PageFrame, Posted, SESSION, THEME, Theme, cookie, kept};
use crate::config::model::Right;
use crate::rest::{read, unknown};
use askama::Template;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use busbar_core::{Code, Problem};
use cookie::Cookie;
use std::time::Instant;

/// A key or a wish is short.
const FORM_BYTES_MAX: usize = 16 << 10;
const KEEP_DAYS: i64 = 365;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    t: &'static Texts,
    frame: PageFrame,
    to: String,
    problem: Option<ProblemShown>,
}

pub async fn page(Extension(frame): Extension<PageFrame>, request: Request) -> Shown {
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    let to = back(query.get("to")).to_string();
    if frame.signed.is_some() {
        return Ok(Redirect::to(&to).into_response());
    }
    page::html(&SignInPage { t: frame.texts(), frame, to, problem: None })
}

/// With a key that may read; whoever sends wrong ones is slowed down as with REST.
pub async fn sign_in(State(console): State<Held>, Extension(frame): Extension<PageFrame>, request: Request) -> Shown {
    let (parts, body) = request.into_parts();
    let form = Fields::parse(&read(body, FORM_BYTES_MAX).await?);
    let (key, to) = (form.get("key").unwrap_or_default(), back(form.get("to")).to_string());
    let problem = match console.api.keys.holder(key) {
        Some(holder) => match holder.require(Right::Read) {
            Ok(()) => {
                let earlier = cookie(&parts.headers, SESSION);
                earlier.iter().for_each(|earlier| console.sessions.end(earlier));
                let session = console.sessions.begin(holder, Instant::now());
                return Ok(with_cookie(Redirect::to(&to), &kept(SESSION, session, &parts.headers)));
            }
            Err(problem) => problem,
        },
        None => unknown(&parts, &console.api, key, Problem::new(Code::Unauthorized, "the key is not known")).await,
    };
    refused(frame, to, problem)
}

fn refused(frame: PageFrame, to: String, problem: Problem) -> Shown {
    let status = page::status(&problem);
    let shown = SignInPage { t: frame.texts(), frame, to, problem: Some(problem.clone().into()) };
    let mut response = page::with_status(status, &shown)?;
    page::retry_after(&mut response, &problem);
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110, section 15.5.2, wants one; for this one browsers open no window of their own.
        let challenge = HeaderValue::from_static("Bearer realm=\"busbar\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    Ok(response)
}

pub async fn sign_out(State(console): State<Held>, headers: HeaderMap, _posted: Posted) -> Response {
    if let Some(session) = cookie(&headers, SESSION) {
        console.sessions.end(&session);
    }
    with_cookie(Redirect::to("/sign-in"), &forgotten(SESSION, &headers))
}

/// Remembers the language and the colours that somebody wants. It changes nothing else, and needs no session.
pub async fn look(headers: HeaderMap, request: Request) -> Shown {
    let form = Fields::parse(&read(request.into_body(), FORM_BYTES_MAX).await.map_err(PageProblem::from)?);
    let mut response = Redirect::to(back(form.get("to"))).into_response();
    let language = form.get("language").and_then(Language::parse).map(|language| (LANGUAGE, language.as_str()));
    let theme = form.get("theme").and_then(Theme::parse).map(|theme| (THEME, theme.as_str()));
    for (name, value) in language.into_iter().chain(theme) {
        let mut wish = kept(name, value.to_string(), &headers);
        wish.set_max_age(cookie::time::Duration::days(KEEP_DAYS));
        response = with_cookie(response, &wish);
    }
    Ok(response)
}

fn forgotten(name: &'static str, headers: &HeaderMap) -> Cookie<'static> {
    let mut cookie = kept(name, String::new(), headers);
    cookie.make_removal();
    cookie
}

fn with_cookie(response: impl IntoResponse, cookie: &Cookie<'_>) -> Response {
    let mut response = response.into_response();
    // What is in it is made here, of letters and digits.
    if let Ok(value) = HeaderValue::from_str(&cookie.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}
