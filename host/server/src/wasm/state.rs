//! The state of one call of an adapter: its limits, and the record of what it did.

use super::effects::Effects;
use crate::config::model::{Grants, Instances, Limits};
use busbar_core::ports::{EmitSink, Emitted, InputFile, LeftOut, OutputFile, Run};
use busbar_core::record::Record;
use busbar_core::{Call, CallKind, CallOutcome, Catalog, Code, Failure, Message, Problem, StateWrite};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::ResourceLimiter;

/// What the runtime knows of a system.
pub struct SystemSpec {
    pub name: String,
    /// CloudEvents source of what the system states.
    pub source: String,
    /// The adapter's settings as JSON text.
    pub config: String,
    pub grants: Grants,
    pub limits: Limits,
    pub instances: Instances,
    pub rules: Arc<busbar_core::Rules>,
}

/// Store data of one instance.
pub(crate) struct CallState {
    pub system: Arc<SystemSpec>,
    pub effects: Arc<dyn Effects>,
    pub attempt: u32,
    /// The delivery being made: its unsafe requests are written ahead.
    pub delivery: Option<i64>,
    pub recorded: Record,
    pub calls: Vec<Call>,
    pub emitted: Vec<Emitted>,
    pub sink: Option<EmitSink>,
    pub left_out: LeftOut,
    pub state: BTreeMap<String, Option<Vec<u8>>>,
    pub input: Option<InputFile>,
    pub output: Option<OutputFile>,
    pub output_bytes: usize,
    /// The message being delivered or answered: the cause of what is stated.
    pub cause: Option<Arc<Message>>,
    pub now_ms: i64,
    pub messages: usize,
    pub message_bytes: usize,
    pub log_bytes: usize,
    memory_bytes: usize,
    table_elements: usize,
}

impl CallState {
    pub fn new(system: Arc<SystemSpec>, effects: Arc<dyn Effects>) -> Self {
        let now_ms = effects.now_ms();
        Self {
            system,
            effects,
            attempt: 1,
            delivery: None,
            recorded: Record::default(),
            calls: Vec::new(),
            emitted: Vec::new(),
            sink: None,
            left_out: LeftOut::default(),
            state: BTreeMap::new(),
            input: None,
            output: None,
            output_bytes: 0,
            cause: None,
            now_ms,
            messages: 0,
            message_bytes: 0,
            log_bytes: 0,
            memory_bytes: 0,
            table_elements: 0,
        }
    }

    /// The state of another call in the same instance, whose memory stays counted.
    pub fn following(mut self, before: &Self) -> Self {
        (self.memory_bytes, self.table_elements) = (before.memory_bytes, before.table_elements);
        self
    }

    pub fn catalog(&self) -> &Catalog {
        &self.system.rules.catalog
    }

    pub fn limits(&self) -> &Limits {
        &self.system.limits
    }

    /// # Errors
    /// `adapter-limit` when no more calls are allowed.
    pub fn count_call(&self) -> Result<(), Problem> {
        let made = self.calls.iter().filter(|c| matches!(c.kind, CallKind::Http | CallKind::Ask)).count();
        if made >= self.limits().calls {
            return Err(limit(format!("more than {} calls (limits.calls)", self.limits().calls)));
        }
        Ok(())
    }

    /// Writes down one effect.
    pub fn record(
        &mut self,
        kind: CallKind,
        request: serde_json::Value,
        answer: Option<serde_json::Value>,
        outcome: CallOutcome,
        started: Instant,
    ) {
        let duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.calls.push(Call {
            attempt: self.attempt,
            ordinal: u32::try_from(self.calls.len()).unwrap_or(u32::MAX),
            kind,
            request,
            answer,
            outcome,
            started_at_ms: self.effects.now_ms(),
            duration_us,
        });
    }

    /// What the call came to: a failed one states nothing, and leaves the record of what it did.
    pub fn run<T>(mut self, result: Result<T, Failure>) -> Run<T> {
        let calls = std::mem::take(&mut self.calls);
        if result.is_err() {
            return Run { calls, ..Run::of(result) };
        }
        let (emitted, left_out) = (std::mem::take(&mut self.emitted), std::mem::take(&mut self.left_out));
        Run { result, emitted, state: self.state_writes(), left_out, calls }
    }

    /// The state as the call leaves it.
    fn state_writes(&mut self) -> Vec<StateWrite> {
        let system = self.system.name.clone();
        std::mem::take(&mut self.state)
            .into_iter()
            .map(|(key, value)| StateWrite { system: system.clone(), key, value })
            .collect()
    }
}

pub(crate) fn limit(detail: impl Into<String>) -> Problem {
    Problem::new(Code::AdapterLimit, detail)
}

impl ResourceLimiter for CallState {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Summed over every memory of the instance: each growth counts what it adds.
        let grown = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if grown > self.limits().memory_bytes {
            let text = format!("more than {} bytes of memory (limits.memory-bytes)", self.limits().memory_bytes);
            return Err(wasmtime::Error::new(limit(text)));
        }
        self.memory_bytes = grown;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let grown = self.table_elements.saturating_add(desired.saturating_sub(current));
        if grown > self.limits().table_elements {
            let text = format!("more than {} table elements (limits.table-elements)", self.limits().table_elements);
            return Err(wasmtime::Error::new(limit(text)));
        }
        self.table_elements = grown;
        Ok(true)
    }

    // `busbar check` has held the component against these; here they hold for one that it has not seen.
    fn instances(&self) -> usize {
        self.limits().core_instances
    }

    fn tables(&self) -> usize {
        self.limits().tables
    }

    fn memories(&self) -> usize {
        self.limits().memories
    }
}
