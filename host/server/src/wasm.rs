//! Adapters: WASM components with every effect behind the host.

pub mod bindings;
mod cache;
mod effects;
mod engine;
mod host;
pub mod inspect;
mod load;
mod run;
mod state;

pub use cache::Cache;
pub use effects::{AskFailure, Authorization, Effects, HttpFailure, HttpRequest, HttpResponse};
pub(crate) use engine::MEMORY_BYTES_MAX;
pub use engine::Runtime;
pub(crate) use host::{rfc3339, show_request};
pub use load::{Entry, Loaded};
pub use run::{Caller, answer, decode, deliver, receive};
pub use state::SystemSpec;
