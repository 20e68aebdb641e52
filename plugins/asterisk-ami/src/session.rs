//! A session: what comes in, and what is said of it. Pure but for the host and the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use busbar_sdk::calls::{self, Calls, News};
use busbar_sdk::dialling::{self, Before, DeliveredWhen, Order, Running, Sent};
use busbar_sdk::memory::Store;
use busbar_sdk::{Draft, Failure, Message, Settled, Step, rejected, rejection, transient};

use crate::blocks::{Block, Blocks, Item};
use crate::mapping;
use crate::settings::{Login, Settings};

/// The host takes 1000 messages in a call, and 64 writes, of which the calls take 32.
const DRAFTS_MAX: usize = 300;
const WRITES_MAX: usize = 24;
const BLOCKS_MAX: usize = 500;
/// Questions in one call: each takes as long as its deadline.
const ASKED_MAX: usize = 3;
/// Bytes that wait for the next call.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// An action without a response by then was lost.
const RESPONSE_MS_MAX: u64 = 30_000;
/// A time of an event is believed within a day of the hub's clock.
const DAY_MS: u64 = 86_400_000;

const CHALLENGE: &str = "bb-challenge";
const LOGIN: &str = "bb-login";
const PING: &str = "bb-ping";
const CHANNELS: &str = "bb-channels";

/// The host, and the key of a login.
pub trait Host: calls::Hub {
    /// MD5 of the challenge and the credential, in hexadecimal.
    ///
    /// # Errors
    /// There is no such credential.
    fn key(&mut self, challenge: &str, credential: &str) -> Result<String, String>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Challenged,
    LoggingIn,
    Ready,
}

/// What there was when the channels were asked for, and what there still is.
struct Listing {
    calls: BTreeSet<String>,
    running: Vec<String>,
    alive: BTreeSet<String>,
}

pub struct Ami {
    settings: Settings,
    blocks: Blocks,
    calls: Calls,
    running: Running,
    phase: Phase,
    connected_ms: u64,
    heard_ms: u64,
    pinged_ms: Option<u64>,
    waiting: VecDeque<(u64, Order, String)>,
    /// Without a response yet: delivery, and since when.
    sent: BTreeMap<String, (u64, u64)>,
    listing: Option<Listing>,
    /// Calls and orders that ended while nobody listened.
    gone: Vec<String>,
    /// Why no more is read; the next call says it.
    broken: Option<Failure>,
}

/// What one call does.
struct Turn<'a> {
    now_ms: u64,
    host: &'a mut dyn Host,
    store: &'a mut dyn Store,
    step: Step,
    blocks: usize,
    drafts: usize,
    writes: usize,
    asked: usize,
}

impl<'a> Turn<'a> {
    fn new(now_ms: u64, host: &'a mut dyn Host, store: &'a mut dyn Store) -> Self {
        Self { now_ms, host, store, step: Step::idle(false, None), blocks: 0, drafts: 0, writes: 0, asked: 0 }
    }

    fn is_full(&self) -> bool {
        self.blocks >= BLOCKS_MAX || self.drafts >= DRAFTS_MAX || self.writes >= WRITES_MAX || self.asked >= ASKED_MAX
    }

    fn emit(&mut self, draft: Draft) {
        self.drafts += 1;
        self.host.emit(draft);
    }

    fn keep(&mut self, key: &str, sent: Option<&Sent>) {
        self.writes += 1;
        match sent {
            Some(sent) => sent.set(key, self.store),
            None => Sent::forget(key, self.store),
        }
    }
}

impl Ami {
    /// # Errors
    /// `bad-config`.
    pub fn new(settings: Settings, store: &mut dyn Store) -> Result<Self, Failure> {
        settings.check()?;
        Ok(Self {
            settings,
            blocks: Blocks::default(),
            calls: Calls::load(store),
            running: Running::load(store),
            phase: Phase::Greeting,
            connected_ms: 0,
            heard_ms: 0,
            pinged_ms: None,
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            listing: None,
            gone: Vec::new(),
            broken: None,
        })
    }

    pub fn connected(&mut self, now_ms: u64) -> Step {
        self.blocks = Blocks::default();
        self.phase = Phase::Greeting;
        (self.connected_ms, self.heard_ms, self.pinged_ms) = (now_ms, now_ms, None);
        (self.listing, self.broken) = (None, None);
        Step::idle(false, Some(self.settings.timeout_s * 1000))
    }

    /// # Errors
    /// What breaks the protocol, at its block; a refused login. What came before it is said first.
    pub fn bytes(
        &mut self,
        bytes: &[u8],
        now_ms: u64,
        host: &mut dyn Host,
        store: &mut dyn Store,
    ) -> Result<Step, Failure> {
        (self.heard_ms, self.pinged_ms) = (now_ms, None);
        self.blocks.push(bytes);
        if self.blocks.waiting() > WAITING_BYTES_MAX && self.broken.is_none() {
            self.broken = Some(rejected("too-much", "more comes than can be said", self.blocks.place()));
        }
        self.go_on(now_ms, host, store)
    }

    /// # Errors
    /// As [`Ami::bytes`].
    pub fn timer(&mut self, now_ms: u64, host: &mut dyn Host, store: &mut dyn Store) -> Result<Step, Failure> {
        self.go_on(now_ms, host, store)
    }

    /// # Errors
    /// What ends this delivery.
    pub fn message(
        &mut self,
        delivery: u64,
        message: &Message,
        maybe_sent: bool,
        now_ms: u64,
        host: &mut dyn Host,
        store: &mut dyn Store,
    ) -> Result<Step, Failure> {
        let order = Order::of(&self.settings.notify, &self.settings.calls.country, message, now_ms)?;
        let before = if maybe_sent { Before::of(&order.key, store, host) } else { Before::Nothing };
        if before == Before::Unknown {
            let reason = format!("the hub was stopped when {} had been, or was about to be sent", order.key);
            return Err(Failure::UnknownOutcome(reason));
        }
        let mut turn = Turn::new(now_ms, host, store);
        if before == Before::Done {
            turn.step.settle(delivery, Ok(()));
        } else if order.is_late {
            let late = Err(("expired", "it came to be called too late".to_owned()));
            turn.emit(dialling::outcome(&order.key, &order.sent, late, now_ms, self.settings.calls.utc_offset));
            turn.step.settle(delivery, Ok(()));
        } else {
            let action = mapping::originate(&self.settings.notify, &order)?;
            self.waiting.push_back((delivery, order, action));
        }
        self.finish(turn)
    }

    /// What was not sent can be tried again; of the rest nobody knows.
    pub fn disconnected(&mut self) -> Vec<Settled> {
        self.phase = Phase::Greeting;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let not_sent = || Err(transient("the connection was lost before it was sent", None));
        let waiting = waiting.map(|(delivery, ..)| Settled { delivery, outcome: not_sent() });
        let unknown = || Err(Failure::UnknownOutcome("the connection was lost before Asterisk answered".to_owned()));
        let sent = std::mem::take(&mut self.sent).into_values();
        waiting.chain(sent.map(|(delivery, _)| Settled { delivery, outcome: unknown() })).collect()
    }

    fn go_on(&mut self, now_ms: u64, host: &mut dyn Host, store: &mut dyn Store) -> Result<Step, Failure> {
        if let Some(failure) = self.broken.take() {
            return Err(failure);
        }
        let mut turn = Turn::new(now_ms, host, store);
        self.end_gone(&mut turn);
        while !turn.is_full() {
            match self.item(&mut turn) {
                Ok(true) => turn.blocks += 1,
                Ok(false) => break,
                Err(failure) if turn.blocks == 0 => return Err(failure),
                // What came before is good: it is committed by this call, and the next one fails.
                Err(failure) => {
                    self.broken = Some(failure);
                    break;
                }
            }
        }
        self.finish(turn)
    }

    /// Reads what comes next; `false` where nothing has come whole.
    fn item(&mut self, turn: &mut Turn<'_>) -> Result<bool, Failure> {
        let place = self.blocks.place();
        match self.blocks.take_next()? {
            None => return Ok(false),
            Some(Item::Banner(banner)) => self.greeted(&banner, turn)?,
            // `OriginateResponse` is an event, and has a `Response` too.
            Some(Item::Block(block)) if block.get("Event").is_empty() => self.response(&block, &place, turn)?,
            Some(Item::Block(block)) if self.phase == Phase::Ready => self.event(&block, turn),
            Some(Item::Block(_)) => {}
        }
        Ok(true)
    }

    fn greeted(&mut self, banner: &str, turn: &mut Turn<'_>) -> Result<(), Failure> {
        if !banner.starts_with("Asterisk Call Manager") {
            return Err(rejected("not-ami", "no greeting of an Asterisk Call Manager", "line 1"));
        }
        if self.settings.login == Login::Md5 {
            self.phase = Phase::Challenged;
            turn.step.send(mapping::action("Challenge", CHALLENGE, &[("AuthType", "MD5")]).as_bytes());
        } else {
            self.phase = Phase::LoggingIn;
            let fields = [("Username", self.settings.username.as_str()), ("Events", &self.settings.events)];
            let login = mapping::action("Login", LOGIN, &fields);
            turn.step.send(login.trim_end().as_bytes());
            turn.step.send(b"\r\nSecret: ");
            turn.step.send_secret(&self.settings.secret);
            turn.step.send(b"\r\n\r\n");
        }
        Ok(())
    }

    fn response(&mut self, block: &Block, place: &str, turn: &mut Turn<'_>) -> Result<(), Failure> {
        if block.get("Response").is_empty() {
            return Ok(());
        }
        let is_good = block.get("Response") == "Success";
        let refused = || format!("the login was refused: {}", block.get("Message"));
        match (self.phase, block.get("ActionID")) {
            // Nothing else was asked for yet, so whatever answers is the answer.
            (Phase::Challenged | Phase::LoggingIn, _) if !is_good => return Err(Failure::Unauthorized(refused())),
            (Phase::Challenged, _) => {
                let challenge = block.get("Challenge");
                if challenge.is_empty() {
                    return Err(rejection("bad-challenge", "there is no challenge", place).into());
                }
                let key = turn.host.key(challenge, &self.settings.secret).map_err(Failure::Other)?;
                let fields = [
                    ("AuthType", "MD5"),
                    ("Username", self.settings.username.as_str()),
                    ("Key", &key),
                    ("Events", &self.settings.events),
                ];
                turn.step.send(mapping::action("Login", LOGIN, &fields).as_bytes());
                self.phase = Phase::LoggingIn;
            }
            (Phase::LoggingIn, _) => {
                self.phase = Phase::Ready;
                self.list(turn);
            }
            (Phase::Ready, CHANNELS) if !is_good => {
                self.listing = None;
                turn.host.warn(&format!("the channels are not told: {}", block.get("Message")));
            }
            (Phase::Ready, key) => self.taken(key, is_good, block.get("Message"), turn),
            (Phase::Greeting, _) => {}
        }
        Ok(())
    }

    /// Whether Asterisk has taken an order.
    fn taken(&mut self, key: &str, is_good: bool, text: &str, turn: &mut Turn<'_>) {
        let Some((delivery, _)) = self.sent.remove(key) else { return };
        if is_good {
            if let Some(sent) = Sent::get(key, turn.store) {
                turn.keep(key, Some(&Sent { is_accepted: true, ..sent }));
            }
            return turn.step.settle(delivery, Ok(()));
        }
        self.running.end(key);
        turn.keep(key, None);
        let failure = match text {
            "Permission denied" => Failure::Unauthorized("Asterisk: Permission denied to originate".to_owned()),
            _ => rejected("refused", format!("Asterisk: {text}"), ""),
        };
        turn.step.settle(delivery, Err(failure));
    }

    /// Asks which channels there are, so that what ended unheard is known.
    fn list(&mut self, turn: &mut Turn<'_>) {
        let (calls, running) = (self.calls.ids(), self.running.keys());
        if self.settings.list_channels && !(calls.is_empty() && running.is_empty()) {
            self.listing = Some(Listing { calls, running, alive: BTreeSet::new() });
            turn.step.send(mapping::action("CoreShowChannels", CHANNELS, &[]).as_bytes());
        }
    }

    fn event(&mut self, event: &Block, turn: &mut Turn<'_>) {
        let now_ms = turn.now_ms;
        let at_ms = mapping::time_ms(event).filter(|at| at.abs_diff(now_ms) < DAY_MS).unwrap_or(now_ms);
        let (id, channel) = (mapping::call_of(event), event.get("Uniqueid"));
        match event.get("Event") {
            "CoreShowChannel" => {
                if let Some(listing) = &mut self.listing {
                    listing.alive.extend([id.to_owned(), channel.to_owned()]);
                }
            }
            "CoreShowChannelsComplete" => self.listed(),
            "OriginateResponse" => self.answered(event, at_ms, turn),
            "UserEvent" if event.get("UserEvent") == "BusbarNotification" => self.confirmed(event, at_ms, turn),
            "Hangup" if channel.starts_with(dialling::PREFIX) => self.hung_up(channel, event, at_ms, turn),
            "Newchannel" => {
                let Some(first) = mapping::first_channel(event) else { return };
                turn.drafts += 1;
                let settings = &self.settings.calls;
                turn.asked += usize::from(self.calls.start(settings, id, &first, at_ms, now_ms, turn.host));
            }
            _ => {
                let Some(news) = mapping::news(event, self.calls.is_first(id, channel)) else { return };
                let is_employee = |interface: &str| self.settings.calls.employees.contains_key(interface);
                let is_dialled = event.get("Event").starts_with("Dial");
                // What rings is a workplace where a queue, or the settings, say so.
                if matches!(&news, News::Rings(interface, _) if is_dialled && !is_employee(interface)) {
                    return;
                }
                turn.drafts += 1;
                self.calls.take(&self.settings.calls, id, &news, at_ms, turn.host);
            }
        }
    }

    /// What there is no more has ended.
    fn listed(&mut self) {
        let Some(Listing { calls, running, alive }) = self.listing.take() else { return };
        self.gone.extend(calls.into_iter().chain(running).filter(|id| !alive.contains(id)));
    }

    fn end_gone(&mut self, turn: &mut Turn<'_>) {
        let silent = self.running.silent(turn.now_ms);
        self.gone.extend(silent);
        while !turn.is_full() {
            let Some(id) = self.gone.pop() else { break };
            if !id.starts_with(dialling::PREFIX) {
                turn.drafts += 1;
                self.calls.take(&self.settings.calls, &id, &News::Ended(None), turn.now_ms, turn.host);
                continue;
            }
            self.running.end(&id);
            // Of what Asterisk has not taken, a person decides.
            if let Some(sent) = Sent::get(&id, turn.store).filter(|sent| sent.is_accepted) {
                let reason = "it ended while there was no connection: whether it was heard is not known";
                self.said(&id, &sent, Err(("unknown", reason.to_owned())), turn.now_ms, turn);
            }
        }
    }

    /// States what came of an order, once.
    fn said(&mut self, key: &str, sent: &Sent, result: Result<(), dialling::Reason>, at_ms: u64, turn: &mut Turn<'_>) {
        turn.emit(dialling::outcome(key, sent, result, at_ms, self.settings.calls.utc_offset));
        turn.keep(key, None);
    }

    fn answered(&mut self, event: &Block, at_ms: u64, turn: &mut Turn<'_>) {
        let key = event.get("ActionID");
        let Some(sent) = Sent::get(key, turn.store).filter(|_| key.starts_with(dialling::PREFIX)) else { return };
        if event.get("Response") != "Success" {
            let reason = mapping::not_answered(event.get("Reason"), sent.cause);
            self.running.end(key);
            return self.said(key, &sent, Err(reason), at_ms, turn);
        }
        // It has ended already; or its end will not be seen: versions before 12 give the channel another id.
        let is_over = sent.cause.is_some();
        if is_over || event.get("Uniqueid") != key {
            self.running.end(key);
        }
        match self.settings.notify.delivered_when {
            DeliveredWhen::Answered => self.said(key, &sent, Ok(()), at_ms, turn),
            DeliveredWhen::Confirmed if is_over => self.said(key, &sent, Err(not_confirmed()), at_ms, turn),
            DeliveredWhen::Confirmed => turn.keep(key, Some(&Sent { is_answered: true, ..sent })),
        }
    }

    fn confirmed(&mut self, event: &Block, at_ms: u64, turn: &mut Turn<'_>) {
        let key = event.get("Notification");
        let is_ours =
            key.starts_with(dialling::PREFIX) && self.settings.notify.delivered_when == DeliveredWhen::Confirmed;
        let Some(sent) = Sent::get(key, turn.store).filter(|_| is_ours) else { return };
        let result = match event.get("Result") {
            "delivered" => Ok(()),
            other => Err(("not-confirmed", format!("the dialplan says: {other} {}", event.get("Reason")))),
        };
        self.said(key, &sent, result, at_ms, turn);
    }

    fn hung_up(&mut self, key: &str, event: &Block, at_ms: u64, turn: &mut Turn<'_>) {
        let Some(sent) = Sent::get(key, turn.store) else { return self.running.end(key) };
        if sent.is_answered {
            self.running.end(key);
            return self.said(key, &sent, Err(not_confirmed()), at_ms, turn);
        }
        // Whether it had been answered, `OriginateResponse` says.
        turn.keep(key, Some(&Sent { cause: Some(event.get("Cause").parse().unwrap_or(0)), ..sent }));
    }

    fn finish(&mut self, mut turn: Turn<'_>) -> Result<Step, Failure> {
        let now_ms = turn.now_ms;
        while self.phase == Phase::Ready && self.running.len() < self.settings.notify.calls_at_once && !turn.is_full() {
            let Some((delivery, order, action)) = self.waiting.pop_front() else { break };
            turn.keep(&order.key, Some(&order.sent));
            self.running.begin(&order.key, now_ms);
            self.sent.insert(order.key, (delivery, now_ms));
            turn.step.send(action.as_bytes());
        }
        self.running.save(turn.store);
        self.calls.save(turn.store).map_err(|reason| rejected("too-many-calls", reason, ""))?;
        self.overdue(&mut turn);
        turn.step.close = self.keep_alive(&mut turn);
        let is_more = turn.is_full() || self.broken.is_some() || !self.gone.is_empty();
        let is_open = turn.step.close.is_none();
        let wait_ms = if is_more { 1 } else { self.deadline().saturating_sub(now_ms).max(1) };
        turn.step.timer_ms = is_open.then(|| u32::try_from(wait_ms).unwrap_or(u32::MAX));
        let has_room = self.waiting.is_empty() && self.running.len() < self.settings.notify.calls_at_once;
        turn.step.ready = is_open && self.phase == Phase::Ready && has_room;
        Ok(turn.step)
    }

    fn overdue(&mut self, turn: &mut Turn<'_>) {
        let now_ms = turn.now_ms;
        self.sent.retain(|key, (delivery, since)| {
            let is_waited_for = now_ms < *since + RESPONSE_MS_MAX;
            if !is_waited_for {
                turn.step.settle(*delivery, Err(Failure::UnknownOutcome(format!("no response to {key}"))));
            }
            is_waited_for
        });
    }

    /// Tests a silent connection; why it is given up.
    fn keep_alive(&mut self, turn: &mut Turn<'_>) -> Option<String> {
        let timeout_ms = u64::from(self.settings.timeout_s) * 1000;
        if self.phase != Phase::Ready {
            return (turn.now_ms >= self.connected_ms + timeout_ms).then(|| "no answer to the login".to_owned());
        }
        match self.pinged_ms {
            Some(at) => (turn.now_ms >= at + timeout_ms).then(|| "no answer to a ping".to_owned()),
            None if turn.now_ms >= self.heard_ms + u64::from(self.settings.ping_s) * 1000 => {
                self.pinged_ms = Some(turn.now_ms);
                turn.step.send(mapping::action("Ping", PING, &[]).as_bytes());
                None
            }
            None => None,
        }
    }

    fn deadline(&self) -> u64 {
        let timeout_ms = u64::from(self.settings.timeout_s) * 1000;
        let alive = match (self.phase, self.pinged_ms) {
            (Phase::Ready, Some(at)) => at + timeout_ms,
            (Phase::Ready, None) => self.heard_ms + u64::from(self.settings.ping_s) * 1000,
            _ => self.connected_ms + timeout_ms,
        };
        let response = self.sent.values().map(|(_, since)| since + RESPONSE_MS_MAX).min().unwrap_or(u64::MAX);
        alive.min(response).min(self.running.next_ms().unwrap_or(u64::MAX))
    }
}

fn not_confirmed() -> dialling::Reason {
    ("not-confirmed", "answered, and hung up before the dialplan confirmed it".to_owned())
}
