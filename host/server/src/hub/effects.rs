//! The effects of one system's adapter, done for real.

use super::questions::Questions;
use crate::egress::Egress;
use crate::wasm::{AskFailure, Authorization, Effects, HttpFailure, HttpRequest, HttpResponse};
use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use busbar_core::ports::{Clock, Store};
use busbar_core::{Call, Code, Commit, Message, Problem, Started};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A system's secrets by name. The only place that looks into them.
pub struct SystemSecrets(pub BTreeMap<String, SecretString>);

impl SystemSecrets {
    fn get(&self, name: &str) -> Result<&str, String> {
        self.0.get(name).map(|s| s.expose_secret()).ok_or_else(|| format!("no credential `{name}`"))
    }

    /// The header that authenticates a request.
    ///
    /// # Errors
    /// The name, when there is no such credential.
    pub fn header(&self, authorization: &Authorization) -> Result<(String, String), String> {
        let name = || "authorization".to_string();
        Ok(match authorization {
            Authorization::Basic(credential) => {
                (name(), format!("Basic {}", BASE64_STANDARD.encode(self.get(credential)?)))
            }
            Authorization::Bearer(credential) => (name(), format!("Bearer {}", self.get(credential)?)),
            Authorization::Header(header, credential) => (header.clone(), self.get(credential)?.to_string()),
        })
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

/// HMAC-SHA256; a secret `whsec_…` is base64, as Standard Webhooks has it.
///
/// # Errors
/// When the secret is not valid base64 behind `whsec_`.
pub fn hmac_sha256(secret: &str, data: &[u8]) -> Result<Vec<u8>, String> {
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => {
            BASE64_STANDARD.decode(encoded).map_err(|_| "the secret behind `whsec_` is not base64".to_string())?
        }
        None => secret.as_bytes().to_vec(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|e| e.to_string())?;
    mac.update(data);
    Ok(mac.finalize().into_bytes().to_vec())
}

/// The effects of one system.
pub struct HubEffects {
    pub system: String,
    pub secrets: SystemSecrets,
    pub egress: Egress,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    /// Set once all parts are wired: questions lead back to adapters.
    pub questions: Arc<OnceLock<Arc<Questions>>>,
}

#[async_trait]
impl Effects for HubEffects {
    async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let header = request.authorization.as_ref().map(|a| self.secrets.header(a)).transpose();
        self.egress.send(request, header.map_err(HttpFailure::Denied)?).await
    }

    async fn ahead(&self, delivery: i64, call: &Call) -> Result<(), Problem> {
        let starting = || Problem::new(Code::StoreUnavailable, "the hub is starting");
        let committer = self.questions.get().map(|questions| &questions.committer).ok_or_else(starting)?;
        // The engine knows the version it expects.
        let (system, attempt) = (self.system.clone(), call.attempt);
        let started = Started { system, delivery, expected: 0, attempt };
        let at_ms = self.clock.now_ms();
        let commit = Commit { calls: vec![call.clone()], started: Some(started), at_ms, ..Commit::default() };
        let taken_over = |_| Problem::new(Code::StoreUnavailable, "another hub has taken the delivery over");
        committer.commit(commit).await?.map(drop).map_err(taken_over)
    }

    async fn ask(&self, question: Message, deadline_ms: u64) -> Result<Message, AskFailure> {
        let Some(questions) = self.questions.get() else {
            return Err(AskFailure::Failed("the hub is starting".into()));
        };
        questions.ask(question, deadline_ms).await.map_err(|problem| match problem.code {
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

    fn hmac_sha256(&self, credential: &str, data: &[u8]) -> Result<Vec<u8>, String> {
        hmac_sha256(self.secrets.get(credential)?, data)
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
        match level {
            tracing::Level::ERROR => tracing::error!(target: "busbar::adapter", system, "{text}"),
            tracing::Level::WARN => tracing::warn!(target: "busbar::adapter", system, "{text}"),
            tracing::Level::INFO => tracing::info!(target: "busbar::adapter", system, "{text}"),
            _ => tracing::debug!(target: "busbar::adapter", system, "{text}"),
        }
    }
}
