//! Контур.Диадок: glue between the host and [`poll`] and [`deliver`].

pub mod api;
pub mod deliver;
pub mod mapping;
pub mod poll;
pub mod settings;
#[cfg(test)]
mod tests;

use busbar_sdk::credentials::{self, Digest, Piece};
use busbar_sdk::http::{self, HttpError, Request, Response};
use busbar_sdk::{Draft, Failure, Message, Polled, clock, log, messages, settings};

busbar_sdk::adapter! { deliver: deliver, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    deliver::deliver(&settings()?, &message, &mut Host)
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    poll::poll(&settings()?, cursor.as_deref(), &mut Host)
}

struct Host;

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
        messages::emit(&drafts);
    }

    fn note(&mut self, level: log::Level, text: &str) {
        log::write(level, text);
    }
}
