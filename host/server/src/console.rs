//! The operators' console at `/`: pages over what REST shows and does, by the same functions, for holders of a key with the
//! right `read`. Everything works without a script; nothing comes from elsewhere.

mod decisions;
mod edit;
mod failures;
mod fields;
mod files;
mod inputs;
mod message;
mod messages;
mod operate;
mod page;
mod sessions;
mod shown;
mod sign_in;
mod statistics;
mod systems;
mod texts;
mod viewer;

use crate::rest::Shared;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use busbar_core::{Code, Problem};
use page::{ErrorPage, PageProblem};
use sessions::Sessions;
use std::sync::Arc;
use viewer::{PageFrame, is_cross_site};

/// What the pages need.
pub struct Console {
    api: Shared,
    sessions: Sessions,
}

type Held = Arc<Console>;

/// Nothing but our own style and script, and nobody frames a page.
const HEADERS: [(HeaderName, &str); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// All pages.
pub fn router(api: Shared) -> Router {
    let console = Arc::new(Console { api, sessions: Sessions::default() });
    Router::new()
        .route("/", get(systems::page).post(systems::hold))
        .route("/messages", get(messages::page))
        .route("/messages/{seq}", get(message::page))
        .route("/messages/{seq}/raw", get(message::raw))
        .route("/failures", get(failures::page).post(operate::those))
        .route("/failures/all", get(operate::sure_of_all).post(operate::all))
        .route("/deliveries/{id}/edit", get(edit::page).post(edit::save))
        .route("/decisions", get(decisions::page))
        .route("/statistics", get(statistics::page))
        .route("/inputs", get(inputs::page).post(inputs::decide))
        .route("/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/look", post(sign_in::look))
        .route("/static/{name}", get(files::file))
        .method_not_allowed_fallback(|| async {
            PageProblem::from(Problem::new(Code::MethodNotAllowed, "not for this method"))
        })
        .layer(middleware::from_fn_with_state(console.clone(), dressed))
        .with_state(console)
}

/// Who looks is found once for each request; a problem becomes a page in their language; each answer has the headers.
async fn dressed(State(console): State<Held>, mut request: Request, next: Next) -> Response {
    let frame = PageFrame::of(&console, &request);
    let forged =
        request.method() != Method::GET && request.method() != Method::HEAD && is_cross_site(request.headers());
    let mut response = if forged {
        PageProblem::from(Problem::new(Code::Forbidden, "the form was sent from another site")).into_response()
    } else {
        request.extensions_mut().insert(frame.clone());
        next.run(request).await
    };
    if let Some(PageProblem(problem)) = response.extensions_mut().remove::<PageProblem>() {
        let status = response.status();
        response = page::with_status(status, &ErrorPage::new(frame, problem)).into_response();
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
