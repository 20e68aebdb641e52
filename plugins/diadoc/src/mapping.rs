//! A message of a box (there: letter) to what is stated of its documents.
//!
//! Source: Diadoc API, structures Message, Entity, Document, RevocationStatus, RecipientResponseStatus.

use busbar_sdk::dates;
use busbar_sdk::decimal::Decimal;
use busbar_sdk::loose::Loose;
use busbar_sdk::money::{self, Money};
use busbar_sdk::{Draft, Failure, ids, texts};
use serde_json::{Map, Value, json};

use crate::api::bad;
use crate::settings::Settings;

/// Seconds from 0001-01-01, where ticks begin, to 1970.
const EPOCH_SECONDS: i64 = 62_135_596_800;
const TICKS_A_SECOND: i64 = 10_000_000;
const NUMBER_CHARS_MAX: usize = 64;
const TEXT_CHARS_MAX: usize = 500;
const NAME_CHARS_MAX: usize = 255;
/// Documents of one message, at most.
pub const DOCUMENTS_MAX: usize = 40;
/// Kinds by `TypeNamedId`; another one has no word here.
const KINDS: [(&str, &str); 14] = [
    ("UniversalTransferDocument", "transfer-document"),
    ("UniversalTransferDocumentRevision", "transfer-document"),
    ("UniversalCorrectionDocument", "correction"),
    ("UniversalCorrectionDocumentRevision", "correction"),
    ("Invoice", "tax-invoice"),
    ("InvoiceRevision", "tax-invoice"),
    ("ProformaInvoice", "invoice"),
    ("AcceptanceCertificate", "act"),
    ("XmlAcceptanceCertificate", "act"),
    ("ReconciliationAct", "reconciliation-act"),
    ("Contract", "contract"),
    ("SupplementaryAgreement", "contract"),
    ("Torg12", "consignment-note"),
    ("XmlTorg12", "consignment-note"),
];

/// Ticks of 100 ns since 0001 as RFC 3339 with the settings' offset.
pub fn moment(settings: &Settings, object: &Value, name: &str, place: &str) -> Result<String, Failure> {
    let ticks = Loose::at(object, name).and_then(|ticks| ticks.number());
    let local =
        ticks.and_then(|ticks| dates::local_of_unix_seconds(ticks / TICKS_A_SECOND - EPOCH_SECONDS, settings.offset()));
    let at = local.map(|local| dates::rfc3339(local, settings.offset()));
    at.ok_or_else(|| bad("this is no moment in ticks", &format!("{place}/{name}")))
}

/// Ticks of a moment in seconds since 1970.
pub fn ticks(seconds: i64) -> i64 {
    seconds.saturating_add(EPOCH_SECONDS).saturating_mul(TICKS_A_SECOND)
}

/// What is to be stated of a message's documents. `is_new`: it came with this event; else something happened to it at `at`.
///
/// # Errors
/// `bad-answer` for ids and times that are none.
pub fn drafts(
    settings: &Settings,
    message: &Value,
    place: &str,
    at: &str,
    is_new: bool,
) -> Result<Vec<Draft>, Failure> {
    if is_true(message, "IsDraft") || is_true(message, "IsDeleted") {
        return Ok(Vec::new());
    }
    let message_id = id(message, "MessageId", place)?;
    let mut drafts = Vec::new();
    let entities = message.get("Entities").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (index, entity) in entities.iter().enumerate() {
        let place = format!("{place}/Entities/{index}");
        let Some(info) = entity.get("DocumentInfo").filter(|info| info.is_object()) else { continue };
        let is_left_out = is_true(info, "IsDeleted") || (is_true(info, "IsTest") && !settings.accept_test);
        if is_left_out {
            continue;
        }
        if drafts.len() >= 2 * DOCUMENTS_MAX {
            return Err(bad("the message has more than 40 documents", &place));
        }
        let document =
            Document { message, message_id: &message_id, entity, entity_id: id(entity, "EntityId", &place)?, info };
        if is_new && !document.is_outbound() {
            drafts.push(document.issued(at));
        }
        drafts.extend(document.status_changed(at));
    }
    Ok(drafts)
}

struct Document<'a> {
    message: &'a Value,
    message_id: &'a str,
    entity: &'a Value,
    entity_id: String,
    info: &'a Value,
}

impl Document<'_> {
    fn is_outbound(&self) -> bool {
        text(self.info, "DocumentDirection").as_deref() == Some("Outbound")
    }

    /// Own documents have the id that they had in the hub. The others are named by message and entity together: an entity's
    /// id is one within its message.
    fn id(&self) -> String {
        let own = text(self.info, "CustomDocumentId")
            .filter(|id| self.is_outbound() && id.chars().count() <= NUMBER_CHARS_MAX);
        own.unwrap_or_else(|| format!("{}{}", self.message_id, self.entity_id).replace('-', ""))
    }

    fn reference(&self) -> Map<String, Value> {
        let mut reference = Map::new();
        reference.insert("id".to_owned(), self.id().into());
        if let Some(number) = self.metadata("DocumentNumber") {
            reference.insert("number".to_owned(), texts::shortened(&number, NUMBER_CHARS_MAX).into());
        }
        if let Some(kind) = text(self.info, "TypeNamedId").and_then(|name| kind_of(&name)) {
            reference.insert("kind".to_owned(), kind.into());
        }
        if let Some(day) = self.metadata("DocumentDate").and_then(|day| dates::parse_russian_date(&day)) {
            reference.insert("issuedOn".to_owned(), dates::iso_date(day).into());
        }
        reference
    }

    /// A field, or the metadata of the same name that has taken its place.
    fn metadata(&self, name: &str) -> Option<String> {
        text(self.info, name).or_else(|| {
            let items = self.info.get("Metadata")?.as_array()?;
            let item = items.iter().find(|item| text(item, "Key").as_deref() == Some(name))?;
            text(item, "Value")
        })
    }

    fn issued(&self, at: &str) -> Draft {
        let mut data = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            value.and_then(|value| data.insert(key.to_owned(), value));
        };
        let name = text(self.info, "FileName").or_else(|| text(self.entity, "FileName"));
        let title = text(self.info, "Title").or_else(|| name.clone());
        put("document", Some(self.reference().into()));
        put("title", title.map(|title| texts::shortened(&title, TEXT_CHARS_MAX).into()));
        put("sender", self.party("FromTitle"));
        put("recipient", self.party("ToTitle"));
        put("amount", self.money("Total", "TotalSum"));
        put("tax", self.money("Vat", "TotalVat"));
        if let Some(name) = name {
            let mut file = json!({
                "name": texts::shortened(&name, NAME_CHARS_MAX),
                "id": format!("{}/{}", self.message_id, self.entity_id),
            });
            let size = self.entity.pointer("/Content/Size").and_then(Value::as_i64).filter(|size| *size >= 0);
            if let (Some(size), Some(file)) = (size, file.as_object_mut()) {
                file.insert("size".to_owned(), size.into());
            }
            put("files", Some(json!([file])));
        }
        self.draft("issued", "document.issued.v1", data, at)
    }

    /// Nothing as long as nothing is known of it that matters.
    fn status_changed(&self, at: &str) -> Option<Draft> {
        let (status, reason) = self.status()?;
        let mut data = Map::new();
        data.insert("document".to_owned(), self.reference().into());
        data.insert("status".to_owned(), status.into());
        if let Some(reason) = reason {
            data.insert("reason".to_owned(), reason);
        }
        // It is the recipient who answers.
        let by = matches!(status, "signed" | "refused" | "partly-signed" | "correction-requested" | "delivered");
        if let Some(by) = by.then(|| self.party("ToTitle")).flatten() {
            data.insert("by".to_owned(), by);
        }
        data.insert("changedAt".to_owned(), at.into());
        Some(self.draft(status, "document.status.changed.v1", data, at))
    }

    /// The latest of what can happen to a document. That an inbound one was sent and came is no news.
    fn status(&self) -> Option<(&'static str, Option<Value>)> {
        let is = |name: &str, word: &str| text(self.info, name).as_deref() == Some(word);
        let response = |word: &str| is("RecipientResponseStatus", word);
        let other = || Some(json!({ "code": "other" }));
        let amended = self.info.pointer("/AmendmentRequestMetadata/AmendmentFlags").and_then(Value::as_i64);
        let receipt = self.info.pointer("/RecipientReceiptMetadata/ReceiptStatus").and_then(Value::as_str);
        let is_set =
            |name: &str| Loose::at(self.info, name).and_then(|ticks| ticks.number()).is_some_and(|ticks| ticks > 0);
        Some(if is("RevocationStatus", "RevocationAccepted") {
            ("cancelled", None)
        } else if is("RevocationStatus", "RequestsMyRevocation") || is("RevocationStatus", "RevocationIsRequestedByMe")
        {
            ("cancellation-requested", None)
        } else if is("RevocationStatus", "RevocationRejected") {
            ("cancellation-refused", None)
        } else if response("RecipientSignatureRequestRejected") {
            ("refused", other())
        } else if response("WithRecipientSignature") {
            ("signed", None)
        } else if response("WithRecipientPartiallySignature") {
            ("partly-signed", None)
        } else if response("InvalidRecipientSignature") {
            ("signature-invalid", None)
        } else if amended.is_some_and(|flags| flags > 0) {
            ("correction-requested", None)
        } else if is("RoamingNotificationStatus", "RoamingNotificationStatusError") {
            let words = text(self.info, "RoamingNotificationStatusDescription");
            let words = words.map(|words| texts::shortened(&words, TEXT_CHARS_MAX));
            ("undelivered", words.map(|words| json!({ "code": "other", "text": words })).or_else(other))
        } else if !self.is_outbound() {
            return None;
        } else if receipt == Some("Finished") || is_set("DeliveryTimestampTicks") {
            ("delivered", None)
        } else if is_set("SendTimestampTicks") {
            ("sent", None)
        } else {
            return None;
        })
    }

    fn party(&self, name: &str) -> Option<Value> {
        text(self.message, name).map(|title| json!({ "name": texts::shortened(&title, TEXT_CHARS_MAX) }))
    }

    /// Of the metadata of its type, e.g. `InvoiceMetadata`, or of the list that has taken their place.
    fn money(&self, name: &str, key: &str) -> Option<Value> {
        let typed = self.info.as_object()?.iter().find_map(|(kind, metadata)| {
            let total = kind.ends_with("Metadata").then(|| Loose::at(metadata, name)).flatten()?;
            Some((total.text(), Loose::at(metadata, "Currency").map(|currency| currency.text())))
        });
        let (total, number) = typed.or_else(|| Some((self.metadata(key)?, self.metadata("Currency"))))?;
        let currency = number.as_deref().map_or(Some("RUB"), money::currency_of_number)?;
        let value = Decimal::parse(&total)?;
        let minor = value.units(2)?;
        Some(json!(Money::of_minor(minor, currency)))
    }

    fn draft(&self, what: &str, r#type: &str, data: Map<String, Value>, at: &str) -> Draft {
        let id = ids::derived(&["diadoc", what, self.message_id, &self.entity_id]);
        let draft = busbar_sdk::draft(id, r#type, Value::Object(data).to_string());
        Draft { subject: Some(self.id()), time: Some(at.to_owned()), ..draft }
    }
}

fn kind_of(type_name: &str) -> Option<&'static str> {
    KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(type_name)).map(|(_, kind)| *kind)
}

/// A GUID in lower case.
pub fn id(object: &Value, name: &str, place: &str) -> Result<String, Failure> {
    let found = text(object, name).filter(|id| texts::is_uuid(id));
    found.map(|id| id.to_lowercase()).ok_or_else(|| bad("this is no GUID", &format!("{place}/{name}")))
}

/// Nothing for an absent or empty one.
pub fn text(object: &Value, name: &str) -> Option<String> {
    let text = object.get(name)?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

pub fn is_true(object: &Value, name: &str) -> bool {
    object.get(name).and_then(Value::as_bool).unwrap_or(false)
}
