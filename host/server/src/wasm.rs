//! Adapters: WASM components with every effect behind the host.

pub mod bindings;
mod cache;
pub mod compile;
mod credentials;
mod effects;
mod engine;
mod entry;
mod host;
mod http;
pub mod inspect;
mod load;
mod needs;
mod run;
mod session;
mod state;
mod warm;

pub use cache::Cache;
pub(crate) use cache::hex;
pub use compile::Compiler;
pub use credentials::{base64_key, hmac_sha256};
pub use effects::{AskFailure, Effects};
pub(crate) use engine::MEMORY_BYTES_MAX;
pub use engine::Runtime;
pub use entry::Entry;
pub(crate) use host::{RESERVED, rfc3339};
pub(crate) use http::show_request;
pub use load::Loaded;
pub use needs::Needs;
pub use run::{answer, decode, deliver, encode, poll, receive};
pub use session::{Piece, Session, SessionEvent, SessionStep, Settled};
pub use state::SystemSpec;
pub use warm::Caller;
