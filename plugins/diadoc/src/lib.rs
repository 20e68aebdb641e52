//! Контур.Диадок: glue between the host and [`poll`] and [`deliver`].

pub mod api;
pub mod deliver;
pub mod mapping;
pub mod poll;
pub mod settings;
pub mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use busbar_sdk::credentials::{self, Digest, Piece};
use busbar_sdk::http::{self, HttpError, Request, Response};
use busbar_sdk::{Draft, Failure, Message, Polled, Rejection, clock, log, messages, settings};

busbar_sdk::adapter! { deliver: deliver, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    deliver::deliver(&settings()?, &message, &mut Host::default())
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    poll::poll(&settings()?, cursor.as_deref(), &mut Host::default())
}

/// With the ids of what this call stated: the host looks up what was stated earlier.
#[derive(Default)]
struct Host {
    stated: BTreeSet<String>,
}

impl api::Hub for Host {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn send(&mut self, request: &Request) -> Result<Response, HttpError> {
        http::send_idempotent(request)
    }

    fn nothing_done(&mut self) {
        http::nothing_done();
    }

    fn is_sha256(&self, content: &[u8], digest: &[u8]) -> Result<bool, String> {
        credentials::verify_hash(Digest::Sha256, &[Piece::Plain(content.to_vec())], digest)
    }

    fn emit(&mut self, drafts: Vec<Draft>) {
        self.stated.extend(drafts.iter().map(|draft| draft.id.clone()));
        messages::emit(&drafts);
    }

    fn is_stated(&self, id: &str) -> bool {
        self.stated.contains(id) || messages::lookup(id).is_some()
    }

    fn leave_out(&mut self, entry: Rejection) {
        messages::leave_out(&entry);
    }

    fn note(&mut self, level: log::Level, text: &str) {
        log::write(level, text);
    }
}
