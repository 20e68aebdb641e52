//! Bank statements in the 1CClientBankExchange format: glue between the host and [`mapping`].

pub mod account;
pub mod document;
pub mod mapping;
pub mod section;

use busbar_sdk::{Draft, Emitter, Failure, Lines, log, settings};

busbar_sdk::adapter! { decode: decode }

fn decode() -> Result<(), Failure> {
    let settings = mapping::Settings::compiled(settings()?)?;
    let mut emitter = Emitter::host();
    let mut output = Output { emitter: &mut emitter };
    mapping::decode(&settings, &mut Lines::of_input(), &mut output)?;
    emitter.finish();
    Ok(())
}

struct Output<'a> {
    emitter: &'a mut Emitter<fn(&[Draft])>,
}

impl mapping::Output for Output<'_> {
    fn emit(&mut self, draft: Draft) {
        self.emitter.push(draft);
    }

    fn warn(&mut self, text: &str) {
        log::write(log::Level::Warn, text);
    }
}
