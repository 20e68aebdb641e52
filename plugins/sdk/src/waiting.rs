//! Links that wait to be paid, for gateways that must be asked because a callback may be lost.
//!
//! A link is kept in the state under the hour in which it was made, in one of 256 parts of that hour: deliveries that end in the
//! same instant would else write over each other. A poll reads and writes only hours that have been over for an hour, which no
//! delivery writes any more. Each hour's links are asked about again and again, ever less often, until they can no longer be paid.

use serde::{Deserialize, Serialize};

use crate::acquiring::is_number;
use crate::{Failure, Hub, Polled, ids, rejected, transient};

const HOUR_MS: u64 = 3_600_000;
const PARTS: u64 = 256;
/// Hours after which links are asked about first; then every day.
const EARLY_HOURS: [u64; 4] = [2, 4, 8, 16];
/// Bytes of a part, below what the host takes by default.
const PART_BYTES_MAX: usize = 60_000;
/// Of one poll: requests (each may take seconds, a call thirty), parts and links looked at, and parts written.
const ASKED_MAX: usize = 5;
const LOOKED_AT_MAX: usize = 1_000;
const WRITTEN_MAX: usize = 50;

/// What the links of a gateway are.
pub struct Links {
    /// For how long one can be paid after it was made.
    pub days: u32,
    /// What its number is called, for a person.
    pub name: &'static str,
    /// The id of the message of its payment: what a callback told of is not asked about.
    pub payment_id: fn(&str) -> String,
}

/// What became of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Waits,
    /// Paid, cancelled or expired.
    Over,
}

/// Asks the gateway about the link of this number, and states what it says.
pub type Ask<'a, H> = dyn FnMut(&mut H, &str) -> Result<Fate, Failure> + 'a;

/// Remembers a link by its number at the gateway. To be called last in a delivery.
///
/// # Errors
/// `transient` where the hour has too many.
pub fn add(hub: &mut impl Hub, number: &str) -> Result<(), Failure> {
    let now_ms = hub.now_ms();
    let hour = now_ms / HOUR_MS;
    let key = part_key(hour, ids::derived_number(&[number], PARTS));
    let mut part = hub.get(&key).unwrap_or_default();
    if part.len() + number.len() + 1 > PART_BYTES_MAX {
        return Err(transient("too many links in one hour", Some(HOUR_MS - now_ms % HOUR_MS)));
    }
    part.extend_from_slice(number.as_bytes());
    part.push(b'\n');
    hub.set(&key, part);
    // The same from every delivery: nothing is lost whichever is written last.
    hub.set(&hour_key(hour), b"1".to_vec());
    Ok(())
}

/// Where a round is: the round of an hour asks about links of some earlier hours, see [`age`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// Hours since 1970.
    hour: u64,
    #[serde(default)]
    step: usize,
    #[serde(default)]
    part: u64,
    /// Links of the part that were asked about and still wait.
    #[serde(default)]
    line: usize,
}

/// Asks about some links that may have been paid. `ask` states what it finds; an answer that cannot be read (`bad-answer`) is warned
/// of and asked for again, lest it stop all others.
///
/// # Errors
/// `bad-cursor`; any failure of `ask`, which should be one of the gateway, not of a link.
pub fn poll<H: Hub>(
    hub: &mut H,
    cursor: Option<&[u8]>,
    links: &Links,
    ask: &mut Ask<'_, H>,
) -> Result<Polled, Failure> {
    let now = hub.now_ms() / HOUR_MS;
    let cursor = match cursor {
        Some(bytes) => serde_json::from_slice(bytes)
            .map_err(|error| rejected("bad-cursor", format!("the cursor is none: {error}"), ""))?,
        None => Cursor { hour: now, step: 0, part: 0, line: 0 },
    };
    let mut round = Round { cursor, now, links, asked: 0, looked_at: 0, written: 0 };
    let more = round.go_on(hub, ask)?;
    let cursor = serde_json::to_vec(&round.cursor).map_err(|error| Failure::Other(error.to_string()))?;
    Ok(Polled { cursor: Some(cursor), more })
}

struct Round<'a> {
    cursor: Cursor,
    now: u64,
    links: &'a Links,
    asked: usize,
    looked_at: usize,
    written: usize,
}

impl Round<'_> {
    /// Whether there is more to do at once.
    fn go_on<H: Hub>(&mut self, hub: &mut H, ask: &mut Ask<'_, H>) -> Result<bool, Failure> {
        while self.cursor.hour <= self.now {
            let Some(age) = age(self.cursor.step, self.links.days) else {
                self.cursor = Cursor { hour: self.cursor.hour + 1, step: 0, part: 0, line: 0 };
                continue;
            };
            if self.is_spent() {
                return Ok(true);
            }
            self.looked_at += 1;
            let hour = self.cursor.hour.saturating_sub(age);
            if self.is_late(age) || hub.get(&hour_key(hour)).is_none() {
                self.cursor = Cursor { step: self.cursor.step + 1, part: 0, line: 0, ..self.cursor };
                continue;
            }
            let is_last = self::age(self.cursor.step + 1, self.links.days).is_none();
            while self.cursor.part < PARTS {
                if self.is_spent() || !self.ask_part(hub, hour, is_last, ask)? {
                    return Ok(true);
                }
                self.cursor = Cursor { part: self.cursor.part + 1, line: 0, ..self.cursor };
            }
            if is_last {
                hub.delete(&hour_key(hour));
                self.written += 1;
            }
            self.cursor = Cursor { step: self.cursor.step + 1, part: 0, line: 0, ..self.cursor };
        }
        Ok(false)
    }

    fn is_spent(&self) -> bool {
        self.asked >= ASKED_MAX || self.looked_at >= LOOKED_AT_MAX || self.written >= WRITTEN_MAX
    }

    /// After a time without polls: a later round, already due, asks about the same links.
    fn is_late(&self, age: u64) -> bool {
        let next = self::age(self.cursor.step + 1, self.links.days);
        next.is_some_and(|next| self.cursor.hour - age.min(self.cursor.hour) + next <= self.now)
    }

    /// Asks about the links of a part; whether that was all of them.
    fn ask_part<H: Hub>(
        &mut self,
        hub: &mut H,
        hour: u64,
        is_last: bool,
        ask: &mut Ask<'_, H>,
    ) -> Result<bool, Failure> {
        self.looked_at += 1;
        let key = part_key(hour, self.cursor.part);
        let Some(part) = hub.get(&key) else { return Ok(true) };
        let part = String::from_utf8_lossy(&part).into_owned();
        // What cannot be a link's number was not written here: nothing could be stated of it.
        let numbers: Vec<&str> = part.lines().filter(|number| is_number(number)).collect();
        let mut kept: Vec<&str> = numbers.iter().take(self.cursor.line).copied().collect();
        let mut rest = numbers.iter().skip(self.cursor.line).copied();
        while !self.is_spent() {
            let Some(number) = rest.next() else { break };
            self.looked_at += 1;
            if hub.is_known(&(self.links.payment_id)(number)) {
                continue;
            }
            self.asked += 1;
            match ask(hub, number) {
                Ok(Fate::Over) => {}
                Ok(Fate::Waits) => kept.push(number),
                Err(Failure::Rejected(rejection)) if rejection.code == "bad-answer" => {
                    let (name, place) = (self.links.name, rejection.place.unwrap_or_default());
                    hub.warn(&format!("{name} {number}: {} at {place}", rejection.reason));
                    kept.push(number);
                }
                Err(failure) => return Err(failure),
            }
        }
        self.cursor.line = kept.len();
        let left = rest.len();
        kept.extend(rest);
        if left == 0 && (is_last || kept.is_empty()) {
            hub.delete(&key);
            self.written += 1;
        } else if kept.len() < part.lines().count() {
            hub.set(&key, kept.iter().flat_map(|number| [number.as_bytes(), b"\n"].concat()).collect());
            self.written += 1;
        }
        Ok(left == 0)
    }
}

/// Hours since they were made, when links are asked about for the first, second and further times. The last is two days after they
/// can be paid: days are the utility's, and a payment may have begun in time.
fn age(step: usize, days: u32) -> Option<u64> {
    match EARLY_HOURS.get(step) {
        Some(age) => Some(*age),
        None => {
            let day = u64::try_from(step).ok()? + 1 - EARLY_HOURS.len() as u64;
            (day <= u64::from(days) + 2).then_some(day * 24)
        }
    }
}

fn hour_key(hour: u64) -> String {
    format!("waiting:{hour}")
}

fn part_key(hour: u64, part: u64) -> String {
    format!("waiting:{hour}:{part}")
}

#[cfg(test)]
mod tests;
