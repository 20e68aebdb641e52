//! What adapters do to the outside world, as the runtime asks for it. The hub does it for real;
//! `busbar adapter try` and the cases answer from a script.

use async_trait::async_trait;
use busbar_core::{Message, Problem};

/// How the host authenticates a request; the names are credentials of the system.
#[derive(Clone, Debug, PartialEq)]
pub enum Authorization {
    Basic(String),
    Bearer(String),
    /// (header, credential)
    Header(String, String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub authorization: Option<Authorization>,
    pub timeout_ms: u64,
}

impl HttpRequest {
    pub fn is_unsafe(&self) -> bool {
        is_unsafe(&self.method)
    }
}

/// Whether repeating a request with this method may do something twice (RFC 9110, section 9.2.1).
pub fn is_unsafe(method: &str) -> bool {
    !["GET", "HEAD", "OPTIONS", "TRACE"].iter().any(|m| method.eq_ignore_ascii_case(m))
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Answered for good: another attempt must not send the request again (design, section 6, 5).
    pub fn is_final(&self) -> bool {
        (200..300).contains(&self.status)
            || ((400..500).contains(&self.status) && ![408, 425, 429].contains(&self.status))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum HttpFailure {
    Denied(String),
    Invalid(String),
    Unreachable(String),
    NoAnswer(String),
    TooLarge(u64),
}

impl HttpFailure {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Invalid(_) => "invalid",
            Self::Unreachable(_) => "unreachable",
            Self::NoAnswer(_) => "no-answer",
            Self::TooLarge(_) => "too-large",
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::Denied(t) | Self::Invalid(t) | Self::Unreachable(t) | Self::NoAnswer(t) => t.clone(),
            Self::TooLarge(bytes) => format!("the answer is over {bytes} bytes"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum AskFailure {
    NoAnswerer(String),
    Timeout,
    Failed(String),
    Refused(String),
}

/// The effects of one system. Grants, limits and the record are the runtime's, not the effects'.
#[async_trait]
pub trait Effects: Send + Sync {
    async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure>;
    async fn ask(&self, question: Message, deadline_ms: u64) -> Result<Message, AskFailure>;
    async fn lookup(&self, source: &str, id: &str) -> Result<Option<Message>, Problem>;
    async fn state(&self, key: &str) -> Result<Option<Vec<u8>>, Problem>;
    /// HMAC-SHA256 under the named credential.
    fn hmac_sha256(&self, credential: &str, data: &[u8]) -> Result<Vec<u8>, String>;
    fn now_ms(&self) -> i64;
    fn random(&self, bytes: usize) -> Vec<u8>;
    fn log(&self, level: tracing::Level, text: &str);
}
