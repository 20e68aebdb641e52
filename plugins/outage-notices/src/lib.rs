//! Outages -> notifications of those whom they concern: glue between the host and [`mapping`].

pub mod mapping;

use busbar_sdk::messages::{self, AskError};
use busbar_sdk::{Draft, Failure, Message, clock, log, settings};

busbar_sdk::adapter! { deliver: deliver }

fn deliver(message: Message) -> Result<(), Failure> {
    mapping::notify(&settings()?, &message, &mut Host)
}

struct Host;

impl mapping::Hub for Host {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn ask(&mut self, question: &Draft, deadline_ms: u32) -> Result<Message, AskError> {
        messages::ask(question, deadline_ms)
    }

    fn emit(&mut self, drafts: &[Draft]) {
        messages::emit(drafts);
    }

    fn info(&mut self, text: &str) {
        log::write(log::Level::Info, text);
    }
}
