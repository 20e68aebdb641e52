//! Контур.Диадок: glue between the host and [`poll`] and [`deliver`].

pub mod api;
pub mod deliver;
pub mod mapping;
pub mod poll;
pub mod settings;
pub mod status;
#[cfg(test)]
mod tests;

use busbar_sdk::{Failure, HostHub, Message, Polled, settings};

busbar_sdk::adapter! { deliver: deliver, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    HostHub::run(|hub| deliver::deliver(&settings()?, &message, hub))
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    HostHub::run(|hub| poll::poll(&settings()?, cursor.as_deref(), hub))
}
