//! The port `Adapters` over the wasm runtime: one loaded adapter per system, bounded at once.

use super::Line;
use crate::wasm::{self, Caller, Entry};
use async_trait::async_trait;
use busbar_core::ports::{
    Adapters, Attempting, EmitSink, HookRequest, HookResponse, InputFile, OutputFile, Polled, Run,
};
use busbar_core::{Code, Failure, Message, Problem};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

struct Slot {
    caller: Arc<Caller>,
    /// Deliveries go over the system's connection.
    line: Option<Line>,
    at_once: Semaphore,
}

/// Adapters of every system that has one.
#[derive(Default)]
pub struct WasmAdapters {
    slots: BTreeMap<String, Slot>,
}

impl WasmAdapters {
    pub fn add(&mut self, system: String, caller: Arc<Caller>, line: Option<Line>) {
        let at_once = Semaphore::new(caller.system.limits.concurrency.max(1));
        self.slots.insert(system, Slot { caller, line, at_once });
    }

    pub fn caller(&self, system: &str) -> Option<Arc<Caller>> {
        self.slots.get(system).map(|slot| slot.caller.clone())
    }

    fn slot(&self, system: &str) -> Result<&Slot, Problem> {
        self.slots
            .get(system)
            .ok_or_else(|| Problem::new(Code::NoSuchEntry, format!("system `{system}` has no adapter")))
    }
}

/// Runs one call under the system's bound and counts it.
async fn counted<T>(slot: &Slot, entry: Entry, call: impl Future<Output = Run<T>>) -> Run<T> {
    let Ok(_permit) = slot.at_once.acquire().await else {
        return failed(Problem::new(Code::Busy, "the hub is stopping"));
    };
    let started = std::time::Instant::now();
    let run = call.await;
    let outcome = match &run.result {
        Ok(_) => "ok",
        Err(failure) => failure.problem().code.as_str(),
    };
    let (system, entry) = (slot.caller.system.name.clone(), entry.as_str());
    metrics::counter!("busbar_adapter_calls_total", "system" => system.clone(), "entry" => entry, "outcome" => outcome)
        .increment(1);
    metrics::histogram!("busbar_adapter_call_seconds", "system" => system, "entry" => entry).record(started.elapsed());
    run
}

fn failed<T>(problem: Problem) -> Run<T> {
    Run::of(Err(Failure::Hub(problem)))
}

#[async_trait]
impl Adapters for WasmAdapters {
    async fn deliver(&self, system: &str, attempting: Attempting) -> Run<()> {
        match self.slot(system) {
            Ok(Slot { line: Some(line), .. }) => line.deliver(attempting).await,
            Ok(slot) => counted(slot, Entry::Deliver, wasm::deliver(&slot.caller, attempting)).await,
            Err(problem) => failed(problem),
        }
    }

    async fn receive(&self, system: &str, request: HookRequest) -> Run<HookResponse> {
        match self.slot(system) {
            Ok(slot) => counted(slot, Entry::Receive, wasm::receive(&slot.caller, request)).await,
            Err(problem) => failed(problem),
        }
    }

    async fn decode(&self, system: &str, file: InputFile, sink: EmitSink) -> Run<()> {
        match self.slot(system) {
            Ok(slot) => counted(slot, Entry::Decode, wasm::decode(&slot.caller, file, sink)).await,
            Err(problem) => failed(problem),
        }
    }

    async fn answer(&self, system: &str, question: Message) -> Run<Message> {
        match self.slot(system) {
            Ok(slot) => counted(slot, Entry::Answer, wasm::answer(&slot.caller, question)).await,
            Err(problem) => failed(problem),
        }
    }

    async fn poll(&self, system: &str, cursor: Option<Vec<u8>>) -> Run<Polled> {
        match self.slot(system) {
            Ok(slot) => counted(slot, Entry::Poll, wasm::poll(&slot.caller, cursor)).await,
            Err(problem) => failed(problem),
        }
    }

    async fn encode(&self, system: &str, messages: &[Arc<Message>], file: OutputFile) -> Run<String> {
        match self.slot(system) {
            Ok(slot) => counted(slot, Entry::Encode, wasm::encode(&slot.caller, messages, file)).await,
            Err(problem) => failed(problem),
        }
    }
}
