//! Payments and refunds that no notification told of.

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::{Failure, Hub, Polled, rejected};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hub::{self, Fate, fate};
use crate::mapping::{Payment, Refund, Settings, bad_answer};

/// Objects on a page: as many as the API gives of payments; fewer refunds, each may need its payment.
const PAYMENTS: u32 = 100;
const REFUNDS: u32 = 20;
const PAGE_BYTES_MAX: usize = 1024;

/// Where a round is: all pages of payments, then all of refunds. The lists have the newest first, so the lower bound moves only when a round is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// When the round began, in seconds since 1970; at rest, the last one.
    began: i64,
    /// What the round asks for, in seconds since 1970; absent at rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<i64>,
    #[serde(default)]
    refunds: bool,
    /// The API's cursor of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Value>,
    next_cursor: Option<String>,
}

/// Codes of faults that an object itself has.
const ITS_OWN: [&str; 2] = ["bad-answer", "unknown-object"];

fn read<T: DeserializeOwned>(item: Value, place: &str) -> Result<T, Failure> {
    serde_json::from_value(item).map_err(|error| bad_answer(&error.to_string(), place).into())
}

/// One page.
///
/// # Errors
/// `bad-cursor`, `bad-answer`, and what the answer means.
pub fn poll(settings: &Settings, cursor: Option<&[u8]>, hub: &mut impl Hub) -> Result<Polled, Failure> {
    let now = i64::try_from(hub.now_ms() / 1000).unwrap_or_default();
    let known: Cursor = match cursor {
        Some(bytes) => serde_json::from_slice(bytes)
            .map_err(|error| rejected("bad-cursor", format!("the cursor is none: {error}"), ""))?,
        None => Cursor { began: now, ..Cursor::default() },
    };
    let round = match known.from {
        Some(_) => known,
        None => Cursor {
            began: now,
            from: Some(known.began.saturating_sub(settings.look_back_seconds())),
            ..Cursor::default()
        },
    };
    let path = round.path()?;
    let reply = hub::get(settings, &path, hub);
    // A page's cursor may have expired while the hub was down: the list is read from its beginning, what is known stays known.
    if round.page.is_some() && reply.as_ref().is_ok_and(|response| response.status == 400) {
        hub.info("the API refuses the cursor of a page; the list is begun again");
        return polled(&Cursor { page: None, ..round }, false);
    }
    let what = if round.refunds { "GET /refunds" } else { "GET /payments" };
    let list: List = hub::object(reply, what)?;
    for (index, item) in list.items.into_iter().enumerate() {
        let place = format!("items/{index}");
        let stated = match round.refunds {
            true => read::<Refund>(item, &place).and_then(|refund| match fate(&refund.status, &place)? {
                Fate::Succeeded => hub::state_refund(settings, &refund, &place, hub),
                _ => Ok(()),
            }),
            false => read::<Payment>(item, &place).and_then(|payment| match fate(&payment.status, &place)? {
                Fate::Succeeded => hub::state_payment(settings, &payment, &place, hub),
                _ => Ok(()),
            }),
        };
        // Objects are independent of each other; what may be better at the next try ends the round.
        match stated {
            Err(Failure::Rejected(rejection)) if ITS_OWN.contains(&rejection.code.as_str()) => hub.leave_out(rejection),
            stated => stated?,
        }
    }
    let next = list.next_cursor;
    let next = round.after(next)?;
    polled(&next, next.from.is_some())
}

fn polled(cursor: &Cursor, more: bool) -> Result<Polled, Failure> {
    let cursor = serde_json::to_vec(cursor).map_err(|error| Failure::Other(error.to_string()))?;
    Ok(Polled { cursor: Some(cursor), more })
}

impl Cursor {
    /// Payments by when the money was taken, not by when the payer began: a page may be paid days after it was made.
    fn path(&self) -> Result<String, Failure> {
        let utc = Offset::of_minutes(0).unwrap_or(Offset::MOSCOW);
        let from = dates::local_of_unix_seconds(self.from.unwrap_or_default(), utc);
        let from = from.ok_or_else(|| rejected("bad-cursor", "the cursor's time is none", ""))?;
        let from = dates::rfc3339(from, utc);
        let from = utf8_percent_encode(&from, NON_ALPHANUMERIC);
        let mut path = match self.refunds {
            false => format!("/payments?status=succeeded&captured_at.gte={from}&limit={PAYMENTS}"),
            true => format!("/refunds?status=succeeded&created_at.gte={from}&limit={REFUNDS}"),
        };
        if let Some(page) = &self.page {
            path.push_str(&format!("&cursor={}", utf8_percent_encode(page, NON_ALPHANUMERIC)));
        }
        Ok(path)
    }

    fn after(&self, next: Option<String>) -> Result<Self, Failure> {
        match next.filter(|page| !page.is_empty()) {
            Some(page) if page.len() > PAGE_BYTES_MAX || Some(&page) == self.page.as_ref() => {
                Err(bad_answer("a cursor that leads nowhere", "next_cursor").into())
            }
            Some(page) => Ok(Self { page: Some(page), ..self.clone() }),
            None if self.refunds => Ok(Self { began: self.began, ..Self::default() }),
            None => Ok(Self { refunds: true, page: None, ..self.clone() }),
        }
    }
}
