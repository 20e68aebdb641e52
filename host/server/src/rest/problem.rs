//! Errors as RFC 9457 `application/problem+json`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use busbar_core::{Code, Problem};
use serde::Serialize;
use utoipa::ToSchema;

/// RFC 9457, section 3, with our `code`, `place`, `remedy` and `index`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body {
    /// `urn:busbar:error:<code>`
    r#type: String,
    /// What the code means.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// Stable; an adapter's own code where it gave one.
    code: String,
    /// JSON Pointer, attribute name or place in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    /// What to do about it.
    remedy: &'static str,
    /// Which message of a batch, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

/// A problem on its way out.
#[derive(Debug)]
pub struct ApiProblem {
    problem: Problem,
    index: Option<usize>,
}

impl ApiProblem {
    pub fn at_index(problem: Problem, index: usize) -> Self {
        Self { problem, index: Some(index) }
    }
}

impl From<Problem> for ApiProblem {
    fn from(problem: Problem) -> Self {
        Self { problem, index: None }
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let Problem { code, detail, place, own_code, retry_after_ms } = self.problem;
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = Body {
            r#type: format!("urn:busbar:error:{}", code.as_str()),
            title: code.meaning(),
            status: status.as_u16(),
            detail,
            code: own_code.unwrap_or_else(|| code.as_str().to_string()),
            place,
            remedy: code.remedy(),
            index: self.index,
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], json).into_response();
        if code == Code::Unauthorized {
            let challenge = HeaderValue::from_static("Bearer realm=\"busbar\", Basic realm=\"busbar\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            let seconds = retry_after_ms.map_or(1, |ms| ms.div_ceil(1000).max(1));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub fn not_found(path: &str) -> ApiProblem {
    Problem::new(Code::NotFound, format!("nothing at {path}")).into()
}

pub fn method_not_allowed() -> ApiProblem {
    Problem::new(Code::MethodNotAllowed, "not for this method").into()
}
