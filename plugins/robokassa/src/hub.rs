//! What is done for an invoice, for a call of ResultURL, and for links of which none came.

use busbar_sdk::acquiring::{self, Invoice, Stated};
use busbar_sdk::credentials::Piece;
use busbar_sdk::http::Request;
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::waiting::{self, Fate, Links};
use busbar_sdk::{
    Failure, Header, HookRequest, HookResponse, Hub, Message, Polled, data_of, form, hex, rejected, transient,
};

use crate::mapping::{self, Call, Link, Settings};
use crate::state::State;

/// Five of them fit into a call.
const TIMEOUT_MS: u32 = 5_000;

/// A signed link for an invoice. Nobody is asked: the service learns of it when the payer opens it.
///
/// # Errors
/// See [`Link::of`], [`Link::draft`].
pub fn deliver(settings: &Settings, message: &Message, hub: &mut impl Hub) -> Result<(), Failure> {
    let invoice: Invoice = data_of(message)?;
    let Some(link) = Link::of(settings, (&message.source, &message.id), &invoice, hub.now_ms())? else {
        hub.info(&format!("invoice {}: nothing to pay, no link is made", message.id));
        return Ok(());
    };
    let signature = signature(settings, &link.signed(settings), hub)?;
    let number = link.number.clone();
    hub.emit(link.draft(settings, &signature)?);
    waiting::add(hub, &number)
}

fn signature(settings: &Settings, pieces: &[Piece], hub: &mut impl Hub) -> Result<String, Failure> {
    let hash = hub.hash(settings.digest(), pieces);
    hash.map(|hash| hex::encoded(&hash)).map_err(|text| rejected("bad-config", text, "config, hash"))
}

/// Serves one call of ResultURL. The service takes any other answer than `OK` and the number for a failure and calls again.
///
/// # Errors
/// `bad-request`, see [`Call::of`]; `unauthorized` without a valid signature; `bad-field` for a sum that is none although it is signed; see
/// [`Call::payment`].
pub fn receive(settings: &Settings, request: &HookRequest, hub: &mut impl Hub) -> Result<HookResponse, Failure> {
    let parameters = form::parameters(request).ok_or_else(|| {
        rejected("bad-request", "neither GET nor POST of a form, too many parameters, or one with two values", "")
    })?;
    let call = Call::of(&parameters)?;
    let forged = || Failure::Unauthorized("no valid signature".to_owned());
    let hash = hex::decoded(&call.signature).ok_or_else(forged)?;
    let mut is_genuine = false;
    for signed in call.signed(settings) {
        let verified = hub.verify_hash(settings.digest(), &signed, &hash);
        is_genuine |= verified.map_err(|text| rejected("bad-config", text, "config, hash"))?;
    }
    if !is_genuine {
        return Err(forged());
    }
    let number = &call.number;
    if call.is_test && !settings.test {
        hub.warn(&format!("invoice {number}: a test payment, nothing is stated"));
    } else {
        let known = acquiring::stated(hub.lookup(&mapping::payment_id(number)));
        match call.payment(settings, page(number, hub), known.as_ref(), hub.now_ms())? {
            Some(draft) => hub.emit(draft),
            None => hub.info(&format!("invoice {number}: known already")),
        }
    }
    let header = Header { name: "content-type".to_owned(), value: "text/plain".to_owned() };
    Ok(HookResponse { status: 200, headers: vec![header], body: format!("OK{number}").into_bytes() })
}

/// What was stated of a link that was made here.
fn page(number: &str, hub: &impl Hub) -> Stated {
    acquiring::stated(hub.lookup(&mapping::link_id(number))).unwrap_or_default()
}

/// Asks about links of which no call came.
///
/// # Errors
/// See [`waiting::poll`]; what the service answers to the question itself.
pub fn poll(settings: &Settings, cursor: Option<&[u8]>, hub: &mut impl Hub) -> Result<Polled, Failure> {
    let links = Links { days: settings.link_days(), name: "invoice", payment_id: mapping::payment_id };
    waiting::poll(hub, cursor, &links, &mut |hub, number| ask(settings, number, hub))
}

fn ask(settings: &Settings, number: &str, hub: &mut impl Hub) -> Result<Fate, Failure> {
    let what = "GET OpStateExt";
    let signature = signature(settings, &settings.signed_question(number), hub)?;
    let query = form::encoded(&[("MerchantLogin", &settings.login), ("InvoiceID", number), ("Signature", &signature)]);
    let request = Request {
        method: "GET".to_owned(),
        url: format!("{}/WebService/Service.asmx/OpStateExt?{query}", settings.base_url),
        headers: Vec::new(),
        body: Vec::new(),
        authorization: None,
        timeout_ms: Some(TIMEOUT_MS),
    };
    let response = hub.send(&request).map_err(|error| replies::failure_of_error(error, what, true))?;
    let outcome = replies::outcome_of_status(response.status);
    if outcome != Outcome::Ok {
        return Err(replies::failure_of(outcome, &response, what));
    }
    match State::of(settings, &response.body)? {
        State::Paid(paid) => {
            let now_seconds = i64::try_from(hub.now_ms() / 1000).unwrap_or_default();
            hub.emit(paid.draft(settings, number, page(number, hub), now_seconds)?);
            Ok(Fate::Over)
        }
        State::GoneBack => {
            hub.info(&format!("invoice {number}: paid, and given back at once; nothing is stated"));
            Ok(Fate::Over)
        }
        State::Waits => Ok(Fate::Waits),
        State::Unauthorized(text) => Err(Failure::Unauthorized(format!("{what}: {text}"))),
        State::Failed(text) => Err(transient(format!("{what}: {text}"), None)),
    }
}
