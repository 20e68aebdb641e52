//! A system that answers as a test says and remembers what it was asked.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// One request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub body: String,
    pub authorization: String,
    pub at: Instant,
}

/// Status, body, and how long the answer takes.
type Reply = (u16, String, Duration);
type Rule = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

/// A running stand-in; dropped, it is gone.
pub struct Standin {
    pub url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    rule: Box<Rule>,
    seen: Mutex<Log>,
}

/// What it was asked, and how often each method and path: counted as it comes, since a fault test asks 40,000 times.
#[derive(Default)]
struct Log {
    all: Vec<Seen>,
    counts: HashMap<(String, String), usize>,
}

impl Standin {
    /// `rule`: the answer to a request, and how many with its method and path came before.
    pub async fn start(rule: impl Fn(&Seen, usize) -> (u16, &'static str) + Send + Sync + 'static) -> Self {
        Self::slow(move |seen, before| {
            let (status, body) = rule(seen, before);
            (status, body.into(), Duration::ZERO)
        })
        .await
    }

    /// The same with answers that take their time or are made anew.
    pub async fn slow(rule: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { rule: Box::new(rule), seen: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, server }
    }

    /// What it was asked, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().all.clone()
    }

    /// How often it was asked this.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let log = self.shared.seen.lock().unwrap();
        log.counts.get(&(method.into(), path.into())).copied().unwrap_or_default()
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 64 << 20).await.unwrap();
    let header = |name| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_string();
    let seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_string(),
        query: parts.uri.query().unwrap_or_default().to_string(),
        body: String::from_utf8_lossy(&body).into_owned(),
        authorization: header("authorization"),
        at: Instant::now(),
    };
    let before = {
        let mut log = shared.seen.lock().unwrap();
        log.all.push(seen.clone());
        let count = log.counts.entry((seen.method.clone(), seen.path.clone())).or_default();
        *count += 1;
        *count - 1
    };
    let (status, body, delay) = (shared.rule)(&seen, before);
    tokio::time::sleep(delay).await;
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}
