//! A session: what comes in, and what is said of it. Pure but for the host and the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use busbar_sdk::calls;
use busbar_sdk::dialling::{self, Before, Order};
use busbar_sdk::exchange::{self, Exchange, Spent};
use busbar_sdk::memory::Store;
use busbar_sdk::{Failure, Message, Settled, Step, rejected, rejection, transient};

use crate::blocks::{Block, Blocks, Item};
use crate::mapping;
use crate::settings::{Link, Login, Settings};

/// Blocks in one call.
const BLOCKS_MAX: usize = 500;
/// Bytes that wait for the next call.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// An action without a response by then was lost.
const RESPONSE_MS_MAX: u64 = 30_000;

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
    before: BTreeSet<String>,
    alive: BTreeSet<String>,
}

pub struct Ami {
    link: Link,
    blocks: Blocks,
    exchange: Exchange,
    phase: Phase,
    connected_ms: u64,
    heard_ms: u64,
    pinged_ms: Option<u64>,
    waiting: VecDeque<(u64, Order, String)>,
    /// Without a response yet: delivery, and since when.
    sent: BTreeMap<String, (u64, u64)>,
    listing: Option<Listing>,
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
    spent: Spent,
}

impl<'a> Turn<'a> {
    fn new(now_ms: u64, host: &'a mut dyn Host, store: &'a mut dyn Store) -> Self {
        Self { now_ms, host, store, step: Step::idle(false, None), blocks: 0, spent: Spent::default() }
    }

    fn is_full(&self) -> bool {
        self.blocks >= BLOCKS_MAX || self.spent.is_all()
    }

    fn shared(&mut self) -> exchange::Turn<'_> {
        exchange::Turn { now_ms: self.now_ms, hub: self.host, store: self.store, spent: &mut self.spent }
    }
}

impl Ami {
    /// # Errors
    /// `bad-config`.
    pub fn new(settings: Settings, store: &mut dyn Store) -> Result<Self, Failure> {
        settings.check()?;
        let Settings { link, exchange } = settings;
        Ok(Self {
            link,
            exchange: Exchange::new(exchange, store)?,
            blocks: Blocks::default(),
            phase: Phase::Greeting,
            connected_ms: 0,
            heard_ms: 0,
            pinged_ms: None,
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            listing: None,
            broken: None,
        })
    }

    pub fn connected(&mut self, now_ms: u64) -> Step {
        self.blocks = Blocks::default();
        self.phase = Phase::Greeting;
        (self.connected_ms, self.heard_ms, self.pinged_ms) = (now_ms, now_ms, None);
        (self.listing, self.broken) = (None, None);
        Step::idle(false, Some(self.link.timeout_s * 1000))
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
        let order =
            Order::of(&self.exchange.settings().notify, &self.exchange.settings().calls.country, message, now_ms)?;
        let before = if maybe_sent { Before::of(&order.key, store, host) } else { Before::Nothing };
        if before == Before::Unknown {
            let reason = format!("the hub was stopped when {} had been, or was about to be sent", order.key);
            return Err(Failure::UnknownOutcome(reason));
        }
        let mut turn = Turn::new(now_ms, host, store);
        if before == Before::Done {
            turn.step.settle(delivery, Ok(()));
        } else if order.is_late {
            self.exchange.late(&order, &mut turn.shared());
            turn.step.settle(delivery, Ok(()));
        } else {
            let action = mapping::originate(&self.exchange.settings().notify, &order)?;
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
        self.exchange.end_gone(&mut turn.shared());
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
        if self.link.login == Login::Md5 {
            self.phase = Phase::Challenged;
            turn.step.send(mapping::action("Challenge", CHALLENGE, &[("AuthType", "MD5")]).as_bytes());
        } else {
            self.phase = Phase::LoggingIn;
            let fields = [("Username", self.link.username.as_str()), ("Events", &self.link.events)];
            let login = mapping::action("Login", LOGIN, &fields);
            turn.step.send(login.trim_end().as_bytes());
            turn.step.send(b"\r\nSecret: ");
            turn.step.send_secret(&self.link.secret);
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
                let key = turn.host.key(challenge, &self.link.secret).map_err(Failure::Other)?;
                let fields = [
                    ("AuthType", "MD5"),
                    ("Username", self.link.username.as_str()),
                    ("Key", &key),
                    ("Events", &self.link.events),
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
            self.exchange.accepted(key, &mut turn.shared());
            return turn.step.settle(delivery, Ok(()));
        }
        self.exchange.refused(key, &mut turn.shared());
        let failure = match text {
            "Permission denied" => Failure::Unauthorized("Asterisk: Permission denied to originate".to_owned()),
            _ => rejected("refused", format!("Asterisk: {text}"), ""),
        };
        turn.step.settle(delivery, Err(failure));
    }

    /// Asks which channels there are, so that what ended unheard is known.
    fn list(&mut self, turn: &mut Turn<'_>) {
        let before = self.exchange.ids();
        if self.link.list_channels && !before.is_empty() {
            self.listing = Some(Listing { before, alive: BTreeSet::new() });
            turn.step.send(mapping::action("CoreShowChannels", CHANNELS, &[]).as_bytes());
        }
    }

    fn event(&mut self, event: &Block, turn: &mut Turn<'_>) {
        let turn = &mut turn.shared();
        let at_ms = turn.at(mapping::time_ms(event));
        let (id, channel) = (mapping::call_of(event), event.get("Uniqueid"));
        match event.get("Event") {
            "CoreShowChannel" => {
                if let Some(listing) = &mut self.listing {
                    listing.alive.extend([id.to_owned(), channel.to_owned()]);
                }
            }
            "CoreShowChannelsComplete" => {
                if let Some(Listing { before, alive }) = self.listing.take() {
                    self.exchange.listed(before, &alive);
                }
            }
            "OriginateResponse" => {
                let key = event.get("ActionID");
                match event.get("Response") {
                    // Versions before 12 give the channel another id.
                    "Success" => self.exchange.answered(key, channel == key, at_ms, turn),
                    _ => self.exchange.unanswered(key, mapping::unanswered(event.get("Reason")), at_ms, turn),
                }
            }
            "UserEvent" if event.get("UserEvent") == "BusbarNotification" => {
                let key = event.get("Notification");
                self.exchange.confirmed(key, event.get("Result"), event.get("Reason"), at_ms, turn);
            }
            // Whether it had been answered, `OriginateResponse` says, before or after.
            "Hangup" if channel.starts_with(dialling::PREFIX) => {
                self.exchange.hung_up(channel, event.get("Cause").parse().ok(), at_ms, turn);
            }
            // 5: the telephone rings.
            "Newstate" if channel.starts_with(dialling::PREFIX) && event.get("ChannelState") == "5" => {
                self.exchange.rings(channel, turn);
            }
            "Newchannel" => {
                if let Some(first) = mapping::first_channel(event) {
                    self.exchange.start(id, &first, at_ms, turn);
                }
            }
            name => {
                if let Some(news) = mapping::news(event, self.exchange.is_first(id, channel)) {
                    self.exchange.take(id, &news, name.starts_with("Dial"), at_ms, turn);
                }
            }
        }
    }

    fn finish(&mut self, mut turn: Turn<'_>) -> Result<Step, Failure> {
        let now_ms = turn.now_ms;
        while self.phase == Phase::Ready && self.exchange.has_room() && !turn.is_full() {
            let Some((delivery, order, action)) = self.waiting.pop_front() else { break };
            self.exchange.begin(&order, false, &mut turn.shared());
            self.sent.insert(order.key, (delivery, now_ms));
            turn.step.send(action.as_bytes());
        }
        self.exchange.save(turn.store)?;
        self.overdue(&mut turn);
        turn.step.close = self.keep_alive(&mut turn);
        let is_more = turn.is_full() || self.broken.is_some() || self.exchange.is_busy();
        let is_open = turn.step.close.is_none();
        let wait_ms = if is_more { 1 } else { self.deadline().saturating_sub(now_ms).max(1) };
        turn.step.timer_ms = is_open.then(|| u32::try_from(wait_ms).unwrap_or(u32::MAX));
        let has_room = self.waiting.is_empty() && self.exchange.has_room();
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
        let timeout_ms = u64::from(self.link.timeout_s) * 1000;
        if self.phase != Phase::Ready {
            return (turn.now_ms >= self.connected_ms + timeout_ms).then(|| "no answer to the login".to_owned());
        }
        match self.pinged_ms {
            Some(at) => (turn.now_ms >= at + timeout_ms).then(|| "no answer to a ping".to_owned()),
            None if turn.now_ms >= self.heard_ms + u64::from(self.link.ping_s) * 1000 => {
                self.pinged_ms = Some(turn.now_ms);
                turn.step.send(mapping::action("Ping", PING, &[]).as_bytes());
                None
            }
            None => None,
        }
    }

    fn deadline(&self) -> u64 {
        let timeout_ms = u64::from(self.link.timeout_s) * 1000;
        let alive = match (self.phase, self.pinged_ms) {
            (Phase::Ready, Some(at)) => at + timeout_ms,
            (Phase::Ready, None) => self.heard_ms + u64::from(self.link.ping_s) * 1000,
            _ => self.connected_ms + timeout_ms,
        };
        let response = self.sent.values().map(|(_, since)| since + RESPONSE_MS_MAX).min().unwrap_or(u64::MAX);
        alive.min(response).min(self.exchange.next_ms())
    }
}
