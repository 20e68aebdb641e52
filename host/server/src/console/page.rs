//! Pages on their way out, and problems as pages.

use super::texts::Texts;
use super::viewer::PageFrame;
use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use busbar_core::{Code, Problem};

/// A problem that is shown as a page, see [`super::dressed`].
#[derive(Clone)]
pub struct PageProblem(pub Problem);

pub type Shown = Result<Response, PageProblem>;

impl From<Problem> for PageProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for PageProblem {
    fn into_response(self) -> Response {
        let mut response = status(&self.0).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

pub fn status(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// # Errors
/// `internal`, when the template fails.
pub fn html(page: &impl Template) -> Shown {
    with_status(StatusCode::OK, page)
}

/// # Errors
/// `internal`, when the template fails.
pub fn with_status(status: StatusCode, page: &impl Template) -> Shown {
    match page.render() {
        Ok(text) => Ok((status, Html(text)).into_response()),
        Err(error) => Err(Problem::new(Code::Internal, format!("a page could not be made: {error}")).into()),
    }
}

/// What is wrong, and what to do about it.
#[derive(Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    t: &'static Texts,
    frame: PageFrame,
    pub problem: ProblemShown,
}

impl ErrorPage {
    pub fn new(frame: PageFrame, problem: Problem) -> Self {
        Self { t: frame.texts(), frame, problem: problem.into() }
    }
}

/// A problem in the hub's words.
pub struct ProblemShown {
    pub code: String,
    pub meaning: &'static str,
    pub detail: String,
    pub place: Option<String>,
    pub remedy: &'static str,
}

impl From<Problem> for ProblemShown {
    fn from(problem: Problem) -> Self {
        let Problem { code, detail, place, own_code, .. } = problem;
        let (meaning, remedy) = (code.meaning(), code.remedy());
        Self { code: own_code.unwrap_or_else(|| code.as_str().to_string()), meaning, detail, place, remedy }
    }
}

/// Seconds after which trying again makes sense.
pub fn retry_after(response: &mut Response, problem: &Problem) {
    if let Some(ms) = problem.retry_after_ms {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000).max(1)));
    }
}
