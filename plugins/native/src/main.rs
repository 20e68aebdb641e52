//! The same mappings without a sandbox: what `busbar bench call` compares its adapters with. Reads one JSON object from
//! standard input ([`Work`]) and prints the nanoseconds of each call as a JSON array. Each call does what a fresh
//! instance does: reads the settings' text, maps, and drops everything.

use busbar_sdk::http::{Request, Response};
use busbar_sdk::test_hub::{TestHub, message};
use busbar_sdk::{Failure, Header, HookRequest, Lines, Message, http, parse_settings};
use serde::Deserialize;
use std::hint::black_box;
use std::io::Read;
use std::process::ExitCode;
use std::time::Instant;

/// What to do, and how often.
#[derive(Deserialize)]
struct Work {
    adapter: String,
    /// The system's settings, as JSON text.
    config: String,
    calls: usize,
    /// A CloudEvent's parts that adapters see (`deliver`); of the answer to a question too.
    message: Event,
    /// Of a request to a hook (`receive`).
    query: String,
    /// A file to decode.
    file: Vec<u8>,
    now_ms: u64,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    source: String,
    r#type: String,
    subject: Option<String>,
    time: Option<String>,
    data: String,
}

impl Event {
    fn message(&self) -> Message {
        let message = message(&self.source, &self.id, &self.r#type, self.data.as_str());
        Message { subject: self.subject.clone(), time: self.time.clone(), ..message }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(times) => {
            println!("{}", serde_json::json!(times));
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Vec<u128>, String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| e.to_string())?;
    let work: Work = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let one = match work.adapter.as_str() {
        "client-bank-exchange" => decode,
        "osmp" => receive,
        "rest-json" => deliver,
        "webhook" => notify,
        other => return Err(format!("{other} has no native function here")),
    };
    let timed = |_| {
        let began = Instant::now();
        one(&work).map_err(|failure| format!("{failure:?}"))?;
        Ok(began.elapsed().as_nanos())
    };
    (0..work.calls).map(timed).collect()
}

fn decode(work: &Work) -> Result<(), Failure> {
    use client_bank_exchange::{mapping, settings::Settings};
    let settings = Settings::compiled(parse_settings(&work.config)?)?;
    let mut rest = work.file.as_slice();
    let mut lines = Lines::new(|max| {
        let (now, later) = rest.split_at(rest.len().min(max as usize));
        rest = later;
        now.to_vec()
    });
    let mut hub = TestHub::default();
    mapping::decode(&settings, &mut lines, &mut hub)?;
    black_box(hub);
    Ok(())
}

fn receive(work: &Work) -> Result<(), Failure> {
    let header =
        |n: usize| Header { name: format!("x-proxy-{n}"), value: "a value as long as proxies like them".repeat(2) };
    let request = HookRequest {
        method: "GET".into(),
        path: "/".into(),
        query: work.query.clone(),
        headers: (0..8).map(header).collect(),
        body: Vec::new(),
    };
    // It knows every account.
    let mut hub = TestHub { now_ms: work.now_ms, reply: Ok(work.message.data.clone()), ..TestHub::default() };
    black_box(osmp::mapping::handle(&parse_settings(&work.config)?, &request, &mut hub));
    black_box(hub);
    Ok(())
}

/// A far end that says 201 to everything.
fn created(request: Request) -> Result<Response, http::HttpError> {
    black_box(request);
    let kind = Header { name: "content-type".into(), value: "application/json".into() };
    Ok(Response { status: 201, headers: vec![kind], body: b"{}".to_vec() })
}

fn deliver(work: &Work) -> Result<(), Failure> {
    use rest_json::mapping;
    let settings = parse_settings(&work.config)?;
    let message = work.message.message();
    let (operation, place) = mapping::operation(&settings, &message)?;
    let prepared = mapping::prepare(&settings, operation, &message, "POST", &place)?;
    let reply = created(prepared.request.clone());
    black_box(mapping::judge(&prepared, operation, reply)?);
    Ok(())
}

/// Without the signature: that is the host's own work on both sides.
fn notify(work: &Work) -> Result<(), Failure> {
    use webhook::mapping;
    let settings = parse_settings(&work.config)?;
    let target = mapping::target(&settings)?;
    let outgoing = mapping::outgoing(target, &work.message.message(), work.now_ms / 1000);
    let request = mapping::request(target, outgoing, &[7; 32]);
    let what = format!("POST {}", request.url);
    mapping::judge(&what, created(request))
}
