//! Who looks, and how: the session, the language, the colours; and the forms that they send.

use super::fields::{COUNT, DONE, Fields, back, link, noting};
use super::page::PageProblem;
use super::sessions::SignedIn;
use super::shown::Moment;
use super::texts::{Language, Texts};
use super::{Console, Held};
use crate::config::model::Right;
use crate::rest::{KeyHolder, because, read};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Redirect, Response};
use busbar_core::{Code, Decider, Problem};
use cookie::{Cookie, SameSite};
use std::time::Instant;
use subtle::ConstantTimeEq;

pub const SESSION: &str = "busbar-session";
pub const LANGUAGE: &str = "busbar-language";
pub const THEME: &str = "busbar-theme";
/// A form's field with the token of its session.
pub const TOKEN: &str = "token";
/// The button that browsers press when somebody presses Enter in a form of many buttons.
const NOTHING: &str = "nothing";

/// The colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the browser's user has it.
    #[default]
    System,
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == text)
    }

    pub fn text(self, t: &Texts) -> &'static str {
        match self {
            Self::System => t.theme_system,
            Self::Light => t.theme_light,
            Self::Dark => t.theme_dark,
        }
    }
}

/// What stands around each page.
#[derive(Clone)]
pub struct PageFrame {
    pub language: Language,
    pub theme: Theme,
    pub signed: Option<SignedIn>,
    /// Path and query, to come back to.
    pub here: String,
    pub path: String,
    /// The time of the hub when it looked.
    pub now_ms: i64,
    /// What was done just now, and to how many.
    pub done: Option<(String, u64)>,
}

impl PageFrame {
    pub fn of(console: &Console, request: &Request) -> Self {
        let headers = request.headers();
        let signed = cookie(headers, SESSION).and_then(|cookie| console.sessions.of(&cookie, Instant::now()));
        let uri = request.uri();
        // What is posted to is no place to come back to.
        let here =
            if request.method() == Method::GET { uri.path_and_query().map_or("/", |here| here.as_str()) } else { "/" };
        let query = Fields::parse(uri.query().unwrap_or_default().as_bytes());
        let done = query.owned(DONE).map(|done| (done, query.get(COUNT).and_then(|c| c.parse().ok()).unwrap_or(1)));
        let language = cookie(headers, LANGUAGE).and_then(|text| Language::parse(&text));
        Self {
            language: language.unwrap_or_else(|| Language::wished(headers)),
            theme: cookie(headers, THEME).and_then(|text| Theme::parse(&text)).unwrap_or_default(),
            signed,
            here: noting(here, &[]),
            path: uri.path().to_string(),
            now_ms: console.api.hub.clock.now_ms(),
            done,
        }
    }

    pub fn texts(&self) -> &'static Texts {
        self.language.texts()
    }

    pub fn now(&self) -> Moment {
        Moment::ms(self.now_ms)
    }

    /// What each form carries, see [`Posted`].
    pub fn token(&self) -> &str {
        self.signed.as_ref().map_or("", |signed| &signed.token)
    }
}

/// Somebody who is signed in; whoever is not is asked to.
pub struct Viewer {
    pub frame: PageFrame,
    pub holder: KeyHolder,
    pub query: Fields,
}

impl Viewer {
    pub fn may_operate(&self) -> bool {
        self.holder.may(Right::Operate)
    }

    pub fn may_read_personal(&self) -> bool {
        self.holder.may(Right::ReadPersonal)
    }
}

impl FromRequestParts<Held> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Held) -> Result<Self, Response> {
        let missing = || PageProblem::from(Problem::new(Code::Internal, "a request without its frame")).into_response();
        let frame = parts.extensions.get::<PageFrame>().cloned().ok_or_else(missing)?;
        let Some(signed) = &frame.signed else {
            let to = if frame.here == "/" { "" } else { &frame.here };
            return Err(Redirect::to(&link("/sign-in", [("to", to)])).into_response());
        };
        let query = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes());
        Ok(Self { holder: signed.holder.clone(), frame, query })
    }
}

/// A form that somebody who is signed in sent from one of our pages.
pub struct Posted {
    pub viewer: Viewer,
    pub form: Fields,
}

impl Posted {
    /// Who sent it, and why, in their own words.
    ///
    /// # Errors
    /// `too-large`.
    pub fn decider(&self) -> Result<Decider, Problem> {
        because(&self.viewer.holder, self.form.owned("comment"))
    }

    /// Back to where the form stood, and what was done.
    pub fn done(&self, what: &str, count: usize) -> Response {
        let count = count.to_string();
        Redirect::to(&noting(back(self.form.get("to")), &[(DONE, what), (COUNT, &count)])).into_response()
    }
}

impl FromRequest<Held> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Held) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let viewer = Viewer::from_request_parts(&mut parts, console).await?;
        let refused = |problem: Problem| PageProblem::from(problem).into_response();
        // What stands in a field is three times as long when it is encoded.
        let most = console.api.limits.body_bytes_max.saturating_mul(3);
        let form = Fields::parse(&read(body, most).await.map_err(refused)?);
        let given = form.get(TOKEN).unwrap_or_default();
        let own = viewer.frame.token();
        if own.is_empty() || !bool::from(own.as_bytes().ct_eq(given.as_bytes())) {
            let text = "the form does not carry the token of this session: it is an old one, or it was forged";
            return Err(refused(Problem::new(Code::Forbidden, text)));
        }
        if form.get(NOTHING).is_some() {
            return Err(Redirect::to(back(form.get("to"))).into_response());
        }
        Ok(Self { viewer, form })
    }
}

/// Whether the browser says that another site made this request. `null` is what browsers say of our own forms, whose pages
/// forbid to name a referrer; whoever else says it has no token.
pub fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !["same-origin", "none"].contains(&site),
        (None, None | Some("null")) => false,
        (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) != text("host"),
    }
}

/// The first cookie of this name.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut all = lines.flat_map(Cookie::split_parse).flatten();
    all.find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_string())
}

/// A cookie for this hub alone, which no script reads; over TLS it never goes without.
pub fn kept(name: &'static str, value: String, headers: &HeaderMap) -> Cookie<'static> {
    let proto = headers.get("x-forwarded-proto").and_then(|proto| proto.to_str().ok()).unwrap_or_default();
    // Of several proxies the first one is where the browser is.
    let is_secure = proto.split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("https"));
    Cookie::build((name, value)).path("/").http_only(true).same_site(SameSite::Strict).secure(is_secure).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    #[test]
    fn what_another_site_sends_is_seen() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), axum::http::HeaderValue::from_static(value))
            };
            is_cross_site(&pairs.iter().map(pair).collect())
        };
        let host = ("host", "hub.example:8080");
        for own in [
            vec![host],
            vec![host, ("sec-fetch-site", "same-origin")],
            vec![host, ("sec-fetch-site", "none")],
            vec![host, ("origin", "null")],
            vec![host, ("origin", "http://hub.example:8080")],
            // A proxy may call the hub by another name than the browser does.
            vec![host, ("origin", "https://console.example"), ("sec-fetch-site", "same-origin")],
        ] {
            assert!(!of(&own), "{own:?}");
        }
        for other in [
            vec![host, ("sec-fetch-site", "cross-site")],
            vec![host, ("sec-fetch-site", "same-site"), ("origin", "http://hub.example:8080")],
            vec![host, ("origin", "http://hub.example")],
            vec![host, ("origin", "http://hub.example:8080.evil.example")],
            vec![host, ("origin", "evil")],
            vec![("origin", "http://hub.example:8080")],
        ] {
            assert!(of(&other), "{other:?}");
        }
    }
}
