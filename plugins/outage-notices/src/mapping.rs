//! An outage's new state -> a question whom it concerns -> a notification for each of them. Pure.

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::messages::AskError;
use busbar_sdk::{Draft, Failure, Hub, Message, data_of, draft, ids, rejected, transient};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// More pages than any utility has customers for.
const PAGES_MAX: usize = 1_000;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    notices: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    sender: Option<String>,
    #[serde(default = "max_age_min")]
    max_age_min: u64,
    #[serde(default = "deadline_ms")]
    deadline_ms: u32,
}

fn max_age_min() -> u64 {
    120
}

fn deadline_ms() -> u32 {
    10_000
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    contacts: Vec<Contact>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Contact {
    #[serde(default)]
    account: Option<String>,
    channel: String,
    recipient: Value,
}

/// Requests the notifications of one state of an outage. Their ids follow from the message and the recipient, so that
/// a repeat tells nobody twice.
///
/// # Errors
/// `transient` while the question is not answered in time; `rejected(no-answerer)`, `rejected(question-refused)`,
/// `rejected(endless-answer)`.
pub fn notify(settings: &Settings, message: &Message, hub: &mut impl Hub) -> Result<(), Failure> {
    let outage: Map<String, Value> = data_of(message)?;
    let text = |name: &str| outage.get(name).and_then(Value::as_str);
    let status = text("status").unwrap_or_default();
    let Some(sentences) = settings.notices.get(status) else {
        hub.info(&format!("nobody is told that an outage is {status}"));
        return Ok(());
    };
    if is_old(settings, message, text("changedAt"), hub.now_ms()) {
        hub.info(&format!("that an outage is {status} was recorded long ago: nobody is told"));
        return Ok(());
    }
    let said: Vec<String> = sentences.iter().filter_map(|sentence| filled(sentence, &outage)).collect();
    if said.is_empty() {
        return Err(rejected("nothing-to-say", "every sentence names something that is not known", "/data"));
    }
    let said = said.join(" ");
    let mut after: Option<String> = None;
    for page in 0..PAGES_MAX {
        let answer = ask(settings, message, &outage, after.as_deref(), page, hub)?;
        answer.contacts.iter().for_each(|contact| hub.emit(notification(settings, message, contact, &said)));
        match answer.next {
            Some(next) if after.as_deref() != Some(next.as_str()) => after = Some(next),
            Some(_) => return Err(rejected("endless-answer", "the answer's `next` stays the same", "")),
            None => return Ok(()),
        }
    }
    Err(rejected("endless-answer", format!("more than {PAGES_MAX} pages"), ""))
}

fn is_old(settings: &Settings, message: &Message, changed_at: Option<&str>, now_ms: u64) -> bool {
    let stated = changed_at.or(message.time.as_deref()).and_then(|at| dates::unix_ms(at, Offset::of_minutes(0)?));
    let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
    let most_ms = i64::try_from(settings.max_age_min.saturating_mul(60_000)).unwrap_or(i64::MAX);
    settings.max_age_min > 0 && stated.is_some_and(|at| now_ms.saturating_sub(at) > most_ms)
}

/// A sentence with its words filled in; nothing where one of them is not known.
fn filled(sentence: &str, outage: &Map<String, Value>) -> Option<String> {
    let mut said = String::new();
    let mut rest = sentence;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}')?;
        said.push_str(before);
        said.push_str(&word(name, outage)?);
        rest = behind;
    }
    said.push_str(rest);
    Some(said)
}

fn word(name: &str, outage: &Map<String, Value>) -> Option<String> {
    if name == "cause" {
        return outage.get("cause")?.get("text")?.as_str().map(str::to_owned);
    }
    let text = outage.get(name)?.as_str()?;
    if !name.ends_with("At") {
        return Some(text.to_owned());
    }
    // In the time of the place that stated it.
    let (moment, _) = dates::parse_date_time(text)?;
    let (day, month) = (moment.day(), u8::from(moment.month()));
    Some(format!("{day:02}.{month:02} {:02}:{:02}", moment.hour(), moment.minute()))
}

fn ask(
    settings: &Settings,
    message: &Message,
    outage: &Map<String, Value>,
    after: Option<&str>,
    page: usize,
    hub: &mut impl Hub,
) -> Result<Answer, Failure> {
    let mut data = Map::new();
    for (name, from) in [("outage", "id"), ("status", "status"), ("equipment", "equipment"), ("affected", "affected")] {
        if let Some(value) = outage.get(from) {
            data.insert(name.into(), value.clone());
        }
    }
    if let Some(after) = after {
        data.insert("after".into(), after.into());
    }
    let id = ids::derived(&["affected", &message.source, &message.id, &page.to_string()]);
    let question = draft(id, "outage.affected.lookup.v1", Value::Object(data).to_string());
    let question = Draft { subject: message.subject.clone(), ..question };
    match hub.ask(&question, settings.deadline_ms) {
        Ok(answer) => data_of(&answer),
        Err(AskError::Timeout) => Err(transient("who is concerned was not answered in time", None)),
        Err(AskError::Failed(text)) => Err(transient(format!("who is concerned was not answered: {text}"), None)),
        Err(AskError::NoAnswerer(text)) => Err(rejected("no-answerer", text, "")),
        Err(AskError::Refused(text)) => Err(rejected("question-refused", text, "")),
    }
}

fn notification(settings: &Settings, message: &Message, contact: &Contact, said: &str) -> Draft {
    let recipient = contact.recipient.to_string();
    let account = contact.account.as_deref().unwrap_or_default();
    let id = ids::derived(&[&message.source, &message.id, account, &contact.channel, &recipient]);
    let mut data = json!({ "id": id, "channel": contact.channel, "recipient": contact.recipient, "text": said });
    let campaign = message.subject.as_deref().filter(|subject| (1..=64).contains(&subject.chars().count()));
    for (name, value) in
        [("sender", settings.sender.as_deref()), ("campaign", campaign), ("account", contact.account.as_deref())]
    {
        if let Some(value) = value {
            data[name] = value.into();
        }
    }
    Draft { subject: Some(id.clone()), ..draft(id, "notification.requested.v1", data.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_with_something_unknown_is_left_out() {
        let outage = json!({ "startedAt": "2026-11-22T14:30:00+03:00", "cause": { "text": "гроза" } });
        let outage = outage.as_object().unwrap();
        assert_eq!(filled("С {startedAt}: {cause}.", outage).as_deref(), Some("С 22.11 14:30: гроза."));
        assert_eq!(filled("До {restoredAt}.", outage), None);
        assert_eq!(filled("Без { конца", outage), None);
        assert_eq!(filled("Просто так.", outage).as_deref(), Some("Просто так."));
    }
}
