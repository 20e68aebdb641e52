//! Switches of SCADA by IEC 60870-5-104: glue between the host and [`session`].

pub mod apci;
pub mod asdu;
pub mod link;
pub mod mapping;
pub mod session;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod times;

use busbar_sdk::memory::HostStore;
use busbar_sdk::{Failure, HostHub, Message, Session, Settled, Step, clock, rejected, settings};

use crate::session::Scada;

busbar_sdk::adapter! { connection: Iec104 }

#[derive(Default)]
pub struct Iec104 {
    scada: Option<Scada>,
}

impl Iec104 {
    fn call(&mut self, run: impl FnOnce(&mut Scada, &mut HostHub) -> Result<Step, Failure>) -> Result<Step, Failure> {
        let Some(scada) = &mut self.scada else { return Err(Failure::Other("not connected".to_owned())) };
        HostHub::run(|hub| run(scada, hub))
    }
}

impl Session for Iec104 {
    fn new() -> Self {
        Self::default()
    }

    fn connected(&mut self, _peer: &str) -> Result<Step, Failure> {
        // Anew: another hub may have listened meanwhile, and what a failed call believed known was not committed.
        self.scada = Some(Scada::new(settings()?, &mut HostStore)?);
        self.call(|scada, sink| scada.connected(clock::now_ms(), sink, &mut HostStore))
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        self.call(|scada, sink| scada.bytes(bytes, clock::now_ms(), sink, &mut HostStore))
    }

    fn timer(&mut self) -> Result<Step, Failure> {
        self.call(|scada, sink| scada.timer(clock::now_ms(), sink, &mut HostStore))
    }

    fn message(&mut self, _delivery: u64, message: Message, _maybe_sent: bool) -> Result<Step, Failure> {
        let reason = "SCADA is only listened to: nothing is ever sent to it";
        Err(rejected("receives-only", reason, format!("message {}", message.type_)))
    }

    fn disconnected(&mut self) -> Vec<Settled> {
        if let Some(scada) = &mut self.scada {
            scada.disconnected(&mut HostHub::new());
        }
        Vec::new()
    }
}
