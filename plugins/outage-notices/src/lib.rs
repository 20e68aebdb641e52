//! Outages -> notifications of those whom they concern: glue between the host and [`mapping`].

pub mod mapping;

use busbar_sdk::{Failure, HostHub, Message, settings};

busbar_sdk::adapter! { deliver: deliver }

fn deliver(message: Message) -> Result<(), Failure> {
    HostHub::run(|hub| mapping::notify(&settings()?, &message, hub))
}
