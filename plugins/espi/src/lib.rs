//! Green Button feeds: glue between the host and [`mapping`].

pub mod block;
pub mod mapping;
pub mod resource;

use busbar_sdk::xml::Xml;
use busbar_sdk::{Failure, HostSink, settings};

busbar_sdk::adapter! { decode: decode }

fn decode() -> Result<(), Failure> {
    let mut sink = HostSink::new();
    mapping::decode(&settings()?, &mut Xml::of_input(), &mut sink)?;
    sink.finish();
    Ok(())
}
