//! A document out, as an unsigned draft: a person looks at it, signs and sends it.
//!
//! Source: Diadoc API, PostMessage V3, structures MessageToPost, DocumentAttachment; GetOrganizationsByInnKpp.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use busbar_sdk::credentials::{Digest, Piece};
use busbar_sdk::documents::Reference;
use busbar_sdk::http::{Authorization, Request};
use busbar_sdk::money::Money;
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::{Draft, Failure, Hub, Message, data_of, dates, hex, ids, rejected};
use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{self, bad, header};
use crate::mapping::{self, DOCUMENTS_MAX, is_true};
use crate::settings::{Field, Files, Settings, Type};

/// What may stand for itself in a path.
const PATH: &AsciiSet = &api::QUERY.remove(b'/');

/// The data of document.issued.v1 as far as it is used.
#[derive(Deserialize)]
struct Issued {
    document: Reference,
    title: Option<String>,
    recipient: Option<Party>,
    amount: Option<Money>,
    tax: Option<Money>,
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Party {
    tax_id: Option<String>,
    tax_registration_code: Option<String>,
}

#[derive(Deserialize)]
struct File {
    name: String,
    id: Option<String>,
    size: Option<u64>,
    sha256: Option<String>,
}

/// # Errors
/// `bad-config`, `no-files`, `too-many-files`, `no-file-id`, `file-changed`, `unknown-recipient`, `ambiguous-recipient`, and what an answer means.
pub fn deliver(settings: &Settings, message: &Message, hub: &mut impl Hub) -> Result<(), Failure> {
    let issued: Issued = data_of(message)?;
    let missing = || rejected("bad-config", "no files are set", "config, files");
    let files = settings.files.as_ref().ok_or_else(missing)?;
    match issued.files.len() {
        0 => return Err(rejected("no-files", "a document without a file cannot be sent", "/data/files")),
        count if count > DOCUMENTS_MAX => return Err(rejected("too-many-files", "40 at most", "/data/files")),
        _ => {}
    }
    let mut attachments = Vec::with_capacity(issued.files.len());
    for (index, file) in issued.files.iter().enumerate() {
        let content = fetch(files, file, &format!("/data/files/{index}"), hub)?;
        attachments.push(attachment(settings, &issued, index, file, &content));
    }
    let mut body = Map::new();
    body.insert("FromBoxId".to_owned(), settings.box_id.as_str().into());
    if let Some(to) = recipient(settings, &issued, hub)? {
        body.insert("ToBoxId".to_owned(), to.into());
    }
    body.insert("IsDraft".to_owned(), true.into());
    body.insert("DocumentAttachments".to_owned(), attachments.into());
    let body = Value::Object(body);
    // Whatever is lost: the same operation is done once, and its first result is given again.
    let operation = ids::derived(&["diadoc", &message.source, &message.id]);
    let request = api::request(settings, "/V3/PostMessage", &[("operationId", &operation)], Some(&body));
    let reply = hub.send_idempotent(&request).map_err(|error| replies::failure_of_error(error, "PostMessage", true))?;
    let posted = api::read(reply, "PostMessage").inspect_err(|_| hub.nothing_done())?;
    let place = "PostMessage";
    let id = mapping::id(&posted, "MessageId", place)?;
    let at = mapping::moment(settings, &posted, "TimestampTicks", place)?;
    hub.info(&format!("draft {id}"));
    let subject = issued.document.id.clone().or_else(|| issued.document.number.clone());
    let data = json!({ "document": issued.document, "status": "draft", "changedAt": at });
    let draft = busbar_sdk::draft(
        ids::derived(&["diadoc", "draft", &operation]),
        "document.status.changed.v1",
        data.to_string(),
    );
    hub.emit(Draft { subject, time: Some(at), ..draft });
    Ok(())
}

/// A file as it is where it stays.
fn fetch(files: &Files, file: &File, place: &str, hub: &mut impl Hub) -> Result<Vec<u8>, Failure> {
    let is_name = |id: &&str| id.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let id = file.id.as_deref().filter(is_name);
    let id = id.ok_or_else(|| rejected("no-file-id", "the file has no id it could be fetched by", place))?;
    let request = Request {
        method: "GET".to_owned(),
        url: files.url.replace("{id}", &utf8_percent_encode(id, PATH).to_string()),
        headers: vec![header("accept", "*/*")],
        body: Vec::new(),
        authorization: files.credential.clone().map(Authorization::Bearer),
        timeout_ms: None,
    };
    let what = format!("the file of {place}");
    let response = hub.send_idempotent(&request).map_err(|error| replies::failure_of_error(error, &what, true))?;
    let outcome = replies::outcome_of_status(response.status);
    if outcome != Outcome::Ok {
        return Err(replies::failure_of(outcome, &response, &what));
    }
    let content = response.body;
    let changed = |reason: &str| rejected("file-changed", reason, place);
    if file.size.is_some_and(|size| u64::try_from(content.len()).ok() != Some(size)) {
        return Err(changed("it has not the size that the message states"));
    }
    if let Some(digest) = &file.sha256 {
        let digest =
            hex::decoded(digest).filter(|found| found.len() == 32).ok_or_else(|| changed("its hash is none"))?;
        let pieces = [Piece::Plain(content.clone())];
        if !hub.verify_hash(Digest::Sha256, &pieces, &digest).map_err(Failure::Other)? {
            return Err(changed("it has not the hash that the message states"));
        }
    }
    Ok(content)
}

/// The first file is the document itself; what else there is goes with it as it is.
fn attachment(settings: &Settings, issued: &Issued, index: usize, file: &File, content: &[u8]) -> Value {
    let kind = issued.document.kind.as_deref().filter(|_| index == 0);
    let Type { r#type, function, version, metadata } = settings.type_of(kind);
    let mut attachment = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        value.and_then(|value| attachment.insert(key.to_owned(), value));
    };
    put("SignedContent", Some(json!({ "Content": BASE64_STANDARD.encode(content) })));
    put("TypeNamedId", Some(r#type.into()));
    put("Function", function.map(Value::from));
    put("Version", version.map(Value::from));
    let own = issued.document.id.as_ref().map(|id| if index == 0 { id.clone() } else { format!("{id}/{index}") });
    put("CustomDocumentId", own.map(Value::from));
    let items: Vec<Value> = metadata
        .iter()
        .filter_map(|(key, field)| Some(json!({ "Key": key, "Value": value(issued, file, *field)? })))
        .collect();
    put("Metadata", (!items.is_empty()).then(|| items.into()));
    Value::Object(attachment)
}

fn value(issued: &Issued, file: &File, field: Field) -> Option<String> {
    let russian = |day: &String| dates::parse_iso_date(day).map(dates::russian_date);
    match field {
        Field::FileName => Some(file.name.clone()),
        Field::Number => issued.document.number.clone(),
        Field::Date => issued.document.issued_on.as_ref().and_then(russian),
        Field::Amount => issued.amount.as_ref().map(|amount| amount.value.clone()),
        Field::Tax => issued.tax.as_ref().map(|tax| tax.value.clone()),
        Field::Title => issued.title.clone(),
    }
}

/// The recipient's box. A draft needs none: where the message names no taxpayer, a person chooses.
fn recipient(settings: &Settings, issued: &Issued, hub: &mut impl Hub) -> Result<Option<String>, Failure> {
    let Some(party) = &issued.recipient else { return Ok(None) };
    let Some(tax_id) = &party.tax_id else { return Ok(None) };
    let mut query = vec![("inn", tax_id.as_str())];
    query.extend(party.tax_registration_code.as_deref().map(|code| ("kpp", code)));
    let what = "GetOrganizationsByInnKpp";
    let request = api::request(settings, "/GetOrganizationsByInnKpp", &query, None);
    let found = api::find(hub.send_idempotent(&request), what)?.unwrap_or_default();
    let organisations = found.get("Organizations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // One that another operator serves has a box here too; its own comes first.
    let boxes = |is_roaming: bool| -> Vec<&Value> {
        let of = organisations.iter().filter(|one| is_true(one, "IsRoaming") == is_roaming);
        of.filter_map(|one| one.pointer("/Boxes/0")).collect()
    };
    let (own, roaming) = (boxes(false), boxes(true));
    let place = "/data/recipient/taxId";
    match if own.is_empty() { roaming } else { own }.as_slice() {
        [one] => {
            let id = mapping::text(one, "BoxIdGuid").or_else(|| mapping::text(one, "BoxId"));
            id.map(Some).ok_or_else(|| bad("a box without id", "Organizations"))
        }
        [] => Err(rejected("unknown-recipient", "no organisation at Диадок has this number", place)),
        _ => Err(rejected("ambiguous-recipient", "several organisations have this number: state the КПП too", place)),
    }
}
