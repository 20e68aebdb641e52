//! Registries of payments and debts: glue between the host and [`mapping`] and [`writing`].

pub mod day;
pub mod mapping;
pub mod profile;
pub mod record;
pub mod settings;
pub mod template;
pub mod writing;

use crate::settings::Settings;
use busbar_sdk::{Failure, HostHub, Lines, Message, input, log, output, settings, state};

busbar_sdk::adapter! { decode: decode, encode: encode }

/// The state: for each month the number of its last file, `<MMYY>:<number>`, the newest month only.
const NUMBER_KEY: &str = "number";

fn decode() -> Result<(), Failure> {
    let settings = Settings::compiled(settings()?)?;
    HostHub::run(|hub| mapping::decode(&settings, &input::describe().name, &mut Lines::of_input(), hub))
}

fn encode(messages: Vec<Message>) -> Result<String, Failure> {
    let settings = Settings::compiled(settings()?)?;
    let mut registry = writing::registry(&settings, &messages)?;
    if registry.left_out > 0 {
        log::write(log::Level::Info, &format!("{} balances are left out: a newer one follows", registry.left_out));
    }
    if settings.numbers_files() {
        let month = registry.month();
        registry.number = writing::next_number(state::get(NUMBER_KEY).as_deref(), &month)?;
        state::set(NUMBER_KEY, format!("{month}:{}", registry.number).as_bytes());
    }
    let name = registry.file_name(&settings)?;
    registry.write(&settings, output::write)?;
    Ok(name)
}
