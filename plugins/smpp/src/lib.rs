//! Short messages by SMPP 3.4: glue between the host and [`session`].

mod call;
pub mod drafts;
mod incoming;
pub mod mapping;
pub mod memory;
pub mod overdue;
pub mod pdu;
pub mod receipt;
mod sending;
pub mod session;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod text;

use busbar_sdk::memory::HostStore;
use busbar_sdk::{Failure, HostHub, Message, Session, Settled, Step, clock, credentials, rejected, settings};

use crate::session::Smpp;

busbar_sdk::adapter! { connection: Esme }

#[derive(Default)]
pub struct Esme {
    smpp: Option<Smpp>,
}

impl Esme {
    fn call(&mut self, run: impl FnOnce(&mut Smpp, &mut HostHub) -> Result<Step, Failure>) -> Result<Step, Failure> {
        let Some(smpp) = &mut self.smpp else { return Err(Failure::Other("not connected".to_owned())) };
        HostHub::run(|hub| run(smpp, hub))
    }
}

impl Session for Esme {
    fn new() -> Self {
        Self::default()
    }

    fn connected(&mut self, _peer: &str) -> Result<Step, Failure> {
        // Anew: what must be kept is in the state.
        self.smpp = Some(Smpp::new(settings()?)?);
        self.call(|smpp, sink| {
            let bytes = credentials::length(&smpp.settings().password);
            let bytes = bytes.map_err(|reason| rejected("bad-config", reason, "config, password"))?;
            smpp.connected(bytes, clock::now_ms(), sink, &mut HostStore)
        })
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        self.call(|smpp, sink| smpp.bytes(bytes, clock::now_ms(), sink, &mut HostStore))
    }

    fn timer(&mut self) -> Result<Step, Failure> {
        self.call(|smpp, sink| smpp.timer(clock::now_ms(), sink, &mut HostStore))
    }

    fn message(&mut self, delivery: u64, message: Message, maybe_sent: bool) -> Result<Step, Failure> {
        self.call(|smpp, sink| smpp.message(delivery, &message, maybe_sent, clock::now_ms(), sink, &mut HostStore))
    }

    fn disconnected(&mut self) -> Vec<Settled> {
        self.smpp.as_mut().map(Smpp::disconnected).unwrap_or_default()
    }
}
