//! IEC 61968-9 messages: glue between the host and [`mapping`].

pub mod events;
pub mod mapping;
pub mod message;
pub mod reading;
pub mod readings;

use busbar_sdk::xml::Xml;
use busbar_sdk::{Failure, HookRequest, HookResponse, HostHub, settings};

busbar_sdk::adapter! { decode: decode, receive: receive }

fn decode() -> Result<(), Failure> {
    let settings = settings()?;
    HostHub::run(|hub| mapping::decode(&settings, &mut Xml::of_input(), hub))
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    HostHub::run(|hub| Ok::<_, Failure>(mapping::receive(&settings()?, &request, hub)))
}
