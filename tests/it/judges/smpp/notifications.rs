//! Notifications on their way to the centre: what it took of them is the texts, once each.

use super::Scene;
use super::texts::{Letters, messages, text};
use crate::peers::{data, stated};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use time::format_description::well_known::Rfc3339;
use time::macros::offset;
use time::{Duration, OffsetDateTime};

const COUNT: usize = 40;
/// The one whose receipt comes before the answer.
const EARLY: usize = 5;
const THROTTLED: i64 = 0x58;
const QUEUE_FULL: i64 = 0x14;
const SYSTEM_ERROR: i64 = 0x08;
const INVALID_DESTINATION: i64 = 0x0B;
const SUBMIT_FAILED: i64 = 0x45;
const NO_ANSWER: i64 = -1;
/// 140 octets, of which the header of a part takes six.
const SEPTETS: (u64, u64) = (160, 153);
const OCTETS: (u64, u64) = (140, 134);

/// A notification, and what the centre took of it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub id: String,
    pub phone: String,
    pub sender: String,
    pub messages: usize,
    is_gsm: bool,
    text: String,
    /// Before which, and after which, nobody wants it.
    bounds: [Option<String>; 2],
    seq: Value,
    /// What the centre refuses it with, after so many parts.
    refused: Option<i64>,
    was_refused: bool,
    /// The centre's ids and what it took, by the number of the part.
    pub parts: BTreeMap<u64, (String, Value)>,
}

impl Sent {
    fn is_whole(&self) -> bool {
        let total = self.parts.values().next().map_or(1, |(_, part)| part["joined"][1].as_u64().unwrap_or(1));
        self.parts.len() as u64 == total
    }
}

fn requested(id: &str, phone: &str, text: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/test/crm", "type": "notification.requested.v1", "subject": id,
        "data": { "id": id, "channel": "sms", "recipient": { "phone": phone }, "text": text },
    })
}

fn moment(said: &Value) -> Option<String> {
    let moment = OffsetDateTime::parse(said.as_str().filter(|text| !text.is_empty())?, &Rfc3339).unwrap();
    Some(moment.format(&Rfc3339).unwrap())
}

impl Scene {
    /// Sends notifications, and looks at what the centre had of them. Gives those that it took.
    pub async fn notifications(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        let first = 1_000_000 + self.dice.below(8_000_000);
        self.say(&json!(["numbering", first, self.base, self.is_one]));
        for number in 0..COUNT {
            let refused = match number {
                7 if self.is_payload => Some(QUEUE_FULL),
                7 => Some(THROTTLED),
                11 | 31 => Some(SYSTEM_ERROR),
                13 => Some(INVALID_DESTINATION),
                23 => Some(SUBMIT_FAILED),
                _ => None,
            };
            all.push(self.publish(number, refused).await);
        }
        while !all.iter().all(|sent| self.is_done(sent)) {
            let said = self.hear();
            if said["answered"].is_null() {
                self.submitted(&said["submitted"], &mut all);
            }
        }
        self.all_answered();
        for sent in &all {
            let expected = if sent.refused == Some(SUBMIT_FAILED) { "parked" } else { "done" };
            self.hub.settled(&sent.seq, &[expected]).await;
            self.whole(sent);
        }
        let failed = stated(&self.hub, "notification.failed.v1", 1).await;
        let told = data(&self.hub, &failed[0]).await;
        let of_no_number = (failed.len(), told["id"].as_str(), told["reason"]["code"].as_str());
        self.differ(of_no_number == (1, Some("n-13"), Some("unknown-recipient")), || {
            format!("a number that is none: {told}")
        });
        let delivered = stated(&self.hub, "notification.delivered.v1", 0).await;
        let is_told = delivered.len() == 1 && data(&self.hub, &delivered[0]).await["id"] == "n-5";
        self.differ(is_told, || format!("a receipt before the answer: {delivered:?}"));
        all.retain(|sent| !sent.parts.is_empty() && sent.id != "n-5");
        all
    }

    async fn publish(&mut self, number: usize, refused: Option<i64>) -> Sent {
        let is_short = number == EARLY || matches!(refused, Some(INVALID_DESTINATION | SUBMIT_FAILED | NO_ANSWER));
        let is_gsm = self.dice.one_in(2);
        let longest = if is_gsm { 800 } else { 330 };
        let length = match self.dice.below(4) {
            _ if is_short => 20,
            0 => 1 + self.dice.below(40),
            // At the borders of one message and of two.
            1 => (if is_gsm { 152 } else { 60 }) + self.dice.below(12),
            2 => (if is_gsm { 298 } else { 128 }) + self.dice.below(10),
            _ => 1 + self.dice.below(longest),
        };
        let letters = if is_gsm { Letters::Gsm } else { Letters::Any };
        let mut text = text(&mut self.dice, letters, length);
        while messages(&text, is_gsm) > 6 {
            text.pop();
        }
        let (id, phone) = (format!("n-{number}"), format!("7900555{number:04}"));
        let sender = self.dice.of(&["ENERGO", "Svet-24", "4040", "74955550100"]).to_string();
        let mut event = requested(&id, &format!("+{phone}"), &text);
        event["data"]["sender"] = sender.clone().into();
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
        let mut bounds = [None, None];
        for (at, field) in ["notBeforeAt", "validUntilAt"].into_iter().enumerate() {
            if self.dice.one_in(4) {
                let moment =
                    now + Duration::hours(1 + 30 * at as i64) + Duration::seconds(self.dice.below(90_000) as i64);
                event["data"][field] = moment.to_offset(offset!(+7)).format(&Rfc3339).unwrap().into();
                bounds[at] = Some(moment.format(&Rfc3339).unwrap());
            }
        }
        if let Some(code) = refused {
            let before = if is_short { 0 } else { self.dice.below(messages(&text, is_gsm) as u64) };
            let statuses: Vec<i64> = (0..before).map(|_| 0).chain([code]).collect();
            self.say(&json!(["answer", phone, if self.is_payload { vec![code] } else { statuses }]));
        }
        let messages = messages(&text, is_gsm);
        if number == EARLY {
            // Some centres tell what became of a message before they answer that they have it.
            self.tag += 1;
            self.waited.insert(self.tag);
            let told = json!({
                "tag": self.tag, "from": phone, "to": sender, "state": 2, "word": "DELIVRD", "done": "2001010000", "by": "both",
                "esm": 4, "sub": 1, "arrived": 1, "error": "000",
            });
            self.say(&json!(["early", phone, told]));
        }
        let seq = self.hub.publish(&event).await["seq"].clone();
        Sent {
            id,
            phone,
            sender,
            messages,
            is_gsm,
            text,
            bounds,
            seq,
            refused,
            was_refused: false,
            parts: BTreeMap::new(),
        }
    }

    fn is_done(&self, sent: &Sent) -> bool {
        let is_final = matches!(sent.refused, Some(INVALID_DESTINATION | SUBMIT_FAILED));
        sent.was_refused == sent.refused.is_some() && (is_final || !sent.parts.is_empty() && sent.is_whole())
    }

    fn submitted(&mut self, said: &Value, all: &mut [Sent]) {
        self.cases += 1;
        let found = all.iter_mut().find(|sent| said["to"] == sent.phone.as_str());
        let Some(sent) = found else { return self.differ(false, || format!("nobody asked for {said}")) };
        let (open, window) = (said["open"].as_u64().unwrap(), self.window);
        self.differ(open <= window, || format!("{open} are not answered of {window} that may be"));
        if said["status"] == 0 {
            let number = said["joined"][2].as_u64().unwrap_or(1);
            let twice = sent.parts.insert(number, (said["id"].as_str().unwrap().to_string(), said.clone()));
            self.differ(twice.is_none(), || format!("taken twice: {said}, {twice:?}"));
        } else {
            sent.was_refused = true;
        }
    }

    /// The parts are the text, in its alphabet, none too long and no more of them than there must be.
    fn whole(&mut self, sent: &Sent) {
        if matches!(sent.refused, Some(INVALID_DESTINATION | SUBMIT_FAILED)) {
            return self.differ(sent.parts.is_empty(), || format!("refused and taken: {sent:?}"));
        }
        let text: String = sent.parts.values().map(|(_, part)| part["text"].as_str().unwrap()).collect();
        self.differ(text == sent.text, || format!("{:?} was sent as {text:?}", sent.text));
        let parts = if self.is_payload { 1 } else { sent.messages };
        self.differ(sent.parts.len() == parts, || {
            format!("{} parts, not {}: {text:?}", sent.parts.len(), sent.messages)
        });
        let (alone, joined) = if sent.is_gsm { SEPTETS } else { OCTETS };
        let references: Vec<&Value> = sent.parts.values().map(|(_, part)| &part["joined"][0]).collect();
        self.differ(references.windows(2).all(|two| two[0] == two[1]), || {
            format!("parts of several references: {sent:?}")
        });
        for (_, part) in sent.parts.values() {
            let (octets, room) = (part["octets"].as_u64().unwrap(), if sent.parts.len() == 1 { alone } else { joined });
            let is_payload = self.is_payload && sent.messages > 1;
            let is_right = (octets <= room || is_payload)
                && part["coding"] == if sent.is_gsm { 0 } else { 8 }
                && part["is_payload"] == is_payload
                && part["receipt"] == 1
                && [&part["after"], &part["until"]].map(moment) == sent.bounds
                && part["from"] == sent.sender.as_str();
            self.differ(is_right, || format!("not as it was meant: {part}"));
        }
    }

    /// What was not answered when the connection was lost is not sent again; after an end in order the hub comes back.
    pub async fn left_open(&mut self) {
        let mut lost = vec![self.publish(COUNT, Some(NO_ANSWER)).await];
        let said = self.hear();
        self.submitted(&said["submitted"], &mut lost);
        self.say(&json!(["drop"]));
        self.bound();
        let trace = self.hub.settled(&lost[0].seq, &["parked"]).await;
        let is_unknown = trace["deliveries"][0].to_string().contains("unknown-outcome");
        self.differ(is_unknown, || format!("lost on its way, and not unknown: {}", trace["deliveries"]));
        self.say(&json!(["unbind"]));
        self.bound();
        let mut after = vec![self.publish(COUNT + 1, None).await];
        while !self.is_done(&after[0]) {
            let said = self.hear();
            self.submitted(&said["submitted"], &mut after);
        }
        self.hub.settled(&after[0].seq, &["done"]).await;
        self.whole(&after[0]);
        self.hub.restart();
        self.bound();
    }
}
