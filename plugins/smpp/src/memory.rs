//! What must survive a lost connection and a restarted hub: what was sent of each notification, the ids the SMS centre gave to its
//! parts, parts of incoming messages, and what came lately. Pure but for the store, from which all is read each time: another hub
//! may have another connection.

use busbar_sdk::ids;
use busbar_sdk::memory::Store;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::receipt::normal;

/// Writes of a call that the host allows are 64.
pub const WRITES_MAX: usize = 64;

/// Notifications remembered at most: each new one takes the place of the one so many before it, if that is still there because a
/// receipt never came.
const REMEMBERED_MAX: u32 = 100_000;
/// Their number, and with it their keys.
const BEGUN: &str = "begun";
/// The number of the first of them whose outcome is still looked for.
const OLDEST: &str = "begun-oldest";

/// Counts the writes.
pub struct Counted<'a> {
    pub store: &'a mut dyn Store,
    pub writes: usize,
}

impl Counted<'_> {
    pub fn load<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        self.store.get(key).and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    pub fn save<T: Serialize>(&mut self, key: &str, value: &T) {
        self.writes += 1;
        self.store.set(key, serde_json::to_vec(value).unwrap_or_default());
    }

    pub fn delete(&mut self, key: &str) {
        self.writes += 1;
        self.store.delete(key);
    }

    pub fn sent(&mut self, key: &str) -> Option<Sent> {
        self.load(&Sent::key(key))
    }

    /// Remembers that a notification begins to be sent, and forgets the one that did so long ago: that one is given.
    pub fn begin(&mut self, key: &str) -> Option<(String, Sent)> {
        let number = self.load::<u32>(BEGUN).unwrap_or_default();
        let next = after(number);
        self.save(BEGUN, &next);
        let slot = format!("{BEGUN}:{number}");
        let old = self.load::<String>(&slot).unwrap_or_default();
        let lost = self.sent(&old).filter(|_| old != key);
        if let Some(sent) = &lost {
            self.forget(&old, sent);
        }
        self.save(&slot, &key);
        if self.load::<u32>(OLDEST).unwrap_or_default() == next {
            self.save(OLDEST, &after(next));
        }
        lost.map(|sent| (old, sent))
    }

    /// The key of the first notification whose outcome is still looked for.
    pub fn oldest(&mut self) -> Option<String> {
        let number = self.load::<u32>(OLDEST).unwrap_or_default();
        if number == self.load::<u32>(BEGUN).unwrap_or_default() {
            return None;
        }
        Some(self.load::<String>(&format!("{BEGUN}:{number}")).unwrap_or_default())
    }

    /// Its outcome is known, or not looked for any more.
    pub fn pass_oldest(&mut self) {
        let number = self.load::<u32>(OLDEST).unwrap_or_default();
        self.save(OLDEST, &after(number));
    }

    /// Forgets a notification and the ids of its parts.
    pub fn forget(&mut self, key: &str, sent: &Sent) {
        for part in sent.parts.iter().filter(|part| !part.id.is_empty()) {
            self.delete(&pointer(&part.id));
        }
        self.delete(&Sent::key(key));
    }
}

fn after(number: u32) -> u32 {
    number.saturating_add(1).checked_rem(REMEMBERED_MAX).unwrap_or_default()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What was sent of a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Of the notification.
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Digest of the recipient's number.
    pub phone: String,
    /// In how many parts it is charged.
    pub charged: usize,
    pub parts: Vec<Part>,
    /// That it failed was stated.
    #[serde(default)]
    pub told: bool,
    /// When its outcome is stated as unknown, in milliseconds after 1970; never for 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub due_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub state: PartState,
    /// As the SMS centre gave it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    #[default]
    Unsent,
    /// Without an answer.
    Sent,
    Accepted,
    Delivered,
    Failed,
}

impl Sent {
    pub fn new(
        id: String,
        account: Option<String>,
        sender: Option<String>,
        phone: &str,
        charged: usize,
        parts: usize,
    ) -> Self {
        let parts = vec![Part::default(); parts];
        Self { id, account, sender, phone: phone_digest(phone), charged, parts, told: false, due_ms: 0 }
    }

    /// Key in the state.
    pub fn key(key: &str) -> String {
        format!("sent:{key}")
    }

    pub fn count(&self, state: PartState) -> usize {
        self.parts.iter().filter(|part| part.state == state).count()
    }

    /// The part that a receipt of the part at `at` is of: some centres give all parts one id.
    pub fn waiting_part(&self, at: usize) -> Option<usize> {
        let id = normal(&self.parts.get(at)?.id);
        let is_of = |part: &Part| part.state == PartState::Accepted && normal(&part.id) == id;
        let itself = self.parts.get(at).filter(|part| is_of(part) && self.count_of(&id) == 1).map(|_| at);
        itself.or_else(|| self.parts.iter().position(is_of))
    }

    fn count_of(&self, id: &str) -> usize {
        self.parts.iter().filter(|part| normal(&part.id) == id).count()
    }

    /// All of it was taken, and of some of it nothing was heard.
    pub fn is_open(&self) -> bool {
        self.count(PartState::Accepted) > 0 && self.count(PartState::Unsent) + self.count(PartState::Sent) == 0
    }

    /// Something is still to be heard of it, or it was given up half-way, which nobody can wait for.
    pub fn is_pending(&self) -> bool {
        self.due_ms > 0 && !self.told && !self.is_over()
    }

    /// Nothing more is to come of it.
    pub fn is_over(&self) -> bool {
        self.count(PartState::Delivered) + self.count(PartState::Failed) == self.parts.len()
    }
}

/// Of the last ten digits, which all ways of writing a number share.
pub fn phone_digest(phone: &str) -> String {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let last = digits.get(digits.len().saturating_sub(10)..).unwrap_or_default();
    ids::derived(&[last]).chars().take(8).collect()
}

/// Key of what the SMS centre's id stands for.
pub fn pointer(id: &str) -> String {
    format!("id:{}", normal(id))
}

/// Where an id of the SMS centre points: the notification's key and the index of the part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    pub key: String,
    pub part: usize,
}
