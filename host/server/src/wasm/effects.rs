//! What adapters do to the outside world, as the runtime asks for it. The hub does it for real;
//! `busbar adapter try` and the cases answer from a script.

use crate::egress::{HttpFailure, HttpRequest, HttpResponse};
use async_trait::async_trait;
use busbar_core::{Call, Message, Problem};
use secrecy::SecretString;

#[derive(Clone, Debug, PartialEq)]
pub enum AskFailure {
    NoAnswerer(String),
    Timeout,
    Failed(String),
    Refused(String),
}

/// The effects of one system. Grants, limits and the record are the runtime's, not the effects'.
#[async_trait]
pub trait Effects: Send + Sync {
    async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure>;
    /// Makes it durable that an unsafe request of `delivery` is being sent: `call` as it stands, without an
    /// answer. The attempt's end writes it again with its answer, under the same attempt and ordinal.
    ///
    /// # Errors
    /// It is not sent: `store-unavailable`, or the delivery is no longer this hub's.
    async fn ahead(&self, delivery: i64, call: &Call) -> Result<(), Problem>;
    async fn ask(&self, question: Message, deadline_ms: u64) -> Result<Message, AskFailure>;
    async fn lookup(&self, source: &str, id: &str) -> Result<Option<Message>, Problem>;
    async fn state(&self, key: &str) -> Result<Option<Vec<u8>>, Problem>;
    /// # Errors
    /// `adapter-limit` when the state has no room for a value of so many bytes under this key.
    async fn state_room(&self, _key: &str, _bytes: usize) -> Result<(), Problem> {
        Ok(())
    }
    /// The named credential, for the host alone.
    fn secret(&self, credential: &str) -> Result<SecretString, String>;
    fn now_ms(&self) -> i64;
    fn random(&self, bytes: usize) -> Vec<u8>;
    fn log(&self, level: tracing::Level, text: &str);
}
