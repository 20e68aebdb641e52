//! Bank statements in the 1CClientBankExchange format: glue between the host and [`mapping`].

pub mod document;
pub mod mapping;
pub mod section;

use busbar_sdk::{Failure, HostSink, Lines, settings};

busbar_sdk::adapter! { decode: decode }

fn decode() -> Result<(), Failure> {
    let settings = mapping::Settings::compiled(settings()?)?;
    let mut sink = HostSink::new();
    mapping::decode(&settings, &mut Lines::of_input(), &mut sink)?;
    sink.finish();
    Ok(())
}
