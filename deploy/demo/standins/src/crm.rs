//! The CRM's stand-in: takes canonical messages as CloudEvents 1.0 over HTTP, binary mode
//! (CloudEvents HTTP protocol binding 1.0.2, section 3.1), at `POST /events`.

use crate::lock;
use crate::server::{Server, serve};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// One event, however often it came.
#[derive(Clone, Debug)]
pub struct Event {
    pub source: String,
    pub id: String,
    /// CloudEvents `type`.
    pub kind: String,
    /// All attributes without `ce-`, these three included; percent-decoded.
    pub attributes: BTreeMap<String, String>,
    pub data: Value,
    /// How often it was received; 1 unless repeated.
    pub received: u64,
}

/// What the CRM got, in the order of first receipt.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub events: Vec<Event>,
    /// Requests that were no CloudEvent; answered with 400.
    pub refused: u64,
    index: BTreeMap<(String, String), usize>,
}

impl Ledger {
    /// How many different events of this type.
    pub fn count(&self, kind: &str) -> usize {
        self.of(kind).count()
    }

    /// The events of this type.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |event| event.kind == kind)
    }

    /// Receipts beyond the first of each event.
    pub fn repeats(&self) -> u64 {
        self.events.iter().map(|event| event.received - 1).sum()
    }

    fn keep(&mut self, event: Event) {
        let key = (event.source.clone(), event.id.clone());
        let known = self.index.get(&key).copied();
        if let Some(first) = known.and_then(|place| self.events.get_mut(place)) {
            first.received += 1;
            return;
        }
        self.index.insert(key, self.events.len());
        self.events.push(event);
    }
}

/// The running stand-in.
#[derive(Debug)]
pub struct Crm {
    server: Server,
    ledger: Arc<Mutex<Ledger>>,
}

impl Crm {
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// A copy of what it has got by now.
    pub fn ledger(&self) -> Ledger {
        lock(&self.ledger).clone()
    }
}

/// What it knows: the type and the data of its answer to a question, or nothing for what is no question.
pub type Knows = fn(&Event) -> Option<(&'static str, Value)>;

/// Starts it; port 0 takes any free one.
pub async fn start(addr: SocketAddr) -> io::Result<Crm> {
    start_knowing(addr, |_| None).await
}

/// The same, with answers to questions.
pub async fn start_knowing(addr: SocketAddr, knows: Knows) -> io::Result<Crm> {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let router = Router::new().route("/events", post(receive)).with_state((Arc::clone(&ledger), knows));
    Ok(Crm { server: serve(addr, router).await?, ledger })
}

async fn receive(
    State((ledger, knows)): State<(Arc<Mutex<Ledger>>, Knows)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut ledger = lock(&ledger);
    match parse(&headers, &body) {
        Ok(event) => {
            let (id, answer) = (event.id.clone(), knows(&event));
            ledger.keep(event);
            match answer {
                Some((kind, data)) => answered(&id, kind, data),
                None => Json(json!({ "received": id })).into_response(),
            }
        }
        Err(error) => {
            ledger.refused += 1;
            (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
        }
    }
}

fn answered(question: &str, kind: &str, data: Value) -> Response {
    let headers = [
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", format!("answer-{question}")),
        ("ce-source", "/crm".to_owned()),
        ("ce-type", kind.to_owned()),
    ];
    (headers, Json(data)).into_response()
}

fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Event, String> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let value = value.to_str().map_err(|_| format!("header ce-{name} is not ASCII"))?;
        let value = percent_decode_str(value)
            .decode_utf8()
            .map_err(|_| format!("header ce-{name} is not percent-encoded UTF-8"))?;
        attributes.insert(name.to_owned(), value.into_owned());
    }
    let required = |name: &str| {
        let value = attributes.get(name).filter(|value| !value.is_empty());
        value.cloned().ok_or_else(|| format!("header ce-{name} is missing"))
    };
    if required("specversion")? != "1.0" {
        return Err("ce-specversion is not 1.0".to_owned());
    }
    let (source, id, kind) = (required("source")?, required("id")?, required("type")?);
    let data = serde_json::from_slice(body).map_err(|error| format!("body: {error}"))?;
    Ok(Event { source, id, kind, attributes, data, received: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_an_event_once_and_counts_its_repeats() {
        let crm = start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let client = crate::http_client().unwrap();
        let send = async |id: &str| {
            let request = client.post(format!("http://{}/events", crm.addr())).header("ce-id", id);
            let request = request.header("ce-specversion", "1.0").header("ce-source", "/demo/bank");
            let request = request.header("ce-type", "t.v1").header("ce-subject", "%D0%9B%D0%A1");
            request.json(&json!({ "a": "1" })).send().await.unwrap().status().as_u16()
        };
        assert_eq!([send("1").await, send("2").await, send("1").await, send("").await], [200, 200, 200, 400]);
        let ledger = crm.ledger();
        assert_eq!((ledger.count("t.v1"), ledger.repeats(), ledger.refused), (2, 1, 1));
        let subject = ledger.events.first().unwrap().attributes.get("subject");
        assert_eq!(subject.map(String::as_str), Some("ЛС"));
    }
}
