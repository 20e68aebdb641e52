//! Receipts that did not come: the history of a day that is over, once its messages have been decided.
//!
//! Source: SMSC.ru HTTP API, «Получение истории отправленных сообщений» (get.php, get_messages).

use busbar_sdk::dates;
use busbar_sdk::loose::Loose;
use busbar_sdk::{Failure, Hub, Polled, rejected, rejection, texts};
use form_urlencoded::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::Date;

use crate::answer;
use crate::mapping::{Sent, Settings};
use crate::receipt::{self, Outcome, Receipt, Taken};

const HISTORY: &str = "get.php";
/// The history's error that there are no messages.
const NO_MESSAGES: i64 = 3;
/// Memories forgotten in one poll: the host bounds the writes of one call. What is left of them does no harm.
const DELETIONS_MAX: usize = 48;
/// Of an id in a place.
const ID_CHARS: usize = 64;
const DAY_SECONDS: i64 = 24 * 3600;

/// The next day to be read, and where in it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// `2026-12-31`.
    day: String,
    /// The gateway's number of the last message read of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// A message of the history as far as it is used.
#[derive(Deserialize)]
struct Row {
    id: Option<Loose>,
    phone: Option<Loose>,
    status: Loose,
    err: Option<Loose>,
    last_timestamp: Option<Loose>,
    last_date: Option<String>,
    sms_cnt: Option<Loose>,
    cost: Option<Loose>,
    sender_id: Option<String>,
}

/// A page of a day, or nothing as long as none is due.
///
/// # Errors
/// `bad-cursor`, `bad-answer` with the place in the answer, and what an error of the gateway means.
pub fn poll(settings: &Settings, cursor: Option<&[u8]>, hub: &mut impl Hub) -> Result<Polled, Failure> {
    let offset = settings.offset();
    let now = i64::try_from(hub.now_ms() / 1000).unwrap_or_default();
    let bad_cursor = |reason: &str| rejected("bad-cursor", reason, "");
    let Some(bytes) = cursor else {
        let today = dates::local_of_unix_seconds(now, offset).ok_or_else(|| bad_cursor("there is no today"))?;
        return polled(&Cursor { day: dates::iso_date(today.date()), after: None }, false);
    };
    let cursor: Cursor = serde_json::from_slice(bytes).map_err(|error| bad_cursor(&error.to_string()))?;
    let day = dates::parse_iso_date(&cursor.day).ok_or_else(|| bad_cursor("its day is none"))?;
    let due = |day: Date| {
        let end = dates::unix_seconds(dates::start_of_day(day), offset) + DAY_SECONDS;
        end + settings.settle_seconds() <= now
    };
    if !due(day) {
        return polled(&cursor, false);
    }
    let rows = rows(settings, day, cursor.after.as_deref(), hub)?;
    let mut deletions = 0;
    for (index, row) in rows.iter().enumerate() {
        let receipt = match serde_json::from_value::<Row>(row.clone()) {
            Ok(row) => row.receipt(settings),
            Err(error) => Err(error.to_string()),
        };
        let receipt = match receipt {
            Ok(Some(receipt)) => receipt,
            Ok(None) => continue,
            Err(reason) => {
                hub.leave_out(rejection("bad-row", reason, place(row, index)));
                continue;
            }
        };
        match receipt::take(settings, &receipt, hub)? {
            Taken::Stated if deletions < DELETIONS_MAX && receipt.outcome != Outcome::Failed(receipt::UNKNOWN) => {
                deletions += 1;
                hub.delete(&Sent::key(&receipt.own));
            }
            Taken::Stated | Taken::Nothing => {}
            Taken::Forgotten => hub.warn(&format!("{} of answer/{index} is not remembered", receipt.own)),
        }
    }
    let last = rows.last().and_then(|row| number_of(row, "int_id"));
    let last = last.filter(|number| Some(number) != cursor.after.as_ref());
    match last {
        _ if rows.len() < settings.page_rows() => {}
        Some(after) => return polled(&Cursor { after: Some(after), ..cursor }, true),
        None => hub.warn(&format!("the history of {} goes on, and its next page cannot be named", cursor.day)),
    }
    let next = day.next_day().ok_or_else(|| bad_cursor("its day is the last"))?;
    polled(&Cursor { day: dates::iso_date(next), after: None }, due(next))
}

fn polled(cursor: &Cursor, more: bool) -> Result<Polled, Failure> {
    let cursor = serde_json::to_vec(cursor).map_err(|error| Failure::Other(error.to_string()))?;
    Ok(Polled { cursor: Some(cursor), more })
}

fn rows(settings: &Settings, day: Date, after: Option<&str>, hub: &mut impl Hub) -> Result<Vec<Value>, Failure> {
    let day = dates::russian_date(day);
    let mut form = Serializer::new(String::new());
    form.append_pair("get_messages", "1").append_pair("start", &day).append_pair("end", &day);
    form.append_pair("cnt", &settings.page_rows().to_string());
    if let Some(after) = after {
        form.append_pair("prev_id", after);
    }
    form.append_pair("charset", "utf-8").append_pair("fmt", "3");
    match answer::told(answer::post(settings, HISTORY, form.finish().into_bytes(), false, hub), HISTORY)? {
        Ok(Value::Array(rows)) => Ok(rows),
        Ok(_) => Err(answer::bad("this is no list of messages", "")),
        Err(refusal) if refusal.code == NO_MESSAGES => Ok(Vec::new()),
        Err(refusal) => Err(refusal.failure(HISTORY)),
    }
}

/// A message by its id: its number in the list is another at the next poll.
fn place(row: &Value, index: usize) -> String {
    let id = number_of(row, "id").or_else(|| number_of(row, "int_id"));
    id.map_or_else(|| format!("answer/{index}"), |id| format!("message {}", texts::shortened(&id, ID_CHARS)))
}

/// The gateway's number, which pages go by, or another id.
fn number_of(row: &Value, name: &str) -> Option<String> {
    Loose::at(row, name).map(|loose| loose.text())
}

impl Row {
    /// Nothing for a message without id or number, such as of a mail.
    fn receipt(&self, settings: &Settings) -> Result<Option<Receipt>, String> {
        let number = |value: &Option<Loose>| value.as_ref().and_then(Loose::number);
        let status = self.status.number().ok_or_else(|| format!("`{}` is no status", self.status.text()))?;
        let (Some(id), Some(phone)) = (&self.id, &self.phone) else { return Ok(None) };
        let error = number(&self.err);
        let stated = self.last_date.as_deref().and_then(|text| receipt::local_seconds(settings, text));
        Ok(Some(Receipt {
            own: id.text(),
            phone: phone.text(),
            // The operator had it, and the time in which it may still be delivered is over.
            outcome: if status == 0 { Outcome::Failed(receipt::UNKNOWN) } else { Outcome::of(status, error) },
            text: receipt::words(status, error),
            // Of what never came it is known now.
            at: number(&self.last_timestamp).filter(|seconds| *seconds > 0).or(stated).filter(|_| status != 0),
            parts: number(&self.sms_cnt).and_then(|parts| usize::try_from(parts).ok()).filter(|parts| *parts > 0),
            cost: self.cost.as_ref().and_then(|cost| receipt::cost(settings, cost)),
            sender: self.sender_id.clone().filter(|sender| (1..=64).contains(&sender.chars().count())),
        }))
    }
}
