//! Robokassa: glue between the host and [`hub`], [`mapping`].

pub mod hub;
pub mod mapping;
pub mod state;

use busbar_sdk::credentials::{self, Digest, Piece};
use busbar_sdk::http::{self, HttpError, Request, Response};
use busbar_sdk::memory::HostStore;
use busbar_sdk::{Draft, Failure, HookRequest, HookResponse, Message, Polled, clock, log, messages, settings};
use mapping::Settings;

busbar_sdk::adapter! { deliver: deliver, receive: receive, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    hub::deliver(&settings::<Settings>()?, &message, &mut HostStore, &mut Host)
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    hub::receive(&settings::<Settings>()?, &request, &mut Host)
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    hub::poll(&settings::<Settings>()?, cursor.as_deref(), &mut HostStore, &mut Host)
}

/// Five of them fit into a call.
const TIMEOUT_MS: u32 = 5_000;

struct Host;

impl hub::Hub for Host {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn hash(&self, digest: Digest, pieces: &[Piece]) -> Result<Vec<u8>, String> {
        credentials::hash(digest, pieces)
    }

    fn verify(&self, digest: Digest, pieces: &[Piece], hash: &[u8]) -> Result<bool, String> {
        credentials::verify_hash(digest, pieces, hash)
    }

    fn get(&mut self, url: &str) -> Result<Response, HttpError> {
        http::send(&Request {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            authorization: None,
            timeout_ms: Some(TIMEOUT_MS),
        })
    }

    fn lookup(&self, id: &str) -> Option<Message> {
        messages::lookup(id)
    }

    fn emit(&mut self, draft: Draft) {
        messages::emit(&[draft]);
    }

    fn note(&mut self, text: &str) {
        log::write(log::Level::Info, text);
    }

    fn warn(&mut self, text: &str) {
        log::write(log::Level::Warn, text);
    }
}
