//! Payment terminals by the OSMP protocol: glue between the host and [`mapping`].

pub mod mapping;
pub mod reply;
pub mod request;

use busbar_sdk::messages::{self, AskError};
use busbar_sdk::{Draft, Failure, HookRequest, HookResponse, Message, clock, log, settings};

busbar_sdk::adapter! { receive: receive }

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    Ok(mapping::handle(&settings()?, &request, &mut Host))
}

struct Host;

impl mapping::Hub for Host {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn lookup(&self, id: &str) -> Option<Message> {
        messages::lookup(id)
    }

    fn ask(&mut self, question: &Draft, deadline_ms: u32) -> Result<Message, AskError> {
        messages::ask(question, deadline_ms)
    }

    fn emit(&mut self, draft: Draft) {
        messages::emit(&[draft]);
    }

    fn warn(&mut self, text: &str) {
        log::write(log::Level::Warn, text);
    }
}
