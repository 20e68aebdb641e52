//! The entry point `connection`: a protocol over TCP without its I/O.

use crate::bindings::busbar::adapter::credentials::Piece;
use crate::bindings::connection::exports::busbar::adapter::connection::GuestSession;
pub use crate::bindings::connection::exports::busbar::adapter::connection::{Settled, Step};
use crate::{Failure, Message};
use std::cell::RefCell;

/// A session with the far end; see `connection` in `wit/v1` for when each is called and what a failure means. Parse
/// the settings in [`Session::connected`], where a failure can be told.
pub trait Session: 'static {
    fn new() -> Self;
    /// # Errors
    /// The connection is closed, and made again after a pause.
    fn connected(&mut self, peer: &str) -> Result<Step, Failure>;
    /// `bytes`: cut anywhere.
    ///
    /// # Errors
    /// What the far end sent breaks the protocol: written down with its place; the connection is closed.
    fn bytes(&mut self, bytes: &[u8]) -> Result<Step, Failure>;
    /// # Errors
    /// As [`Session::connected`].
    fn timer(&mut self) -> Result<Step, Failure>;
    /// # Errors
    /// This delivery ends so.
    fn message(&mut self, delivery: u64, message: Message, maybe_sent: bool) -> Result<Step, Failure>;
    /// What of the deliveries is known: one that was not sent yet can be `transient`.
    fn disconnected(&mut self) -> Vec<Settled>;
}

/// Lets the host call a [`Session`]: it calls one thing at a time.
pub struct SessionCell<S>(RefCell<S>);

impl<S: Session> GuestSession for SessionCell<S> {
    fn new() -> Self {
        Self(RefCell::new(S::new()))
    }

    fn on_connect(&self, peer: String) -> Result<Step, Failure> {
        self.0.borrow_mut().connected(&peer)
    }

    fn on_bytes(&self, bytes: Vec<u8>) -> Result<Step, Failure> {
        self.0.borrow_mut().bytes(&bytes)
    }

    fn on_timer(&self) -> Result<Step, Failure> {
        self.0.borrow_mut().timer()
    }

    fn on_message(&self, delivery: u64, message: Message, maybe_sent: bool) -> Result<Step, Failure> {
        self.0.borrow_mut().message(delivery, message, maybe_sent)
    }

    fn on_disconnect(&self) -> Vec<Settled> {
        self.0.borrow_mut().disconnected()
    }
}

impl Step {
    /// Nothing to do; ready as said, and the next timer.
    pub fn idle(ready: bool, timer_ms: Option<u32>) -> Self {
        Self { send: Vec::new(), settled: Vec::new(), timer_ms, ready, close: None }
    }

    /// Sends `bytes` after what it sends already; joined to a plain piece before it.
    pub fn send(&mut self, bytes: &[u8]) {
        match self.send.last_mut() {
            Some(Piece::Plain(before)) => before.extend_from_slice(bytes),
            _ => self.send.push(Piece::Plain(bytes.to_vec())),
        }
    }

    /// Sends the value of the named credential, which the adapter never sees.
    pub fn send_secret(&mut self, credential: &str) {
        self.send.push(Piece::Secret(credential.to_string()));
    }

    /// Closed, or to be called again at that moment, at once where it is over.
    pub fn wait(&mut self, now_ms: u64, due_ms: u64) {
        let wait_ms = due_ms.saturating_sub(now_ms).max(1);
        self.timer_ms = self.close.is_none().then(|| u32::try_from(wait_ms).unwrap_or(u32::MAX));
    }

    pub fn settle(&mut self, delivery: u64, outcome: Result<(), Failure>) {
        self.settled.push(Settled { delivery, outcome });
    }
}

/// Reads one thing after another until `next` says that nothing has come whole. What came before a failure is good: it is committed
/// by this call, and the next one fails with what is given back.
///
/// # Errors
/// The first thing cannot be read.
pub fn read_on(mut next: impl FnMut() -> Result<bool, Failure>) -> Result<Option<Failure>, Failure> {
    if !next()? {
        return Ok(None);
    }
    loop {
        match next() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(failure) => return Ok(Some(failure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transient;

    /// How many are read of these, and how that ends: at once, later, or not.
    fn read(all: &[bool]) -> (usize, &'static str) {
        let mut read = 0;
        let ended = read_on(|| {
            read += 1;
            match all.get(read - 1) {
                Some(false) => Err(transient("it cannot be read", None)),
                more => Ok(more.is_some()),
            }
        });
        (read - 1, if ended.is_err() { "at once" } else { ended.ok().flatten().map_or("not", |_| "later") })
    }

    #[test]
    fn what_comes_before_a_failure_counts() {
        for (all, expected) in [
            (&[][..], (0, "not")),
            (&[true, true], (2, "not")),
            (&[false, true], (0, "at once")),
            (&[true, true, false], (2, "later")),
        ] {
            assert_eq!(read(all), expected, "{all:?}");
        }
    }

    #[test]
    fn a_step_that_closes_waits_for_nothing() {
        let mut step = Step::idle(false, None);
        for (due_ms, expected) in [(1_500, Some(500)), (900, Some(1)), (u64::MAX, Some(u32::MAX))] {
            step.wait(1_000, due_ms);
            assert_eq!(step.timer_ms, expected);
        }
        step.close = Some("it is over".to_owned());
        step.wait(1_000, 1_500);
        assert_eq!(step.timer_ms, None);
    }
}
