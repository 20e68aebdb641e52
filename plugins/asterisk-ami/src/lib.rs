//! Calls of Asterisk by its manager interface: glue between the host and [`session`].

pub mod blocks;
pub mod mapping;
pub mod session;
pub mod settings;
#[cfg(test)]
mod tests;

use busbar_sdk::calls::HostHub;
use busbar_sdk::credentials::{self, Digest, Piece};
use busbar_sdk::memory::HostStore;
use busbar_sdk::{Failure, Message, Session, Settled, Step, clock, hex, settings};

use crate::session::{Ami, Host};

busbar_sdk::adapter! { connection: AsteriskAmi }

#[derive(Default)]
pub struct AsteriskAmi {
    ami: Option<Ami>,
    /// Of a session that failed.
    left: Vec<Settled>,
}

impl AsteriskAmi {
    fn call(&mut self, run: impl FnOnce(&mut Ami, &mut HostHub) -> Result<Step, Failure>) -> Result<Step, Failure> {
        let ami = match &mut self.ami {
            Some(ami) => ami,
            empty => empty.insert(Ami::new(settings()?, &mut HostStore)?),
        };
        let mut host = HostHub::new();
        let step = run(ami, &mut host)?;
        host.finish();
        Ok(step)
    }

    /// What a failed session believes known was not committed: the state tells.
    fn whole(&mut self, step: Result<Step, Failure>) -> Result<Step, Failure> {
        if step.is_err() {
            self.left = self.ami.take().map(|mut ami| ami.disconnected()).unwrap_or_default();
        }
        step
    }
}

impl Session for AsteriskAmi {
    fn new() -> Self {
        Self::default()
    }

    fn connected(&mut self, _peer: &str) -> Result<Step, Failure> {
        self.call(|ami, _| Ok(ami.connected(clock::now_ms())))
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        let step = self.call(|ami, host| ami.bytes(bytes, clock::now_ms(), host, &mut HostStore));
        self.whole(step)
    }

    fn timer(&mut self) -> Result<Step, Failure> {
        let step = self.call(|ami, host| ami.timer(clock::now_ms(), host, &mut HostStore));
        self.whole(step)
    }

    fn message(&mut self, delivery: u64, message: Message, maybe_sent: bool) -> Result<Step, Failure> {
        self.call(|ami, host| ami.message(delivery, &message, maybe_sent, clock::now_ms(), host, &mut HostStore))
    }

    fn disconnected(&mut self) -> Vec<Settled> {
        let left = std::mem::take(&mut self.left);
        left.into_iter().chain(self.ami.iter_mut().flat_map(Ami::disconnected)).collect()
    }
}

impl Host for HostHub {
    fn key(&mut self, challenge: &str, credential: &str) -> Result<String, String> {
        let pieces = [Piece::Plain(challenge.as_bytes().to_vec()), Piece::Secret(credential.to_owned())];
        let hash = credentials::hash(Digest::Md5, &pieces)?;
        Ok(hex::encoded(&hash))
    }
}
