//! What an adapter's logic asks of the hub, so that the logic runs natively in tests: there the hub is a
//! [`TestHub`](crate::TestHub).

use crate::bindings::busbar::adapter::credentials::{self, Digest, Piece};
use crate::http::{self, HttpError, Request, Response};
use crate::memory::{HostStore, Store};
use crate::messages::{self, AskError};
use crate::{Draft, Emitter, Failure, Message, Rejection, Warnings, clock, log, random};

/// Where messages and warnings go; all that a decoder needs.
pub trait Sink {
    fn emit(&mut self, draft: Draft);
    fn warn(&mut self, text: &str);
    /// Leaves out one of several independent entries, and says which and why: it becomes an intake of its own.
    fn leave_out(&mut self, entry: Rejection);
}

/// The hub; `wit/v1` says what each call means. Take it as `&mut impl Hub`, never as `dyn`: a component imports what it calls,
/// and a table of methods calls them all.
pub trait Hub: Sink + Store {
    fn now_ms(&self) -> u64;
    fn random(&mut self, bytes: u32) -> Vec<u8>;
    fn info(&mut self, text: &str);
    /// A message that this system stated earlier; in the host, not one of the call that is under way.
    fn lookup(&self, id: &str) -> Option<Message>;
    fn is_known(&self, id: &str) -> bool {
        self.lookup(id).is_some()
    }
    /// # Errors
    /// There is no answer.
    fn ask(&mut self, question: &Draft, deadline_ms: u32) -> Result<Message, AskError>;
    /// # Errors
    /// There is no answer.
    fn send(&mut self, request: &Request) -> Result<Response, HttpError>;
    /// # Errors
    /// There is no answer.
    fn send_idempotent(&mut self, request: &Request) -> Result<Response, HttpError>;
    fn nothing_done(&mut self);
    /// # Errors
    /// There is no such credential.
    fn hash(&mut self, digest: Digest, pieces: &[Piece]) -> Result<Vec<u8>, String>;
    /// # Errors
    /// There is no such credential.
    fn verify_hash(&mut self, digest: Digest, pieces: &[Piece], expected: &[u8]) -> Result<bool, String>;
    /// # Errors
    /// There is no such credential.
    fn verify_hmac_sha256(&mut self, credential: &str, data: &[u8], signature: &[u8]) -> Result<bool, String>;
}

/// The host. What was emitted is stated in batches, the last of them at the end of [`HostHub::run`]: a call that fails keeps it to
/// itself. Warns as often as helps anybody.
pub struct HostHub(Emitter<fn(&[Draft])>, Warnings);

impl HostHub {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Emitter::host(), Warnings::default())
    }

    /// Runs a whole entry.
    ///
    /// # Errors
    /// Those of the entry.
    pub fn run<T, E: Into<Failure>>(entry: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, Failure> {
        let mut hub = Self::new();
        let done = entry(&mut hub).map_err(Into::into)?;
        hub.0.finish();
        Ok(done)
    }
}

impl Sink for HostHub {
    fn emit(&mut self, draft: Draft) {
        self.0.push(draft);
    }

    fn warn(&mut self, text: &str) {
        self.1.write(text);
    }

    fn leave_out(&mut self, entry: Rejection) {
        messages::leave_out(&entry);
    }
}

impl Store for HostHub {
    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        HostStore.get(key)
    }

    fn set(&mut self, key: &str, value: Vec<u8>) {
        HostStore.set(key, value);
    }

    fn delete(&mut self, key: &str) {
        HostStore.delete(key);
    }
}

impl Hub for HostHub {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn random(&mut self, bytes: u32) -> Vec<u8> {
        random::bytes(bytes)
    }

    fn info(&mut self, text: &str) {
        log::write(log::Level::Info, text);
    }

    fn lookup(&self, id: &str) -> Option<Message> {
        messages::lookup(id)
    }

    fn ask(&mut self, question: &Draft, deadline_ms: u32) -> Result<Message, AskError> {
        messages::ask(question, deadline_ms)
    }

    fn send(&mut self, request: &Request) -> Result<Response, HttpError> {
        http::send(request)
    }

    fn send_idempotent(&mut self, request: &Request) -> Result<Response, HttpError> {
        http::send_idempotent(request)
    }

    fn nothing_done(&mut self) {
        http::nothing_done();
    }

    fn hash(&mut self, digest: Digest, pieces: &[Piece]) -> Result<Vec<u8>, String> {
        credentials::hash(digest, pieces)
    }

    fn verify_hash(&mut self, digest: Digest, pieces: &[Piece], expected: &[u8]) -> Result<bool, String> {
        credentials::verify_hash(digest, pieces, expected)
    }

    fn verify_hmac_sha256(&mut self, credential: &str, data: &[u8], signature: &[u8]) -> Result<bool, String> {
        credentials::verify_hmac_sha256(credential, data, signature)
    }
}
