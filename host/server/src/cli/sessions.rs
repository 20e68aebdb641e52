//! Cases of `connection`: what happens to a session, one event after another, and what each led to.

use super::outcome::{Outcome, outcome, show_failure, stated_event};
use super::script::Script;
use crate::wasm::{Caller, Piece, Session, SessionEvent, SessionStep, Settled, hex};
use anyhow::{Context, bail};
use busbar_core::Failure;
use busbar_core::ports::Run;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// One event of the input; exactly one of the keys that say what it is.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Happened {
    /// Address of the far end.
    connect: Option<String>,
    /// Hex; spaces are left out.
    bytes: Option<String>,
    text: Option<String>,
    timer: bool,
    /// So many milliseconds pass; the session is not called.
    advance_ms: Option<i64>,
    message: Option<Value>,
    /// With `message`; 1 where absent.
    delivery: Option<i64>,
    maybe_sent: bool,
    disconnect: bool,
}

/// Runs the events of `input`, an array.
pub async fn run(caller: Caller, script: &Arc<Script>, input: &[u8]) -> anyhow::Result<Outcome> {
    let events: Vec<Happened> =
        serde_json::from_slice(input).context("the input of `connection` is an array of events")?;
    let mut session = Session::open(Arc::new(caller)).await.map_err(anyhow::Error::from)?;
    let mut steps = Vec::new();
    // Everything together, as one call would show it.
    let mut all = Run::of(Ok(()));
    let mut closed = false;
    for (index, event) in events.into_iter().enumerate() {
        closed &= event.connect.is_none() || !session.is_sound();
        if let Some(ms) = event.advance_ms {
            script.advance(ms);
            continue;
        }
        if event.disconnect {
            steps.push(show_settled(&session.disconnected().await));
            closed = true;
            continue;
        }
        // The host has closed the connection: nothing more comes.
        if closed {
            continue;
        }
        let given = event.message.is_some();
        let run = session.step(happened(event).with_context(|| format!("event {index}"))?).await;
        script.remember(&run.state);
        all.emitted.extend(run.emitted);
        all.state.extend(run.state);
        run.left_out.entries.into_iter().for_each(|entry| all.left_out.push(entry));
        all.calls.extend(run.calls);
        match run.result {
            Ok(step) => steps.push(show_step(&step)),
            Err(failure) => {
                steps.push(json!({ "failure": show_failure(&failure) }));
                // One that is not sound the host does not call again either.
                closed = !given || !session.is_sound();
                all.result = Err(failure);
            }
        }
    }
    // What came before a failure was written down.
    let failed = all.result.err();
    let (mut shown, _) = outcome(Run { result: Ok(()), ..all });
    if let Some(failure) = failed {
        shown.result = json!({ "failure": show_failure(&failure) });
    }
    shown.steps = Some(Value::Array(steps));
    Ok(shown)
}

fn happened(event: Happened) -> anyhow::Result<SessionEvent> {
    Ok(match event {
        Happened { connect: Some(peer), .. } => SessionEvent::Connected(peer),
        Happened { bytes: Some(hex), .. } => SessionEvent::Bytes(unhex(&hex)?),
        Happened { text: Some(text), .. } => SessionEvent::Bytes(text.into_bytes()),
        Happened { timer: true, .. } => SessionEvent::Timer,
        Happened { message: Some(message), delivery, maybe_sent, .. } => {
            let message = Arc::new(stated_event(message)?);
            SessionEvent::Message { delivery: delivery.unwrap_or(1), message, maybe_sent }
        }
        _ => bail!("say what happens: connect, bytes, text, timer, advance-ms, message or disconnect"),
    })
}

pub fn unhex(text: &str) -> anyhow::Result<Vec<u8>> {
    let digits: Vec<_> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair)?, 16).map_err(anyhow::Error::from);
    if digits.len() % 2 != 0 {
        bail!("half a byte at the end of `{text}`");
    }
    digits.chunks(2).map(byte).collect()
}

/// Keys that say nothing are left out.
fn show_step(step: &SessionStep) -> Value {
    let mut shown = Map::new();
    match step.send.iter().map(text).collect::<Option<String>>() {
        _ if step.send.is_empty() => {}
        Some(text) => drop(shown.insert("send-text".into(), text.into())),
        None => drop(shown.insert("send".into(), step.send.iter().map(digits).collect::<String>().into())),
    }
    if let Value::Object(settled) = show_settled(&step.settled) {
        shown.extend(settled);
    }
    if let Some(ms) = step.timer_ms {
        shown.insert("timer-ms".into(), ms.into());
    }
    if step.ready {
        shown.insert("ready".into(), true.into());
    }
    if let Some(why) = &step.close {
        shown.insert("close".into(), why.clone().into());
    }
    Value::Object(shown)
}

fn show_settled(settled: &[Settled]) -> Value {
    let outcome = |outcome: &Result<(), Failure>| match outcome {
        Ok(()) => json!("ok"),
        Err(failure) => json!({ "failure": show_failure(failure) }),
    };
    let one = |(delivery, how): &Settled| json!({ "delivery": delivery, "outcome": outcome(how) });
    if settled.is_empty() { json!({}) } else { json!({ "settled": settled.iter().map(one).collect::<Vec<_>>() }) }
}

/// Printable ASCII in lines, if it is.
fn text(piece: &Piece) -> Option<String> {
    match piece {
        Piece::Plain(bytes) => {
            let printable = bytes.iter().all(|b| (32..127).contains(b) || b"\r\n".contains(b));
            printable.then(|| String::from_utf8_lossy(bytes).into_owned())
        }
        Piece::Secret(name) => Some(format!("<{name}>")),
    }
}

fn digits(piece: &Piece) -> String {
    match piece {
        Piece::Plain(plain) => hex(plain),
        Piece::Secret(name) => format!("<{name}>"),
    }
}
