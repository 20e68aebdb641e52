//! Outages as CIM messages: glue between the host and [`mapping`].

pub mod document;
pub mod mapping;
pub mod outage;

use busbar_sdk::{Emitter, Failure, HookRequest, HookResponse, HostHub, input, settings};

busbar_sdk::adapter! { decode: decode, receive: receive }

fn decode() -> Result<(), Failure> {
    let settings = settings()?;
    HostHub::run(|hub| mapping::decode(&settings, &mut input::read, hub))
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    let (response, drafts) = mapping::receive(&settings()?, &request);
    let mut emitter = Emitter::host();
    drafts.into_iter().for_each(|draft| emitter.push(draft));
    emitter.finish();
    Ok(response)
}
