//! Callbacks of Sber's internet acquiring: glue between the host and [`mapping`].

pub mod mapping;

use busbar_sdk::{Draft, Failure, HookRequest, HookResponse, Message, clock, credentials, log, messages, settings};
use mapping::Settings;

busbar_sdk::adapter! { receive: receive }

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    mapping::handle(&Settings::compiled(settings()?)?, &request, &mut Host)
}

struct Host;

impl mapping::Hub for Host {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn verify(&self, credential: &str, data: &[u8], signature: &[u8]) -> Result<bool, String> {
        credentials::verify_hmac_sha256(credential, data, signature)
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
}
