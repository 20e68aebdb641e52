//! A request that the hub sends for somebody, and what comes of it.

/// How the host authenticates a request; the names are credentials of the system.
#[derive(Clone, Debug, PartialEq)]
pub enum Authorization {
    Basic(String),
    Bearer(String),
    /// (header, credential)
    Header(String, String),
    /// (parameter, credential) each: of a form in the body, else of the query
    Parameters(Vec<(String, String)>),
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

#[derive(Clone, Debug, PartialEq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
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
