//! Running an adapter: one call in an instance, with every limit set, under a deadline.

use super::bindings::busbar::adapter as wit;
use super::bindings::exports::busbar::adapter as exports;
use super::entry::Entry;
use super::host::show_message;
use super::state::CallState;
use super::warm::{Caller, StoredInstance};
use busbar_core::CallOutcome;
use busbar_core::ports::{Attempting, EmitSink, HookRequest, HookResponse, InputFile, OutputFile, Polled, Run};
use busbar_core::record::{Record, Repeat};
use busbar_core::{
    CODE_BYTES_MAX, Call, Code, DETAIL_BYTES_MAX, Failure, Message, PLACE_BYTES_MAX, Problem, Rejection, cut,
};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{PoolConcurrencyLimitError, Trap};

pub async fn deliver(caller: &Caller, attempting: Attempting) -> Run<()> {
    let Some(indices) = &caller.loaded.deliver else { return no_entry(Entry::Deliver) };
    let shown = show_message(&attempting.message);
    let mut state = caller.state();
    state.delivery = Some(attempting.delivery);
    state.attempt = attempting.attempt;
    state.recorded = Record::new(attempting.recorded);
    state.cause = Some(attempting.message);
    let mut held = caller.take(state);
    let result = limited(caller.system.limits.deadline_ms, async {
        let instance = held.instance(&caller.loaded).await?;
        let guest: exports::deliver::Guest = indices.load(&mut held.store, &instance)?;
        guest.call_deliver(&mut held.store, &shown).await
    })
    .await;
    finish(caller, held, result, |(), _| Ok(()))
}

pub async fn receive(caller: &Caller, request: HookRequest) -> Run<HookResponse> {
    let Some(indices) = &caller.loaded.receive else { return no_entry(Entry::Receive) };
    let header = |(name, value)| wit::types::Header { name, value };
    let request = exports::receive::Request {
        method: request.method,
        path: request.path,
        query: request.query,
        headers: request.headers.into_iter().map(header).collect(),
        body: request.body,
    };
    let mut held = caller.take(caller.state());
    let result = limited(caller.system.limits.deadline_ms, async {
        let instance = held.instance(&caller.loaded).await?;
        let guest: exports::receive::Guest = indices.load(&mut held.store, &instance)?;
        guest.call_receive(&mut held.store, &request).await
    })
    .await;
    finish(caller, held, result, |response, _| {
        Ok(HookResponse {
            status: response.status,
            headers: response.headers.into_iter().map(|h| (h.name, h.value)).collect(),
            body: response.body,
        })
    })
}

pub async fn poll(caller: &Caller, cursor: Option<Vec<u8>>) -> Run<Polled> {
    let Some(indices) = &caller.loaded.poll else { return no_entry(Entry::Poll) };
    let mut held = caller.take(caller.state());
    let result = limited(caller.system.limits.deadline_ms, async {
        let instance = held.instance(&caller.loaded).await?;
        let guest: exports::poll::Guest = indices.load(&mut held.store, &instance)?;
        guest.call_poll(&mut held.store, cursor.as_deref()).await
    })
    .await;
    let most = caller.system.limits.state_value_bytes;
    finish(caller, held, result, |polled, _| {
        if polled.cursor.as_ref().is_some_and(|cursor| cursor.len() > most) {
            return Err(super::state::limit(format!("a cursor over {most} bytes (limits.state-value-bytes)")));
        }
        Ok(Polled { cursor: polled.cursor, more: polled.more })
    })
}

pub async fn decode(caller: &Caller, file: InputFile, sink: EmitSink) -> Run<()> {
    let Some(indices) = &caller.loaded.decode else { return no_entry(Entry::Decode) };
    let mut state = caller.state();
    state.input = Some(file);
    state.sink = Some(sink);
    let mut held = caller.take(state);
    let result = limited(caller.system.limits.file_deadline_ms, async {
        let instance = held.instance(&caller.loaded).await?;
        let guest: exports::decode::Guest = indices.load(&mut held.store, &instance)?;
        guest.call_decode(&mut held.store).await
    })
    .await;
    finish(caller, held, result, |(), state| {
        let rest = std::mem::take(&mut state.emitted);
        match &mut state.sink {
            Some(sink) => sink(rest),
            None => Ok(()),
        }
    })
}

pub async fn encode(caller: &Caller, messages: &[Arc<Message>], file: OutputFile) -> Run<String> {
    let Some(indices) = &caller.loaded.encode else { return no_entry(Entry::Encode) };
    let shown: Vec<_> = messages.iter().map(|message| show_message(message)).collect();
    let mut state = caller.state();
    state.output = Some(file);
    let mut held = caller.take(state);
    let result = limited(caller.system.limits.file_deadline_ms, async {
        let instance = held.instance(&caller.loaded).await?;
        let guest: exports::encode::Guest = indices.load(&mut held.store, &instance)?;
        guest.call_encode(&mut held.store, &shown).await
    })
    .await;
    finish(caller, held, result, |name, state| {
        // What is still buffered must not be lost in silence.
        let flushed = state.output.as_mut().map_or(Ok(()), |output| output.flush());
        flushed.map(|()| name).map_err(|e| Problem::new(Code::FileUnreadable, e.to_string()))
    })
}

pub async fn answer(caller: &Caller, question: Message) -> Run<Message> {
    let Some(indices) = &caller.loaded.answer else { return no_entry(Entry::Answer) };
    let shown = show_message(&question);
    let mut state = caller.state();
    let wanted = state.catalog().answer_type(&question.r#type).unwrap_or_default().to_string();
    state.cause = Some(Arc::new(question));
    let mut held = caller.take(state);
    let result = limited(caller.system.limits.deadline_ms, async {
        let instance = held.instance(&caller.loaded).await?;
        let guest: exports::answer::Guest = indices.load(&mut held.store, &instance)?;
        guest.call_answer(&mut held.store, &shown).await
    })
    .await;
    finish(caller, held, result, |draft, state| {
        let (message, _) = state.message(draft)?;
        if message.r#type != wanted {
            let text = format!("answered with `{}`, expected `{wanted}`", message.r#type);
            return Err(Problem::new(Code::InvalidEmit, text));
        }
        state.catalog().validate(&message.r#type, &message.data)?;
        Ok(message)
    })
}

// The guest yields at every epoch tick, so the timeout is honoured even by an endless loop; the
// store is dropped afterwards, whatever state it is in.
pub(super) async fn limited<T>(
    deadline_ms: u64,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    match tokio::time::timeout(Duration::from_millis(deadline_ms), call).await {
        Ok(result) => result,
        Err(_) => {
            let text = format!("no result within {deadline_ms} ms (limits.deadline-ms)");
            Err(wasmtime::Error::new(Problem::new(Code::AdapterTimeout, text)))
        }
    }
}

fn finish<R, T>(
    caller: &Caller,
    held: StoredInstance,
    result: wasmtime::Result<Result<R, wit::types::Failure>>,
    convert: impl FnOnce(R, &mut CallState) -> Result<T, Problem>,
) -> Run<T> {
    let mut state = caller.end(held, result.is_ok());
    let result = match result {
        Ok(Ok(value)) => convert(value, &mut state).map_err(Failure::Hub),
        Ok(Err(failure)) => Err(convert_failure(failure)),
        Err(error) => Err(cut_off(&state.calls, trapped(&error))),
    };
    state.run(result)
}

// The adapter did not live to judge a request that was sent and not answered: nobody knows what came of
// it, and it must not be repeated blindly (design, section 6, 5).
pub(super) fn cut_off(calls: &[Call], problem: Problem) -> Failure {
    let open = calls.iter().find(|call| call.outcome == CallOutcome::NoAnswer && repeat_of(call) == Repeat::Unsafe);
    match open {
        Some(call) => {
            let url = text(call, "url").split('?').next().unwrap_or_default();
            Failure::UnknownOutcome(format!(
                "{} {url} was not answered when the call ended: {problem}",
                text(call, "method")
            ))
        }
        None => Failure::Hub(problem),
    }
}

fn repeat_of(call: &Call) -> Repeat {
    Repeat::of(text(call, "method"), call.request.get("idempotent").is_some())
}

fn text<'a>(call: &'a Call, field: &str) -> &'a str {
    call.request.get(field).and_then(serde_json::Value::as_str).unwrap_or_default()
}

pub(super) fn trapped(error: &wasmtime::Error) -> Problem {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.clone();
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return Problem::new(Code::AdapterTrap, trap.to_string());
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Problem::new(Code::Busy, "as many adapters run as the hub can have at once");
    }
    let text = error.root_cause().to_string();
    // The runtime has no error types of its own for these.
    if text.contains("handle limit exceeded") {
        return Problem::new(Code::AdapterLimit, format!("{text} (limits.handles)"));
    }
    if text.contains("resource limit exceeded") {
        return Problem::new(Code::AdapterLimit, format!("{text} (limits.core-instances, memories, tables)"));
    }
    if text.contains("fuel") || text.contains("too large") {
        return Problem::new(Code::AdapterLimit, format!("{text} (limits.host-call-bytes)"));
    }
    Problem::new(Code::AdapterTrap, text)
}

pub(super) fn convert_failure(failure: wit::types::Failure) -> Failure {
    match failure {
        wit::types::Failure::Transient(delay) => {
            Failure::Transient { reason: delay.reason, retry_after_ms: delay.retry_after_ms }
        }
        wit::types::Failure::RateLimited(delay) => {
            Failure::RateLimited { reason: delay.reason, retry_after_ms: delay.retry_after_ms }
        }
        wit::types::Failure::Rejected(rejected) => Failure::Rejected(rejection(rejected)),
        wit::types::Failure::Unauthorized(text) => Failure::Unauthorized(text),
        wit::types::Failure::UnknownOutcome(text) => Failure::UnknownOutcome(text),
        wit::types::Failure::Other(text) => Failure::Other(text),
    }
}

pub(super) fn rejection(rejection: wit::types::Rejection) -> Rejection {
    let wit::types::Rejection { code, reason, place } = rejection;
    // Of each there may be as much as a host call carries, and of what is left out a thousand are kept.
    let place = place.map(|place| cut(place, PLACE_BYTES_MAX));
    Rejection { code: cut(code, CODE_BYTES_MAX), reason: cut(reason, DETAIL_BYTES_MAX), place }
}

fn no_entry<T>(entry: Entry) -> Run<T> {
    Run::of(Err(Failure::Hub(entry.missing())))
}
