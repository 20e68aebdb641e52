//! УПД and УКД: glue between the host and [`mapping`], [`encode`].

pub mod amounts;
pub mod encode;
pub mod kinds;
pub mod mapping;
pub mod party;
pub mod settings;

use busbar_sdk::{Failure, Message, input, log, messages, output, settings as host_settings};

busbar_sdk::adapter! { decode: decode, encode: encode }

fn decode() -> Result<(), Failure> {
    messages::emit(&[mapping::decode(&host_settings()?, input::read, &mut |text| log::write(log::Level::Warn, text))?]);
    Ok(())
}

fn encode(messages: Vec<Message>) -> Result<String, Failure> {
    encode::encode(&host_settings()?, &messages, output::write)
}
