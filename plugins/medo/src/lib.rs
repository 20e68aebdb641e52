//! Documents and notices of МЭДО: glue between the host and [`mapping`], [`encode`].

pub mod encode;
pub mod mapping;
pub mod model;
pub mod words;

use busbar_sdk::{Failure, HostHub, Message, input, output, settings};

busbar_sdk::adapter! { decode: decode, encode: encode }

fn decode() -> Result<(), Failure> {
    let settings = settings()?;
    HostHub::run(|hub| mapping::decode(&settings, input::read, hub))
}

fn encode(messages: Vec<Message>) -> Result<String, Failure> {
    encode::encode(&settings()?, &messages, output::write)
}
