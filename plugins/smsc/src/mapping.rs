//! A notification to the form of a short message, and what is remembered of it.
//!
//! Source: SMSC.ru HTTP API, «Отправка SMS-сообщения».

use busbar_sdk::dates::Offset;
use busbar_sdk::money::Money;
use busbar_sdk::sms::{self, Requested};
use busbar_sdk::{Failure, Message, ids, rejected};
use form_urlencoded::Serializer;
use serde::{Deserialize, Serialize};

/// Characters of an id of one's own; it has Latin letters, digits, `.`, `-` and `_`.
const OWN_CHARS_MAX: usize = 40;
/// Begins the id of a message that a hub sent: what was sent from the gateway's cabinet has another.
const PLAIN: &str = "bb-";
/// The same, where the notification's own id does not fit and stands in the memory.
const DERIVED: &str = "bh-";
/// Minutes that the operator tries, at most.
const VALID_MINUTES_MAX: i64 = 24 * 60;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    base_url: Option<String>,
    login: Option<String>,
    password: Option<String>,
    api_key: Option<String>,
    sender: Option<String>,
    max_parts: Option<usize>,
    pub callback: Option<Callback>,
    settle_hours: Option<u32>,
    page_rows: Option<usize>,
    currency: Option<String>,
    utc_offset: Option<Offset>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Callback {
    pub verify: Verify,
    pub credential: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    Sha1,
    Md5,
    Path,
}

impl Settings {
    pub fn base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or("https://smsc.ru/sys")
    }

    /// Parameters with the names of their credentials.
    pub fn credentials(&self) -> Vec<(String, String)> {
        [("login", &self.login), ("psw", &self.password), ("apikey", &self.api_key)]
            .into_iter()
            .filter_map(|(name, credential)| Some((name.to_owned(), credential.clone()?)))
            .collect()
    }

    pub fn settle_seconds(&self) -> i64 {
        i64::from(self.settle_hours.unwrap_or(24)) * 3600
    }

    pub fn page_rows(&self) -> usize {
        self.page_rows.unwrap_or(500)
    }

    pub fn currency(&self) -> &str {
        self.currency.as_deref().unwrap_or("RUB")
    }

    pub fn offset(&self) -> Offset {
        self.utc_offset.unwrap_or(Offset::MOSCOW)
    }
}

/// What is remembered of a message until its receipt comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Of the notification.
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
}

impl Sent {
    /// Key in the state.
    pub fn key(own: &str) -> String {
        format!("sms:{own}")
    }

    /// As far as the id of one's own tells by itself.
    pub fn of_own(own: &str) -> Option<Self> {
        own.strip_prefix(PLAIN).map(|id| Self { id: id.to_owned(), ..Self::default() })
    }
}

/// What an id of ours consists of.
fn fits(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

/// Whether a hub gave this id.
pub fn is_own(id: &str) -> bool {
    (id.starts_with(PLAIN) || id.starts_with(DERIVED)) && id.len() <= OWN_CHARS_MAX && id.bytes().all(fits)
}

/// A short message to be sent.
pub struct Order {
    pub own: String,
    pub phone: String,
    pub sent: Sent,
    /// Seconds since 1970 after which nobody wants it.
    pub until: Option<i64>,
    pub form: Vec<u8>,
}

impl Order {
    /// # Errors
    /// `unsupported-channel`, `no-text`, `no-phone`, `too-many-parts`, `bad-validity`.
    pub fn of(settings: &Settings, message: &Message) -> Result<Self, Failure> {
        let Requested { id, phone, text, sender, account, after, until } = Requested::of(message)?;
        let (parts, most) = (sms::count(&text), settings.max_parts.unwrap_or(6));
        if parts > most {
            let reason = format!("the text would be sent in {parts} parts, {most} are allowed");
            return Err(rejected("too-many-parts", reason, "/data/text"));
        }
        let asked = message.time.as_deref().and_then(sms::moment);
        let sender = sender.or_else(|| settings.sender.clone());
        let own = own_id(&message.source, &id);
        let mut form = Serializer::new(String::new());
        form.append_pair("phones", &phone).append_pair("mes", &text).append_pair("id", &own);
        for (name, value) in [("sender", &sender), ("time", &after.map(|after| format!("0{after}")))] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        // Of what the message says alone: a clock would make each attempt another request.
        if let Some((until, from)) = until.zip(after.or(asked)) {
            let minutes = ((until - from) / 60).clamp(1, VALID_MINUTES_MAX);
            form.append_pair("valid", &format!("{:02}:{:02}", minutes / 60, minutes % 60));
        }
        form.append_pair("cost", "3").append_pair("charset", "utf-8").append_pair("fmt", "3");
        let sent = Sent { id, account, sender, parts: Some(parts), cost: None };
        Ok(Self { own, phone, sent, until, form: form.finish().into_bytes() })
    }

    /// The form that asks what became of it.
    pub fn question(&self) -> Vec<u8> {
        let mut form = Serializer::new(String::new());
        form.append_pair("phone", &self.phone).append_pair("id", &self.own);
        form.append_pair("charset", "utf-8").append_pair("fmt", "3");
        form.finish().into_bytes()
    }
}

/// The same for the same notification, so that a repeat finds what an earlier attempt has sent.
fn own_id(source: &str, id: &str) -> String {
    match id.bytes().all(fits) && PLAIN.len() + id.len() <= OWN_CHARS_MAX {
        true => format!("{PLAIN}{id}"),
        false => format!("{DERIVED}{}", ids::derived(&["smsc", source, id])),
    }
}
