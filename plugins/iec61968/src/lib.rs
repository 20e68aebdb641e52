//! IEC 61968-9 messages: glue between the host and [`mapping`].

pub mod events;
pub mod mapping;
pub mod message;
pub mod readings;

use busbar_sdk::xml::Xml;
use busbar_sdk::{Draft, Emitter, Failure, HookRequest, HookResponse, Warnings, settings};

busbar_sdk::adapter! { decode: decode, receive: receive }

fn decode() -> Result<(), Failure> {
    let mut emitter = Emitter::host();
    mapping::decode(
        &settings()?,
        &mut Xml::of_input(),
        &mut Host { emitter: &mut emitter, warnings: Warnings::default() },
    )?;
    emitter.finish();
    Ok(())
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    let mut emitter = Emitter::host();
    let response =
        mapping::receive(&settings()?, &request, &mut Host { emitter: &mut emitter, warnings: Warnings::default() });
    emitter.finish();
    Ok(response)
}

struct Host<'a> {
    emitter: &'a mut Emitter<fn(&[Draft])>,
    warnings: Warnings,
}

impl mapping::Output for Host<'_> {
    fn emit(&mut self, draft: Draft) {
        self.emitter.push(draft);
    }

    fn warn(&mut self, text: &str) {
        self.warnings.write(text);
    }
}
