//! The transport of IEC 60870-5-104 (sections 5 and 7): sequence numbers, windows, timers, starting and testing. Pure.

use std::collections::VecDeque;

use busbar_sdk::{Rejection, Step, rejection};

use crate::apci::{self, SEQUENCE};
use crate::settings::Settings;

/// One connection's counters. `send` is V(S), `receive` V(R); the timers are moments in milliseconds.
#[derive(Default)]
pub struct Link {
    send: u16,
    receive: u16,
    /// The N(R) that the far end was told last.
    told: u16,
    /// When each I frame that is not acknowledged was sent.
    waiting: VecDeque<u64>,
    /// When STARTDT or TESTFR was sent that is not confirmed.
    asked_at: Option<u64>,
    /// When the first I frame came that is not acknowledged.
    untold_since: Option<u64>,
    heard_at: u64,
    /// An I frame has come.
    has_heard: bool,
    pub is_started: bool,
}

impl Link {
    pub fn start(&mut self, now_ms: u64, step: &mut Step) {
        *self = Self { asked_at: Some(now_ms), heard_at: now_ms, ..Self::default() };
        step.send(&apci::unnumbered(apci::STARTDT_ACT));
    }

    /// An I frame came with these numbers.
    ///
    /// # Errors
    /// `not-started`, `bad-sequence`.
    pub fn information(
        &mut self,
        (send, receive): (u16, u16),
        settings: &Settings,
        now_ms: u64,
        place: &str,
    ) -> Result<(), Rejection> {
        if !self.is_started {
            return Err(rejection("not-started", "data before STARTDT was confirmed", place));
        }
        let is_first = !std::mem::replace(&mut self.has_heard, true);
        if is_first && send != 0 {
            if !settings.any_first_number {
                let reason = format!(
                    "cannot talk to it: the numbers of its frames begin at {send} and not at 0; the setting \
                     `any-first-number` lets it"
                );
                return Err(rejection("bad-sequence", reason, place));
            }
            (self.receive, self.told) = (send, send);
        }
        if send != self.receive {
            let reason = format!("N(S) is {send}, expected was {}: frames are missing or came twice", self.receive);
            return Err(rejection("bad-sequence", reason, place));
        }
        self.acknowledged(receive, now_ms, place)?;
        self.receive = (self.receive + 1) % SEQUENCE;
        self.untold_since.get_or_insert(now_ms);
        Ok(())
    }

    /// N(R) of an I or S frame.
    ///
    /// # Errors
    /// `bad-sequence`: more than was sent, or less than was acknowledged before.
    pub fn acknowledged(&mut self, receive: u16, now_ms: u64, place: &str) -> Result<(), Rejection> {
        self.heard_at = now_ms;
        let left = distance(receive, self.send);
        let Some(done) = self.waiting.len().checked_sub(usize::from(left)) else {
            let reason = format!("N(R) is {receive}; sent was {}, unacknowledged {}", self.send, self.waiting.len());
            return Err(rejection("bad-sequence", reason, place));
        };
        self.waiting.drain(..done);
        Ok(())
    }

    /// A U frame came.
    pub fn unnumbered(&mut self, function: u8, now_ms: u64, step: &mut Step) {
        self.heard_at = now_ms;
        match function {
            apci::TESTFR_ACT => step.send(&apci::unnumbered(apci::TESTFR_CON)),
            apci::STARTDT_CON => {
                self.asked_at = None;
                self.is_started = true;
            }
            apci::TESTFR_CON if self.is_started => self.asked_at = None,
            _ => {}
        }
    }

    pub fn may_send(&self, settings: &Settings) -> bool {
        self.is_started && self.waiting.len() < usize::from(settings.k)
    }

    /// Sends an interrogation, which acknowledges as well.
    pub fn interrogate(&mut self, station: u16, settings: &Settings, now_ms: u64, step: &mut Step) {
        step.send(&apci::interrogation(self.send, self.receive, settings.originator, station));
        self.send = (self.send + 1) % SEQUENCE;
        self.waiting.push_back(now_ms);
        self.told = self.receive;
        self.untold_since = None;
    }

    /// Acknowledges, where the window w or the timer t2 demands it.
    pub fn tell(&mut self, settings: &Settings, now_ms: u64, step: &mut Step) {
        let is_late = self.untold_since.is_some_and(|since| now_ms >= since.saturating_add(ms(settings.t2_s)));
        if is_late || distance(self.told, self.receive) >= settings.w {
            step.send(&apci::supervisory(self.receive));
            self.told = self.receive;
            self.untold_since = None;
        }
    }

    /// What the timers demand. Gives why the connection must be closed.
    pub fn keep(&mut self, settings: &Settings, now_ms: u64, step: &mut Step) -> Option<String> {
        let is_over = |since: u64, seconds: u32| now_ms >= since.saturating_add(ms(seconds));
        if self.asked_at.is_some_and(|since| is_over(since, settings.t1_s)) {
            let what = if self.is_started { "TESTFR" } else { "STARTDT" };
            return Some(format!("{what} was not confirmed within t1, {} s", settings.t1_s));
        }
        if self.waiting.front().is_some_and(|since| is_over(*since, settings.t1_s)) {
            return Some(format!("an interrogation was not acknowledged within t1, {} s", settings.t1_s));
        }
        self.tell(settings, now_ms, step);
        if self.asked_at.is_none() && is_over(self.heard_at, settings.t3_s) {
            step.send(&apci::unnumbered(apci::TESTFR_ACT));
            self.asked_at = Some(now_ms);
        }
        None
    }

    /// The next moment at which [`Link::keep`] has something to do.
    pub fn deadline(&self, settings: &Settings) -> u64 {
        let test = if self.asked_at.is_none() { Some(self.heard_at + ms(settings.t3_s)) } else { None };
        let confirmed = self.asked_at.map(|since| since + ms(settings.t1_s));
        let acknowledged = self.waiting.front().map(|since| since + ms(settings.t1_s));
        let told = self.untold_since.map(|since| since + ms(settings.t2_s));
        [test, confirmed, acknowledged, told].into_iter().flatten().min().unwrap_or(u64::MAX)
    }
}

fn ms(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

/// Numbers from `from` to `to`, going up.
fn distance(from: u16, to: u16) -> u16 {
    (to + SEQUENCE - from) % SEQUENCE
}
