//! Billing's stand-in: a plain REST API with a ledger that executes each idempotency key exactly once
//! (after the draft draft-ietf-httpapi-idempotency-key-header-07).
//!
//! | request | answer |
//! |---|---|
//! | `GET /api/accounts/{number}` | 200 `{"number","holder","address","status","due","currency"}` or 404 |
//! | `POST /api/payments` | 201 `{"entry","account","due"}` |
//! | `POST /api/invoices` | the same |
//!
//! `due` is a decimal string: what the customer owes, negative when paid ahead.
//!
//! Each wants `Authorization: Bearer <token>` (else 401). A POST wants `Idempotency-Key` (else 400); a
//! repeat of a key gets the first answer again, or 422 when its body is another. A body has at least
//! `reference` (the payment's or invoice's own identifier), `account`, `amount` (decimal string above
//! zero) and `currency`; anything else is 422, and so is an account that billing does not know.

mod ledger;
#[cfg(test)]
mod tests;

pub use ledger::{Account, Effect, Kind, Ledger};

use crate::faults::{Dice, Faults};
use crate::server::{Cut, Server, serve};
use crate::{lock, money};
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ledger::{Answer, Book, Refusal};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// How a billing stand-in is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The bearer token it accepts.
    pub token: String,
    /// The accounts it knows, by number; `None` knows every number.
    pub accounts: Option<BTreeMap<String, Account>>,
    /// Each executed effect is appended here as one line of JSON (an [`Effect`]) before it is answered.
    /// What the file holds at the start counts as executed.
    pub ledger_file: Option<PathBuf>,
    pub faults: Faults,
}

struct Shared {
    token: String,
    book: Mutex<Book>,
    dice: Dice,
}

/// The running stand-in.
pub struct Billing {
    server: Server,
    shared: Arc<Shared>,
}

impl Billing {
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// A copy of what it has done by now.
    pub fn ledger(&self) -> Ledger {
        lock(&self.shared.book).ledger().clone()
    }

    /// Replaces the faults; the seed starts anew.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.dice.set(faults);
    }
}

/// Starts it; port 0 takes any free one.
pub async fn start(addr: SocketAddr, options: Options) -> anyhow::Result<Billing> {
    let book = Book::open(options.accounts, options.ledger_file.as_deref())?;
    let dice = Dice::new(options.faults);
    let shared = Arc::new(Shared { token: options.token, book: Mutex::new(book), dice });
    let router = Router::new()
        .route("/api/accounts/{number}", get(account))
        .route("/api/payments", post(payment))
        .route("/api/invoices", post(invoice))
        .with_state(Arc::clone(&shared));
    Ok(Billing { server: serve(addr, router).await?, shared })
}

async fn account(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    Path(number): Path<String>,
    headers: HeaderMap,
) -> Response {
    with_faults(&shared, &cut, || {
        if let Err(refusal) = authorize(&shared, &headers) {
            return refusal;
        }
        match lock(&shared.book).look_up(&number) {
            Some((account, due)) => reply(
                StatusCode::OK,
                json!({
                    "number": number,
                    "holder": account.holder,
                    "address": account.address,
                    "status": "open",
                    "due": money::decimal(due),
                    "currency": "RUB",
                }),
            ),
            None => refuse(StatusCode::NOT_FOUND, "no account has this number"),
        }
    })
    .await
}

async fn payment(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    with_faults(&shared, &cut, || execute(&shared, Kind::Payment, &headers, &body)).await
}

async fn invoice(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    with_faults(&shared, &cut, || execute(&shared, Kind::Invoice, &headers, &body)).await
}

async fn with_faults(shared: &Shared, cut: &Cut, handle: impl FnOnce() -> Response) -> Response {
    let fate = shared.dice.roll();
    tokio::time::sleep(fate.delay).await;
    if fate.unavailable {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "try again later");
    }
    let response = handle();
    if fate.lose_reply {
        cut.now();
    }
    response
}

fn execute(shared: &Shared, kind: Kind, headers: &HeaderMap, body: &[u8]) -> Response {
    if let Err(refusal) = authorize(shared, headers) {
        return refusal;
    }
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return refuse(StatusCode::BAD_REQUEST, "header Idempotency-Key is missing");
    };
    let body: Value = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match lock(&shared.book).execute(key, kind, body) {
        Ok(Answer::First(answer)) => reply(StatusCode::CREATED, answer),
        Ok(Answer::Repeat(answer)) => {
            let mut response = reply(StatusCode::CREATED, answer);
            let replayed = header::HeaderValue::from_static("true");
            response.headers_mut().insert("idempotent-replayed", replayed);
            response
        }
        Err(Refusal::Invalid(text)) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &text),
        Err(Refusal::Broken(text)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &text),
    }
}

// A refusal is a whole response; it is built once per refused request.
#[allow(clippy::result_large_err)]
fn authorize(shared: &Shared, headers: &HeaderMap) -> Result<(), Response> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given.and_then(|value| value.strip_prefix("Bearer ")) == Some(shared.token.as_str()) {
        return Ok(());
    }
    lock(&shared.book).count_unauthorized();
    Err(refuse(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong"))
}

fn reply(status: StatusCode, body: Value) -> Response {
    (status, Json(body)).into_response()
}

fn refuse(status: StatusCode, error: &str) -> Response {
    reply(status, json!({ "error": error }))
}
