//! Green Button feeds: glue between the host and [`mapping`].

pub mod block;
pub mod mapping;
pub mod resource;

use busbar_sdk::xml::Xml;
use busbar_sdk::{Draft, Emitter, Failure, Warnings, settings};

busbar_sdk::adapter! { decode: decode }

fn decode() -> Result<(), Failure> {
    let mut emitter = Emitter::host();
    let mut output = Output { emitter: &mut emitter, warnings: Warnings::default() };
    mapping::decode(&settings()?, &mut Xml::of_input(), &mut output)?;
    emitter.finish();
    Ok(())
}

struct Output<'a> {
    emitter: &'a mut Emitter<fn(&[Draft])>,
    warnings: Warnings,
}

impl mapping::Output for Output<'_> {
    fn emit(&mut self, draft: Draft) {
        self.emitter.push(draft);
    }

    fn warn(&mut self, text: &str) {
        self.warnings.write(text);
    }
}
