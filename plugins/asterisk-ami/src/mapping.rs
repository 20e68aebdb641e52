//! Events of AMI as what happens to calls, and orders as actions.
//!
//! Source: Asterisk documentation, AMI events and actions. Names before version 12 are taken too: `Join`, `Dial`, `Bridge`.

use busbar_sdk::calls::{self, Channel, News};
use busbar_sdk::dialling::{self, Order};
use busbar_sdk::exchange::Unanswered;
use busbar_sdk::{Failure, rejected};

use crate::blocks::Block;

/// Asterisk reads lines into 1024 bytes, with their end.
const LINE_BYTES_MAX: usize = 1000;

/// The call that an event is about: calls with the same `Linkedid` are one. Versions before 12 have only that of the channel.
pub fn call_of(event: &Block) -> &str {
    event.first(&["Linkedid", "TransfereeLinkedid", "OrigTransfererLinkedid", "Uniqueid", "Uniqueid1"])
}

/// The channel that a call began with, where this event begins one.
pub fn first_channel(event: &Block) -> Option<Channel<'_>> {
    let id = event.get("Uniqueid");
    // Where calls are not told apart, what was dialled for one begins without an extension.
    let is_first = match event.get("Linkedid") {
        "" => !event.get("Exten").is_empty(),
        linked => linked == id,
    };
    (is_first && !id.starts_with(dialling::PREFIX)).then(|| Channel {
        id,
        name: event.get("Channel"),
        context: event.get("Context"),
        exten: event.get("Exten"),
        caller: event.get("CallerIDNum"),
    })
}

/// What else happens to a call. `is_first`: whether the event's channel is the one that the call began with.
pub fn news<'a>(event: &'a Block, is_first: bool) -> Option<News<'a>> {
    let get = |key: &str| event.get(key);
    let begins = get("SubEvent") == "Begin";
    let news = match get("Event") {
        "Newstate" if get("ChannelState") == "6" && is_first => News::Up,
        "QueueCallerJoin" | "Join" => News::Queued(get("Queue")),
        "AgentCalled" => {
            News::Rings(event.first(&["Interface", "AgentCalled"]), event.first(&["MemberName", "AgentName"]))
        }
        "AgentConnect" => News::Answered(event.first(&["Interface", "Member"]), get("MemberName")),
        "QueueCallerAbandon" if is_first => News::Abandoned,
        "DialBegin" => News::Rings(calls::interface_of(get("DestChannel")), ""),
        "Dial" if begins => News::Rings(calls::interface_of(get("Destination")), ""),
        "DialEnd" if get("DialStatus") == "ANSWER" => News::Connected(calls::interface_of(get("DestChannel"))),
        "DialEnd" => News::NotAnswered(get("DialStatus")),
        "Bridge" if get("Bridgestate") == "Link" => News::Connected(calls::interface_of(get("Channel2"))),
        // Told when all is over.
        "Dial" if get("DialStatus") == "ANSWER" => return None,
        "Dial" => News::NotAnswered(get("DialStatus")),
        "BlindTransfer" | "AttendedTransfer" if get("Result") == "Success" => {
            let to = event.first(&["Extension", "SecondTransfererConnectedLineNum"]);
            News::Transferred((!to.is_empty()).then_some(to))
        }
        "VarSet" if get("Variable") == "MIXMONITOR_FILENAME" => News::Recorded(get("Value")),
        "Hangup" if is_first => News::Ended(get("Cause").parse().ok()),
        _ => return None,
    };
    Some(news)
}

/// Milliseconds after 1970, where Asterisk is set to tell the time of events.
pub fn time_ms(event: &Block) -> Option<u64> {
    let (seconds, fraction) = event.get("Timestamp").split_once('.')?;
    let ms: u64 = format!("{:0<3}", fraction.get(..3.min(fraction.len()))?).parse().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(ms)
}

/// An action: `Key: Value` lines. Nothing that is put in can begin another line.
pub fn action(name: &str, id: &str, fields: &[(&str, &str)]) -> String {
    let mut text = format!("Action: {name}\r\nActionID: {id}\r\n");
    for (key, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(&format!("{key}: {value}\r\n"));
    }
    text + "\r\n"
}

/// # Errors
/// `text-too-long` where a line would be longer than Asterisk reads.
pub fn originate(settings: &dialling::Settings, order: &Order) -> Result<String, Failure> {
    let (timeout, priority) = ((settings.timeout_s * 1000).to_string(), settings.priority.to_string());
    let variables: Vec<String> =
        order.variables.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    let is_context = !settings.context.is_empty();
    let of_context = |text: &'_ str| if is_context { text.to_owned() } else { String::new() };
    let (exten, priority) = (of_context(&settings.exten), of_context(&priority));
    let mut fields = vec![
        ("Channel", order.channel.as_str()),
        ("ChannelId", &order.key),
        ("Context", &settings.context),
        ("Exten", &exten),
        ("Priority", &priority),
        ("Application", &settings.application),
        ("Data", &settings.data),
        ("CallerID", &order.caller_id),
        ("Timeout", &timeout),
        ("Async", "true"),
    ];
    fields.extend(variables.iter().map(|variable| ("Variable", variable.as_str())));
    if let Some((_, value)) = fields.iter().find(|(key, value)| key.len() + value.len() + 4 > LINE_BYTES_MAX) {
        let name = value.split('=').next().unwrap_or_default();
        let reason = format!("{name} has {} bytes, Asterisk reads lines of {LINE_BYTES_MAX}", value.len());
        return Err(rejected("text-too-long", reason, "/data/text"));
    }
    Ok(action("Originate", &order.key, &fields))
}

/// As Asterisk reads the value of a variable: it takes a list apart at commas, but not what follows a backslash.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if "\\\",()[]".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Why somebody who was called did not answer, by the reason of `OriginateResponse`, which is the number of a control frame
/// (`enum ast_control_frame_type`: 0 none, 1 hung up, 3 rings, 5 busy, 8 congestion). Of others nobody knows.
pub fn unanswered(reason: &str) -> Unanswered {
    let code = match reason {
        "1" | "3" => "no-answer",
        "5" => "busy",
        "0" | "8" => "undeliverable",
        _ => "unknown",
    };
    Unanswered { code, cause: None, text: format!("reason {reason}") }
}
