//! The customer portal's stand-in: takes Standard Webhooks at `POST /webhooks` and refuses what is
//! not signed by its secret (Standard Webhooks specification 1.0, "Verifying webhook authenticity").

use crate::lock;
use crate::server::{Server, serve};
use anyhow::{Context, anyhow};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds that a timestamp may differ from now, either way.
const TOLERANCE_SECONDS: u64 = 300;

/// One webhook, kept once however often it came.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// `webhook-id`.
    pub id: String,
    pub body: Value,
}

/// What the portal got.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Verified webhooks, each id once, in the order of first receipt.
    pub webhooks: Vec<Webhook>,
    /// Verified ones whose id was known already; answered like the first.
    pub repeats: u64,
    /// Unsigned, forged or stale ones, answered with 401; and bodies that are no JSON, with 400.
    pub refused: u64,
    ids: BTreeSet<String>,
}

struct Shared {
    secret: Vec<u8>,
    ledger: Mutex<Ledger>,
}

/// The running stand-in.
pub struct Portal {
    server: Server,
    shared: Arc<Shared>,
}

impl Portal {
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// A copy of what it has got by now.
    pub fn ledger(&self) -> Ledger {
        lock(&self.shared.ledger).clone()
    }
}

/// Starts it; `secret` is `whsec_<base64>`.
pub async fn start(addr: SocketAddr, secret: &str) -> anyhow::Result<Portal> {
    let secret = decode_secret(secret)?;
    let shared = Arc::new(Shared { secret, ledger: Mutex::default() });
    let router = Router::new().route("/webhooks", post(receive)).with_state(Arc::clone(&shared));
    Ok(Portal { server: serve(addr, router).await?, shared })
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> (StatusCode, Json<Value>) {
    let verified = verify(&shared.secret, &headers, &body, now_seconds());
    let parsed = serde_json::from_slice(&body);
    let mut ledger = lock(&shared.ledger);
    let (status, error) = match (verified, parsed) {
        (Ok(id), Ok(body)) => {
            if ledger.ids.insert(id.clone()) {
                ledger.webhooks.push(Webhook { id, body });
            } else {
                ledger.repeats += 1;
            }
            return (StatusCode::OK, Json(json!({ "received": true })));
        }
        (Err(error), _) => (StatusCode::UNAUTHORIZED, format!("{error:#}")),
        (Ok(_), Err(error)) => (StatusCode::BAD_REQUEST, format!("body: {error}")),
    };
    ledger.refused += 1;
    (status, Json(json!({ "error": error })))
}

/// Returns the `webhook-id` when one of the `v1` signatures is ours.
fn verify(secret: &[u8], headers: &HeaderMap, body: &[u8], now: u64) -> anyhow::Result<String> {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.with_context(|| format!("header {name} is missing"))
    };
    let id = header("webhook-id")?;
    let timestamp = header("webhook-timestamp")?;
    let seconds: u64 = timestamp.parse().context("webhook-timestamp")?;
    if seconds.abs_diff(now) > TOLERANCE_SECONDS {
        return Err(anyhow!("webhook-timestamp is more than {TOLERANCE_SECONDS} s off"));
    }
    let signed = signing(secret, id, timestamp, body)?;
    let ours = header("webhook-signature")?
        .split_whitespace()
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .any(|signature| signed.clone().verify_slice(&signature).is_ok());
    if !ours {
        return Err(anyhow!("webhook-signature is not ours"));
    }
    Ok(id.to_owned())
}

/// The `webhook-signature` of a body, for tests that play a sender. `timestamp` in Unix seconds.
pub fn sign(secret: &str, id: &str, timestamp: u64, body: &[u8]) -> anyhow::Result<String> {
    let signed = signing(&decode_secret(secret)?, id, &timestamp.to_string(), body)?;
    Ok(format!("v1,{}", STANDARD.encode(signed.finalize().into_bytes())))
}

fn signing(secret: &[u8], id: &str, timestamp: &str, body: &[u8]) -> anyhow::Result<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).context("secret")?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Ok(mac)
}

fn decode_secret(secret: &str) -> anyhow::Result<Vec<u8>> {
    let encoded = secret.strip_prefix("whsec_").context("a secret begins with whsec_")?;
    STANDARD.decode(encoded).context("a secret is whsec_ and base64")
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the Standard Webhooks reference implementations.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn check(id: &str, signature: &str, now: u64) -> anyhow::Result<String> {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", "1614265330".parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        verify(&decode_secret(SECRET).unwrap(), &headers, BODY, now)
    }

    #[test]
    fn verifies_the_published_example_and_refuses_the_rest() {
        let (id, now) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330);
        assert_eq!(sign(SECRET, id, now, BODY).unwrap(), SIGNATURE);
        assert_eq!(check(id, SIGNATURE, now).unwrap(), id);
        assert_eq!(check(id, &format!("v1,AAAA v2,x {SIGNATURE}"), now).unwrap(), id);
        assert!(check("msg_other", SIGNATURE, now).is_err());
        assert!(check(id, "v1,AAAA", now).is_err());
        assert!(check(id, SIGNATURE, now + 301).is_err());
    }
}
