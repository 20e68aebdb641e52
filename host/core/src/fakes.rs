//! The ports in memory, for tests and for running one adapter without a hub.

pub use crate::fakes_journal::MemoryJournal;
pub use crate::fakes_store::MemoryStore;

use crate::error::{Code, Problem};
use crate::message::Payload;
use crate::ports::{Clock, Confirms, Original, Outgoing, Received, Tag, Transport};
use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A clock that stands still until it is told.
#[derive(Default)]
pub struct FakeClock {
    now_ms: AtomicI64,
}

impl FakeClock {
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms: AtomicI64::new(now_ms) }
    }

    pub fn advance(&self, by_ms: i64) {
        self.now_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
struct Queues {
    waiting: VecDeque<Received>,
    unacked: Vec<Received>,
    published: Vec<Outgoing>,
    bound: Vec<String>,
}

/// A broker in memory: one queue in, a list out. `reconnect` gives back what was not acknowledged.
#[derive(Default)]
pub struct MemoryTransport {
    queues: Mutex<Queues>,
    connection: AtomicU64,
    numbers: AtomicU64,
}

impl MemoryTransport {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message into the hub's queue.
    pub fn push(&self, routing_key: &str, payload: Payload) {
        let received = Received {
            tag: Tag { connection: 0, number: 0 },
            payload,
            routing_key: routing_key.to_string(),
            exchange: String::new(),
            user: None,
            reply_to: None,
            correlation_id: None,
            fault: None,
            original: Original::default(),
        };
        self.queues().waiting.push_back(received);
    }

    /// Routing keys that have a queue; publishes to others are returned.
    pub fn bind(&self, routing_key: &str) {
        self.queues().bound.push(routing_key.to_string());
    }

    /// Drops the connection: unacknowledged messages come again, earlier tags are stale.
    pub fn reconnect(&self) {
        self.connection.fetch_add(1, Ordering::SeqCst);
        let mut queues = self.queues();
        let again: Vec<_> = queues.unacked.drain(..).collect();
        for received in again.into_iter().rev() {
            queues.waiting.push_front(received);
        }
    }

    pub fn published(&self) -> Vec<Outgoing> {
        self.queues().published.clone()
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn receive(&self, max: usize) -> Result<Vec<Received>, Problem> {
        let mut queues = self.queues();
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(mut received) = queues.waiting.pop_front()
        {
            received.tag = Tag {
                connection: self.connection.load(Ordering::SeqCst),
                number: self.numbers.fetch_add(1, Ordering::SeqCst) + 1,
            };
            queues.unacked.push(received.clone());
            taken.push(received);
        }
        Ok(taken)
    }

    async fn ack(&self, tags: &[Tag]) -> Result<(), Problem> {
        self.queues().unacked.retain(|r| !tags.contains(&r.tag));
        Ok(())
    }

    async fn hand_over(&self, batch: Vec<Outgoing>) -> Confirms {
        let mut queues = self.queues();
        let mut results = Vec::new();
        for outgoing in batch {
            if queues.bound.contains(&outgoing.routing_key) {
                queues.published.push(outgoing);
                results.push(Ok(()));
            } else {
                results.push(Err(Problem::new(Code::Unroutable, format!("no queue for `{}`", outgoing.routing_key))));
            }
        }
        Box::pin(std::future::ready(results))
    }

    fn connected(&self) -> bool {
        true
    }

    async fn ask(&self, _question: Outgoing, _deadline_ms: u64) -> Result<Payload, Problem> {
        Err(Problem::new(Code::AnswerTimeout, "nobody answers here"))
    }
}
