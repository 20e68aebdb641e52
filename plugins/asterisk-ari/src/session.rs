//! A session: what comes in, and what is said of it. Pure but for the host and the store.

use std::collections::BTreeSet;

use busbar_sdk::calls::{Hub, News};
use busbar_sdk::dialling::{self, Before, Order};
use busbar_sdk::encoding::without_bom;
use busbar_sdk::exchange::{self, Exchange, Spent, Unanswered};
use busbar_sdk::http::{HttpError, Response};
use busbar_sdk::memory::Store;
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::{Delay, Failure, Message, Step, hex, rejected};
use serde_json::Value;

use crate::mapping::{self, text};
use crate::settings::{Link, Settings};
use crate::websocket::{self, GUID, Item, Opcode, Websocket};

/// Frames in one call.
const FRAMES_MAX: usize = 500;
/// Bytes that wait for the next call.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// A message that came while all lines are taken is tried again then.
const NO_ROOM_MS: u64 = 5000;

/// The host, and what the protocol needs of it.
pub trait Host: Hub {
    fn random(&mut self, bytes: u32) -> Vec<u8>;
    /// # Errors
    /// The host does not hash.
    fn sha1(&mut self, text: &str) -> Result<Vec<u8>, String>;
    /// A request of the interface: method, what follows the base address, body.
    ///
    /// # Errors
    /// There is no answer.
    fn request(&mut self, link: &Link, method: &str, rest: &str, body: Vec<u8>) -> Result<Response, HttpError>;
}

pub struct Ari {
    link: Link,
    exchange: Exchange,
    socket: Websocket,
    /// Name of the application, the same in each connection.
    app: String,
    is_open: bool,
    connected_ms: u64,
    heard_ms: u64,
    pinged_ms: Option<u64>,
    /// Why no more is read; the next call says it.
    broken: Option<Failure>,
}

/// What one call does.
struct Turn<'a> {
    now_ms: u64,
    host: &'a mut dyn Host,
    store: &'a mut dyn Store,
    step: Step,
    frames: usize,
    spent: Spent,
}

impl<'a> Turn<'a> {
    fn new(now_ms: u64, host: &'a mut dyn Host, store: &'a mut dyn Store) -> Self {
        Self { now_ms, host, store, step: Step::idle(false, None), frames: 0, spent: Spent::default() }
    }

    fn is_full(&self) -> bool {
        self.frames >= FRAMES_MAX || self.spent.is_all()
    }

    fn shared(&mut self) -> exchange::Turn<'_> {
        exchange::Turn { now_ms: self.now_ms, hub: self.host, store: self.store, spent: &mut self.spent }
    }

    fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mask = self.host.random(4).first_chunk().copied().unwrap_or_default();
        self.step.send(&websocket::frame(opcode, payload, mask));
    }
}

impl Ari {
    /// # Errors
    /// `bad-config`.
    pub fn new(settings: Settings, host: &mut dyn Host, store: &mut dyn Store) -> Result<Self, Failure> {
        let Settings { link, exchange } = settings;
        let mut app = link.app.clone();
        if link.app_for_each_hub {
            app.push('-');
            app.push_str(&hex::encoded(&host.random(4)));
        }
        Ok(Self {
            link,
            exchange: Exchange::new(exchange, store)?,
            socket: Websocket::default(),
            app,
            is_open: false,
            connected_ms: 0,
            heard_ms: 0,
            pinged_ms: None,
            broken: None,
        })
    }

    /// Asks for the WebSocket of events.
    ///
    /// # Errors
    /// The host does not hash.
    pub fn connected(&mut self, now_ms: u64, host: &mut dyn Host) -> Result<Step, Failure> {
        let key = websocket::key(&host.random(16));
        let hash = host.sha1(&format!("{key}{GUID}")).map_err(Failure::Other)?;
        self.socket = Websocket::opening(&hash);
        (self.is_open, self.connected_ms, self.heard_ms) = (false, now_ms, now_ms);
        (self.pinged_ms, self.broken) = (None, None);
        let mut step = Step::idle(false, Some(self.link.timeout_s * 1000));
        let (host, path) = self.link.parts();
        let all = if self.link.subscribe_all { "&subscribeAll=true" } else { "" };
        step.send(format!("GET {path}/events?app={}{all}&api_key=", self.app).as_bytes());
        step.send_secret(&self.link.credential);
        let rest = format!(
            " HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        );
        step.send(rest.as_bytes());
        Ok(step)
    }

    /// # Errors
    /// What breaks the protocol, at its frame; a refused opening. What came before it is said first.
    pub fn bytes(
        &mut self,
        bytes: &[u8],
        now_ms: u64,
        host: &mut dyn Host,
        store: &mut dyn Store,
    ) -> Result<Step, Failure> {
        (self.heard_ms, self.pinged_ms) = (now_ms, None);
        self.socket.push(bytes);
        if self.socket.waiting() > WAITING_BYTES_MAX && self.broken.is_none() {
            self.broken = Some(rejected("too-much", "more comes than can be said", self.socket.place()));
        }
        self.go_on(now_ms, host, store)
    }

    /// # Errors
    /// As [`Ari::bytes`].
    pub fn timer(&mut self, now_ms: u64, host: &mut dyn Host, store: &mut dyn Store) -> Result<Step, Failure> {
        self.go_on(now_ms, host, store)
    }

    /// # Errors
    /// What ends this delivery, where nothing was requested.
    pub fn message(
        &mut self,
        delivery: u64,
        message: &Message,
        maybe_sent: bool,
        now_ms: u64,
        host: &mut dyn Host,
        store: &mut dyn Store,
    ) -> Result<Step, Failure> {
        let settings = self.exchange.settings();
        let order = Order::of(&settings.notify, &settings.calls.country, message, now_ms)?;
        // What is remembered was written after the answer: so it was taken.
        if maybe_sent && Before::of(&order.key, store, host) != Before::Nothing {
            let mut turn = Turn::new(now_ms, host, store);
            turn.step.settle(delivery, Ok(()));
            return self.finish(turn);
        }
        if !maybe_sent && !order.is_late && !self.exchange.has_room() {
            let reason = "as many customers are being called as may be".to_owned();
            return Err(Failure::RateLimited(Delay { reason, retry_after_ms: Some(NO_ROOM_MS) }));
        }
        let mut turn = Turn::new(now_ms, host, store);
        let outcome = self.call(&order, maybe_sent, &mut turn);
        turn.step.settle(delivery, outcome);
        self.finish(turn)
    }

    /// Whether Asterisk has taken the order.
    fn call(&mut self, order: &Order, maybe_sent: bool, turn: &mut Turn<'_>) -> Result<(), Failure> {
        if maybe_sent {
            return self.ask(order, turn);
        }
        if order.is_late {
            self.exchange.late(order, &mut turn.shared());
            return Ok(());
        }
        let (rest, body) = mapping::originate(&self.exchange.settings().notify, order);
        let what = "POST /channels";
        match turn.host.request(&self.link, "POST", &rest, body) {
            // 409: there is a channel of this id, so an earlier attempt has called.
            Ok(Response { status: 200..=299 | 409, .. }) => {
                self.exchange.begin(order, true, &mut turn.shared());
                Ok(())
            }
            Ok(response) => Err(replies::failure_of(replies::outcome_of_status(response.status), &response, what)),
            Err(HttpError::NoAnswer(_) | HttpError::TooLarge(_)) => self.ask(order, turn),
            Err(error) => Err(replies::failure_of_error(error, what, false)),
        }
    }

    /// Asks for the channel of an order that may have been sent.
    fn ask(&mut self, order: &Order, turn: &mut Turn<'_>) -> Result<(), Failure> {
        match turn.host.request(&self.link, "GET", &format!("/channels/{}", order.key), Vec::new()) {
            Ok(Response { status: 200, .. }) => {
                self.exchange.begin(order, true, &mut turn.shared());
                Ok(())
            }
            _ => Err(Failure::UnknownOutcome(format!("{} may have been called, and is no more", order.key))),
        }
    }

    pub fn disconnected(&mut self) {
        self.is_open = false;
    }

    fn go_on(&mut self, now_ms: u64, host: &mut dyn Host, store: &mut dyn Store) -> Result<Step, Failure> {
        if let Some(failure) = self.broken.take() {
            return Err(failure);
        }
        let mut turn = Turn::new(now_ms, host, store);
        self.exchange.end_gone(&mut turn.shared());
        while !turn.is_full() && turn.step.close.is_none() {
            match self.item(&mut turn) {
                Ok(true) => turn.frames += 1,
                Ok(false) => break,
                Err(failure) if turn.frames == 0 => return Err(failure),
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
        let place = self.socket.place();
        match self.socket.take_next()? {
            None => return Ok(false),
            Some(Item::Opened) => {
                self.is_open = true;
                self.list(turn);
            }
            Some(Item::Text(json)) => {
                let event = serde_json::from_slice::<Value>(&json);
                self.event(&event.map_err(|error| rejected("not-json", error.to_string(), place))?, turn);
            }
            Some(Item::Ping(payload)) => turn.send(Opcode::Pong, &payload),
            Some(Item::Pong) => {}
            Some(Item::Close(code)) => {
                let payload = code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
                turn.send(Opcode::Close, &payload);
                let code = code.map(|code| format!(", {code}")).unwrap_or_default();
                turn.step.close = Some(format!("Asterisk closes the connection{code}"));
            }
        }
        Ok(true)
    }

    /// Asks which channels there are, so that what ended unheard is known.
    fn list(&mut self, turn: &mut Turn<'_>) {
        let before = self.exchange.ids();
        if !self.link.list_channels || before.is_empty() {
            return;
        }
        let reply = turn.host.request(&self.link, "GET", "/channels", Vec::new());
        let is_good = |response: &Response| replies::outcome_of_status(response.status) == Outcome::Ok;
        let list = reply
            .ok()
            .filter(is_good)
            .and_then(|response| serde_json::from_slice::<Vec<Value>>(without_bom(&response.body)).ok());
        match list {
            Some(channels) => {
                let alive: BTreeSet<String> = channels.iter().map(|channel| text(channel, "/id").to_owned()).collect();
                self.exchange.listed(before, &alive);
            }
            None => turn.host.warn("the channels are not told: calls that ended unheard are not ended"),
        }
    }

    fn event(&mut self, event: &Value, turn: &mut Turn<'_>) {
        let kind = text(event, "/type");
        if kind == "ApplicationReplaced" && text(event, "/application") == self.app {
            turn.step.close = Some("another connection has taken the application over".to_owned());
            return;
        }
        let turn = &mut turn.shared();
        let at_ms = turn.at(mapping::time_ms(event));
        let id = mapping::call_of(event);
        if kind == "ChannelUserevent" && text(event, "/eventname") == "BusbarNotification" {
            let key = text(event, "/userevent/Notification");
            let (result, reason) = (text(event, "/userevent/Result"), text(event, "/userevent/Reason"));
            return self.exchange.confirmed(key, result, reason, at_ms, turn);
        }
        if id.starts_with(dialling::PREFIX) {
            return self.of_order(id, event, at_ms, turn);
        }
        if let Some(first) = mapping::first_channel(event) {
            self.exchange.start(id, &first, at_ms, turn);
        }
        if let Some(news) = mapping::news(event) {
            self.exchange.take(id, &news, kind == "Dial", at_ms, turn);
        }
    }

    /// Of the channel of an order.
    fn of_order(&mut self, key: &str, event: &Value, at_ms: u64, turn: &mut exchange::Turn<'_>) {
        if mapping::is_ringing(event) {
            self.exchange.rings(key, turn);
        }
        match mapping::news(event) {
            Some(News::Up) => self.exchange.answered(key, true, at_ms, turn),
            // It was never up.
            Some(News::Ended(cause)) if !self.exchange.hung_up(key, cause, at_ms, turn) => {
                let text = text(event, "/cause_txt").to_owned();
                // An ordinary end before it was up: nobody came. Without a cause it is what was seen that decides.
                let code = if cause == Some(16) { "no-answer" } else { "undeliverable" };
                let how = Unanswered { code, cause, text };
                self.exchange.unanswered(key, how, at_ms, turn);
            }
            _ => {}
        }
    }

    fn finish(&mut self, mut turn: Turn<'_>) -> Result<Step, Failure> {
        let now_ms = turn.now_ms;
        self.exchange.save(turn.store)?;
        let given_up = self.keep_alive(&mut turn);
        turn.step.close = turn.step.close.or(given_up);
        let is_more = turn.is_full() || self.broken.is_some() || self.exchange.is_busy();
        let wait_ms = if is_more { 1 } else { self.deadline().saturating_sub(now_ms).max(1) };
        let is_open = turn.step.close.is_none();
        turn.step.timer_ms = is_open.then(|| u32::try_from(wait_ms).unwrap_or(u32::MAX));
        turn.step.ready = is_open && self.is_open && self.exchange.has_room();
        Ok(turn.step)
    }

    /// Tests a silent connection; why it is given up.
    fn keep_alive(&mut self, turn: &mut Turn<'_>) -> Option<String> {
        let timeout_ms = u64::from(self.link.timeout_s) * 1000;
        match (self.is_open, self.pinged_ms) {
            (false, _) => (turn.now_ms >= self.connected_ms + timeout_ms).then(|| "it was not opened".to_owned()),
            (_, Some(at)) => (turn.now_ms >= at + timeout_ms).then(|| "no answer to a ping".to_owned()),
            (_, None) => {
                if turn.now_ms >= self.heard_ms + u64::from(self.link.ping_s) * 1000 {
                    self.pinged_ms = Some(turn.now_ms);
                    turn.send(Opcode::Ping, b"busbar");
                }
                None
            }
        }
    }

    fn deadline(&self) -> u64 {
        let timeout_ms = u64::from(self.link.timeout_s) * 1000;
        let alive = match (self.is_open, self.pinged_ms) {
            (false, _) => self.connected_ms + timeout_ms,
            (_, Some(at)) => at + timeout_ms,
            (_, None) => self.heard_ms + u64::from(self.link.ping_s) * 1000,
        };
        alive.min(self.exchange.next_ms())
    }
}
