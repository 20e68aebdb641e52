//! A stand-in for any system with a JSON interface over HTTP: keeps every request and answers as it is told to.

use crate::server::{Server, serve};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

const BODY_BYTES_MAX: usize = 1 << 20;

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With the query, decoded.
    pub path: String,
    /// JSON where it is JSON, else a text.
    pub body: Value,
}

/// What it answers, given all requests before: status and body.
pub type Answer = Box<dyn Fn(&Asked, &[Asked]) -> (u16, Value) + Send + Sync>;

/// The running stand-in.
pub struct Desk {
    server: Server,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Desk {
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The requests by now.
    pub fn asked(&self) -> Vec<Asked> {
        crate::lock(&self.asked).clone()
    }
}

/// Starts it; port 0 takes any free one.
pub async fn start(addr: SocketAddr, answer: Answer) -> io::Result<Desk> {
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let router = Router::new().fallback(receive).with_state((asked.clone(), Arc::new(answer)));
    Ok(Desk { server: serve(addr, router).await?, asked })
}

type Shared = (Arc<Mutex<Vec<Asked>>>, Arc<Answer>);

async fn receive(State((all, answer)): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
    let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let asked = Asked {
        method: parts.method.to_string(),
        path: percent_encoding::percent_decode_str(target).decode_utf8_lossy().into_owned(),
        body: serde_json::from_slice(&body).unwrap_or_else(|_| text()),
    };
    let (status, said) = {
        let mut all = crate::lock(&all);
        let said = answer(&asked, &all);
        all.push(asked);
        said
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    match said {
        Value::Null => status.into_response(),
        Value::String(text) => (status, text).into_response(),
        json => (status, [(header::CONTENT_TYPE, "application/json")], json.to_string()).into_response(),
    }
}
