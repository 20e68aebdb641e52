//! What the SMS centre brings: receipts, and what people write, also in parts. Each is answered in the step that states it.

use std::collections::BTreeMap;

use busbar_sdk::{Rejection, hex, ids, rejection};
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::drafts;
use crate::memory::{PartState, Pointer, Sent, phone_digest, pointer};
use crate::pdu::{Delivered, Pdu, status};
use crate::receipt::{self, Outcome, Receipt};
use crate::text::{self, Alphabets, Coding1, DefaultAlphabet, Join};

/// Receipts of messages that are not known yet: some centres send them before they answer submit_sm.
const HELD_MAX: usize = 100;
const HELD_MS: u64 = 5000;
/// Parts of a message, and bytes of all that are not whole yet.
const PARTS_MAX: u8 = 50;
const JOINING_BYTES_MAX: usize = 48 << 10;
/// What came lately.
const SEEN_MAX: usize = 500;
const JOINING: &str = "joining";
const SEEN: &str = "seen";

/// Receipts are written in plain Latin whatever the alphabet.
const PLAIN: Alphabets = Alphabets { default: DefaultAlphabet::Latin1, coding_1: Coding1::Ascii };

#[derive(Default)]
pub struct Incoming {
    held: Vec<Held>,
    /// When an incomplete message is given up.
    give_up_ms: Option<u64>,
}

/// Not answered yet.
struct Held {
    command: u32,
    sequence: u32,
    receipt: Receipt,
    phone: String,
    since_ms: u64,
}

/// A message of which parts are missing.
#[derive(Serialize, Deserialize)]
struct Joining {
    writer: String,
    destination: String,
    total: u8,
    coding: u8,
    /// When the first part came.
    since_ms: u64,
    /// Hexadecimal.
    parts: BTreeMap<u8, String>,
}

/// Digest of what came, and when.
type Seen = Vec<(String, u64)>;

impl Incoming {
    pub fn connected(&mut self, call: &mut Call<'_>) {
        let joining = call.store.load(JOINING).unwrap_or_default();
        self.plan(call, &joining);
    }

    /// deliver_sm or data_sm.
    pub fn take(&mut self, call: &mut Call<'_>, pdu: &Pdu) {
        let (command, sequence) = (pdu.command, pdu.sequence);
        let delivered = match Delivered::parse(command, &pdu.body) {
            Ok(delivered) => delivered,
            Err(code) => {
                call.warn(&format!("a message that cannot be read is refused: {}", status::text(code)));
                return call.answer(command, code, sequence);
            }
        };
        if delivered.is_damaged {
            call.warn("the optional parameters of a message are damaged; those before the damage count");
        }
        let plain = text::decode(delivered.coding, &delivered.message, PLAIN).unwrap_or_default();
        if receipt::is_receipt(&delivered, &plain) {
            return self.receipt(call, pdu, &delivered, &plain);
        }
        let code = self.text(call, &delivered);
        call.answer(command, code, sequence);
    }

    fn receipt(&mut self, call: &mut Call<'_>, pdu: &Pdu, delivered: &Delivered, plain: &str) {
        let (command, sequence) = (pdu.command, pdu.sequence);
        let Some(receipt) = receipt::parse(delivered, plain, call.settings.utc_offset) else {
            call.warn("a receipt that does not tell what became of which message is ignored");
            return call.answer(command, status::OK, sequence);
        };
        if settle(call, &receipt, &delivered.source) {
            return call.answer(command, status::OK, sequence);
        }
        if self.held.len() >= HELD_MAX {
            return call.answer(command, status::LATER, sequence);
        }
        let (phone, since_ms) = (delivered.source.clone(), call.now_ms);
        self.held.push(Held { command, sequence, receipt, phone, since_ms });
    }

    /// Looks again at what is held: after answers, and when it has waited long enough.
    pub fn look_again(&mut self, call: &mut Call<'_>) {
        for held in std::mem::take(&mut self.held) {
            let is_over = call.now_ms >= held.since_ms + HELD_MS;
            if call.is_full() {
                self.held.push(held);
            } else if settle(call, &held.receipt, &held.phone) {
                call.answer(held.command, status::OK, held.sequence);
            } else if is_over {
                let (id, outcome) = (&held.receipt.id, &held.receipt.text);
                call.warn(&format!(
                    "a receipt of message {id}, {outcome}, which was not sent from here, or told already"
                ));
                call.answer(held.command, status::OK, held.sequence);
            } else {
                self.held.push(held);
            }
        }
    }

    /// The status to answer with.
    fn text(&mut self, call: &mut Call<'_>, delivered: &Delivered) -> u32 {
        let Some((join, message)) = text::parts(delivered) else {
            call.warn("a message with a broken header is refused");
            return status::INVALID_LENGTH;
        };
        if let Some(join) = join {
            return self.part(call, delivered, join, message);
        }
        let Some(text) = text::decode(delivered.coding, message, call.settings.alphabets()) else {
            call.leave_out(no_text(delivered.coding, &delivered.destination));
            return status::OK;
        };
        let writer = drafts::writer(&call.settings, &delivered.source, delivered.source_ton);
        if is_new(call, &[&writer, &delivered.destination, &text]) {
            call.emit(drafts::incoming(&call.settings, &writer, &delivered.destination, &text, call.now_ms));
        }
        status::OK
    }

    fn part(&mut self, call: &mut Call<'_>, delivered: &Delivered, join: Join, message: &[u8]) -> u32 {
        let writer = drafts::writer(&call.settings, &delivered.source, delivered.source_ton);
        let destination = &delivered.destination;
        let name = format!("{writer} {destination} {} {}", join.reference, join.total);
        if join.total > PARTS_MAX {
            call.warn(&format!("a message in {} parts is refused", join.total));
            return status::NEVER;
        }
        let piece = hex::encoded(message);
        let digest = |number: u8, piece: &str| ids::derived(&[&name, &number.to_string(), piece]);
        // A part of what is whole came again: the answer was lost. References are used again, by some phones at once, so that the
        // name alone says nothing.
        if was_seen(call, &digest(join.number, &piece)) {
            return status::OK;
        }
        let mut joining: BTreeMap<String, Joining> = call.store.load(JOINING).unwrap_or_default();
        let is_of_another = |one: &Joining| one.parts.get(&join.number).is_some_and(|other| *other != piece);
        if joining.get(&name).is_some_and(is_of_another) {
            give_up_one(call, &mut joining, &name);
        }
        let one = joining.entry(name.clone()).or_insert_with(|| Joining {
            writer: writer.clone(),
            destination: destination.clone(),
            total: join.total,
            coding: delivered.coding,
            since_ms: call.now_ms,
            parts: BTreeMap::new(),
        });
        one.parts.insert(join.number, piece);
        if one.parts.len() == usize::from(one.total)
            && let Some(whole) = joining.remove(&name)
        {
            remember(call, whole.parts.iter().map(|(number, piece)| digest(*number, piece)).collect());
            state(call, &whole);
        }
        let size = |joining: &BTreeMap<String, Joining>| serde_json::to_vec(joining).map_or(0, |value| value.len());
        while size(&joining) > JOINING_BYTES_MAX && give_up_oldest(call, &mut joining) {}
        self.plan(call, &joining);
        call.store.save(JOINING, &joining);
        status::OK
    }

    fn plan(&mut self, call: &Call<'_>, joining: &BTreeMap<String, Joining>) {
        let wait_ms = u64::from(call.settings.parts_wait_s) * 1000;
        self.give_up_ms = joining.values().map(|one| one.since_ms + wait_ms).min();
    }

    /// States what has waited too long for its missing parts.
    pub fn give_up(&mut self, call: &mut Call<'_>) {
        if self.give_up_ms.is_none_or(|at| call.now_ms < at) {
            return;
        }
        let mut joining: BTreeMap<String, Joining> = call.store.load(JOINING).unwrap_or_default();
        self.plan(call, &joining);
        while self.give_up_ms.is_some_and(|at| call.now_ms >= at) && give_up_oldest(call, &mut joining) {
            self.plan(call, &joining);
        }
        call.store.save(JOINING, &joining);
    }

    pub fn deadline_ms(&self) -> u64 {
        let held = self.held.iter().map(|held| held.since_ms + HELD_MS).min();
        held.into_iter().chain(self.give_up_ms).min().unwrap_or(u64::MAX)
    }
}

fn give_up_oldest(call: &mut Call<'_>, joining: &mut BTreeMap<String, Joining>) -> bool {
    let oldest = joining.iter().min_by_key(|(_, one)| one.since_ms).map(|(name, _)| name.clone());
    oldest.is_some_and(|name| give_up_one(call, joining, &name))
}

fn give_up_one(call: &mut Call<'_>, joining: &mut BTreeMap<String, Joining>, name: &str) -> bool {
    let Some(one) = joining.remove(name) else { return false };
    call.warn(&format!("{} of {} parts of a message never came; it is stated without them", missing(&one), one.total));
    state(call, &one);
    true
}

fn missing(one: &Joining) -> usize {
    usize::from(one.total) - one.parts.len()
}

/// Whole; or with `…` for each row of parts that are missing.
fn state(call: &mut Call<'_>, one: &Joining) {
    let mut bytes = Vec::new();
    let mut text = String::new();
    let put = |text: &mut String, bytes: &mut Vec<u8>| {
        let part = text::decode(one.coding, &std::mem::take(bytes), call.settings.alphabets());
        text.push_str(&part.unwrap_or_default());
    };
    for number in 1..=one.total {
        match one.parts.get(&number) {
            // A character may be torn apart by two parts.
            Some(part) => bytes.extend(hex::decoded(part).unwrap_or_default()),
            None => {
                put(&mut text, &mut bytes);
                if !text.ends_with('…') {
                    text.push('…');
                }
            }
        }
    }
    put(&mut text, &mut bytes);
    if text::decode(one.coding, b"", call.settings.alphabets()).is_none() {
        return call.leave_out(no_text(one.coding, &one.destination));
    }
    if is_new(call, &[&one.writer, &one.destination, &text]) {
        call.emit(drafts::incoming(&call.settings, &one.writer, &one.destination, &text, one.since_ms));
    }
}

fn no_text(coding: u8, destination: &str) -> Rejection {
    let place = format!("message to {destination}");
    rejection("no-text-in-coding", format!("a message in data_coding {coding} is no text"), place)
}

fn was_seen(call: &mut Call<'_>, digest: &str) -> bool {
    let (now_ms, limit_ms) = (call.now_ms, u64::from(call.settings.repeat_s) * 1000);
    let seen: Seen = call.store.load(SEEN).unwrap_or_default();
    seen.iter().any(|(other, at)| other == digest && now_ms < at.saturating_add(limit_ms))
}

/// Whether this did not come within `repeat-s`; remembers it.
fn is_new(call: &mut Call<'_>, parts: &[&str]) -> bool {
    let digest = ids::derived(parts);
    if was_seen(call, &digest) {
        return false;
    }
    remember(call, vec![digest]);
    true
}

fn remember(call: &mut Call<'_>, digests: Vec<String>) {
    let (now_ms, limit_ms) = (call.now_ms, u64::from(call.settings.repeat_s) * 1000);
    if limit_ms == 0 {
        return;
    }
    let mut seen: Seen = call.store.load(SEEN).unwrap_or_default();
    seen.retain(|(_, at)| now_ms < at.saturating_add(limit_ms));
    seen.extend(digests.into_iter().map(|digest| (digest, now_ms)));
    seen.drain(..seen.len().saturating_sub(SEEN_MAX));
    call.store.save(SEEN, &seen);
}

/// Finds the message of a receipt and states what became of it. `false` where no such message is known.
fn settle(call: &mut Call<'_>, receipt: &Receipt, phone: &str) -> bool {
    let digest = phone_digest(phone);
    let mut found = None;
    for (index, id) in receipt::spellings(&receipt.id).iter().enumerate() {
        let Some(to) = call.store.load::<Pointer>(&pointer(id)) else { continue };
        // An id in the other system may be another message's own.
        let sent = call.store.sent(&to.key).filter(|sent| index == 0 || sent.phone == digest);
        if let Some(sent) = sent {
            found = Some((to, sent));
            break;
        }
    }
    let Some((to, mut sent)) = found else { return false };
    let total = sent.parts.len();
    let (at, state) = match receipt.outcome {
        Outcome::Waiting => return true,
        outcome => match sent.waiting_part(to.part) {
            Some(at) => (at, if outcome == Outcome::Delivered { PartState::Delivered } else { PartState::Failed }),
            None => return true,
        },
    };
    let counts_all = receipt.outcome == Outcome::Delivered && receipt.arrived == Some(total);
    let is_of_all = call.settings.one_receipt || counts_all;
    for (index, part) in sent.parts.iter_mut().enumerate() {
        if index == at || is_of_all && part.state == PartState::Accepted {
            part.state = state;
        }
    }
    let mut text = receipt.text.clone();
    if total > 1 && !is_of_all {
        text += &format!(", part {} of {total}", at + 1);
    }
    let is_told = match receipt.outcome {
        Outcome::Delivered => sent.count(PartState::Delivered) == total,
        _ => !std::mem::replace(&mut sent.told, true),
    };
    if is_told {
        let draft = drafts::outcome(&call.settings, &to.key, &sent, receipt.outcome, &text, receipt.at, call.now_ms);
        call.emit(draft);
    }
    match sent.is_over() {
        true => call.store.forget(&to.key, &sent),
        false => call.store.save(&Sent::key(&to.key), &sent),
    }
    true
}
