//! Who calls: by an API key, or by the certificate of the connection. Keys are random, so that a plain SHA-256 of them is
//! safe to keep in the configuration.

use super::{ApiProblem, Shared};
use crate::config::model::{CertificateName, KeyConfig, Right};
use crate::tls::PeerCertificate;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::request::Parts;
use busbar_core::{Code, IntakeKind, Problem, Stater};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The keys of a deployment.
#[derive(Default)]
pub struct Keys(Vec<Key>);

struct Key {
    proof: Proof,
    rights: Vec<Right>,
    stater: Arc<Stater>,
}

/// What a request must have for an entry.
enum Proof {
    /// A key with this digest, in hex.
    Key(String),
    Certificate(CertificateName),
}

impl Keys {
    pub fn new(keys: &[KeyConfig], deployment: &str) -> Self {
        let key = |key: &KeyConfig| {
            let digest = key.sha256.clone().map(Proof::Key);
            let proof = digest.or_else(|| key.certificate.clone().map(Proof::Certificate))?;
            Some(Key { proof, rights: key.rights.clone(), stater: Arc::new(key.stater(deployment)) })
        };
        Self(keys.iter().filter_map(key).collect())
    }

    fn of_digest(&self, digest: &str) -> Option<&Key> {
        self.0.iter().find(|key| match &key.proof {
            Proof::Key(sha256) => subtle::ConstantTimeEq::ct_eq(sha256.as_bytes(), digest.as_bytes()).into(),
            Proof::Certificate(_) => false,
        })
    }

    /// Nobody where the certificate fits two entries: which of them is meant, nobody can say.
    fn of_certificate(&self, certificate: &PeerCertificate) -> Result<&Key, &'static str> {
        let fits = |key: &&Key| matches!(&key.proof, Proof::Certificate(name) if certificate.is(name));
        let mut found = self.0.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err("no entry of `http.keys` names this certificate"),
            (Some(_), Some(_)) => Err("several entries of `http.keys` name this certificate"),
        }
    }

    /// Who holds this key.
    pub fn holder(&self, key: &str) -> Option<KeyHolder> {
        self.of_digest(&key_digest(key)).map(KeyHolder::from)
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
        let certificate = parts.extensions.get::<Arc<PeerCertificate>>().cloned();
        match (credentials(&parts.headers, "Bearer"), certificate) {
            (Some(key), _) => match api.keys.holder(key) {
                Some(holder) => Ok(holder),
                None => {
                    let problem = Problem::new(Code::Unauthorized, "the key is not known");
                    Err(unknown(parts, api, key, problem).await.into())
                }
            },
            (None, Some(certificate)) if !parts.headers.contains_key(AUTHORIZATION) => {
                match by_certificate(&certificate, &parts.headers, &api.keys) {
                    Ok(found) => Ok(found.into()),
                    Err(why) => {
                        let problem = Problem::new(Code::Unauthorized, format!("{why}: {certificate}"));
                        Err(unknown(parts, api, certificate.digest(), problem).await.into())
                    }
                }
            }
            (None, _) => {
                let problem = Problem::new(Code::Unauthorized, "no key came with the request");
                Err(unknown(parts, api, "", problem).await.into())
            }
        }
    }
}

impl From<&Key> for KeyHolder {
    fn from(key: &Key) -> Self {
        Self { stater: key.stater.clone(), rights: key.rights.clone() }
    }
}

fn by_certificate<'a>(
    certificate: &PeerCertificate,
    headers: &HeaderMap,
    keys: &'a Keys,
) -> Result<&'a Key, &'static str> {
    if certificate.has_expired() {
        return Err("the certificate has expired since the connection was made");
    }
    // A browser shows its certificate whichever page makes the request.
    if is_from_elsewhere(headers) {
        return Err("a page of another origin makes the request, for which a certificate does not stand");
    }
    keys.of_certificate(certificate)
}

/// Whether a browser says that a page of another origin makes the request (Fetch, section 3.1; Fetch Metadata, section 2.4).
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| ["same-origin", "none"].iter().any(|own| site == *own));
    let origin = headers.get(ORIGIN).map(|origin| {
        let host = headers.get(HOST).map(|host| [b"https://", host.as_bytes()].concat());
        host.is_some_and(|own| own.eq_ignore_ascii_case(origin.as_bytes()))
    });
    site == Some(false) || origin == Some(false)
}

/// What follows the scheme in `Authorization`; the scheme's case does not matter (RFC 9110, section 11.1).
pub fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (given, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// Who calls without a right key is part of the record, without the key; a certificate is no secret.
pub async fn unknown(parts: &Parts, api: &Shared, given: &str, problem: Problem) -> Problem {
    api.hub.refuse(IntakeKind::Rest, "unknown", parts.uri.path(), &problem).await;
    api.throttle.answer(parts.extensions.get().copied(), given.as_bytes(), problem, api.hub.clock.now_ms())
}
