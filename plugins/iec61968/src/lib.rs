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
    let mut sink = HostHub::new();
    let response = mapping::receive(&settings()?, &request, &mut sink);
    sink.finish();
    Ok(response)
}
