//! ЮKassa: glue between the host and [`hub`], [`mapping`], [`order`] and [`poll`].

pub mod hub;
pub mod mapping;
pub mod order;
pub mod poll;

use busbar_sdk::http::{self, Authorization, HttpError, Request, Response};
use busbar_sdk::{
    Draft, Failure, Header, HookRequest, HookResponse, Message, Polled, Rejection, clock, log, messages, settings,
};
use mapping::Settings;

busbar_sdk::adapter! { deliver: deliver, receive: receive, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    let settings = settings()?;
    hub::deliver(&settings, &message, &mut Host(&settings))
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    let settings = settings()?;
    hub::receive(&settings, &request, &mut Host(&settings))
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    let settings = settings()?;
    poll::poll(&settings, cursor.as_deref(), &mut Host(&settings))
}

struct Host<'a>(&'a Settings);

impl Host<'_> {
    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Request {
        let header = |(name, value): &(&str, &str)| Header { name: (*name).to_owned(), value: (*value).to_owned() };
        Request {
            method: method.to_owned(),
            url: format!("{}{path}", self.0.base_url),
            headers: headers.iter().map(header).collect(),
            body,
            authorization: Some(Authorization::Basic(self.0.credential.clone())),
            timeout_ms: None,
        }
    }
}

impl hub::Hub for Host<'_> {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn get(&mut self, path: &str) -> Result<Response, HttpError> {
        http::send(&self.request("GET", path, &[("accept", "application/json")], Vec::new()))
    }

    // The far end knows the key: sent again, it is the same payment.
    fn post(&mut self, path: &str, key: &str, body: Vec<u8>) -> Result<Response, HttpError> {
        let headers = [("accept", "application/json"), ("content-type", "application/json"), ("idempotence-key", key)];
        http::send_idempotent(&self.request("POST", path, &headers, body))
    }

    fn lookup(&self, id: &str) -> Option<Message> {
        messages::lookup(id)
    }

    fn emit(&mut self, draft: Draft) {
        messages::emit(&[draft]);
    }

    fn leave_out(&mut self, entry: &Rejection) {
        messages::leave_out(entry);
    }

    fn note(&mut self, text: &str) {
        log::write(log::Level::Info, text);
    }
}
