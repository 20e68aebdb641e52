//! Sber's internet acquiring: glue between the host and [`mapping`], [`orders`].

pub mod mapping;
pub mod orders;
pub mod settings;

use busbar_sdk::{Failure, HookRequest, HookResponse, HostHub, Message, Polled};
use settings::Settings;

busbar_sdk::adapter! { deliver: deliver, receive: receive, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    HostHub::run(|hub| orders::deliver(&settings()?, &message, hub))
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    HostHub::run(|hub| mapping::handle(&settings()?, &request, hub))
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    HostHub::run(|hub| orders::poll(&settings()?, cursor.as_deref(), hub))
}

fn settings() -> Result<Settings, Failure> {
    Settings::compiled(busbar_sdk::settings()?)
}
