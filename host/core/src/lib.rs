//! busbar's rules. Decides, never acts: no socket, no clock, no database, no wasmtime.
//!
//! A message enters as a [`Message`], [`Rules::admit`] checks it against its schema and plans its
//! deliveries, [`Lanes`] says which delivery may run next, [`outcome::decide`] what follows from how
//! it ended. The world is reached through the traits of [`ports`]; [`fakes`] implements them in memory.

mod acks;
mod admit;
pub mod audit;
mod calls;
mod cause;
mod chain;
pub mod commit;
mod data;
pub mod engine;
mod entries;
mod error;
pub mod fakes;
mod fakes_journal;
mod fakes_store;
pub mod files;
mod intakes;
mod journal;
mod json;
mod lanes;
pub mod leases;
mod marks;
mod message;
pub mod mutant;
pub mod outcome;
pub mod ports;
pub mod record;
mod route;
mod schema;
#[cfg(feature = "simulation")]
pub mod simulation;
mod stated;
pub mod statistics;
mod typed;

pub use acks::{Ack, Acks};
pub use admit::Rules;
pub use audit::{AuditEntry, AuditFilter, AuditRecord, Decider, Deed, Hold, Pause};
pub use calls::{Call, CallKind, CallOutcome};
pub use cause::{Cause, FailureFilter, FailureGroup, answer_of, cause_text, parse_cause};
pub use chain::{CHAIN, chain};
pub use data::Data;
pub use entries::{Origin, id_of_its_own};
pub use error::{
    ALL as ALL_CODES, Class, Code, DETAIL_BYTES_MAX, ErrorRecord, PLACE_BYTES_MAX, Problem, Text, cut, visible,
};
pub use intakes::*;
pub use journal::*;
pub use json::{in_json, parse_json};
pub use lanes::{Job, Lanes, Refill};
pub use marks::Marks;
pub use message::{Message, Payload, valid_type};
pub use outcome::{CODE_BYTES_MAX, Failure, Next, Policy, Rejection};
pub use route::{Expr, Route};
pub use schema::Catalog;
pub use stated::{StatedBy, Stater, covers};
pub use typed::{Mistake, Wanted};
