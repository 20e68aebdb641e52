//! The state of an invoice.
//!
//! Source: Robokassa's documentation: XML interfaces, OpStateExt.

use busbar_sdk::acquiring::{Payment, Stated};
use busbar_sdk::money::Money;
use busbar_sdk::xml::{Tree, Xml};
use busbar_sdk::{Draft, Rejection, dates, rejection};

use crate::mapping::{self, CURRENCY, Settings};

/// Bytes of memory for an answer; they have about one thousand.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// What an answer says.
pub enum State {
    Paid(Paid),
    /// Nobody has opened the page, or not paid yet, or the money is on its way.
    Waits,
    /// It was paid, and all of it went back before it reached the shop.
    GoneBack,
    /// The signature or the shop is wrong; in words.
    Unauthorized(String),
    /// The service's own error; in words.
    Failed(String),
}

pub struct Paid {
    /// RFC 3339, local.
    at: Option<String>,
    /// What the payer paid, where that is in roubles.
    sum: Option<String>,
}

impl State {
    /// # Errors
    /// `bad-answer` for what cannot be read, or a result or a state that is not known.
    pub fn of(settings: &Settings, body: &[u8]) -> Result<Self, Rejection> {
        let unreadable = |error: Rejection| {
            let place = error.place.unwrap_or_default();
            rejection("bad-answer", format!("{}: {}", error.code, error.reason), format!("answer, {place}"))
        };
        let mut xml = Xml::of_bytes(body);
        let root = xml.root().map_err(unreadable)?;
        let tree = Tree::read(&mut xml, root, &mut ANSWER_BYTES_MAX.clone()).map_err(unreadable)?;
        if tree.name() != "OperationStateResponse" {
            return Err(rejection("bad-answer", "this is no answer of OpStateExt", "answer"));
        }
        let words = tree.text_at("Result/Description").unwrap_or_default();
        let words: String = words.chars().take(200).collect();
        match tree.text_at("Result/Code").unwrap_or_default() {
            "0" => {}
            // There is no operation of it: the page was never opened.
            "3" => return Ok(Self::Waits),
            code @ ("1" | "2") => return Ok(Self::Unauthorized(format!("{code} {words}"))),
            code @ ("999" | "1000") => return Ok(Self::Failed(format!("{code} {words}"))),
            code => return Err(rejection("bad-answer", format!("result {code} {words}"), "answer/Result/Code")),
        }
        match tree.text_at("State/Code").unwrap_or_default() {
            "100" => Ok(Self::Paid(Paid::of(settings, &tree))),
            // Begun; not paid in time, which another try may mend; paid and on its way; stopped.
            "5" | "10" | "50" | "80" => Ok(Self::Waits),
            "60" => Ok(Self::GoneBack),
            code => Err(rejection("bad-answer", format!("state {code} is not known"), "answer/State/Code")),
        }
    }
}

impl Paid {
    fn of(settings: &Settings, tree: &Tree) -> Self {
        let moment = tree.text_at("State/StateDate").and_then(dates::parse_date_time);
        let at = moment.map(|(moment, zone)| dates::unix_seconds(moment, zone.unwrap_or(settings.offset())));
        // The service did not exist before: an impossible moment is none, and the payment counts.
        let at = at.filter(|at| *at > 0).map(|at| settings.local(at)).filter(|at| !at.is_empty());
        Self { at, sum: tree.text_at("Info/IncSum").map(str::to_owned) }
    }

    /// `payment.received.v1` of the sum that the link was made for: what the payer paid may have the service's fee on it, and what
    /// the shop gets may lack it. `payment.rejected.v1` where nothing of the link is known any more.
    ///
    /// # Errors
    /// `bad-answer` where there is no sum either.
    pub fn draft(&self, settings: &Settings, number: &str, page: Stated, now_seconds: i64) -> Result<Draft, Rejection> {
        let stated = || self.sum.as_deref().and_then(mapping::minor).filter(|minor| *minor > 0);
        let amount = page.amount.clone().or_else(|| Some(Money::of_minor(stated()?, CURRENCY)));
        let amount = amount.ok_or_else(|| rejection("bad-answer", "there is no sum", "answer/Info/IncSum"))?;
        let payment = Payment {
            account: page.account,
            sought: "what was stated of the link",
            amount,
            fee: None,
            at: self.at.clone().unwrap_or_else(|| settings.local(now_seconds)),
            number,
            invoice: page.invoice,
        };
        Ok(payment.draft(mapping::payment_id(number)))
    }
}
