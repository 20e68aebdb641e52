//! What a poll's reply becomes: messages and the next cursor. Pure.

use busbar_sdk::http::Response;
use busbar_sdk::{Draft, Failure, Rejection, ids, rejected, rejection};
use jaq_json::Val;

use crate::jq;
use crate::mapping::reply_value;
use crate::settings::Poll;

pub const PLACE: &str = "config, poll";

/// The `{cursor}` that the request's expressions see; null at the first poll.
///
/// # Errors
/// `bad-cursor`: the kept one is not JSON, because another adapter left it.
pub fn input(cursor: Option<Vec<u8>>) -> Result<String, Rejection> {
    let Some(bytes) = cursor else { return Ok("null".to_owned()) };
    let text = String::from_utf8(bytes).ok().filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    text.ok_or_else(|| rejection("bad-cursor", "the cursor kept from the last poll is not JSON", ""))
}

/// # Errors
/// `not-configured`.
pub fn settings(poll: &Option<Poll>) -> Result<&Poll, Failure> {
    poll.as_ref().ok_or_else(|| rejected("not-configured", "the settings have no `poll`", "config"))
}

/// What a reply says.
pub struct Page {
    pub drafts: Vec<Draft>,
    /// Items that `each` makes no message of.
    pub left_out: Vec<Rejection>,
    /// JSON text; nothing leaves it as it is.
    pub cursor: Option<String>,
    pub more: bool,
}

/// # Errors
/// What [`jq::evaluate`] refuses; `bad-item` for what is no message.
pub fn page(poll: &Poll, cursor: &str, response: &Response) -> Result<Page, Rejection> {
    let reply = reply_value(response, "cursor", cursor)?;
    let place = format!("{PLACE}.items");
    let Val::Arr(items) = jq::evaluate(&poll.items, reply.clone(), &place)? else {
        return Err(rejection("bad-item", format!("`{}` gives no array", poll.items), place));
    };
    let (mut drafts, mut left_out) = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        match (&poll.each, message(poll, &reply, item, index)) {
            (_, Ok(Some(draft))) => drafts.push(draft),
            (_, Ok(None)) => {}
            (Some(_), Err(rejection)) if rejection.code != "bad-mapping" => left_out.push(rejection),
            (_, Err(rejection)) => return Err(rejection),
        }
    }
    let place = format!("{PLACE}.cursor");
    let cursor = match jq::evaluate(&poll.cursor, reply.clone(), &place)? {
        Val::Null => None,
        value => Some(jq::json_text(&value, &place)?),
    };
    let more = match &poll.more {
        Some(more) => matches!(jq::evaluate(more, reply, &format!("{PLACE}.more"))?, Val::Bool(true)),
        None => false,
    };
    Ok(Page { drafts, left_out, cursor, more })
}

/// Where an item stands, and which it is: what is wrong with it may come again, and may be wrong with another one.
fn place_of(item: &Val, index: usize) -> String {
    let digest: String = ids::derived(&[&item.to_string()]).chars().take(8).collect();
    format!("item {index} ({digest})")
}

/// The message of one item; nothing where it is none for us.
fn message(poll: &Poll, reply: &Val, item: &Val, index: usize) -> Result<Option<Draft>, Rejection> {
    if poll.each.is_none() && poll.only.is_none() {
        return draft(item, format!("item {index}")).map(Some);
    }
    let place = place_of(item, index);
    let Val::Obj(fields) = reply else { return Err(rejection("unreadable-reply", "the reply is no object", place)) };
    let mut fields = (**fields).clone();
    fields.insert(Val::from("item".to_owned()), item.clone());
    let input = Val::obj(fields);
    if let Some(only) = &poll.only {
        match jq::evaluate(only, input.clone(), &place)? {
            Val::Bool(true) => {}
            Val::Bool(false) => return Ok(None),
            other => return Err(rejection("mapping-failed", format!("`{only}` gives {other}, no boolean"), place)),
        }
    }
    match &poll.each {
        Some(each) => draft(&jq::evaluate(each, input, &place)?, place).map(Some),
        None => draft(item, place).map(Some),
    }
}

fn draft(item: &Val, place: String) -> Result<Draft, Rejection> {
    let bad = |what: &str| rejection("bad-item", format!("{what} in what `items` gives"), place.clone());
    let Val::Obj(item) = item else { return Err(bad("no object")) };
    let field = |name: &str| item.get(&Val::from(name.to_owned())).filter(|value| !matches!(value, Val::Null));
    let text = |name: &str| field(name).and_then(jq::scalar_text);
    let data = field("data").filter(|data| matches!(data, Val::Obj(_))).ok_or_else(|| bad("no object `data`"))?;
    Ok(Draft {
        id: text("id").ok_or_else(|| bad("no `id`"))?,
        type_: text("type").ok_or_else(|| bad("no `type`"))?,
        subject: text("subject"),
        time: text("time"),
        partition_key: text("partitionkey"),
        data: jq::json_text(data, &place)?,
        place: Some(place),
    })
}
