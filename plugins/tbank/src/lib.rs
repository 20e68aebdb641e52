//! T-Bank's internet acquiring: glue between the host and [`hub`], [`mapping`].

pub mod hub;
pub mod mapping;

use busbar_sdk::credentials::{self, Digest, Piece};
use busbar_sdk::http::{self, HttpError, Request, Response};
use busbar_sdk::memory::HostStore;
use busbar_sdk::{Draft, Failure, Header, HookRequest, HookResponse, Message, Polled, clock, log, messages, settings};
use mapping::Settings;

busbar_sdk::adapter! { deliver: deliver, receive: receive, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    let settings = Settings::compiled(settings()?)?;
    hub::deliver(&settings, &message, &mut HostStore, &mut Host(&settings))
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    let settings = Settings::compiled(settings()?)?;
    hub::receive(&settings, &request, &mut HostStore, &mut Host(&settings))
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    let settings = Settings::compiled(settings()?)?;
    hub::poll(&settings, cursor.as_deref(), &mut HostStore, &mut Host(&settings))
}

/// Five of them fit into a call.
const TIMEOUT_MS: u32 = 5_000;

struct Host<'a>(&'a Settings);

impl hub::Hub for Host<'_> {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn hash(&self, pieces: &[Piece]) -> Result<Vec<u8>, String> {
        credentials::hash(Digest::Sha256, pieces)
    }

    fn verify(&self, pieces: &[Piece], hash: &[u8]) -> Result<bool, String> {
        credentials::verify_hash(Digest::Sha256, pieces, hash)
    }

    // An order is made once, a state only looked at.
    fn post(&mut self, path: &str, body: Vec<u8>) -> Result<Response, HttpError> {
        let header = Header { name: "content-type".to_owned(), value: "application/json".to_owned() };
        http::send_idempotent(&Request {
            method: "POST".to_owned(),
            url: format!("{}{path}", self.0.base_url),
            headers: vec![header],
            body,
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
