//! Payment terminals by the OSMP protocol: glue between the host and [`mapping`].

pub mod mapping;
pub mod reply;
pub mod request;

use busbar_sdk::{Failure, HookRequest, HookResponse, HostHub, settings};

busbar_sdk::adapter! { receive: receive }

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    HostHub::run(|hub| Ok::<_, Failure>(mapping::handle(&settings()?, &request, hub)))
}
