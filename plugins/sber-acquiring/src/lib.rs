//! Sber's internet acquiring: glue between the host and [`mapping`], [`orders`].

pub mod mapping;
pub mod orders;
pub mod settings;

use busbar_sdk::http::{self, Authorization, HttpError, Request, Response};
use busbar_sdk::memory::HostStore;
use busbar_sdk::{
    Draft, Failure, Header, HookRequest, HookResponse, Message, Polled, clock, credentials, log, messages,
};
use settings::Settings;

busbar_sdk::adapter! { deliver: deliver, receive: receive, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    let settings = settings()?;
    let mut host = Host { base_url: &settings.base_url, login: settings.login()?.to_vec() };
    orders::deliver(&settings, &message, &mut HostStore, &mut host)
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    let settings = settings()?;
    mapping::handle(&settings, &request, &mut Host { base_url: &settings.base_url, login: Vec::new() })
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    let settings = settings()?;
    let mut host = Host { base_url: &settings.base_url, login: settings.login()?.to_vec() };
    orders::poll(&settings, cursor.as_deref(), &mut HostStore, &mut host)
}

fn settings() -> Result<Settings, Failure> {
    Settings::compiled(busbar_sdk::settings()?)
}

/// Five of them fit into a call.
const TIMEOUT_MS: u32 = 5_000;

struct Host<'a> {
    base_url: &'a str,
    login: Vec<(String, String)>,
}

impl mapping::Hub for Host<'_> {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn verify(&self, credential: &str, data: &[u8], signature: &[u8]) -> Result<bool, String> {
        credentials::verify_hmac_sha256(credential, data, signature)
    }

    // An order of one number is registered once, a status only looked at.
    fn post(&mut self, path: &str, form: String) -> Result<Response, HttpError> {
        let kind = "application/x-www-form-urlencoded".to_owned();
        http::send_idempotent(&Request {
            method: "POST".to_owned(),
            url: format!("{}{path}", self.base_url),
            headers: vec![Header { name: "content-type".to_owned(), value: kind }],
            body: form.into_bytes(),
            authorization: Some(Authorization::Parameters(self.login.clone())),
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
