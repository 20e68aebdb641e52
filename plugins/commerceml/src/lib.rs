//! CommerceML 2: glue between the host and [`mapping`], [`outgoing`], [`writing`] and [`exchange`].

pub mod exchange;
pub mod mapping;
pub mod outgoing;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod waiting;
pub mod writing;

use busbar_sdk::encoding::Encoding;
use busbar_sdk::memory::HostStore;
use busbar_sdk::xml::{Xml, XmlWriter};
use busbar_sdk::{Failure, HookRequest, HookResponse, HostHub, Message, messages, random, settings as host_settings};
use settings::Settings;

busbar_sdk::adapter! { decode: decode, deliver: deliver, encode: encode, receive: receive }

fn decode() -> Result<(), Failure> {
    let settings: Settings = host_settings()?;
    HostHub::run(|hub| mapping::decode(&settings, &mut Xml::of_input(), hub))
}

fn encode(messages: Vec<Message>) -> Result<String, Failure> {
    let settings: Settings = host_settings()?;
    let documents = writing::documents(&settings, &messages)?;
    Ok(writing::write(&documents, XmlWriter::of_output(Encoding::Utf8)))
}

/// Kept until 1C fetches it.
fn deliver(message: Message) -> Result<(), Failure> {
    let settings: Settings = host_settings()?;
    waiting::keep(&settings, &mut HostStore, &outgoing::document(&settings, &message, "")?)
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    let settings: Settings = host_settings()?;
    let mut drafts = Vec::new();
    let response = exchange::handle(&settings, &request, &mut HostStore, &|| random::bytes(16), &mut drafts);
    messages::emit(&drafts);
    Ok(response)
}
