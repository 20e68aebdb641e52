//! Bank statements and payment orders in the 1CClientBankExchange format: glue between the host, [`mapping`] and [`orders`].

pub mod document;
pub mod mapping;
pub mod orders;
pub mod section;
pub mod settings;

use crate::settings::Settings;
use busbar_sdk::{Failure, HostHub, Lines, Message, log, output, settings};

busbar_sdk::adapter! { decode: decode, encode: encode }

fn decode() -> Result<(), Failure> {
    let settings = Settings::compiled(settings()?)?;
    HostHub::run(|hub| mapping::decode(&settings, &mut Lines::of_input(), hub))
}

fn encode(messages: Vec<Message>) -> Result<String, Failure> {
    let settings = Settings::compiled(settings()?)?;
    let file = orders::file(&settings, &messages)?;
    for text in &file.warnings {
        log::write(log::Level::Warn, text);
    }
    file.write(&settings, output::write);
    Ok(file.name(&settings))
}
