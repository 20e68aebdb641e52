//! Green Button feeds: glue between the host and [`mapping`].

pub mod block;
pub mod mapping;
pub mod resource;

use busbar_sdk::xml::Xml;
use busbar_sdk::{Failure, HostHub, settings};

busbar_sdk::adapter! { decode: decode }

fn decode() -> Result<(), Failure> {
    let settings = settings()?;
    HostHub::run(|hub| mapping::decode(&settings, &mut Xml::of_input(), hub))
}
