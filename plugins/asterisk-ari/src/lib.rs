//! Calls of Asterisk by its REST interface: glue between the host and [`session`].

pub mod mapping;
pub mod session;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod websocket;

use busbar_sdk::calls::HostHub;
use busbar_sdk::credentials::{self, Digest, Piece};
use busbar_sdk::http::{self, Authorization, HttpError, Request, Response};
use busbar_sdk::memory::HostStore;
use busbar_sdk::{Failure, Header, Message, Session, Settled, Step, clock, random, settings};

use crate::session::{Ari, Host};
use crate::settings::Link;

busbar_sdk::adapter! { connection: AsteriskAri }

#[derive(Default)]
pub struct AsteriskAri {
    ari: Option<Ari>,
}

impl AsteriskAri {
    fn call(&mut self, run: impl FnOnce(&mut Ari, &mut HostHub) -> Result<Step, Failure>) -> Result<Step, Failure> {
        let mut host = HostHub::new();
        let ari = match &mut self.ari {
            Some(ari) => ari,
            empty => empty.insert(Ari::new(settings()?, &mut host, &mut HostStore)?),
        };
        let step = run(ari, &mut host)?;
        host.finish();
        Ok(step)
    }

    /// What a failed session believes known was not committed: the state tells.
    fn whole(&mut self, step: Result<Step, Failure>) -> Result<Step, Failure> {
        if step.is_err() {
            self.ari = None;
        }
        step
    }
}

impl Session for AsteriskAri {
    fn new() -> Self {
        Self::default()
    }

    fn connected(&mut self, _peer: &str) -> Result<Step, Failure> {
        self.call(|ari, host| ari.connected(clock::now_ms(), host))
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        let step = self.call(|ari, host| ari.bytes(bytes, clock::now_ms(), host, &mut HostStore));
        self.whole(step)
    }

    fn timer(&mut self) -> Result<Step, Failure> {
        let step = self.call(|ari, host| ari.timer(clock::now_ms(), host, &mut HostStore));
        self.whole(step)
    }

    fn message(&mut self, delivery: u64, message: Message, maybe_sent: bool) -> Result<Step, Failure> {
        self.call(|ari, host| ari.message(delivery, &message, maybe_sent, clock::now_ms(), host, &mut HostStore))
    }

    /// Each delivery has ended in its own call.
    fn disconnected(&mut self) -> Vec<Settled> {
        self.ari.iter_mut().for_each(Ari::disconnected);
        Vec::new()
    }
}

impl Host for HostHub {
    fn random(&mut self, bytes: u32) -> Vec<u8> {
        random::bytes(bytes)
    }

    fn sha1(&mut self, text: &str) -> Result<Vec<u8>, String> {
        credentials::hash(Digest::Sha1, &[Piece::Plain(text.as_bytes().to_vec())])
    }

    fn request(&mut self, link: &Link, method: &str, rest: &str, body: Vec<u8>) -> Result<Response, HttpError> {
        let is_json = !body.is_empty();
        let kind = Header { name: "content-type".to_owned(), value: "application/json".to_owned() };
        http::send(&Request {
            method: method.to_owned(),
            url: format!("{}{rest}", link.base_url.trim_end_matches('/')),
            headers: is_json.then_some(kind).into_iter().collect(),
            body,
            authorization: Some(Authorization::Basic(link.credential.clone())),
            timeout_ms: Some(link.timeout_s * 1000),
        })
    }
}
