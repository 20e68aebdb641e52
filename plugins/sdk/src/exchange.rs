//! A telephone exchange: its calls, and the calls to customers placed at it; what two protocols of one exchange have in common.

pub mod session;

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::calls::{self, Calls, Channel, News};
use crate::dialling::{self, DeliveredWhen, Order, Reason, Running, Sent};
use crate::memory::Store;
use crate::{Draft, Hub, Rejection, Step, rejection};

/// The host takes 1000 messages in a call, and 64 writes, of which the calls take 32.
const DRAFTS_MAX: usize = 300;
const WRITES_MAX: usize = 24;
/// Frames in one call.
const READ_MAX: usize = 500;
/// Questions in one call: each takes as long as its deadline.
const ASKED_MAX: usize = 3;
/// A time that the exchange states is believed within a day of the hub's clock.
const DAY_MS: u64 = 86_400_000;

/// Settings that both protocols have.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub calls: calls::Settings,
    pub notify: dialling::Settings,
}

/// What one call of a session does, and how much of what it may was used.
pub struct Turn<'a, H> {
    pub now_ms: u64,
    pub hub: &'a mut H,
    pub step: Step,
    /// Frames, or whatever the protocol has.
    read: usize,
    drafts: usize,
    writes: usize,
    asked: usize,
}

impl<'a, H: Hub> Turn<'a, H> {
    pub fn new(hub: &'a mut H) -> Self {
        let step = Step::idle(false, None);
        Self { now_ms: hub.now_ms(), hub, step, read: 0, drafts: 0, writes: 0, asked: 0 }
    }

    /// The rest waits for the next call.
    pub fn is_full(&self) -> bool {
        self.read >= READ_MAX || self.drafts >= DRAFTS_MAX || self.writes >= WRITES_MAX || self.asked >= ASKED_MAX
    }

    fn emit(&mut self, draft: Draft) {
        self.drafts += 1;
        self.hub.emit(draft);
    }

    fn keep(&mut self, key: &str, sent: Option<&Sent>) {
        self.writes += 1;
        match sent {
            Some(sent) => sent.set(key, self.hub),
            None => Sent::forget(key, self.hub),
        }
    }

    /// The time that the exchange states, where it can be believed, else the hub's.
    pub fn at(&self, stated_ms: Option<u64>) -> u64 {
        stated_ms.filter(|at| at.abs_diff(self.now_ms) < DAY_MS).unwrap_or(self.now_ms)
    }
}

/// How a call to a customer ended that was not answered.
pub struct Unanswered {
    /// By what the exchange says besides the cause.
    pub code: &'static str,
    pub cause: Option<u32>,
    pub text: String,
}

impl Unanswered {
    /// Whether the exchange says no more than that it came to nothing.
    fn is_vague(&self) -> bool {
        matches!(self.code, "undeliverable" | "unknown" | "no-answer")
    }
}

pub struct Exchange {
    settings: Settings,
    calls: Calls,
    running: Running,
    /// Calls and orders that ended while nobody listened.
    gone: Vec<String>,
}

impl Exchange {
    /// # Errors
    /// `bad-config`.
    pub fn new(settings: Settings, store: &mut dyn Store) -> Result<Self, Rejection> {
        settings.notify.check()?;
        let notify = &settings.notify;
        let texts = [&notify.channel, &notify.context, &notify.exten, &notify.application, &notify.data];
        if texts.into_iter().chain([&notify.caller_id]).any(|text| text.chars().any(char::is_control)) {
            return Err(rejection("bad-config", "there is a control character", "config, notify"));
        }
        let (calls, running) = (Calls::load(store), Running::load(store));
        Ok(Self { settings, calls, running, gone: Vec::new() })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether another customer may be called.
    pub fn has_room(&self) -> bool {
        self.running.len() < self.settings.notify.calls_at_once
    }

    /// Whether something is to be said at once.
    pub fn is_busy(&self) -> bool {
        !self.gone.is_empty()
    }

    /// When something has to be done, if nothing happens.
    pub fn next_ms(&self) -> u64 {
        self.running.next_ms().unwrap_or(u64::MAX)
    }

    /// All that goes on.
    pub fn ids(&self) -> BTreeSet<String> {
        self.calls.ids().into_iter().chain(self.running.keys()).collect()
    }

    /// Whether this channel is the one that the call `id` began with.
    pub fn is_first(&self, id: &str, channel: &str) -> bool {
        self.calls.is_first(id, channel)
    }

    /// A call begins.
    pub fn start(&mut self, id: &str, channel: &Channel<'_>, at_ms: u64, turn: &mut Turn<'_, impl Hub>) {
        turn.drafts += 1;
        let is_asked = self.calls.start(&self.settings.calls, id, channel, at_ms, turn.now_ms, turn.hub);
        turn.asked += usize::from(is_asked);
    }

    /// Something happens to a call. What was dialled is a workplace only where the settings say so.
    pub fn take(&mut self, id: &str, news: &News<'_>, is_dialled: bool, at_ms: u64, turn: &mut Turn<'_, impl Hub>) {
        let is_employee = |interface: &str| self.settings.calls.employees.contains_key(interface);
        if !matches!(news, News::Rings(interface, _) if is_dialled && !is_employee(interface)) {
            turn.drafts += 1;
            self.calls.take(&self.settings.calls, id, news, at_ms, turn.hub);
        }
    }

    /// What was there before, and is there no more, has ended.
    pub fn listed(&mut self, before: BTreeSet<String>, alive: &BTreeSet<String>) {
        self.gone.extend(before.into_iter().filter(|id| !alive.contains(id)));
    }

    /// Ends what has ended unheard.
    pub fn end_gone(&mut self, turn: &mut Turn<'_, impl Hub>) {
        self.gone.extend(self.running.silent(turn.now_ms));
        while !turn.is_full() {
            let Some(id) = self.gone.pop() else { break };
            if !id.starts_with(dialling::PREFIX) {
                self.take(&id, &News::Ended(None), false, turn.now_ms, turn);
                continue;
            }
            self.running.end(&id);
            // Of what the exchange has not taken, a person decides.
            if let Some(sent) = Sent::get(&id, turn.hub).filter(|sent| sent.is_accepted) {
                let reason = "it ended while there was no connection: whether it was heard is not known";
                self.said(&id, &sent, Err(("unknown", reason.to_owned())), turn.now_ms, turn);
            }
        }
    }

    /// A customer is being called.
    pub fn begin(&mut self, order: &Order, is_accepted: bool, turn: &mut Turn<'_, impl Hub>) {
        turn.keep(&order.key, Some(&Sent { is_accepted, ..order.sent.clone() }));
        self.running.begin(&order.key, turn.now_ms);
    }

    /// Nobody will be called: the time for it is over.
    pub fn late(&mut self, order: &Order, turn: &mut Turn<'_, impl Hub>) {
        let late = Err(("expired", "it came to be called too late".to_owned()));
        turn.emit(dialling::outcome(&order.key, &order.sent, late, turn.now_ms, self.settings.calls.utc_offset));
    }

    /// The exchange has taken an order.
    pub fn accepted(&mut self, key: &str, turn: &mut Turn<'_, impl Hub>) {
        if let Some(sent) = Sent::get(key, turn.hub) {
            turn.keep(key, Some(&Sent { is_accepted: true, ..sent }));
        }
    }

    /// The exchange will not take it.
    pub fn refused(&mut self, key: &str, turn: &mut Turn<'_, impl Hub>) {
        self.running.end(key);
        turn.keep(key, None);
    }

    /// The customer's telephone rings.
    pub fn rings(&mut self, key: &str, turn: &mut Turn<'_, impl Hub>) {
        if let Some(sent) = self.sent(key, turn).filter(|sent| !sent.rang) {
            turn.keep(key, Some(&Sent { rang: true, ..sent }));
        }
    }

    /// The customer has answered. `ends_seen`: the end of the call will be told as well.
    pub fn answered(&mut self, key: &str, ends_seen: bool, at_ms: u64, turn: &mut Turn<'_, impl Hub>) {
        let Some(sent) = self.sent(key, turn) else { return };
        let is_over = sent.cause.is_some();
        if is_over || !ends_seen {
            self.running.end(key);
        }
        match self.settings.notify.delivered_when {
            DeliveredWhen::Answered => self.said(key, &sent, Ok(()), at_ms, turn),
            DeliveredWhen::Confirmed if is_over => self.said(key, &sent, Err(not_confirmed()), at_ms, turn),
            DeliveredWhen::Confirmed => turn.keep(key, Some(&Sent { is_answered: true, ..sent })),
        }
    }

    /// The customer has not answered.
    pub fn unanswered(&mut self, key: &str, how: Unanswered, at_ms: u64, turn: &mut Turn<'_, impl Hub>) {
        let Some(sent) = self.sent(key, turn) else { return self.running.end(key) };
        let cause = how.cause.or(sent.cause).filter(|cause| ![0, 16].contains(cause));
        let code = match cause {
            // It rang, and nothing says more: nobody came.
            _ if sent.rang && how.is_vague() && cause.is_none_or(dialling::is_vague) => "no-answer",
            _ => cause.and_then(dialling::code_of_cause).unwrap_or(how.code),
        };
        let cause = cause.map(|cause| format!(", cause {cause}")).unwrap_or_default();
        self.running.end(key);
        self.said(key, &sent, Err((code, format!("not answered: {}{cause}", how.text))), at_ms, turn);
    }

    /// The dialplan says what came of it.
    pub fn confirmed(&mut self, key: &str, result: &str, reason: &str, at_ms: u64, turn: &mut Turn<'_, impl Hub>) {
        let is_wanted = self.settings.notify.delivered_when == DeliveredWhen::Confirmed;
        let Some(sent) = self.sent(key, turn).filter(|_| is_wanted) else { return };
        let result = match result {
            "delivered" => Ok(()),
            other => Err(("not-confirmed", format!("the dialplan says: {other} {reason}"))),
        };
        self.said(key, &sent, result, at_ms, turn);
    }

    /// The call is over. Whether it had been answered may be told later; `false` where that is not known yet.
    pub fn hung_up(&mut self, key: &str, cause: Option<u32>, at_ms: u64, turn: &mut Turn<'_, impl Hub>) -> bool {
        let Some(sent) = self.sent(key, turn) else {
            self.running.end(key);
            return true;
        };
        if sent.is_answered {
            self.running.end(key);
            self.said(key, &sent, Err(not_confirmed()), at_ms, turn);
        } else {
            turn.keep(key, Some(&Sent { cause: cause.or(Some(0)), ..sent.clone() }));
        }
        sent.is_answered
    }

    fn sent(&self, key: &str, turn: &mut Turn<'_, impl Hub>) -> Option<Sent> {
        if key.starts_with(dialling::PREFIX) { Sent::get(key, turn.hub) } else { None }
    }

    /// States what came of an order, once.
    fn said(&mut self, key: &str, sent: &Sent, result: Result<(), Reason>, at_ms: u64, turn: &mut Turn<'_, impl Hub>) {
        turn.emit(dialling::outcome(key, sent, result, at_ms, self.settings.calls.utc_offset));
        turn.keep(key, None);
    }

    /// Writes what has changed, once in a call of the session.
    ///
    /// # Errors
    /// `too-many-calls`: more than the state holds.
    pub fn save(&mut self, store: &mut dyn Store) -> Result<(), Rejection> {
        self.running.save(store);
        self.calls.save(store).map_err(|reason| rejection("too-many-calls", reason, ""))
    }
}

fn not_confirmed() -> Reason {
    ("not-confirmed", "answered, and hung up before the dialplan confirmed it".to_owned())
}
