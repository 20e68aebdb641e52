//! The frame of a session with an exchange; what is said on the wire, its protocol knows.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Exchange, Turn};
use crate::{Failure, HostHub, Hub, Message, Session, Settled, Step, read_on, rejected};

/// Bytes that wait for the next call.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// What differs from protocol to protocol. See [`Session`] for when each is called.
pub trait Protocol: Sized + 'static {
    /// Settings of how the connection is made.
    type Link: Default + DeserializeOwned;

    /// # Errors
    /// `bad-config`.
    fn new(settings: Settings<Self::Link>, hub: &mut impl Hub) -> Result<Self, Failure>;

    fn line(&mut self) -> &mut Line;

    /// Begins a connection, after [`Line::connected`].
    ///
    /// # Errors
    /// The connection is closed.
    fn connected(&mut self, hub: &mut impl Hub) -> Result<Step, Failure>;

    /// Takes bytes that came; how many wait to be read now, and where what they begin with stands.
    fn push(&mut self, bytes: &[u8]) -> (usize, String);

    /// Reads what comes next; `false` where nothing has come whole.
    ///
    /// # Errors
    /// What breaks the protocol, at its place.
    fn item(&mut self, turn: &mut Turn<'_, impl Hub>) -> Result<bool, Failure>;

    /// # Errors
    /// What ends this delivery.
    fn message(
        &mut self,
        delivery: u64,
        message: &Message,
        maybe_sent: bool,
        hub: &mut impl Hub,
    ) -> Result<Step, Failure>;

    fn disconnected(&mut self) -> Vec<Settled>;

    /// Says what a call has not said yet, and ends it with [`Line::finish`].
    ///
    /// # Errors
    /// More than the state holds.
    fn finish<H: Hub>(&mut self, turn: Turn<'_, H>) -> Result<Step, Failure>;

    /// # Errors
    /// Those of [`Protocol::item`]; what came before it is said first.
    fn bytes(&mut self, bytes: &[u8], hub: &mut impl Hub) -> Result<Step, Failure> {
        let turn = Turn::new(hub);
        let (waiting, place) = self.push(bytes);
        let line = self.line();
        (line.heard_ms, line.pinged_ms) = (turn.now_ms, None);
        if waiting > WAITING_BYTES_MAX {
            line.broken.get_or_insert_with(|| rejected("too-much", "more comes than can be said", place));
        }
        self.go_on(turn)
    }

    /// # Errors
    /// As [`Protocol::bytes`].
    fn timer(&mut self, hub: &mut impl Hub) -> Result<Step, Failure> {
        self.go_on(Turn::new(hub))
    }

    #[doc(hidden)]
    fn go_on<H: Hub>(&mut self, mut turn: Turn<'_, H>) -> Result<Step, Failure> {
        let line = self.line();
        if let Some(failure) = line.broken.take() {
            return Err(failure);
        }
        line.exchange.end_gone(&mut turn);
        let broken = read_on(|| {
            let is_read = !turn.is_full() && turn.step.close.is_none() && self.item(&mut turn)?;
            turn.read += usize::from(is_read);
            Ok(is_read)
        })?;
        self.line().broken = broken;
        self.finish(turn)
    }
}

/// The settings of an adapter. Unknown keys are refused by its schema.
#[derive(Default, Deserialize)]
#[serde(default, bound = "L: Default + DeserializeOwned")]
pub struct Settings<L> {
    #[serde(flatten)]
    pub link: L,
    #[serde(flatten)]
    pub exchange: super::Settings,
}

/// A connection: the exchange at its end, how long it has been silent, and whether more is read of it.
pub struct Line {
    pub exchange: Exchange,
    timeout_ms: u64,
    ping_ms: u64,
    connected_ms: u64,
    heard_ms: u64,
    pinged_ms: Option<u64>,
    /// Why no more is read; the next call says it.
    broken: Option<Failure>,
}

impl Line {
    pub fn new(exchange: Exchange, timeout_s: u32, ping_s: u32) -> Self {
        let [timeout_ms, ping_ms] = [timeout_s, ping_s].map(|seconds| u64::from(seconds) * 1000);
        Self { exchange, timeout_ms, ping_ms, connected_ms: 0, heard_ms: 0, pinged_ms: None, broken: None }
    }

    pub fn connected(&mut self, now_ms: u64) -> Step {
        (self.connected_ms, self.heard_ms, self.pinged_ms, self.broken) = (now_ms, now_ms, None, None);
        Step::idle(false, u32::try_from(self.timeout_ms).ok())
    }

    /// Writes what has changed, tests a silent connection by `ping`, and says when to be called next: at `due_ms` at the latest.
    /// A connection that is not open in time is given up, because it is `unopened`.
    ///
    /// # Errors
    /// More than the state holds.
    pub fn finish<'a, H: Hub>(
        &mut self,
        mut turn: Turn<'a, H>,
        is_open: bool,
        unopened: &str,
        due_ms: u64,
        ping: impl FnOnce(&mut Turn<'a, H>),
    ) -> Result<Step, Failure> {
        self.exchange.save(turn.hub)?;
        let now_ms = turn.now_ms;
        if is_open && self.pinged_ms.is_none() && now_ms >= self.heard_ms + self.ping_ms {
            self.pinged_ms = Some(now_ms);
            ping(&mut turn);
        }
        let (alive_ms, silence) = match (is_open, self.pinged_ms) {
            (false, _) => (self.connected_ms + self.timeout_ms, Some(unopened)),
            (true, Some(at)) => (at + self.timeout_ms, Some("no answer to a ping")),
            (true, None) => (self.heard_ms + self.ping_ms, None),
        };
        let silence = silence.filter(|_| now_ms >= alive_ms).map(str::to_owned);
        let is_more = turn.is_full() || self.broken.is_some() || self.exchange.is_busy();
        let mut step = turn.step;
        step.close = step.close.or(silence);
        step.wait(now_ms, if is_more { now_ms } else { alive_ms.min(due_ms).min(self.exchange.next_ms()) });
        step.ready = step.close.is_none() && is_open && self.exchange.has_room();
        Ok(step)
    }
}

/// A session of a protocol, as `adapter!` takes one. It stays when its connection is lost.
pub struct Connection<P> {
    protocol: Option<P>,
    /// Of a session that failed.
    left: Vec<Settled>,
}

impl<P: Protocol> Connection<P> {
    fn call(&mut self, run: impl FnOnce(&mut P, &mut HostHub) -> Result<Step, Failure>) -> Result<Step, Failure> {
        HostHub::run(|hub| {
            let protocol = match &mut self.protocol {
                Some(protocol) => protocol,
                empty => empty.insert(P::new(crate::settings()?, hub)?),
            };
            run(protocol, hub)
        })
    }

    /// What a failed session believes known was not committed: the state tells.
    fn whole(&mut self, step: Result<Step, Failure>) -> Result<Step, Failure> {
        if step.is_err() {
            self.left = self.protocol.take().map(|mut protocol| protocol.disconnected()).unwrap_or_default();
        }
        step
    }
}

impl<P: Protocol> Session for Connection<P> {
    fn new() -> Self {
        Self { protocol: None, left: Vec::new() }
    }

    fn connected(&mut self, _peer: &str) -> Result<Step, Failure> {
        self.call(P::connected)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        let step = self.call(|protocol, hub| protocol.bytes(bytes, hub));
        self.whole(step)
    }

    fn timer(&mut self) -> Result<Step, Failure> {
        let step = self.call(P::timer);
        self.whole(step)
    }

    fn message(&mut self, delivery: u64, message: Message, maybe_sent: bool) -> Result<Step, Failure> {
        self.call(|protocol, hub| protocol.message(delivery, &message, maybe_sent, hub))
    }

    fn disconnected(&mut self) -> Vec<Settled> {
        let left = std::mem::take(&mut self.left);
        left.into_iter().chain(self.protocol.iter_mut().flat_map(P::disconnected)).collect()
    }
}

#[cfg(test)]
mod tests;
