//! What everybody saw: the hub by its REST interface, the stand-ins by their ledgers.

use busbar_standins::hub::Hub;
use busbar_standins::terminal::Reply;
use busbar_standins::{billing, crm, portal};
use serde_json::Value;

/// The terminal's five exchanges, in this order.
#[derive(Clone, Debug)]
pub struct Exchanges {
    pub check: Reply,
    pub check_unknown: Reply,
    pub pay: Reply,
    pub pay_again: Reply,
    pub pay_unknown: Reply,
}

/// A moment of the demo.
#[derive(Clone, Debug)]
pub struct Observed {
    pub exchanges: Exchanges,
    /// Entries of `/v1/messages`.
    pub messages: Vec<Value>,
    /// Entries of `/v1/intakes`.
    pub intakes: Vec<Value>,
    pub billing: billing::Ledger,
    pub crm: crm::Ledger,
    pub portal: portal::Ledger,
    /// File names in the bank's `done/` and `failed/`.
    pub done_files: Vec<String>,
    pub failed_files: Vec<String>,
}

impl Observed {
    /// Messages in the journal of this type.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.messages.iter().filter(move |message| text(message, "/type") == kind)
    }

    /// States of all deliveries, one entry each.
    pub fn delivery_states(&self) -> impl Iterator<Item = &str> {
        let deliveries = self.messages.iter().filter_map(|message| message.get("deliveries"));
        let deliveries = deliveries.filter_map(Value::as_array).flatten();
        deliveries.map(|delivery| text(delivery, "/state"))
    }

    /// Deliveries that are not done, for a person: system, message, state and error.
    pub fn not_done(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for message in &self.messages {
            let deliveries = message.get("deliveries").and_then(Value::as_array).into_iter().flatten();
            for delivery in deliveries.filter(|delivery| text(delivery, "/state") != "done") {
                lines.push(format!(
                    "message {} to {}: {}, {} {}",
                    text(message, "/seq"),
                    text(delivery, "/system"),
                    text(delivery, "/state"),
                    text(delivery, "/error/code"),
                    text(delivery, "/error/detail"),
                ));
            }
        }
        lines
    }

    /// The data of `statement.imported.v1` as the CRM got it.
    pub fn imported(&self) -> &Value {
        self.crm.of("statement.imported.v1").next().map_or(&Value::Null, |event| &event.data)
    }

    /// The intake of one of the bank's files.
    pub fn file(&self, name: &str) -> Option<&Value> {
        let of_bank = |intake: &&Value| text(intake, "/system") == "bank";
        self.intakes.iter().filter(of_bank).find(|intake| text(intake, "/name") == name)
    }
}

/// Both listings of the hub.
pub async fn listings(hub: &Hub) -> anyhow::Result<(Vec<Value>, Vec<Value>)> {
    Ok((hub.messages("").await?, hub.intakes("").await?))
}

/// The text at a JSON Pointer (RFC 6901); empty when there is none.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Messages of an intake that were new to the hub.
pub fn new_messages(intake: &Value) -> Option<u64> {
    let count = |field: &str| intake.get(field).and_then(Value::as_u64);
    count("messages")?.checked_sub(count("duplicates")?)
}

/// The number at a JSON Pointer as text; `?` when there is none.
pub fn number(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_u64).map_or("?".to_owned(), |number| number.to_string())
}
