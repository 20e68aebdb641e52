//! Bank statements, notifications and payment orders of ISO 20022: glue between the host, [`mapping`] and [`orders`].

pub mod amount;
pub mod charges;
pub mod entry;
pub mod identity;
pub mod leaves;
pub mod mapping;
pub mod orders;
pub mod payment;
pub mod returns;
pub mod settings;
pub mod statement;

use crate::settings::Settings;
use busbar_sdk::xml::Xml;
use busbar_sdk::{Failure, HostHub, Message, log, output, settings};

busbar_sdk::adapter! { decode: decode, encode: encode }

fn decode() -> Result<(), Failure> {
    let settings = Settings::compiled(settings()?)?;
    HostHub::run(|hub| mapping::decode(&settings, &mut Xml::of_input(), hub))
}

fn encode(messages: Vec<Message>) -> Result<String, Failure> {
    let settings = Settings::compiled(settings()?)?;
    let file = orders::file(&messages)?;
    for text in &file.warnings {
        log::write(log::Level::Warn, text);
    }
    file.write(&settings, output::write);
    Ok(file.name(&settings))
}
