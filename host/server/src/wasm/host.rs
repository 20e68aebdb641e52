//! The imports of WIT: every effect of an adapter passes here, is held against grants and limits,
//! and is written down.

use super::bindings::busbar::adapter as wit;
use super::effects::AskFailure;
use super::run::rejection;
use super::state::{CallState, limit};
use busbar_core::ports::Emitted;
use busbar_core::{CHAIN, CallKind, CallOutcome, Code, Message, PLACE_BYTES_MAX, Problem, cut};
use serde_json::json;
use std::io::Read;
use std::time::Instant;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wasmtime::Result;

/// What a line of log weighs without its text.
const LOG_LINE_BYTES: usize = 64;

/// What the host keeps in a system's state begins with it.
pub(crate) const RESERVED: &str = "busbar:";

pub(super) fn trap(problem: Problem) -> wasmtime::Error {
    wasmtime::Error::new(problem)
}

/// `*` stands only in the grants that `busbar adapter try` and the cases run with: no deployment passes the
/// check with it.
pub(super) fn granted(grants: &[String], wanted: &str) -> bool {
    grants.iter().any(|g| g == wanted || g == "*")
}

pub(super) fn missing_grant(detail: String) -> Problem {
    Problem::new(Code::MissingGrant, detail)
}

impl wit::types::Host for CallState {}

impl wit::log::Host for CallState {
    async fn write(&mut self, level: wit::log::Level, text: String) -> Result<()> {
        // A line costs more than its text: empty ones are a flood, too.
        self.log_bytes = self.log_bytes.saturating_add(text.len()).saturating_add(LOG_LINE_BYTES);
        if self.log_bytes > self.limits().log_bytes {
            return Err(trap(limit(format!("more than {} bytes of log (limits.log-bytes)", self.limits().log_bytes))));
        }
        let level = match level {
            wit::log::Level::Debug => tracing::Level::DEBUG,
            wit::log::Level::Info => tracing::Level::INFO,
            wit::log::Level::Warn => tracing::Level::WARN,
            wit::log::Level::Error => tracing::Level::ERROR,
        };
        self.effects.log(level, &text);
        Ok(())
    }
}

impl wit::config::Host for CallState {
    async fn get(&mut self) -> Result<String> {
        Ok(self.system.config.clone())
    }
}

impl wit::state::Host for CallState {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        self.state_granted(&key)?;
        match self.state.get(&key) {
            Some(written) => Ok(written.clone()),
            None => self.effects.state(&key).await.map_err(trap),
        }
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<()> {
        self.write_state(key, Some(value)).await
    }

    async fn delete(&mut self, key: String) -> Result<()> {
        self.write_state(key, None).await
    }
}

impl CallState {
    fn state_granted(&self, key: &str) -> Result<()> {
        if key.starts_with(RESERVED) {
            return Err(trap(missing_grant(format!("keys that begin with `{RESERVED}` are the host's"))));
        }
        if self.system.grants.state {
            return Ok(());
        }
        Err(trap(missing_grant("no grant for state (grants.state)".into())))
    }

    async fn write_state(&mut self, key: String, value: Option<Vec<u8>>) -> Result<()> {
        self.state_granted(&key)?;
        let limits = self.limits();
        if value.as_ref().is_some_and(|v| v.len() > limits.state_value_bytes) || key.len() > 512 {
            return Err(trap(limit(format!(
                "state value over {} bytes (limits.state-value-bytes)",
                limits.state_value_bytes
            ))));
        }
        // Each write is in the record, also the hundredth of one key.
        if self.calls.iter().filter(|c| c.kind == CallKind::State).count() >= limits.state_writes {
            return Err(trap(limit(format!("more than {} state writes (limits.state-writes)", limits.state_writes))));
        }
        if let Some(value) = &value {
            self.effects.state_room(&key, value.len()).await.map_err(trap)?;
        }
        let shown = json!({ "key": key, "bytes": value.as_ref().map(Vec::len) });
        self.record(CallKind::State, shown, None, CallOutcome::Ok, Instant::now());
        self.state.insert(key, value);
        Ok(())
    }
}

impl wit::clock::Host for CallState {
    async fn now_ms(&mut self) -> Result<u64> {
        if !self.system.grants.clock {
            return Err(trap(missing_grant("no grant for the clock (grants.clock)".into())));
        }
        Ok(u64::try_from(self.now_ms).unwrap_or_default())
    }
}

impl wit::random::Host for CallState {
    async fn bytes(&mut self, len: u32) -> Result<Vec<u8>> {
        if !self.system.grants.random {
            return Err(trap(missing_grant("no grant for randomness (grants.random)".into())));
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > 4096 {
            return Err(trap(limit("more than 4096 random bytes at once")));
        }
        Ok(self.effects.random(len))
    }
}

impl wit::messages::Host for CallState {
    async fn emit(&mut self, drafts: Vec<wit::types::Draft>) -> Result<()> {
        if self.output.is_some() {
            return Err(trap(missing_grant("nothing is emitted while a file is encoded".into())));
        }
        for draft in drafts {
            self.count_message(&draft).map_err(trap)?;
            let emitted = self.emit_one(draft).map_err(trap)?;
            self.emitted.push(emitted);
        }
        if let Some(sink) = &mut self.sink
            && self.emitted.len() >= 256
        {
            sink(std::mem::take(&mut self.emitted)).map_err(trap)?;
        }
        Ok(())
    }

    async fn check(&mut self, draft: wit::types::Draft) -> Result<Option<wit::types::Rejection>> {
        let checked = self.message(draft).and_then(|(message, _)| {
            message.check()?;
            self.catalog().validate(&message.r#type, &message.data)
        });
        let rejection = |problem: Problem| wit::types::Rejection {
            code: problem.code.as_str().into(),
            reason: problem.detail,
            place: problem.place,
        };
        Ok(checked.err().map(rejection))
    }

    async fn leave_out(&mut self, entry: wit::types::Rejection) -> Result<()> {
        // What is delivered, answered or encoded is one thing, and fails as one.
        if self.cause.is_some() || self.output.is_some() {
            return Err(trap(missing_grant("`leave-out` is for inputs: files, requests, polls, connections".into())));
        }
        self.left_out.push(rejection(entry));
        Ok(())
    }

    async fn ask(
        &mut self,
        question: wit::types::Draft,
        deadline_ms: u32,
    ) -> Result<Result<wit::types::Message, wit::messages::AskError>> {
        self.count_call().map_err(trap)?;
        if !granted(&self.system.grants.ask, &question.type_) {
            return Err(trap(missing_grant(format!("no grant to ask `{}` (grants.ask)", question.type_))));
        }
        let started = Instant::now();
        let (question, _) = self.message(question).map_err(trap)?;
        let shown = question.to_structured();
        let deadline_ms = u64::from(deadline_ms).min(self.limits().deadline_ms);
        let result = self.effects.ask(question, deadline_ms).await;
        let (answer, outcome) = match &result {
            Ok(answer) => (Some(answer.to_structured()), "ok"),
            Err(AskFailure::NoAnswerer(text)) => (Some(json!({ "error": text })), "no-answerer"),
            Err(AskFailure::Timeout) => (None, "timeout"),
            Err(AskFailure::Failed(text)) => (Some(json!({ "error": text })), "failed"),
            Err(AskFailure::Refused(text)) => (Some(json!({ "error": text })), "refused"),
        };
        self.record(CallKind::Ask, shown, answer, outcome.into(), started);
        Ok(result.as_ref().map(show_message).map_err(|failure| match failure {
            AskFailure::NoAnswerer(text) => wit::messages::AskError::NoAnswerer(text.clone()),
            AskFailure::Timeout => wit::messages::AskError::Timeout,
            AskFailure::Failed(text) => wit::messages::AskError::Failed(text.clone()),
            AskFailure::Refused(text) => wit::messages::AskError::Refused(text.clone()),
        }))
    }

    async fn lookup(&mut self, id: String) -> Result<Option<wit::types::Message>> {
        if !self.system.grants.lookup {
            return Err(trap(missing_grant("no grant to look up messages (grants.lookup)".into())));
        }
        let found = self.effects.lookup(&self.system.source.clone(), &id).await.map_err(trap)?;
        Ok(found.as_ref().map(show_message))
    }
}

impl CallState {
    fn count_message(&mut self, draft: &wit::types::Draft) -> Result<(), Problem> {
        if !granted(&self.system.grants.emit, &draft.type_) {
            return Err(missing_grant(format!("no grant to state `{}` (grants.emit)", draft.type_)));
        }
        self.messages += 1;
        let streamed = self.sink.is_some();
        let limits = self.limits();
        let (most, name) =
            if streamed { (limits.file_messages, "file-messages") } else { (limits.messages, "messages") };
        if self.messages > most {
            return Err(limit(format!("more than {most} messages (limits.{name})")));
        }
        if draft.data.len() > limits.body_bytes {
            return Err(limit(format!("a message over {} bytes (limits.body-bytes)", limits.body_bytes)));
        }
        if !streamed {
            let most = limits.message_bytes;
            self.message_bytes += draft.data.len();
            if self.message_bytes > most {
                return Err(limit(format!("more than {most} bytes of messages (limits.message-bytes)")));
            }
        }
        Ok(())
    }

    fn emit_one(&self, draft: wit::types::Draft) -> Result<Emitted, Problem> {
        let (id, place) = (draft.id.clone(), draft.place.clone());
        let checked = self.message(draft).and_then(|(message, place)| {
            message.check()?;
            self.catalog().validate(&message.r#type, &message.data)?;
            Ok(Emitted { message, place: place.map(|place| cut(place, PLACE_BYTES_MAX)) })
        });
        checked.map_err(|problem| {
            // The adapter is not to blame for the routes.
            if problem.code == Code::RouteLoop {
                return problem;
            }
            let from = place.as_ref().map(|place| format!(" from {place}")).unwrap_or_default();
            let text = format!("message {} (`{id}`){from}: {}", self.messages, problem.detail);
            Problem { place: problem.place.or(place), ..Problem::new(Code::InvalidEmit, text) }
        })
    }

    /// A draft with what the host adds: source, time, trace and cause.
    pub(crate) fn message(&self, draft: wit::types::Draft) -> Result<(Message, Option<String>), Problem> {
        let cause = self.cause.as_deref();
        let chain = cause.map(|cause| busbar_core::chain(cause, &self.system.name)).transpose()?;
        let message = Message {
            id: draft.id,
            source: self.system.source.clone(),
            r#type: draft.type_,
            subject: draft.subject,
            time: draft.time.or_else(|| rfc3339(self.now_ms)),
            dataschema: None,
            traceparent: cause.and_then(|c| c.traceparent.clone()),
            partitionkey: draft.partition_key,
            correlationid: cause.map(|c| c.correlationid.clone().unwrap_or_else(|| c.id.clone())),
            causationid: cause.map(|c| c.id.clone()),
            extensions: chain.map(|chain| (CHAIN.into(), chain)).into_iter().collect(),
            data: busbar_core::parse_json(draft.data.as_bytes())?.into(),
        };
        Ok((message, draft.place))
    }
}

/// RFC 3339 in UTC.
pub(crate) fn rfc3339(ms: i64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
    time.format(&Rfc3339).ok()
}

/// A message as an adapter sees it.
pub(crate) fn show_message(message: &Message) -> wit::types::Message {
    wit::types::Message {
        id: message.id.clone(),
        source: message.source.clone(),
        type_: message.r#type.clone(),
        subject: message.subject.clone(),
        time: message.time.clone(),
        partition_key: message.partitionkey.clone(),
        correlation_id: message.correlationid.clone(),
        data: message.data.text().to_string(),
    }
}

impl wit::input::Host for CallState {
    async fn describe(&mut self) -> Result<wit::input::Info> {
        let input = self.input.as_ref().ok_or_else(no_input)?;
        Ok(wit::input::Info { name: input.name.clone(), size: input.size_bytes })
    }

    async fn read(&mut self, max: u32) -> Result<Vec<u8>> {
        let input = self.input.as_mut().ok_or_else(no_input)?;
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(1 << 20);
        let mut buffer = vec![0; max];
        let read =
            input.reader.read(&mut buffer).map_err(|e| trap(Problem::new(Code::FileUnreadable, e.to_string())))?;
        buffer.truncate(read);
        Ok(buffer)
    }
}

fn no_input() -> wasmtime::Error {
    trap(Problem::new(Code::MissingGrant, "`input` is there only while a file is decoded"))
}

impl wit::output::Host for CallState {
    async fn write(&mut self, chunk: Vec<u8>) -> Result<()> {
        let most = self.limits().file_bytes;
        let Some(output) = self.output.as_mut() else {
            return Err(trap(missing_grant("`output` is there only while a file is encoded".into())));
        };
        self.output_bytes = self.output_bytes.saturating_add(chunk.len());
        if self.output_bytes > most {
            return Err(trap(limit(format!("a file over {most} bytes (limits.file-bytes)"))));
        }
        output.write_all(&chunk).map_err(|e| trap(Problem::new(Code::FileUnreadable, e.to_string())))
    }
}
