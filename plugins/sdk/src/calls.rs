//! Calls of a telephone exchange -> `call.started.v1`, `call.assigned.v1`, `call.ended.v1`. What the exchange's protocol is, the adapter knows: it
//! tells the [`Calls`] what happens.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::dates::{self, Offset};
use crate::memory::Store;
use crate::messages::AskError;
use crate::texts::is_plain;
use crate::{Draft, Hub, Shards, dialling, draft, ids, phones, texts};

/// Calls followed at once; the state holds about twice as many.
const CALLS_MAX: usize = 2000;
/// A call whose end was not told by then is forgotten.
const CALL_MS_MAX: u64 = 12 * 3_600_000;
/// After a question without an answer no other is asked so long: calls must not wait for a system that is down.
const ASK_PAUSE_MS: u64 = 30_000;
/// The start in a call's id is believed within a day of the hub's clock.
const DAY_MS: u64 = 86_400_000;

/// What adapters have under `calls`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Contexts of the dialplan in which calls come in.
    pub inbound: Vec<String>,
    /// Contexts in which employees place calls.
    pub outbound: Vec<String>,
    /// How channels begin that calls come in by.
    pub trunks: Vec<String>,
    /// Name of a queue -> as it is stated; others are stated as they are.
    pub queues: BTreeMap<String, String>,
    /// Interface -> who sits there.
    pub employees: BTreeMap<String, Employee>,
    pub country: String,
    pub utc_offset: Offset,
    /// 0: nobody is asked.
    pub lookup_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            inbound: Vec::new(),
            outbound: Vec::new(),
            trunks: Vec::new(),
            queues: BTreeMap::new(),
            employees: BTreeMap::new(),
            country: "7".to_owned(),
            utc_offset: Offset::MOSCOW,
            lookup_ms: 1000,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Employee {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The first channel of a call.
pub struct Channel<'a> {
    pub id: &'a str,
    /// `PJSIP/trunk-0000002a`.
    pub name: &'a str,
    pub context: &'a str,
    pub exten: &'a str,
    pub caller: &'a str,
}

/// What happens to a call.
#[derive(Debug)]
pub enum News<'a> {
    Queued(&'a str),
    /// At an interface, with the name that the queue has for its member.
    Rings(&'a str, &'a str),
    Answered(&'a str, &'a str),
    /// Answered by what was dialled, which need not be an employee's.
    Connected(&'a str),
    /// The exchange itself took it: a menu, an announcement.
    Up,
    /// What was dialled did not answer: `BUSY`, `NOANSWER`, `CANCEL`…
    NotAnswered(&'a str),
    Abandoned,
    Transferred(Option<&'a str>),
    Recorded(&'a str),
    /// Cause of Q.850, where known.
    Ended(Option<u32>),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Call {
    channel: String,
    is_outbound: bool,
    started: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    called: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    employee: Option<Employee>,
    is_transferred: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    transferred_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<String>,
    /// Why what was dialled last did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    dial: Option<String>,
    is_up: bool,
    is_abandoned: bool,
}

/// The calls that go on.
pub struct Calls {
    known: Shards<Call>,
    not_asked_before_ms: u64,
}

impl Calls {
    pub fn load(store: &mut dyn Store) -> Self {
        Self { known: Shards::load("calls", store), not_asked_before_ms: 0 }
    }

    /// Writes what has changed: at most 32 values.
    ///
    /// # Errors
    /// More than the state holds.
    pub fn save(&mut self, store: &mut dyn Store) -> Result<(), String> {
        self.known.save(store)
    }

    pub fn ids(&self) -> BTreeSet<String> {
        self.known.iter().map(|(id, _)| id.to_owned()).collect()
    }

    /// Whether this channel is the one that the call `id` began with.
    pub fn is_first(&self, id: &str, channel: &str) -> bool {
        self.known.get(id).is_some_and(|call| call.channel == channel)
    }

    /// A call begins; stated where its channel is one of the settings'. Whether somebody was asked about it.
    pub fn start(
        &mut self,
        settings: &Settings,
        id: &str,
        channel: &Channel<'_>,
        at_ms: u64,
        now_ms: u64,
        hub: &mut impl Hub,
    ) -> bool {
        let is_inbound = settings.inbound.iter().any(|context| context == channel.context)
            || settings.trunks.iter().any(|trunk| !trunk.is_empty() && channel.name.starts_with(trunk.as_str()));
        let is_outbound = !is_inbound && settings.outbound.iter().any(|context| context == channel.context);
        if id.is_empty() || !(is_inbound || is_outbound) || self.known.get(id).is_some() {
            return false;
        }
        if !self.has_room(now_ms, hub) {
            return false;
        }
        let mut call = Call {
            channel: channel.id.to_owned(),
            is_outbound,
            started: start_in(id, now_ms).unwrap_or(at_ms),
            caller: number(settings, channel.caller),
            called: number(settings, channel.exten),
            ..Call::default()
        };
        let is_asked = self.who(settings, id, &mut call, now_ms, hub);
        hub.emit(told(id, &call, "started", "call.started.v1", call.started, settings, Map::new()));
        self.known.set(id, call);
        is_asked
    }

    fn has_room(&mut self, now_ms: u64, hub: &mut impl Hub) -> bool {
        if self.known.iter().count() < CALLS_MAX {
            return true;
        }
        let old = self.known.iter().filter(|(_, call)| now_ms > call.started + CALL_MS_MAX);
        let old: Vec<String> = old.map(|(id, _)| id.to_owned()).collect();
        old.iter().for_each(|id| drop(self.known.remove(id)));
        if old.is_empty() {
            hub.warn(&format!("more than {CALLS_MAX} calls at once: this one is not stated"));
        }
        !old.is_empty()
    }

    /// Asks whose number it is. The message of the call does not depend on the answer.
    fn who(&mut self, settings: &Settings, id: &str, call: &mut Call, now_ms: u64, hub: &mut impl Hub) -> bool {
        let phone = call.caller.as_deref().filter(|caller| caller.starts_with('+') && !call.is_outbound);
        let Some(phone) = phone.filter(|_| settings.lookup_ms > 0 && now_ms >= self.not_asked_before_ms) else {
            return false;
        };
        let question = Draft {
            subject: Some(shown(id)),
            ..draft(
                ids::derived(&["asterisk", "whose", id]),
                "customer.by-phone.lookup.v1",
                json!({ "phone": phone }).to_string(),
            )
        };
        match hub.ask(&question, settings.lookup_ms) {
            Ok(answer) => (call.customer, call.account) = only_one(&answer.data),
            Err(error) => {
                let reason = match error {
                    AskError::Timeout => "no answer in time".to_owned(),
                    AskError::NoAnswerer(text) | AskError::Failed(text) | AskError::Refused(text) => text,
                };
                self.not_asked_before_ms = now_ms + ASK_PAUSE_MS;
                hub.warn(&format!(
                    "whose phone it is was not told ({reason}): not asked for {} s",
                    ASK_PAUSE_MS / 1000
                ));
            }
        }
        true
    }

    /// Something happens to a call; nothing where it is not followed.
    pub fn take(&mut self, settings: &Settings, id: &str, news: &News<'_>, at_ms: u64, hub: &mut impl Hub) {
        let Some(mut call) = self.known.get(id).cloned() else { return };
        match news {
            News::Queued(queue) => {
                let name = settings.queues.get(*queue).map_or(*queue, String::as_str);
                call.queue = text(name, 64);
                call.queued.get_or_insert(at_ms);
            }
            News::Rings(interface, name) => {
                hub.emit(assigned(id, &call, "ringing", &employee(settings, interface, name), at_ms, settings));
            }
            News::Answered(interface, name) => answered(settings, id, &mut call, interface, name, at_ms, hub),
            News::Connected(interface) if settings.employees.contains_key(*interface) => {
                answered(settings, id, &mut call, interface, "", at_ms, hub);
            }
            News::Connected(_) => drop(call.answered.get_or_insert(at_ms)),
            News::Up => call.is_up = true,
            News::NotAnswered(status) => call.dial = text(status, 40),
            News::Abandoned => call.is_abandoned = true,
            News::Transferred(to) => {
                (call.is_transferred, call.transferred_to) = (true, to.and_then(|to| text(to, 64)))
            }
            News::Recorded(file) => call.recording = text(file, 200),
            News::Ended(cause) => {
                self.known.remove(id);
                hub.emit(ended(id, &call, *cause, at_ms, settings));
                return;
            }
        }
        self.known.set(id, call);
    }
}

fn answered(
    settings: &Settings,
    id: &str,
    call: &mut Call,
    interface: &str,
    name: &str,
    at_ms: u64,
    hub: &mut impl Hub,
) {
    let employee = employee(settings, interface, name);
    call.answered.get_or_insert(at_ms);
    if call.employee.as_ref() != Some(&employee) {
        hub.emit(assigned(id, call, "answered", &employee, at_ms, settings));
        call.employee = Some(employee);
    }
}

fn employee(settings: &Settings, interface: &str, name: &str) -> Employee {
    let known = settings.employees.get(interface).cloned();
    known.unwrap_or_else(|| Employee {
        id: text(interface, 64).unwrap_or_else(|| "unknown".to_owned()),
        name: text(name, 200).filter(|name| name != interface),
    })
}

fn assigned(id: &str, call: &Call, state: &str, employee: &Employee, at_ms: u64, settings: &Settings) -> Draft {
    let more = Map::from_iter([("state".to_owned(), state.into()), ("employee".to_owned(), json!(employee))]);
    let what = format!("{state} {}", employee.id);
    told(id, call, &what, "call.assigned.v1", at_ms, settings, more)
}

fn ended(id: &str, call: &Call, cause: Option<u32>, at_ms: u64, settings: &Settings) -> Draft {
    let at_ms = at_ms.max(call.started);
    let mut more = Map::from_iter([
        ("outcome".to_owned(), outcome(call, cause).into()),
        ("startedAt".to_owned(), moment(call.started, settings)),
    ]);
    let mut put = |name: &str, value: Option<Value>| value.map(|value| more.insert(name.to_owned(), value));
    put("employee", call.employee.as_ref().map(|employee| json!(employee)));
    put("recording", call.recording.clone().map(Value::from));
    put("transferredTo", call.transferred_to.clone().map(Value::from));
    let seconds = |from: u64, to: u64| Some(Value::from(to.saturating_sub(from) / 1000));
    if let Some(answered) = call.answered {
        put("answeredAt", Some(moment(answered, settings)));
        put("talkSeconds", seconds(answered, at_ms));
    }
    put("waitSeconds", seconds(call.queued.unwrap_or(call.started), call.answered.unwrap_or(at_ms)));
    told(id, call, "ended", "call.ended.v1", at_ms, settings, more)
}

fn outcome(call: &Call, cause: Option<u32>) -> &'static str {
    if call.is_transferred {
        return "transferred";
    }
    if call.answered.is_some() {
        return "answered";
    }
    if call.is_abandoned || call.queue.is_some() {
        return "abandoned";
    }
    match (call.dial.as_deref(), cause) {
        (Some("BUSY"), _) => "busy",
        (Some("NOANSWER"), _) => "no-answer",
        (Some("CANCEL"), _) => "abandoned",
        (None, _) if call.is_up => "self-service",
        (_, Some(17)) => "busy",
        (_, Some(18 | 19)) => "no-answer",
        (None, Some(0 | 16) | None) => "abandoned",
        (Some(status), _) if !FAILED.contains(&status) => "unknown",
        (_, Some(cause)) if dialling::code_of_cause(cause) == Some("unknown") => "unknown",
        _ => "failed",
    }
}

/// What Asterisk says of what could not be reached, besides busy, not answered and given up: the application Dial
/// (`DIALSTATUS`) and the event DialEnd. `CONTINUE` and `GOTO` leave open what became of the call.
const FAILED: [&str; 6] = ["ABORT", "CHANUNAVAIL", "CONGESTION", "DONTCALL", "TORTURE", "INVALIDARGS"];

/// A message of the call. `what`: tells it from the call's others.
fn told(
    id: &str,
    call: &Call,
    what: &str,
    kind: &str,
    at_ms: u64,
    settings: &Settings,
    mut data: Map<String, Value>,
) -> Draft {
    let mut put = |name: &str, value: Option<&str>| value.map(|value| data.insert(name.to_owned(), value.into()));
    let subject = shown(id);
    put("id", Some(&subject));
    put("caller", call.caller.as_deref());
    put("called", call.called.as_deref());
    put("queue", call.queue.as_deref());
    put("customer", call.customer.as_deref());
    put("account", call.account.as_deref());
    let at = moment(at_ms, settings);
    let (at_name, has_direction) = match kind {
        "call.started.v1" => ("startedAt", true),
        "call.ended.v1" => ("endedAt", true),
        _ => ("assignedAt", false),
    };
    if has_direction {
        put("direction", Some(if call.is_outbound { "outbound" } else { "inbound" }));
    }
    data.insert(at_name.to_owned(), at.clone());
    Draft {
        subject: Some(subject.clone()),
        time: at.as_str().map(str::to_owned),
        partition_key: Some(subject),
        place: Some(format!("call {}", shown(id))),
        ..draft(ids::derived(&["asterisk", what, id]), kind, Value::Object(data).to_string())
    }
}

fn moment(ms: u64, settings: &Settings) -> Value {
    let offset = settings.utc_offset;
    dates::local_of_unix_ms(ms, offset).map(|local| dates::rfc3339(local, offset)).into()
}

/// The id as messages have it.
fn shown(id: &str) -> String {
    if id.chars().count() <= 64 && is_plain(id) { id.to_owned() } else { ids::derived(&[id]) }
}

/// Milliseconds after 1970 of `pbx-1763622612.418`.
fn start_in(id: &str, now_ms: u64) -> Option<u64> {
    let seconds: u64 = id.rsplit('-').next()?.split_once('.')?.0.parse().ok()?;
    seconds.checked_mul(1000).filter(|ms| ms.abs_diff(now_ms) < DAY_MS)
}

/// E.164 where that is clear, else the digits; nothing for what is no number.
fn number(settings: &Settings, text: &str) -> Option<String> {
    if let Some(number) = phones::parse(text, &settings.country).number {
        return Some(number);
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = (2..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.to_owned())
}

fn text(text: &str, chars: usize) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| texts::shortened(text, chars))
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    customers: Vec<Customer>,
}

#[derive(Deserialize)]
struct Customer {
    customer: String,
    #[serde(default)]
    accounts: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    account: String,
}

/// The customer and the account, where there is only one of each.
fn only_one(answer: &str) -> (Option<String>, Option<String>) {
    let customers = serde_json::from_str::<Answer>(answer).map(|answer| answer.customers).unwrap_or_default();
    match customers.as_slice() {
        [Customer { customer, accounts }] => match accounts.as_slice() {
            [one] => (Some(customer.clone()), Some(one.account.clone())),
            _ => (Some(customer.clone()), None),
        },
        _ => (None, None),
    }
}

/// `PJSIP/1001` of the channel `PJSIP/1001-0000002a`; of a Local channel, of which there are two, without its half.
pub fn interface_of(channel: &str) -> &str {
    let whole = channel.split(';').next().unwrap_or(channel);
    whole.rsplit_once('-').map_or(whole, |(interface, _)| interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_things() {
        for (channel, interface) in [
            ("PJSIP/1001-0000002a", "PJSIP/1001"),
            ("Local/1001@from-queue-00000012;1", "Local/1001@from-queue"),
            ("odd", "odd"),
            ("", ""),
        ] {
            assert_eq!(interface_of(channel), interface);
        }
    }
}
