//! Short messages through SMSC.ru: glue between the host and [`deliver`], [`receive`] and [`poll`].

pub mod answer;
pub mod deliver;
pub mod mapping;
pub mod poll;
pub mod receipt;
pub mod receive;
#[cfg(test)]
mod tests;

use busbar_sdk::{Failure, HookRequest, HookResponse, HostHub, Message, Polled, settings};

busbar_sdk::adapter! { deliver: deliver, receive: receive, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    HostHub::run(|hub| deliver::deliver(&settings()?, &message, hub))
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    HostHub::run(|hub| receive::receive(&settings()?, &request, hub))
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    HostHub::run(|hub| poll::poll(&settings()?, cursor.as_deref(), hub))
}
