//! One message type into another, by a table: glue between the host and [`mapping`].

pub mod mapping;

use busbar_sdk::{Failure, Message, messages, settings};
use mapping::Settings;

busbar_sdk::adapter! { deliver: deliver }

fn deliver(message: Message) -> Result<(), Failure> {
    let settings: Settings = settings()?;
    messages::emit(&[mapping::translate(&settings, &message)?]);
    Ok(())
}
