//! Robokassa: glue between the host and [`hub`], [`mapping`].

pub mod hub;
pub mod mapping;
pub mod state;

use busbar_sdk::{Failure, HookRequest, HookResponse, HostHub, Message, Polled, settings};

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
