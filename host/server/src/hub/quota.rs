//! What a system's adapter may use over all of its calls: the state that it keeps, and lines of log.

use crate::config::model::Limits;
use busbar_core::ports::{StateSize, Store};
use busbar_core::{Code, Problem, cut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of one line of log.
const LINE_BYTES_MAX: usize = 4_096;
const MINUTE_MS: i64 = 60_000;

pub struct Quota {
    system: String,
    store: Arc<dyn Store>,
    most: StateSize,
    lines_max: u32,
    /// What the store had when it was last asked, and all that was written since as if it was new: never too little.
    used: Mutex<Option<StateSize>>,
    lines: Mutex<LogMinute>,
}

#[derive(Default)]
struct LogMinute {
    minute: i64,
    count: u32,
    left_out: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Quota {
    pub fn new(system: &str, store: Arc<dyn Store>, limits: &Limits) -> Arc<Self> {
        let most = StateSize { keys: limits.state_keys, bytes: limits.state_bytes };
        let lines_max = limits.log_lines_per_minute;
        let (used, lines) = (Mutex::default(), Mutex::default());
        Arc::new(Self { system: system.to_string(), store, most, lines_max, used, lines })
    }

    /// What the system keeps, and the most it may.
    ///
    /// # Errors
    /// `store-unavailable`.
    pub async fn state(&self) -> Result<(StateSize, StateSize), Problem> {
        let found = self.store.state_size(&self.system).await?;
        // What others wrote comes to it; what calls of this hub are about to write stays counted.
        let mut used = lock(&self.used);
        let known = used.get_or_insert(found);
        *known = StateSize { keys: known.keys.max(found.keys), bytes: known.bytes.max(found.bytes) };
        Ok((found, self.most))
    }

    /// # Errors
    /// `adapter-limit` when a value of so many bytes has no room, `store-unavailable`.
    pub async fn room(&self, key: &str, bytes: usize) -> Result<(), Problem> {
        let (key_bytes, bytes) = (key.len() as u64, bytes as u64);
        let mut more = StateSize { keys: 1, bytes: key_bytes + bytes };
        if self.take(more).is_ok() {
            return Ok(());
        }
        *lock(&self.used) = Some(self.store.state_size(&self.system).await?);
        if let Some(value) = self.store.state(&self.system, key).await? {
            more = StateSize { keys: 0, bytes: bytes.saturating_sub(value.len() as u64) };
        }
        self.take(more)
    }

    fn take(&self, more: StateSize) -> Result<(), Problem> {
        let mut used = lock(&self.used);
        let Some(used) = used.as_mut() else { return Err(over("state is not known yet".into())) };
        let then = StateSize { keys: used.keys + more.keys, bytes: used.bytes + more.bytes };
        if then.keys > self.most.keys && more.keys > 0 {
            return Err(over(format!("more than {} keys of state (limits.state-keys)", self.most.keys)));
        }
        if then.bytes > self.most.bytes && more.bytes > 0 {
            return Err(over(format!("more than {} bytes of state (limits.state-bytes)", self.most.bytes)));
        }
        *used = then;
        Ok(())
    }

    /// The line as it is written, unless there were too many in this minute.
    pub fn line(&self, text: &str, now_ms: i64) -> Option<String> {
        self.tell_left_out(now_ms);
        let mut lines = lock(&self.lines);
        if lines.count >= self.lines_max {
            lines.left_out += 1;
            return None;
        }
        lines.count += 1;
        Some(cut(text.to_string(), LINE_BYTES_MAX))
    }

    /// Says how many lines the minute before had too many, once it is over.
    pub fn tell_left_out(&self, now_ms: i64) {
        let mut lines = lock(&self.lines);
        let minute = now_ms.div_euclid(MINUTE_MS);
        if lines.minute == minute {
            return;
        }
        let left_out = std::mem::replace(&mut *lines, LogMinute { minute, ..LogMinute::default() }).left_out;
        drop(lines);
        if left_out > 0 {
            let system = self.system.as_str();
            metrics::counter!("busbar_log_lines_left_out_total", "system" => system.to_string()).increment(left_out);
            tracing::warn!(target: "busbar::adapter", system, left_out, "lines were left out (limits.log-lines-per-minute)");
        }
    }
}

fn over(detail: String) -> Problem {
    Problem::new(Code::AdapterLimit, detail)
}
