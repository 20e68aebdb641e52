//! A message of a box (there: letter) to what is stated of its documents.
//!
//! Source: Diadoc API, structures Message, Entity, Document, RevocationStatus, RecipientResponseStatus.

use busbar_sdk::dates;
use busbar_sdk::decimal::Decimal;
use busbar_sdk::loose::Loose;
use busbar_sdk::money::{self, Money};
use busbar_sdk::{Draft, Failure, Hub, Rejection, ids, rejection, texts};
use serde_json::{Map, Value, json};

use crate::api::bad;
use crate::settings::Settings;
use crate::status;

/// Seconds from 0001-01-01, where ticks begin, to 1970.
const EPOCH_SECONDS: i64 = 62_135_596_800;
const TICKS_A_SECOND: i64 = 10_000_000;
const NUMBER_CHARS_MAX: usize = 64;
const TEXT_CHARS_MAX: usize = 500;
const NAME_CHARS_MAX: usize = 255;
/// Documents of one message, at most.
pub const DOCUMENTS_MAX: usize = 40;
/// Kinds by `TypeNamedId`: what GetDocumentTypes gives and the older DocumentType has. Nothing where the type says that it is of no kind.
const KINDS: [(&str, Option<&str>); 22] = [
    ("Nonformalized", None),
    ("UniversalTransferDocument", Some("transfer-document")),
    ("UniversalTransferDocumentRevision", Some("transfer-document")),
    ("UniversalCorrectionDocument", Some("correction")),
    ("UniversalCorrectionDocumentRevision", Some("correction")),
    ("Invoice", Some("tax-invoice")),
    ("InvoiceRevision", Some("tax-invoice")),
    ("InvoiceCorrection", Some("correction")),
    ("InvoiceCorrectionRevision", Some("correction")),
    ("ProformaInvoice", Some("invoice")),
    ("AcceptanceCertificate", Some("act")),
    ("XmlAcceptanceCertificate", Some("act")),
    ("CertificateRegistry", Some("certificate-registry")),
    ("ReconciliationAct", Some("reconciliation-act")),
    ("Contract", Some("contract")),
    ("SupplementaryAgreement", Some("contract")),
    ("Torg12", Some("consignment-note")),
    ("XmlTorg12", Some("consignment-note")),
    ("Torg13", Some("consignment-note")),
    ("PriceList", Some("price-list")),
    ("PriceListAgreement", Some("price-list")),
    ("ServiceDetails", Some("service-details")),
];
/// A type that is in no table: boxes have types of their own.
const UNKNOWN_KIND: &str = "unknown";

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

/// What is to be stated of a message's documents: each one that came and was not stated yet, also not `earlier` in this poll, and what
/// became of it at `at`. A document may join a message with any later change of it, so that it is looked at each time.
///
/// # Errors
/// `bad-answer` for ids and times that are none.
pub fn drafts(
    settings: &Settings,
    message: &Value,
    place: &str,
    at: &str,
    earlier: &[String],
    hub: &mut impl Hub,
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
        match document
            .stated(at, &format!("answer/{place}/DocumentInfo"), |id| earlier.contains(id) || hub.is_known(id))
        {
            Ok(stated) => drafts.extend(stated),
            Err(entry) => hub.leave_out(entry),
        }
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
    /// That it came, unless that is known, and what became of it.
    fn stated(&self, at: &str, place: &str, is_stated: impl FnOnce(&String) -> bool) -> Result<Vec<Draft>, Rejection> {
        let direction = text(self.info, "DocumentDirection");
        if !matches!(direction.as_deref(), None | Some("Inbound" | "Internal" | "Outbound")) {
            let reason = format!("nobody knows the direction {}", direction.unwrap_or_default());
            return Err(rejection("unknown-direction", reason, format!("{place}/DocumentDirection")));
        }
        let is_new = !self.is_outbound() && !is_stated(&self.message_id_of("issued"));
        let mut drafts = Vec::new();
        if is_new {
            drafts.push(self.issued(at, place)?);
        }
        drafts.extend(self.status_changed(at));
        Ok(drafts)
    }

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

    fn issued(&self, at: &str, place: &str) -> Result<Draft, Rejection> {
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
        put("amount", self.money("Total", "TotalSum", place)?);
        put("tax", self.money("Vat", "TotalVat", place)?);
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
        Ok(self.draft("issued", "document.issued.v1", data, at))
    }

    /// Nothing as long as nothing is known of it that matters.
    fn status_changed(&self, at: &str) -> Option<Draft> {
        let status = status::of(self.info, self.is_outbound())?;
        let mut data = Map::new();
        data.insert("document".to_owned(), self.reference().into());
        data.insert("status".to_owned(), status.word.into());
        if let Some(reason) = &status.reason {
            data.insert("reason".to_owned(), reason.clone());
        }
        // It is the recipient who answers.
        let by = matches!(status.word, "signed" | "refused" | "partly-signed" | "correction-requested" | "delivered");
        if let Some(by) = by.then(|| self.party("ToTitle")).flatten() {
            data.insert("by".to_owned(), by);
        }
        data.insert("changedAt".to_owned(), at.into());
        Some(self.draft(&status.key(), "document.status.changed.v1", data, at))
    }

    fn party(&self, name: &str) -> Option<Value> {
        text(self.message, name).map(|title| json!({ "name": texts::shortened(&title, TEXT_CHARS_MAX) }))
    }

    /// Of the metadata of its type, e.g. `InvoiceMetadata`, or of the list that has taken their place. Documents whose type has
    /// no field for the currency, such as acts and invoices, are in roubles.
    fn money(&self, name: &str, key: &str, place: &str) -> Result<Option<Value>, Rejection> {
        let typed = self.info.as_object().and_then(|info| {
            info.iter().find_map(|(kind, metadata)| {
                let total = kind.ends_with("Metadata").then(|| filled(metadata, name)).flatten()?;
                let currency = filled(metadata, "Currency").or_else(|| filled(metadata, "CurrencyCode"));
                Some((total, currency, format!("{place}/{kind}")))
            })
        });
        let listed = || {
            let currency = self.metadata("Currency").or_else(|| self.metadata("CurrencyCode"));
            Some((self.metadata(key)?, currency, format!("{place}/Metadata")))
        };
        let Some((total, currency, place)) = typed.or_else(listed) else { return Ok(None) };
        let code = match &currency {
            Some(currency) => money::currency_of(currency),
            None => Some("RUB"),
        };
        let unknown = || {
            let reason = format!("{} is no currency of ISO 4217", currency.clone().unwrap_or_default());
            rejection("unknown-currency", reason, format!("{place}, currency"))
        };
        let exponent = code.and_then(money::exponent_of).ok_or_else(unknown)?;
        let code = code.ok_or_else(unknown)?;
        let units = Decimal::parse(&total).and_then(|total| total.units(exponent));
        let money = units.and_then(|units| Money::of_smallest(units, code));
        let bad = || rejection("bad-amount", format!("{total} is no amount of {code}"), format!("{place}, {name}"));
        Ok(Some(json!(money.ok_or_else(bad)?)))
    }

    fn message_id_of(&self, what: &str) -> String {
        ids::derived(&["diadoc", what, self.message_id, &self.entity_id])
    }

    fn draft(&self, what: &str, r#type: &str, data: Map<String, Value>, at: &str) -> Draft {
        let draft = busbar_sdk::draft(self.message_id_of(what), r#type, Value::Object(data).to_string());
        Draft { subject: Some(self.id()), time: Some(at.to_owned()), ..draft }
    }
}

pub fn kind_of(type_name: &str) -> Option<&'static str> {
    let known = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(type_name));
    known.map_or(Some(UNKNOWN_KIND), |(_, kind)| *kind)
}

/// A text or a number; nothing for an absent or empty one.
fn filled(object: &Value, name: &str) -> Option<String> {
    Loose::at(object, name).map(|value| value.text()).filter(|text| !text.is_empty())
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
