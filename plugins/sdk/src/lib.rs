//! What every Rust adapter of busbar shares.
//!
//! The types and host functions are generated from `wit/v1` ([`bindings`]) and re-exported under
//! short names; the other modules hold what more than one adapter needs. Everything outside
//! [`bindings`] and the host-calling helpers ([`HostHub`], [`settings`], [`Emitter::host`],
//! [`Warnings`], [`memory::HostStore`], [`Lines::of_input`], [`xml::Xml::of_input`], [`xml::XmlWriter::of_output`], the macro [`adapter!`]) is pure
//! and runs natively in unit tests. What asks the hub takes a [`Hub`]: [`HostHub`] in the component, [`TestHub`] in a test.

pub mod acquiring;
pub mod bindings;
pub mod calls;
pub mod cim;
mod connection;
mod control;
pub mod dates;
pub mod decimal;
pub mod dialling;
pub mod documents;
mod emit;
pub mod encoding;
pub mod exchange;
mod failures;
pub mod form;
#[cfg(target_arch = "wasm32")]
mod heap;
pub mod hex;
pub mod hub;
pub mod ids;
mod lines;
pub mod loose;
pub mod memory;
pub mod money;
pub mod mutations;
pub mod orders;
mod pending;
pub mod phones;
pub mod purpose;
pub mod readings;
pub mod replies;
mod settings;
mod shards;
pub mod sms;
pub mod template;
pub mod test_hub;
pub mod texts;
mod utf16;
pub mod waiting;
mod warnings;
pub mod xml;
#[cfg(feature = "zip")]
pub mod zip;

pub use bindings::busbar::adapter::types::{Delay, Draft, Failure, Header, Message, Rejection};
pub use bindings::busbar::adapter::{clock, config, credentials, http, input, log, messages, output, random, state};
pub use bindings::poll::exports::busbar::adapter::poll::Polled;
pub use bindings::receive::exports::busbar::adapter::receive::{Request as HookRequest, Response as HookResponse};
pub use connection::{Session, SessionCell, Settled, Step, read_on};
pub use control::Control;
pub use emit::{BATCH_DRAFTS, Emitter, leave_out_unfit};
pub use failures::{data_of, draft, header, rejected, rejection, transient};
pub use hub::{HostHub, Hub, Sink};
pub use lines::{Line, Lines, MAX_LINE_BYTES};
pub use pending::Pending;
pub use settings::{parse_settings, settings};
pub use shards::Shards;
pub use test_hub::TestHub;
pub use utf16::Utf16;
pub use warnings::Warnings;

/// Makes a component of plain functions: one for each export of the adapter.
///
/// ```ignore
/// busbar_sdk::adapter! { deliver: deliver, receive: receive }
///
/// fn deliver(message: busbar_sdk::Message) -> Result<(), busbar_sdk::Failure> { … }
/// ```
///
/// The exports exist on wasm only: a native linker does not accept their names.
///
/// | entry | function |
/// |---|---|
/// | `deliver` | `fn(Message) -> Result<(), Failure>` |
/// | `receive` | `fn(HookRequest) -> Result<HookResponse, Failure>` |
/// | `poll` | `fn(Option<Vec<u8>>) -> Result<Polled, Failure>` |
/// | `decode` | `fn() -> Result<(), Failure>` |
/// | `encode` | `fn(Vec<Message>) -> Result<String, Failure>` |
/// | `answer` | `fn(Message) -> Result<Draft, Failure>` |
/// | `connection` | a type that is a [`Session`] |
#[macro_export]
macro_rules! adapter {
    ($($entry:ident: $function:path),+ $(,)?) => {
        #[doc(hidden)]
        pub struct Adapter;
        $($crate::adapter_entry!($entry, $function, Adapter);)+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! adapter_entry {
    (deliver, $function:path, $adapter:ident) => {
        impl $crate::bindings::deliver::exports::busbar::adapter::deliver::Guest for $adapter {
            fn deliver(message: $crate::Message) -> Result<(), $crate::Failure> {
                $function(message)
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::deliver::export_deliver!($adapter);
    };
    (receive, $function:path, $adapter:ident) => {
        impl $crate::bindings::receive::exports::busbar::adapter::receive::Guest for $adapter {
            fn receive(request: $crate::HookRequest) -> Result<$crate::HookResponse, $crate::Failure> {
                $function(request)
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::receive::export_receive!($adapter);
    };
    (decode, $function:path, $adapter:ident) => {
        impl $crate::bindings::decode::exports::busbar::adapter::decode::Guest for $adapter {
            fn decode() -> Result<(), $crate::Failure> {
                $function()
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::decode::export_decode!($adapter);
    };
    (poll, $function:path, $adapter:ident) => {
        impl $crate::bindings::poll::exports::busbar::adapter::poll::Guest for $adapter {
            fn poll(cursor: Option<Vec<u8>>) -> Result<$crate::Polled, $crate::Failure> {
                $function(cursor)
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::poll::export_poll!($adapter);
    };
    (encode, $function:path, $adapter:ident) => {
        impl $crate::bindings::encode::exports::busbar::adapter::encode::Guest for $adapter {
            fn encode(messages: Vec<$crate::Message>) -> Result<String, $crate::Failure> {
                $function(messages)
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::encode::export_encode!($adapter);
    };
    (connection, $session:path, $adapter:ident) => {
        impl $crate::bindings::connection::exports::busbar::adapter::connection::Guest for $adapter {
            type Session = $crate::SessionCell<$session>;
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::connection::export_connection!($adapter);
    };
    (answer, $function:path, $adapter:ident) => {
        impl $crate::bindings::answer::exports::busbar::adapter::answer::Guest for $adapter {
            fn answer(question: $crate::Message) -> Result<$crate::Draft, $crate::Failure> {
                $function(question)
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::answer::export_answer!($adapter);
    };
}
