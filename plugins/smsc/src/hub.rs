//! What the adapter needs of the hub.

use busbar_sdk::credentials::Digest;
use busbar_sdk::http::{HttpError, Response};
use busbar_sdk::log::Level;
use busbar_sdk::memory::Store;
use busbar_sdk::{Draft, Rejection};

pub trait Hub: Store {
    fn now_ms(&self) -> u64;
    /// A form to a page of the API, with login and password or key. Within a delivery it is sent once, unless it is `repeatable`; and
    /// later attempts get the answer that came, unless nothing was done by it.
    fn post(&mut self, page: &str, form: Vec<u8>, repeatable: bool) -> Result<Response, HttpError>;
    /// Says that of the last answer.
    fn nothing_done(&mut self);
    /// Whether `expected` is the hash of `plain` and the secret after it.
    fn verify(&self, digest: Digest, plain: &[u8], secret: &str, expected: &[u8]) -> Result<bool, String>;
    /// Whether the text is the secret.
    fn is_secret(&self, text: &[u8], secret: &str) -> Result<bool, String>;
    /// Whether this system has stated a message of this id.
    fn is_known(&self, id: &str) -> bool;
    fn emit(&mut self, draft: Draft);
    /// One entry that is not taken, while the others are.
    fn leave_out(&mut self, entry: Rejection);
    fn note(&mut self, level: Level, text: &str);
}
