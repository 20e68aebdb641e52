//! A session: what comes in, and what is said of it. Pure but for the hub.

use std::collections::BTreeSet;

use busbar_sdk::calls::News;
use busbar_sdk::credentials::{Digest, Piece};
use busbar_sdk::dialling::{self, Before, Order};
use busbar_sdk::encoding::without_bom;
use busbar_sdk::exchange::session::{Line, Protocol, Settings};
use busbar_sdk::exchange::{Exchange, Turn, Unanswered};
use busbar_sdk::http::{Authorization, HttpError, Request, Response};
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::{Delay, Failure, Header, Hub, Message, Settled, Step, hex, rejected};
use serde_json::Value;

use crate::mapping::{self, text};
use crate::settings::Link;
use crate::websocket::{self, GUID, Item, Opcode, Websocket};

/// A message that came while all lines are taken is tried again then.
const NO_ROOM_MS: u64 = 5000;

pub struct Ari {
    link: Link,
    line: Line,
    socket: Websocket,
    /// Name of the application, the same in each connection.
    app: String,
    is_open: bool,
}

impl Protocol for Ari {
    type Link = Link;

    fn new(settings: Settings<Link>, hub: &mut impl Hub) -> Result<Self, Failure> {
        let Settings { link, exchange } = settings;
        let mut app = link.app.clone();
        if link.app_for_each_hub {
            app.push('-');
            app.push_str(&hex::encoded(&hub.random(4)));
        }
        let line = Line::new(Exchange::new(exchange, hub)?, link.timeout_s, link.ping_s);
        Ok(Self { link, line, socket: Websocket::default(), app, is_open: false })
    }

    fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    /// Asks for the WebSocket of events.
    fn connected(&mut self, hub: &mut impl Hub) -> Result<Step, Failure> {
        let key = websocket::key(&hub.random(16));
        let piece = Piece::Plain(format!("{key}{GUID}").into_bytes());
        self.socket = Websocket::opening(&hub.hash(Digest::Sha1, &[piece]).map_err(Failure::Other)?);
        self.is_open = false;
        let mut step = self.line.connected(hub.now_ms());
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

    fn push(&mut self, bytes: &[u8]) -> (usize, String) {
        self.socket.push(bytes);
        (self.socket.waiting(), self.socket.place())
    }

    fn item(&mut self, turn: &mut Turn<'_, impl Hub>) -> Result<bool, Failure> {
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
            Some(Item::Ping(payload)) => send(turn, Opcode::Pong, &payload),
            Some(Item::Pong) => {}
            Some(Item::Close(code)) => {
                let payload = code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
                send(turn, Opcode::Close, &payload);
                let code = code.map(|code| format!(", {code}")).unwrap_or_default();
                turn.step.close = Some(format!("Asterisk closes the connection{code}"));
            }
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
        // What is remembered was written after the answer: so it was taken.
        let is_taken = maybe_sent && Before::of(&order.key, turn.hub) != Before::Nothing;
        if !maybe_sent && !order.is_late && !self.line.exchange.has_room() {
            let reason = "as many customers are being called as may be".to_owned();
            return Err(Failure::RateLimited(Delay { reason, retry_after_ms: Some(NO_ROOM_MS) }));
        }
        let outcome = if is_taken { Ok(()) } else { self.call(&order, maybe_sent, &mut turn) };
        turn.step.settle(delivery, outcome);
        self.finish(turn)
    }

    /// Each delivery has ended in its own call.
    fn disconnected(&mut self) -> Vec<Settled> {
        self.is_open = false;
        Vec::new()
    }

    fn finish<H: Hub>(&mut self, turn: Turn<'_, H>) -> Result<Step, Failure> {
        self.line.finish(turn, self.is_open, "it was not opened", u64::MAX, |turn| send(turn, Opcode::Ping, b"busbar"))
    }
}

fn send(turn: &mut Turn<'_, impl Hub>, opcode: Opcode, payload: &[u8]) {
    let mask = turn.hub.random(4).first_chunk().copied().unwrap_or_default();
    turn.step.send(&websocket::frame(opcode, payload, mask));
}

impl Ari {
    /// A request of the interface: method, what follows the base address, body.
    fn request(
        &self,
        turn: &mut Turn<'_, impl Hub>,
        method: &str,
        rest: &str,
        body: Vec<u8>,
    ) -> Result<Response, HttpError> {
        let kind = Header { name: "content-type".to_owned(), value: "application/json".to_owned() };
        let is_json = !body.is_empty();
        turn.hub.send(&Request {
            method: method.to_owned(),
            url: format!("{}{rest}", self.link.base_url.trim_end_matches('/')),
            headers: is_json.then_some(kind).into_iter().collect(),
            body,
            authorization: Some(Authorization::Basic(self.link.credential.clone())),
            timeout_ms: Some(self.link.timeout_s * 1000),
        })
    }

    /// Whether Asterisk has taken the order.
    fn call(&mut self, order: &Order, maybe_sent: bool, turn: &mut Turn<'_, impl Hub>) -> Result<(), Failure> {
        if maybe_sent {
            return self.ask(order, turn);
        }
        if order.is_late {
            self.line.exchange.late(order, turn);
            return Ok(());
        }
        let (rest, body) = mapping::originate(&self.line.exchange.settings().notify, order);
        let what = "POST /channels";
        match self.request(turn, "POST", &rest, body) {
            // 409: there is a channel of this id, so an earlier attempt has called.
            Ok(Response { status: 200..=299 | 409, .. }) => {
                self.line.exchange.begin(order, true, turn);
                Ok(())
            }
            Ok(response) => Err(replies::failure_of(replies::outcome_of_status(response.status), &response, what)),
            Err(HttpError::NoAnswer(_) | HttpError::TooLarge(_)) => self.ask(order, turn),
            Err(error) => Err(replies::failure_of_error(error, what, false)),
        }
    }

    /// Asks for the channel of an order that may have been sent.
    fn ask(&mut self, order: &Order, turn: &mut Turn<'_, impl Hub>) -> Result<(), Failure> {
        match self.request(turn, "GET", &format!("/channels/{}", order.key), Vec::new()) {
            Ok(Response { status: 200, .. }) => {
                self.line.exchange.begin(order, true, turn);
                Ok(())
            }
            _ => Err(Failure::UnknownOutcome(format!("{} may have been called, and is no more", order.key))),
        }
    }

    /// Asks which channels there are, so that what ended unheard is known.
    fn list(&mut self, turn: &mut Turn<'_, impl Hub>) {
        let before = self.line.exchange.ids();
        if !self.link.list_channels || before.is_empty() {
            return;
        }
        let reply = self.request(turn, "GET", "/channels", Vec::new());
        let is_good = |response: &Response| replies::outcome_of_status(response.status) == Outcome::Ok;
        let list = reply
            .ok()
            .filter(is_good)
            .and_then(|response| serde_json::from_slice::<Vec<Value>>(without_bom(&response.body)).ok());
        match list {
            Some(channels) => {
                let alive: BTreeSet<String> = channels.iter().map(|channel| text(channel, "/id").to_owned()).collect();
                self.line.exchange.listed(before, &alive);
            }
            None => turn.hub.warn("the channels are not told: calls that ended unheard are not ended"),
        }
    }

    fn event(&mut self, event: &Value, turn: &mut Turn<'_, impl Hub>) {
        let kind = text(event, "/type");
        if kind == "ApplicationReplaced" && text(event, "/application") == self.app {
            turn.step.close = Some("another connection has taken the application over".to_owned());
            return;
        }
        let at_ms = turn.at(mapping::time_ms(event));
        let id = mapping::call_of(event);
        if kind == "ChannelUserevent" && text(event, "/eventname") == "BusbarNotification" {
            let key = text(event, "/userevent/Notification");
            let (result, reason) = (text(event, "/userevent/Result"), text(event, "/userevent/Reason"));
            return self.line.exchange.confirmed(key, result, reason, at_ms, turn);
        }
        if id.starts_with(dialling::PREFIX) {
            return self.of_order(id, event, at_ms, turn);
        }
        if let Some(first) = mapping::first_channel(event) {
            self.line.exchange.start(id, &first, at_ms, turn);
        }
        if let Some(news) = mapping::news(event) {
            self.line.exchange.take(id, &news, kind == "Dial", at_ms, turn);
        }
    }

    /// Of the channel of an order.
    fn of_order(&mut self, key: &str, event: &Value, at_ms: u64, turn: &mut Turn<'_, impl Hub>) {
        if mapping::is_ringing(event) {
            self.line.exchange.rings(key, turn);
        }
        match mapping::news(event) {
            Some(News::Up) => self.line.exchange.answered(key, true, at_ms, turn),
            // It was never up.
            Some(News::Ended(cause)) if !self.line.exchange.hung_up(key, cause, at_ms, turn) => {
                let text = text(event, "/cause_txt").to_owned();
                // An ordinary end before it was up: nobody came. Without a cause it is what was seen that decides.
                let code = if cause == Some(16) { "no-answer" } else { "undeliverable" };
                let how = Unanswered { code, cause, text };
                self.line.exchange.unanswered(key, how, at_ms, turn);
            }
            _ => {}
        }
    }
}
