//! A session: bind, watch over the link, and give each PDU to who knows what to do with it. Pure but for the sink and the store.

use std::rc::Rc;

use busbar_sdk::memory::Store;
use busbar_sdk::{Failure, Message, Pending, Rejection, Settled, Sink, Step, read_on, rejected, rejection, transient};

use crate::call::Call;
use crate::incoming::Incoming;
use crate::memory::Counted;
use crate::overdue;
use crate::pdu::{self, Fields, Pdu, RESPONSE, status};
use crate::sending::Sending;
use crate::settings::Settings;

/// Bytes that wait for the next call: a few of the longest PDUs.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// SMPP 3.4.
const VERSION: u8 = 0x34;
const SEQUENCE_MAX: u32 = 0x7FFF_FFFF;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Bind {
    #[default]
    Asked,
    Bound,
    /// Either side has ended it.
    Over,
}

/// One connection: the next has another.
pub struct Smpp {
    settings: Rc<Settings>,
    bind: Bind,
    pending: Pending,
    pdus: u64,
    /// Why no more is read; the next call says it.
    broken: Option<Failure>,
    sequence: u32,
    heard_ms: u64,
    /// When bind_transceiver or enquire_link was sent that is not answered.
    asked_ms: Option<u64>,
    sending: Sending,
    incoming: Incoming,
    /// When notifications may be overdue.
    look_ms: u64,
}

impl Smpp {
    /// # Errors
    /// `not-configured`.
    pub fn new(settings: Settings) -> Result<Self, Rejection> {
        settings.check()?;
        Ok(Self {
            settings: Rc::new(settings),
            bind: Bind::Asked,
            pending: Pending::default(),
            pdus: 0,
            broken: None,
            sequence: 0,
            heard_ms: 0,
            asked_ms: None,
            sending: Sending::default(),
            incoming: Incoming::default(),
            look_ms: 0,
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn call<'a>(&self, now_ms: u64, sink: &'a mut dyn Sink, store: &'a mut dyn Store) -> Call<'a> {
        Call::new(now_ms, self.settings.clone(), sink, Counted { store, writes: 0 })
    }

    /// `password_bytes`: of the credential.
    pub fn connected(
        &mut self,
        password_bytes: u32,
        now_ms: u64,
        sink: &mut dyn Sink,
        store: &mut dyn Store,
    ) -> Result<Step, Failure> {
        (self.heard_ms, self.asked_ms) = (now_ms, Some(now_ms));
        let mut call = self.call(now_ms, sink, store);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        pdu::put_text(&mut before, &self.settings.system_id);
        after.push(0);
        pdu::put_text(&mut after, &self.settings.system_type);
        after.extend([VERSION, 0, 0]);
        pdu::put_text(&mut after, &self.settings.address_range);
        let length = 16 + before.len() + after.len() + usize::try_from(password_bytes).unwrap_or(0);
        let sequence = next_sequence(&mut self.sequence);
        let head = [u32::try_from(length).unwrap_or(u32::MAX), pdu::BIND_TRANSCEIVER, status::OK, sequence];
        call.step.send(&head.map(u32::to_be_bytes).concat());
        call.step.send(&before);
        call.step.send_secret(&self.settings.password);
        call.step.send(&after);
        self.incoming.connected(&mut call);
        Ok(self.finish(call))
    }

    /// # Errors
    /// What breaks the protocol, at its PDU; `unauthorized` where the bind is refused. What came before it is said first.
    pub fn bytes(
        &mut self,
        bytes: &[u8],
        now_ms: u64,
        sink: &mut dyn Sink,
        store: &mut dyn Store,
    ) -> Result<Step, Failure> {
        self.pending.push(bytes);
        if self.pending.rest().len() > WAITING_BYTES_MAX && self.broken.is_none() {
            self.broken = Some(rejected("too-much", "more comes than can be said", format!("PDU {}", self.pdus + 1)));
        }
        self.timer(now_ms, sink, store)
    }

    /// # Errors
    /// As [`Smpp::bytes`].
    pub fn timer(&mut self, now_ms: u64, sink: &mut dyn Sink, store: &mut dyn Store) -> Result<Step, Failure> {
        if let Some(failure) = self.broken.take() {
            return Err(failure);
        }
        let mut call = self.call(now_ms, sink, store);
        self.broken = read_on(|| Ok(!call.is_full() && self.bind != Bind::Over && self.pdu(&mut call)?))?;
        self.sending.expire(&mut call);
        self.incoming.look_again(&mut call);
        self.incoming.give_up(&mut call);
        Ok(self.finish(call))
    }

    /// # Errors
    /// This delivery ends so.
    pub fn message(
        &mut self,
        delivery: u64,
        message: &Message,
        maybe_sent: bool,
        now_ms: u64,
        sink: &mut dyn Sink,
        store: &mut dyn Store,
    ) -> Result<Step, Failure> {
        let mut call = self.call(now_ms, sink, store);
        self.sending.take(&mut call, delivery, message, maybe_sent)?;
        Ok(self.finish(call))
    }

    pub fn disconnected(&mut self) -> Vec<Settled> {
        let ended = self.sending.disconnected().into_iter();
        ended.map(|(delivery, failure)| Settled { delivery, outcome: Err(failure) }).collect()
    }

    /// Reads one PDU; `false` where none has come whole.
    fn pdu(&mut self, call: &mut Call<'_>) -> Result<bool, Failure> {
        let Some(pdu) = pdu::next(&mut self.pending, self.pdus + 1)? else { return Ok(false) };
        self.pdus += 1;
        self.heard_ms = call.now_ms;
        match pdu.command {
            pdu::ENQUIRE_LINK => call.send(pdu.command | RESPONSE, status::OK, pdu.sequence, &[]),
            pdu::UNBIND => {
                call.send(pdu.command | RESPONSE, status::OK, pdu.sequence, &[]);
                self.bind = Bind::Over;
                call.step.close = Some("the SMS centre has ended the session (unbind)".to_owned());
            }
            pdu::DELIVER_SM | pdu::DATA_SM if self.bind == Bind::Bound => self.incoming.take(call, &pdu),
            pdu::DELIVER_SM | pdu::DATA_SM => call.answer(pdu.command, status::WRONG_BIND, pdu.sequence),
            pdu::ALERT_NOTIFICATION | pdu::OUTBIND => call.warn("an alert or outbind is ignored"),
            command if command & RESPONSE != 0 => self.response(call, &pdu)?,
            command => {
                call.warn(&format!("command 0x{command:08x} is not for an ESME and is refused"));
                call.send(pdu::GENERIC_NACK, status::INVALID_COMMAND, pdu.sequence, &[]);
            }
        }
        Ok(true)
    }

    fn response(&mut self, call: &mut Call<'_>, pdu: &Pdu) -> Result<(), Failure> {
        const BOUND: u32 = pdu::BIND_TRANSCEIVER | RESPONSE;
        const SUBMITTED: u32 = pdu::SUBMIT_SM | RESPONSE;
        const ALIVE: u32 = pdu::ENQUIRE_LINK | RESPONSE;
        match pdu.command {
            BOUND | pdu::GENERIC_NACK if self.bind == Bind::Asked => self.bound(pdu)?,
            ALIVE if self.bind == Bind::Bound => self.asked_ms = None,
            SUBMITTED | pdu::GENERIC_NACK => {
                let id = Fields(&pdu.body).text();
                if !self.sending.answered(call, pdu.sequence, pdu.status, &id) {
                    let what = status::text(pdu.status);
                    call.warn(&format!("an answer to nothing that is waited for: sequence {}, {what}", pdu.sequence));
                }
                // The centre may have sent its receipt before.
                self.incoming.look_again(call);
            }
            command => call.warn(&format!("an answer 0x{command:08x} to what was not asked is ignored")),
        }
        Ok(())
    }

    fn bound(&mut self, pdu: &Pdu) -> Result<(), Failure> {
        self.asked_ms = None;
        let text = status::text(pdu.status);
        match pdu.status {
            status::OK if pdu.command != pdu::GENERIC_NACK => self.bind = Bind::Bound,
            status::BIND_FAILED | status::INVALID_PASSWORD | status::INVALID_SYSTEM_ID => {
                return Err(Failure::Unauthorized(format!("the bind was refused: {text}")));
            }
            status::ALREADY_BOUND | status::SYSTEM_ERROR | status::THROTTLED | status::QUEUE_FULL => {
                return Err(transient(format!("the bind was refused for now: {text}"), None));
            }
            _ => {
                let reason = format!("the bind was refused: {text}");
                return Err(rejection("bind-refused", reason, format!("PDU {}", self.pdus)).into());
            }
        }
        Ok(())
    }

    /// Sends what may be sent, and says when to be called next.
    fn finish(&mut self, mut call: Call<'_>) -> Step {
        let (now_ms, settings) = (call.now_ms, self.settings.clone());
        let [response_ms, enquire_ms] =
            [settings.response_s, settings.enquire_s].map(|seconds| u64::from(seconds) * 1000);
        if self.bind == Bind::Bound {
            let sequence = &mut self.sequence;
            self.sending.send(&mut call, &mut || next_sequence(sequence));
            if self.asked_ms.is_none() && now_ms >= self.heard_ms + enquire_ms {
                let sequence = next_sequence(&mut self.sequence);
                call.send(pdu::ENQUIRE_LINK, status::OK, sequence, &[]);
                self.asked_ms = Some(now_ms);
            }
        }
        if self.asked_ms.is_some_and(|at| now_ms >= at + response_ms) && call.step.close.is_none() {
            let what = if self.bind == Bind::Bound { "enquire_link" } else { "bind_transceiver" };
            call.step.close = Some(format!("{what} was not answered within {} s", settings.response_s));
        }
        if now_ms >= self.look_ms && !call.is_full() {
            self.look_ms = overdue::look(&mut call);
        }
        // What this call has sent.
        let due_ms = overdue::due_ms(&settings, [None, None], now_ms);
        self.look_ms = if due_ms > 0 { self.look_ms.min(due_ms) } else { self.look_ms };
        let alive = self.asked_ms.map_or(self.heard_ms + enquire_ms, |at| at + response_ms);
        let sending = self.sending.deadline_ms(settings.response_s, settings.window);
        let deadline = alive.min(sending).min(self.incoming.deadline_ms()).min(self.look_ms);
        let is_more = self.broken.is_some() || call.is_full();
        call.step.wait(now_ms, if is_more { now_ms } else { deadline });
        call.step.ready = call.step.close.is_none() && self.bind == Bind::Bound;
        call.step
    }
}

fn next_sequence(sequence: &mut u32) -> u32 {
    *sequence = if *sequence >= SEQUENCE_MAX { 1 } else { *sequence + 1 };
    *sequence
}
