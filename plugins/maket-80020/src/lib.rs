//! Metering in the exchange format 80020: glue between the host and [`mapping`], [`encode`].

pub mod document;
pub mod encode;
pub mod mapping;
pub mod period;
pub mod receipt;

use busbar_sdk::{Draft, Emitter, Failure, Message, Rejection, Warnings, clock, input, messages, output, settings};

busbar_sdk::adapter! { decode: decode, encode: encode }

fn decode() -> Result<(), Failure> {
    let settings: mapping::Settings = settings()?;
    let mut emitter = Emitter::host();
    let mut host = Host { emitter: &mut emitter, warnings: Warnings::default() };
    mapping::decode(&settings, &input::describe().name, input::read, &mut host)?;
    emitter.finish();
    Ok(())
}

fn encode(messages: Vec<Message>) -> Result<String, Failure> {
    encode::encode(&settings()?, &messages, output::write)
}

struct Host<'a> {
    emitter: &'a mut Emitter<fn(&[Draft])>,
    warnings: Warnings,
}

impl mapping::Host for Host<'_> {
    fn emit(&mut self, draft: Draft) {
        self.emitter.push(draft);
    }

    fn warn(&mut self, text: &str) {
        self.warnings.write(text);
    }

    fn leave_out(&mut self, entry: Rejection) {
        messages::leave_out(&entry);
    }

    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }
}
