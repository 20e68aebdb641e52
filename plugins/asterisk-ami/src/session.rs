//! A session: what comes in, and what is said of it. Pure but for the hub.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use busbar_sdk::credentials::{Digest, Piece};
use busbar_sdk::dialling::{self, Before, Order};
use busbar_sdk::exchange::session::{Line, Protocol, Settings};
use busbar_sdk::exchange::{Exchange, Turn};
use busbar_sdk::{Failure, Hub, Message, Settled, Step, hex, rejected, rejection, transient};

use crate::blocks::{Block, Blocks, Item};
use crate::mapping;
use crate::settings::{Link, Login};

/// An action without a response by then was lost.
const RESPONSE_MS_MAX: u64 = 30_000;

const CHALLENGE: &str = "bb-challenge";
const LOGIN: &str = "bb-login";
const PING: &str = "bb-ping";
const CHANNELS: &str = "bb-channels";

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
    line: Line,
    blocks: Blocks,
    phase: Phase,
    waiting: VecDeque<(u64, Order, String)>,
    /// Without a response yet: delivery, and since when.
    sent: BTreeMap<String, (u64, u64)>,
    listing: Option<Listing>,
}

impl Protocol for Ami {
    type Link = Link;

    fn new(settings: Settings<Link>, hub: &mut impl Hub) -> Result<Self, Failure> {
        let Settings { link, exchange } = settings;
        link.check()?;
        Ok(Self {
            line: Line::new(Exchange::new(exchange, hub)?, link.timeout_s, link.ping_s),
            link,
            blocks: Blocks::default(),
            phase: Phase::Greeting,
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            listing: None,
        })
    }

    fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    fn connected(&mut self, hub: &mut impl Hub) -> Result<Step, Failure> {
        (self.blocks, self.phase, self.listing) = (Blocks::default(), Phase::Greeting, None);
        Ok(self.line.connected(hub.now_ms()))
    }

    fn push(&mut self, bytes: &[u8]) -> (usize, String) {
        self.blocks.push(bytes);
        (self.blocks.waiting(), self.blocks.place())
    }

    /// A refused login fails too.
    fn item(&mut self, turn: &mut Turn<'_, impl Hub>) -> Result<bool, Failure> {
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

    fn message(
        &mut self,
        delivery: u64,
        message: &Message,
        maybe_sent: bool,
        hub: &mut impl Hub,
    ) -> Result<Step, Failure> {
        let mut turn = Turn::new(hub);
        let settings = self.line.exchange.settings();
        let order = Order::of(&settings.notify, &settings.calls.country, message, turn.now_ms)?;
        let before = if maybe_sent { Before::of(&order.key, turn.hub) } else { Before::Nothing };
        if before == Before::Unknown {
            let reason = format!("the hub was stopped when {} had been, or was about to be sent", order.key);
            return Err(Failure::UnknownOutcome(reason));
        }
        if before == Before::Done {
            turn.step.settle(delivery, Ok(()));
        } else if order.is_late {
            self.line.exchange.late(&order, &mut turn);
            turn.step.settle(delivery, Ok(()));
        } else {
            let action = mapping::originate(&settings.notify, &order)?;
            self.waiting.push_back((delivery, order, action));
        }
        self.finish(turn)
    }

    /// What was not sent can be tried again; of the rest nobody knows.
    fn disconnected(&mut self) -> Vec<Settled> {
        self.phase = Phase::Greeting;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let not_sent = || Err(transient("the connection was lost before it was sent", None));
        let waiting = waiting.map(|(delivery, ..)| Settled { delivery, outcome: not_sent() });
        let unknown = || Err(Failure::UnknownOutcome("the connection was lost before Asterisk answered".to_owned()));
        let sent = std::mem::take(&mut self.sent).into_values();
        waiting.chain(sent.map(|(delivery, _)| Settled { delivery, outcome: unknown() })).collect()
    }

    fn finish<H: Hub>(&mut self, mut turn: Turn<'_, H>) -> Result<Step, Failure> {
        let is_open = self.phase == Phase::Ready;
        while is_open && self.line.exchange.has_room() && !turn.is_full() {
            let Some((delivery, order, action)) = self.waiting.pop_front() else { break };
            self.line.exchange.begin(&order, false, &mut turn);
            self.sent.insert(order.key, (delivery, turn.now_ms));
            turn.step.send(action.as_bytes());
        }
        self.overdue(&mut turn);
        let response_ms = self.sent.values().map(|(_, since)| since + RESPONSE_MS_MAX).min().unwrap_or(u64::MAX);
        let step = self.line.finish(turn, is_open, "no answer to the login", response_ms, |turn| {
            turn.step.send(mapping::action("Ping", PING, &[]).as_bytes());
        })?;
        Ok(Step { ready: step.ready && self.waiting.is_empty(), ..step })
    }
}

impl Ami {
    fn greeted(&mut self, banner: &str, turn: &mut Turn<'_, impl Hub>) -> Result<(), Failure> {
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

    fn response(&mut self, block: &Block, place: &str, turn: &mut Turn<'_, impl Hub>) -> Result<(), Failure> {
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
                let pieces = [Piece::Plain(challenge.into()), Piece::Secret(self.link.secret.clone())];
                let key = hex::encoded(&turn.hub.hash(Digest::Md5, &pieces).map_err(Failure::Other)?);
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
                turn.hub.warn(&format!("the channels are not told: {}", block.get("Message")));
            }
            (Phase::Ready, key) => self.taken(key, is_good, block.get("Message"), turn),
            (Phase::Greeting, _) => {}
        }
        Ok(())
    }

    /// Whether Asterisk has taken an order.
    fn taken(&mut self, key: &str, is_good: bool, text: &str, turn: &mut Turn<'_, impl Hub>) {
        let Some((delivery, _)) = self.sent.remove(key) else { return };
        if is_good {
            self.line.exchange.accepted(key, turn);
            return turn.step.settle(delivery, Ok(()));
        }
        self.line.exchange.refused(key, turn);
        let failure = match text {
            "Permission denied" => Failure::Unauthorized("Asterisk: Permission denied to originate".to_owned()),
            _ => rejected("refused", format!("Asterisk: {text}"), ""),
        };
        turn.step.settle(delivery, Err(failure));
    }

    /// Asks which channels there are, so that what ended unheard is known.
    fn list(&mut self, turn: &mut Turn<'_, impl Hub>) {
        let before = self.line.exchange.ids();
        if self.link.list_channels && !before.is_empty() {
            self.listing = Some(Listing { before, alive: BTreeSet::new() });
            turn.step.send(mapping::action("CoreShowChannels", CHANNELS, &[]).as_bytes());
        }
    }

    fn event(&mut self, event: &Block, turn: &mut Turn<'_, impl Hub>) {
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
                    self.line.exchange.listed(before, &alive);
                }
            }
            "OriginateResponse" => {
                let key = event.get("ActionID");
                match event.get("Response") {
                    // Versions before 12 give the channel another id.
                    "Success" => self.line.exchange.answered(key, channel == key, at_ms, turn),
                    _ => self.line.exchange.unanswered(key, mapping::unanswered(event.get("Reason")), at_ms, turn),
                }
            }
            "UserEvent" if event.get("UserEvent") == "BusbarNotification" => {
                let key = event.get("Notification");
                self.line.exchange.confirmed(key, event.get("Result"), event.get("Reason"), at_ms, turn);
            }
            // Whether it had been answered, `OriginateResponse` says, before or after.
            "Hangup" if channel.starts_with(dialling::PREFIX) => {
                self.line.exchange.hung_up(channel, event.get("Cause").parse().ok(), at_ms, turn);
            }
            // 5: the telephone rings.
            "Newstate" if channel.starts_with(dialling::PREFIX) && event.get("ChannelState") == "5" => {
                self.line.exchange.rings(channel, turn);
            }
            "Newchannel" => {
                if let Some(first) = mapping::first_channel(event) {
                    self.line.exchange.start(id, &first, at_ms, turn);
                }
            }
            name => {
                if let Some(news) = mapping::news(event, self.line.exchange.is_first(id, channel)) {
                    self.line.exchange.take(id, &news, name.starts_with("Dial"), at_ms, turn);
                }
            }
        }
    }

    fn overdue(&mut self, turn: &mut Turn<'_, impl Hub>) {
        let now_ms = turn.now_ms;
        self.sent.retain(|key, (delivery, since)| {
            let is_waited_for = now_ms < *since + RESPONSE_MS_MAX;
            if !is_waited_for {
                turn.step.settle(*delivery, Err(Failure::UnknownOutcome(format!("no response to {key}"))));
            }
            is_waited_for
        });
    }
}
