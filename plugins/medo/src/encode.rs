//! `document.issued.v1` and `document.status.changed.v1` -> МЭДО messages, valid against the XSD 2.6.
//!
//! One message makes one XML; several, or any where there is a gateway to name, make an archive with a folder for each.

use busbar_sdk::documents::Reference;
use busbar_sdk::encoding::Encoding;
use busbar_sdk::xml::XmlWriter;
use busbar_sdk::{Failure, Message, data_of, dates, ids, rejected, zip};
use serde::Deserialize;

use crate::mapping::Settings;
use crate::model::is_guid;
use crate::words;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    document: Reference,
    title: Option<String>,
    recipient: Option<Party>,
    #[serde(default)]
    files: Vec<File>,
    in_answer_to: Option<Reference>,
}

#[derive(Deserialize)]
struct Party {
    name: Option<String>,
}

#[derive(Deserialize)]
struct File {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    document: Reference,
    status: String,
    reason: Option<Reason>,
    registration: Option<Reference>,
    changed_at: String,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    #[serde(default)]
    text: String,
}

/// An XML and what its envelope says.
struct Written {
    uid: String,
    subject: String,
    xml: Vec<u8>,
    attached: Vec<String>,
}

/// Writes the messages; gives the file's name.
///
/// # Errors
/// `not-configured`; at `/<index>…` `unsupported-type`, `unsupported-status`, `missing-field`, `bad-value`.
pub fn encode(settings: &Settings, messages: &[Message], mut write: impl FnMut(&[u8])) -> Result<String, Failure> {
    if settings.sender_uid.is_empty() || settings.sender_name.is_empty() {
        return Err(rejected("not-configured", "the settings have no `sender-uid` and `sender-name`", "config"));
    }
    let written = messages.iter().enumerate().map(|(index, message)| one(settings, index, message));
    let written: Vec<Written> = written.collect::<Result<_, _>>()?;
    let uid = written.first().map_or("", |first| first.uid.as_str());
    if let ([only], true) = (written.as_slice(), settings.envelope_address.is_empty()) {
        write(&only.xml);
        return Ok(format!("{uid}.xml"));
    }
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for message in &written {
        files.push((format!("{}/document.xml", message.uid), message.xml.clone()));
        if !settings.envelope_address.is_empty() {
            let envelope = Encoding::Windows1251.encode(&envelope(settings, message)).into_owned();
            files.push((format!("{}/envelope.ini", message.uid), envelope));
        }
    }
    let files = files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
    zip::write_archive(files, write).map_err(Failure::Other)?;
    Ok(format!("{uid}.zip"))
}

fn one(settings: &Settings, index: usize, message: &Message) -> Result<Written, Failure> {
    let place = format!("/{index}");
    match message.type_.as_str() {
        "document.issued.v1" => document(settings, message, &place),
        "document.status.changed.v1" => notice(settings, message, &place),
        other => Err(rejected("unsupported-type", format!("{other} is no document"), place)),
    }
}

/// A GUID that is the same for the same parts.
fn derived_guid(parts: &[&str]) -> String {
    let digits = ids::derived(parts);
    let group = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32))
}

fn document(settings: &Settings, message: &Message, place: &str) -> Result<Written, Failure> {
    let Issued { document, title, recipient, files, in_answer_to } = data_of(message)?;
    let missing =
        |what: &str, at: &str| rejected("missing-field", format!("МЭДО needs {what}"), format!("{place}/data/{at}"));
    let number = document.number.as_deref().ok_or_else(|| missing("a number", "document/number"))?;
    let number = checked_number(number, &format!("{place}/data/document/number"))?;
    let signed = document.issued_on.as_deref().ok_or_else(|| missing("a day", "document/issuedOn"))?;
    let addressee =
        recipient.and_then(|recipient| recipient.name).ok_or_else(|| missing("a recipient", "recipient/name"))?;
    let named = document.id.clone().unwrap_or_else(|| number.to_owned());
    // The receipt names the message, the notice the document: with one uid for both either is understood.
    let uid = match is_guid(&named) {
        true => named.to_ascii_lowercase(),
        false => derived_guid(&["medo-document", &message.source, &named]),
    };
    let mut xml = Vec::new();
    let mut to = XmlWriter::new(Encoding::Windows1251, |bytes| xml.extend_from_slice(bytes));
    header(&mut to, settings, "Документ", &uid, message.time.as_deref());
    to.start("xdms:document", &[("xdms:uid", &uid), ("xdms:id", &named)]);
    if let Some(kind) = document.kind.as_deref().and_then(words::name_of_kind) {
        to.leaf("xdms:kind", &[], kind);
    }
    write_number(&mut to, number, Some(signed));
    to.start("xdms:signatories", &[]);
    to.start("xdms:signatory", &[]);
    to.leaf("xdms:organization", &[], &settings.sender_name);
    for (name, text) in [("xdms:person", &settings.signatory_person), ("xdms:post", &settings.signatory_post)] {
        if !text.is_empty() {
            to.leaf(name, &[], text);
        }
    }
    to.leaf("xdms:signed", &[], signed);
    to.end();
    to.end();
    to.start("xdms:addressees", &[]);
    to.start("xdms:addressee", &[]);
    to.leaf("xdms:organization", &[], &one_line(&addressee));
    to.end();
    to.end();
    to.leaf("xdms:pages", &[], &settings.pages.to_string());
    match &title {
        Some(title) => to.leaf("xdms:annotation", &[], title),
        None => to.leaf("xdms:annotation", &[("xsi:nil", "true")], ""),
    }
    if let Some((answered, number)) =
        in_answer_to.as_ref().and_then(|answered| Some((answered, answered.number.as_deref()?)))
    {
        let number = checked_number(number, &format!("{place}/data/inAnswerTo/number"))?;
        let id = answered.id.as_deref().filter(|id| is_guid(id));
        let attributes: Vec<(&str, &str)> = id.map(|id| ("xdms:uid", id)).into_iter().collect();
        to.start("xdms:links", &[]);
        to.start("xdms:link", &attributes);
        to.leaf("xdms:linkType", &[], "В ответ на");
        to.start("xdms:reference", &[]);
        write_number(&mut to, number, answered.issued_on.as_deref());
        to.end();
        to.end();
        to.end();
    }
    to.end();
    write_files(&mut to, &files);
    to.finish();
    let subject = title.unwrap_or_else(|| number.to_owned());
    Ok(Written { uid, subject, xml, attached: files.into_iter().map(|file| file.name).collect() })
}

fn write_files<W: FnMut(&[u8])>(to: &mut XmlWriter<W>, files: &[File]) {
    to.start("xdms:files", &[]);
    for (index, file) in files.iter().enumerate() {
        let (name, index) = (one_line(&file.name), index.to_string());
        let mut attributes = vec![("xdms:localName", name.as_str()), ("xdms:localId", index.as_str())];
        attributes.extend(words::file_type(&name).map(|file_type| ("xdms:type", file_type)));
        to.start("xdms:file", &attributes);
        to.leaf("xdms:group", &[], "Текст документа");
        to.end();
    }
    to.end();
}

fn notice(settings: &Settings, message: &Message, place: &str) -> Result<Written, Failure> {
    let Changed { document, status, reason, registration, changed_at } = data_of(message)?;
    let guid = document.id.as_deref().filter(|id| is_guid(id)).ok_or_else(|| {
        rejected("missing-field", "the uid of a МЭДО document is expected", format!("{place}/data/document/id"))
    })?;
    let (notice_type, event) = match status.as_str() {
        "registered" => ("Зарегистрирован", "xdms:documentAccepted"),
        "refused" => ("Отказано в регистрации", "xdms:documentRefused"),
        _ => {
            let reason = format!("`{status}`: registered and refused are told to the other side");
            return Err(rejected("unsupported-status", reason, format!("{place}/data/status")));
        }
    };
    let (local, offset) = dates::parse_date_time(&changed_at)
        .ok_or_else(|| rejected("bad-value", "no time", format!("{place}/data/changedAt")))?;
    let uid = derived_guid(&["medo-notice", &message.source, &message.id]);
    let mut xml = Vec::new();
    let mut to = XmlWriter::new(Encoding::Windows1251, |bytes| xml.extend_from_slice(bytes));
    header(&mut to, settings, "Уведомление", &uid, Some(&changed_at));
    to.start("xdms:notification", &[("xdms:type", notice_type), ("xdms:uid", guid)]);
    to.start(event, &[]);
    to.leaf("xdms:time", &[], &dates::rfc3339(local, offset.unwrap_or(settings.utc_offset)));
    if let Some(number) = &document.number {
        let number = checked_number(number, &format!("{place}/data/document/number"))?;
        to.start("xdms:foundation", &[]);
        write_number(&mut to, number, document.issued_on.as_deref());
        to.end();
    }
    let mut comment = None;
    if status == "refused" {
        let reason = reason.unwrap_or(Reason { code: "other".to_owned(), text: String::new() });
        let written = words::reason_to_write(&reason.code, &reason.text);
        to.leaf("xdms:reason", &[], written);
        comment = Some(reason.text).filter(|text| !text.is_empty() && text != written);
    } else {
        let registered = registration.as_ref().and_then(|registration| registration.number.as_deref());
        let at = format!("{place}/data/registration/number");
        let registered =
            registered.ok_or_else(|| rejected("missing-field", "МЭДО needs the number of the registration", &*at))?;
        let day = registration.as_ref().and_then(|registration| registration.issued_on.as_deref());
        write_number(&mut to, checked_number(registered, &at)?, day);
    }
    to.end();
    if let Some(comment) = comment {
        to.leaf("xdms:comment", &[], &comment);
    }
    to.finish();
    Ok(Written { uid, subject: notice_type.to_owned(), xml, attached: Vec::new() })
}

fn header<W: FnMut(&[u8])>(
    to: &mut XmlWriter<W>,
    settings: &Settings,
    message_type: &str,
    uid: &str,
    created: Option<&str>,
) {
    to.start(
        "xdms:communication",
        &[
            ("xmlns:xdms", "http://www.infpres.com/IEDMS"),
            ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance"),
            ("xdms:version", &settings.version),
        ],
    );
    let created = created.and_then(dates::parse_date_time);
    let created =
        created.map(|(local, offset)| dates::rfc3339(local, offset.unwrap_or(settings.utc_offset))).unwrap_or_default();
    let mut attributes = vec![("xdms:type", message_type), ("xdms:uid", uid)];
    if !created.is_empty() {
        attributes.push(("xdms:created", &created));
    }
    to.start("xdms:header", &attributes);
    to.start("xdms:source", &[("xdms:uid", &settings.sender_uid)]);
    to.leaf("xdms:organization", &[], &one_line(&settings.sender_name));
    to.end();
    to.end();
}

fn write_number<W: FnMut(&[u8])>(to: &mut XmlWriter<W>, number: &str, day: Option<&str>) {
    to.start("xdms:num", &[]);
    to.leaf("xdms:number", &[], number);
    if let Some(day) = day {
        to.leaf("xdms:date", &[], day);
    }
    to.end();
}

/// The XSD allows 31 characters.
fn checked_number<'a>(number: &'a str, place: &str) -> Result<&'a str, Failure> {
    let number = number.trim();
    if number.is_empty() || number.chars().count() > 31 {
        return Err(rejected("bad-value", "a number has 1 to 31 characters in МЭДО", place));
    }
    Ok(number)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn envelope(settings: &Settings, message: &Written) -> String {
    let subject: String = one_line(&message.subject).chars().take(255).collect();
    let mut lines = vec![
        "[ПИСЬМО КП ПС СЗИ]".to_owned(),
        format!("ТЕМА={subject}"),
        "АВТООТПРАВКА=1".to_owned(),
        "ШИФРОВАНИЕ=0".to_owned(),
        "ЭЦП=0".to_owned(),
        "ДОСТАВЛЕНО=0".to_owned(),
        "ПРОЧТЕНО=0".to_owned(),
        "[АДРЕСАТЫ]".to_owned(),
        format!("0={}", settings.envelope_address),
        "[ФАЙЛЫ]".to_owned(),
        "0=document.xml".to_owned(),
    ];
    lines.extend(message.attached.iter().zip(1..).map(|(name, index)| format!("{index}={}", one_line(name))));
    lines.push(String::new());
    lines.join("\r\n")
}
