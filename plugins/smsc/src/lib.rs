//! Short messages through SMSC.ru: glue between the host and [`deliver`], [`receive`] and [`poll`].

pub mod answer;
pub mod deliver;
pub mod hub;
pub mod mapping;
pub mod poll;
pub mod receipt;
pub mod receive;
#[cfg(test)]
mod tests;

use busbar_sdk::credentials::{self, Digest, Piece};
use busbar_sdk::http::{self, Authorization, HttpError, Request, Response};
use busbar_sdk::memory::{HostStore, Store};
use busbar_sdk::{
    Draft, Failure, Header, HookRequest, HookResponse, Message, Polled, Rejection, clock, log, messages, settings,
};
use mapping::Settings;

busbar_sdk::adapter! { deliver: deliver, receive: receive, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    let settings = settings()?;
    deliver::deliver(&settings, &message, &mut Host(&settings))
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    let settings = settings()?;
    receive::receive(&settings, &request, &mut Host(&settings))
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    let settings = settings()?;
    poll::poll(&settings, cursor.as_deref(), &mut Host(&settings))
}

struct Host<'a>(&'a Settings);

impl Store for Host<'_> {
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

impl hub::Hub for Host<'_> {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn post(&mut self, page: &str, form: Vec<u8>, repeatable: bool) -> Result<Response, HttpError> {
        let kind = "application/x-www-form-urlencoded".to_owned();
        let request = Request {
            method: "POST".to_owned(),
            url: format!("{}/{page}", self.0.base_url()),
            headers: vec![Header { name: "content-type".to_owned(), value: kind }],
            body: form,
            authorization: Some(Authorization::Parameters(self.0.credentials())),
            timeout_ms: None,
        };
        if repeatable { http::send_idempotent(&request) } else { http::send(&request) }
    }

    fn nothing_done(&mut self) {
        http::nothing_done();
    }

    fn verify(&self, digest: Digest, plain: &[u8], secret: &str, expected: &[u8]) -> Result<bool, String> {
        credentials::verify_hash(digest, &[Piece::Plain(plain.to_vec()), Piece::Secret(secret.to_owned())], expected)
    }

    fn is_secret(&self, text: &[u8], secret: &str) -> Result<bool, String> {
        let expected = credentials::hash(Digest::Sha256, &[Piece::Plain(text.to_vec())])?;
        credentials::verify_hash(Digest::Sha256, &[Piece::Secret(secret.to_owned())], &expected)
    }

    fn is_known(&self, id: &str) -> bool {
        messages::lookup(id).is_some()
    }

    fn emit(&mut self, draft: Draft) {
        messages::emit(&[draft]);
    }

    fn leave_out(&mut self, entry: Rejection) {
        messages::leave_out(&entry);
    }

    fn note(&mut self, level: log::Level, text: &str) {
        log::write(level, text);
    }
}
