//! The effects of one system's adapter, done for real.

use super::Committer;
use super::oauth2::Tokens;
use super::questions::Asker;
use super::quota::Quota;
use crate::config::credentials::Credential;
use crate::egress::{Authorization, Egress, HttpFailure, HttpRequest, HttpResponse};
use crate::wasm::{AskFailure, Effects};
use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use busbar_core::leases::Lease;
use busbar_core::ports::{Clock, Store};
use busbar_core::{Call, Code, Commit, Message, Problem, Started, StatedBy};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::level_filters::LevelFilter;

/// A system's secrets by name. The only place that looks into them.
#[derive(Default)]
pub struct SystemSecrets {
    secrets: BTreeMap<String, SecretString>,
    tokens: BTreeMap<String, Tokens>,
}

impl SystemSecrets {
    /// # Errors
    /// `internal` when TLS cannot be set up.
    pub fn new(credentials: &BTreeMap<String, Credential>) -> Result<Self, Problem> {
        let mut all = Self::default();
        for (name, credential) in credentials {
            match credential {
                Credential::Secret(secret) => {
                    all.secrets.insert(name.clone(), secret.clone());
                }
                Credential::OAuth2(client) => {
                    all.tokens.insert(name.clone(), Tokens::new(name, (**client).clone())?);
                }
            }
        }
        Ok(all)
    }

    fn get(&self, name: &str) -> Result<&str, String> {
        self.secrets.get(name).map(|s| s.expose_secret()).ok_or_else(|| match self.tokens.contains_key(name) {
            true => format!("credential `{name}` is an OAuth 2.0 client: it is for `bearer` alone"),
            false => format!("no credential `{name}`"),
        })
    }

    /// Sends a request, authenticated as it says.
    ///
    /// # Errors
    /// As [`Egress::send`]; `denied` with the name where there is no such credential.
    pub async fn send(&self, egress: &Egress, mut request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        if let Some(Authorization::Bearer(name)) = &request.authorization
            && let Some(tokens) = self.tokens.get(name)
        {
            request.authorization = None;
            return tokens.send(egress, request).await;
        }
        let header = self.authorize(&mut request).map_err(HttpFailure::Denied)?;
        egress.send(request, header).await
    }

    /// Adds parameters to the request, or gives the header to be added.
    fn authorize(&self, request: &mut HttpRequest) -> Result<Option<(String, String)>, String> {
        let name = || "authorization".to_string();
        Ok(Some(match request.authorization.take() {
            None => return Ok(None),
            Some(Authorization::Basic(credential)) => {
                (name(), format!("Basic {}", BASE64_STANDARD.encode(self.get(&credential)?)))
            }
            Some(Authorization::Bearer(credential)) => (name(), format!("Bearer {}", self.get(&credential)?)),
            Some(Authorization::Header(header, credential)) => (header, self.get(&credential)?.to_string()),
            Some(Authorization::Parameters(names)) => {
                self.parameters(&names, request)?;
                return Ok(None);
            }
        }))
    }

    fn parameters(&self, names: &[(String, String)], request: &mut HttpRequest) -> Result<(), String> {
        let is_form = |(name, value): &(String, String)| {
            let kind = value.split(';').next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case("content-type") && kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        };
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (parameter, credential) in names {
            form.append_pair(parameter, self.get(credential)?);
        }
        let text = form.finish();
        if request.headers.iter().any(is_form) {
            if !request.body.is_empty() {
                request.body.push(b'&');
            }
            request.body.extend_from_slice(text.as_bytes());
        } else {
            let separator = if request.url.contains('?') { '&' } else { '?' };
            request.url.push(separator);
            request.url.push_str(&text);
        }
        Ok(())
    }

    /// Whether `given` is the named secret, compared in constant time.
    pub fn matches(&self, name: &str, given: &[u8]) -> bool {
        // Hashing first makes the comparison independent of the length as well.
        use sha2::Digest;
        let Ok(secret) = self.get(name) else { return false };
        subtle::ConstantTimeEq::ct_eq(Sha256::digest(secret.as_bytes()).as_slice(), Sha256::digest(given).as_slice())
            .into()
    }
}

/// The effects of one system.
pub struct HubEffects {
    pub system: String,
    pub secrets: SystemSecrets,
    pub egress: Egress,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub quota: Arc<Quota>,
    pub asker: Asker,
    /// `None` outside a hub, where no other attempt follows.
    pub ahead: Option<WriteAhead>,
}

/// Writes unsafe requests down before they are sent.
pub struct WriteAhead {
    pub committer: Committer,
    pub clock: Arc<dyn Clock>,
    pub lease: Arc<Lease>,
}

impl WriteAhead {
    async fn write(&self, system: &str, delivery: i64, call: &Call) -> Result<(), Problem> {
        // The engine knows the version it expects.
        let (system, calls) = (system.to_string(), vec![call.clone()]);
        let started = vec![Started { system, delivery, expected: 0, attempt: call.attempt, calls }];
        let at_ms = self.clock.now_ms();
        let breaks = self.lease.breaks();
        let commit = Commit { started, at_ms, ..Commit::default() };
        let taken_over = || Problem::new(Code::StoreUnavailable, "another hub has taken the delivery over");
        self.committer.commit(commit).await?.map(drop).map_err(|_| taken_over())?;
        // While this hub stood still another one may have asked the far end, and sent it.
        if self.lease.holds(breaks, self.clock.now_ms()) { Ok(()) } else { Err(taken_over()) }
    }
}

#[async_trait]
impl Effects for HubEffects {
    async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        self.secrets.send(&self.egress, request).await
    }

    async fn ahead(&self, delivery: i64, call: &Call) -> Result<(), Problem> {
        match &self.ahead {
            Some(ahead) => ahead.write(&self.system, delivery, call).await,
            None => Ok(()),
        }
    }

    async fn ask(&self, question: Message, deadline_ms: u64) -> Result<Message, AskFailure> {
        let by = StatedBy::System(self.system.clone());
        self.asker.ask(question, by, deadline_ms).await.map_err(|problem| match problem.code {
            Code::NoAnswerer => AskFailure::NoAnswerer(problem.detail),
            Code::AnswerTimeout => AskFailure::Timeout,
            Code::InvalidEvent | Code::InvalidData | Code::UnknownType | Code::NotAQuestion => {
                AskFailure::Refused(problem.to_string())
            }
            _ => AskFailure::Failed(problem.to_string()),
        })
    }

    async fn lookup(&self, source: &str, id: &str) -> Result<Option<Message>, Problem> {
        Ok(self.store.lookup(source, id).await?.map(|(_, message)| message))
    }

    async fn state(&self, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        self.store.state(&self.system, key).await
    }

    async fn state_room(&self, key: &str, bytes: usize) -> Result<(), Problem> {
        self.quota.room(key, bytes).await
    }

    fn secret(&self, credential: &str) -> Result<SecretString, String> {
        self.secrets.get(credential).map(SecretString::from)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn random(&self, bytes: usize) -> Vec<u8> {
        let mut buffer = vec![0; bytes];
        rand::fill(buffer.as_mut_slice());
        buffer
    }

    fn log(&self, level: tracing::Level, text: &str) {
        let system = self.system.as_str();
        // What the log does not take anyway is not counted.
        if level > LevelFilter::current() {
            return;
        }
        let Some(text) = self.quota.line(text, self.clock.now_ms()) else { return };
        match level {
            tracing::Level::ERROR => tracing::error!(target: "busbar::adapter", system, "{text}"),
            tracing::Level::WARN => tracing::warn!(target: "busbar::adapter", system, "{text}"),
            tracing::Level::INFO => tracing::info!(target: "busbar::adapter", system, "{text}"),
            _ => tracing::debug!(target: "busbar::adapter", system, "{text}"),
        }
    }
}
