//! Documents and notices of МЭДО: glue between the host and [`mapping`], [`encode`].

pub mod encode;
pub mod mapping;
pub mod model;
pub mod words;

use busbar_sdk::{Draft, Emitter, Failure, Message, input, log, output, settings};

busbar_sdk::adapter! { decode: decode, encode: encode }

fn decode() -> Result<(), Failure> {
    let mut host = Host { emitter: Emitter::host() };
    mapping::decode(&settings()?, input::read, &mut host)?;
    host.emitter.finish();
    Ok(())
}

fn encode(messages: Vec<Message>) -> Result<String, Failure> {
    encode::encode(&settings()?, &messages, output::write)
}

struct Host {
    emitter: Emitter<fn(&[Draft])>,
}

impl mapping::Output for Host {
    fn emit(&mut self, draft: Draft) {
        self.emitter.push(draft);
    }

    fn warn(&mut self, text: &str) {
        log::write(log::Level::Warn, text);
    }
}
