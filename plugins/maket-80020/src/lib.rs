//! Metering in the exchange format 80020: glue between the host and [`mapping`], [`encode`].

pub mod document;
pub mod encode;
pub mod mapping;
pub mod period;
pub mod receipt;

use busbar_sdk::{Failure, HostHub, Message, input, output, settings};

busbar_sdk::adapter! { decode: decode, encode: encode }

fn decode() -> Result<(), Failure> {
    let settings = settings()?;
    HostHub::run(|hub| mapping::decode(&settings, &input::describe().name, input::read, hub))
}

fn encode(messages: Vec<Message>) -> Result<String, Failure> {
    encode::encode(&settings()?, &messages, output::write)
}
