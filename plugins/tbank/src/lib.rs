//! T-Bank's internet acquiring: glue between the host and [`hub`], [`mapping`].

pub mod hub;
pub mod mapping;

use busbar_sdk::{Failure, HookRequest, HookResponse, HostHub, Message, Polled};
use mapping::Settings;

busbar_sdk::adapter! { deliver: deliver, receive: receive, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    HostHub::run(|hub| hub::deliver(&settings()?, &message, hub))
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    HostHub::run(|hub| hub::receive(&settings()?, &request, hub))
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    HostHub::run(|hub| hub::poll(&settings()?, cursor.as_deref(), hub))
}

fn settings() -> Result<Settings, Failure> {
    Settings::compiled(busbar_sdk::settings()?)
}
