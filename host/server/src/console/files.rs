//! The style, the script and the sign. Their names carry a digest of what is in them, so that browsers keep them for ever.

use super::page::{PageProblem, Shown};
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use busbar_core::{Code, Problem};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// A file of the pages.
struct StaticFile {
    path: String,
    media: &'static str,
    text: &'static str,
}

impl StaticFile {
    fn new(name: &str, ending: &str, media: &'static str, text: &'static str) -> Self {
        let digest: String = Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { path: format!("/static/{name}-{digest}.{ending}"), media, text }
    }
}

static STYLE: LazyLock<StaticFile> = LazyLock::new(|| {
    StaticFile::new("console", "css", "text/css; charset=utf-8", include_str!("../../static/console.css"))
});
static SCRIPT: LazyLock<StaticFile> = LazyLock::new(|| {
    StaticFile::new("console", "js", "text/javascript; charset=utf-8", include_str!("../../static/console.js"))
});
static SIGN: LazyLock<StaticFile> =
    LazyLock::new(|| StaticFile::new("busbar", "svg", "image/svg+xml", include_str!("../../static/busbar.svg")));

pub fn style() -> &'static str {
    &STYLE.path
}

pub fn script() -> &'static str {
    &SCRIPT.path
}

pub fn sign() -> &'static str {
    &SIGN.path
}

pub async fn file(name: Result<Path<String>, PathRejection>) -> Shown {
    let missing = |what: String| PageProblem::from(Problem::new(Code::NotFound, what));
    let Path(name) = name.map_err(|e| missing(e.body_text()))?;
    let path = format!("/static/{name}");
    let found = [&STYLE, &SCRIPT, &SIGN].into_iter().find(|file| file.path == path);
    let file = found.ok_or_else(|| missing(format!("nothing at {path}")))?;
    Ok(([(CONTENT_TYPE, file.media), (CACHE_CONTROL, FOR_EVER)], file.text).into_response())
}
