//! Employees and units from LDIF exports of a directory: glue between the host and [`mapping`].

pub mod account;
pub mod dn;
pub mod fields;
pub mod ldif;
pub mod mapping;
pub mod memory;
pub mod settings;

use busbar_sdk::{Failure, HostHub, Lines, Utf16, input};

busbar_sdk::adapter! { decode: decode }

fn decode() -> Result<(), Failure> {
    let settings = settings::Settings::of(busbar_sdk::settings()?);
    let mut reader = Utf16::new(input::read);
    HostHub::run(|hub| mapping::decode(&settings, &mut Lines::new(|max| reader.read(max)), hub))
}
