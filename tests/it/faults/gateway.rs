//! A payment gateway that keeps its own ledger of what it executed. Of its answers 3 % are dropped after executing,
//! 5 % are slow, 5 % are errors without executing.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rand::Rng;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

/// One executed payment.
#[derive(Clone, Debug, PartialEq)]
pub struct Executed {
    pub account: String,
    pub purpose: String,
}

#[derive(Default)]
struct Ledger {
    executed: Vec<Executed>,
    /// Purposes, which are unique, for the status question.
    known: HashSet<String>,
    /// Idempotency keys of `/keyed`.
    keys: HashSet<String>,
    requests: usize,
}

struct Shared {
    ledger: Mutex<Ledger>,
    faulty: bool,
    down: AtomicBool,
}

/// `/keyed` executes an idempotency key once, `/asked` answers `GET /asked/payments/<purpose>`, `/blind` neither.
pub struct Gateway {
    pub url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Gateway {
    pub async fn start(faulty: bool) -> Self {
        let shared = Arc::new(Shared { ledger: Mutex::default(), faulty, down: AtomicBool::new(false) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(serve).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, server }
    }

    pub fn executed(&self) -> Vec<Executed> {
        self.shared.ledger.lock().unwrap().executed.clone()
    }

    pub fn count(&self) -> usize {
        self.shared.ledger.lock().unwrap().executed.len()
    }

    pub fn requests(&self) -> usize {
        self.shared.ledger.lock().unwrap().requests
    }

    pub fn knows(&self, purpose: &str) -> bool {
        self.shared.ledger.lock().unwrap().known.contains(purpose)
    }

    /// Answers 503 to everything, or serves again.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    /// Asserts that each of `expected` was executed exactly once, and those of an account in their order.
    #[track_caller]
    pub fn assert_once_and_in_order(&self, expected: &BTreeMap<String, Vec<String>>) {
        let mut by_account: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut times: HashMap<String, usize> = HashMap::new();
        for executed in self.executed() {
            *times.entry(executed.purpose.clone()).or_default() += 1;
            by_account.entry(executed.account).or_default().push(executed.purpose);
        }
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "executed more than once: {twice:?}");
        for (account, purposes) in expected {
            let done = by_account.get(account).cloned().unwrap_or_default();
            let lost: Vec<_> = purposes.iter().filter(|p| !times.contains_key(*p)).collect();
            assert!(lost.is_empty(), "lost of {account}: {lost:?}");
            assert_eq!(&done, purposes, "order of {account}");
        }
        assert_eq!(times.len(), expected.values().map(Vec::len).sum::<usize>());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

enum Fate {
    Answer,
    Drop,
    Slow,
    Fail,
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    if shared.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Some(purpose) = parts.uri.path().strip_prefix("/asked/payments/") {
        let known = shared.ledger.lock().unwrap().known.contains(purpose);
        let status = if known { StatusCode::OK } else { StatusCode::NOT_FOUND };
        return (status, axum::Json(json!({ "known": known }))).into_response();
    }
    let fate = match rand::rng().random_range(0..100) {
        0..3 if shared.faulty => Fate::Drop,
        3..8 if shared.faulty => Fate::Slow,
        8..13 if shared.faulty => Fate::Fail,
        _ => Fate::Answer,
    };
    shared.ledger.lock().unwrap().requests += 1;
    if matches!(fate, Fate::Fail) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let data: Value = serde_json::from_slice(&body).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let executed = Executed { account: text(&data["account"]), purpose: text(&data["purpose"]) };
    let key = parts.headers.get("idempotency-key").map(|k| k.to_str().unwrap().to_string());
    {
        let mut ledger = shared.ledger.lock().unwrap();
        let new = !parts.uri.path().starts_with("/keyed") || ledger.keys.insert(key.unwrap());
        if new {
            ledger.known.insert(executed.purpose.clone());
            ledger.executed.push(executed);
        }
    }
    match fate {
        // Ends the connection's task, and with it the connection.
        Fate::Drop => std::panic::resume_unwind(Box::new("dropped")),
        Fate::Slow => tokio::time::sleep(Duration::from_millis(300)).await,
        _ => {}
    }
    axum::Json(json!({ "ok": true })).into_response()
}
