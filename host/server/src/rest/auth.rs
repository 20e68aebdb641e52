//! API keys: random, so that a plain SHA-256 of them is safe to keep in the configuration.

use super::{ApiProblem, Shared};
use crate::config::model::{KeyConfig, Right};
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use busbar_core::{Code, IntakeKind, Problem, Stater};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The keys of a deployment.
#[derive(Default)]
pub struct Keys(Vec<Key>);

struct Key {
    sha256: String,
    rights: Vec<Right>,
    stater: Arc<Stater>,
}

impl Keys {
    pub fn new(keys: &[KeyConfig], deployment: &str) -> Self {
        let key = |key: &KeyConfig| Key {
            sha256: key.sha256.clone(),
            rights: key.rights.clone(),
            stater: Arc::new(key.stater(deployment)),
        };
        Self(keys.iter().map(key).collect())
    }

    /// Who holds this key.
    pub fn holder(&self, key: &str) -> Option<KeyHolder> {
        let digest = key_digest(key);
        let is_it = |k: &&Key| bool::from(subtle::ConstantTimeEq::ct_eq(k.sha256.as_bytes(), digest.as_bytes()));
        self.0.iter().find(is_it).map(|key| KeyHolder { stater: key.stater.clone(), rights: key.rights.clone() })
    }
}

/// Hex SHA-256 of a key, as it stands in the configuration.
pub fn key_digest(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// Who calls.
#[derive(Clone)]
pub struct KeyHolder {
    /// Its name, and what it may state and ask.
    pub stater: Arc<Stater>,
    rights: Vec<Right>,
}

impl KeyHolder {
    /// # Errors
    /// `forbidden`.
    pub fn require(&self, right: Right) -> Result<(), Problem> {
        if self.may(right) {
            return Ok(());
        }
        let text = format!("the key `{}` lacks the right `{}`", self.name(), right.as_str());
        Err(Problem::new(Code::Forbidden, text))
    }

    pub fn name(&self) -> &str {
        self.stater.by.name()
    }

    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }
}

impl FromRequestParts<Shared> for KeyHolder {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, ApiProblem> {
        let Some(key) = credentials(&parts.headers, "Bearer") else {
            return Err(unknown(parts, api, "", "no key came with the request").await.into());
        };
        match api.keys.holder(key) {
            Some(holder) => Ok(holder),
            None => Err(unknown(parts, api, key, "the key is not known").await.into()),
        }
    }
}

/// What follows the scheme in `Authorization`; the scheme's case does not matter (RFC 9110, section 11.1).
pub fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (given, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// Who calls without a key is part of the record, without what it carried.
pub async fn unknown(parts: &Parts, api: &Shared, key: &str, text: &str) -> Problem {
    let problem = Problem::new(Code::Unauthorized, text);
    api.hub.refuse(IntakeKind::Rest, "unknown", parts.uri.path(), &problem).await;
    api.throttle.answer(parts.extensions.get().copied(), key.as_bytes(), problem, api.hub.clock.now_ms())
}
