//! Payment QR codes: glue between the host and [`mapping`].

pub mod code;
pub mod mapping;

use busbar_sdk::{Failure, HostHub, Lines, Message, data_of, log, messages, settings};
use mapping::Settings;

busbar_sdk::adapter! { deliver: deliver, decode: decode }

fn deliver(message: Message) -> Result<(), Failure> {
    let settings: Settings = settings()?;
    match mapping::link(&settings, &data_of(&message)?)? {
        Some(draft) => messages::emit(&[busbar_sdk::Draft { time: message.time, ..draft }]),
        None => log::write(log::Level::Info, &format!("invoice {}: nothing to pay, no code is made", message.id)),
    }
    Ok(())
}

fn decode() -> Result<(), Failure> {
    let settings: Settings = settings()?;
    HostHub::run(|hub| mapping::decode(&settings, &mut Lines::of_input(), hub))
}
