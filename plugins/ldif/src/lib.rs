//! Employees and units from LDIF exports of a directory: glue between the host and [`mapping`].

pub mod account;
pub mod dn;
pub mod fields;
pub mod ldif;
pub mod mapping;
pub mod memory;
pub mod settings;

use busbar_sdk::memory::{HostStore, Store};
use busbar_sdk::{
    Draft, Emitter, Failure, Lines, Rejection, Utf16, clock, input, log, messages, settings as host_settings,
};

busbar_sdk::adapter! { decode: decode }

fn decode() -> Result<(), Failure> {
    let settings = settings::Settings::of(host_settings()?);
    let mut host = Host { emitter: Emitter::host() };
    let mut reader = Utf16::new(input::read);
    mapping::decode(&settings, &mut Lines::new(|max| reader.read(max)), &mut host)?;
    host.emitter.finish();
    Ok(())
}

struct Host {
    emitter: Emitter<fn(&[Draft])>,
}

impl Store for Host {
    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        HostStore.get(key)
    }

    fn set(&mut self, key: &str, value: Vec<u8>) {
        HostStore.set(key, value);
    }

    fn delete(&mut self, key: &str) {
        HostStore.delete(key);
    }
}

impl mapping::Hub for Host {
    fn emit(&mut self, draft: Draft) {
        self.emitter.push(draft);
    }

    fn lookup(&mut self, id: &str) -> Option<String> {
        messages::lookup(id).map(|message| message.data)
    }

    fn leave_out(&mut self, entry: Rejection) {
        messages::leave_out(&entry);
    }

    fn now_ms(&mut self) -> u64 {
        clock::now_ms()
    }

    fn warn(&mut self, text: &str) {
        log::write(log::Level::Warn, text);
    }

    fn info(&mut self, text: &str) {
        log::write(log::Level::Info, text);
    }
}
