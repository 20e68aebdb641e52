//! A МЭДО message (`communication`), read from its XML.

use busbar_sdk::xml::{Element, Tree, Xml};
use busbar_sdk::{Rejection, rejection};

/// Bytes held of a message while it is read; real ones have some kilobytes.
const HELD_BYTES_MAX: usize = 8 << 20;
/// Files of one document, as `document.issued.v1` has it.
const FILES_MAX: usize = 50;
/// Characters kept of a text: many messages of an archive are held at once.
const TEXT_CHARS: usize = 2_000;

/// Where a message stands: the file inside an archive, or nothing.
#[derive(Clone, Debug)]
pub struct Communication {
    pub version: String,
    pub uid: Option<String>,
    /// `header/@created`, as written.
    pub created: Option<String>,
    pub sender: Option<String>,
    pub body: Body,
    pub place: String,
}

#[derive(Clone, Debug)]
pub enum Body {
    Document(Box<Document>),
    Notification(Notification),
    Acknowledgment(Acknowledgment),
}

#[derive(Clone, Debug)]
pub struct Document {
    pub uid: String,
    pub kind: Option<String>,
    pub num: Number,
    pub title: Option<String>,
    /// The first addressee: the organisation, or the person.
    pub addressee: Option<String>,
    /// The document that it answers.
    pub answers: Option<(Option<String>, Number)>,
    /// Name and type of each file.
    pub files: Vec<(String, Option<String>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Number {
    pub number: Option<String>,
    /// As written: a day.
    pub date: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Notification {
    pub uid: String,
    /// The sender's own id of the document, sent back.
    pub id: Option<String>,
    /// Name of the event's element, e.g. `documentAccepted`.
    pub event: String,
    pub time: Option<String>,
    pub foundation: Number,
    /// Under which it was registered or published.
    pub num: Number,
    pub reason: Option<String>,
    pub comment: Option<String>,
    pub place: String,
}

#[derive(Clone, Debug)]
pub struct Acknowledgment {
    /// Of the message received.
    pub uid: String,
    pub time: Option<String>,
    pub accepted: bool,
    pub comment: Option<String>,
    pub place: String,
}

/// Reads a message whose root element is the open one.
///
/// # Errors
/// `not-this-format`, `unsupported-version`, `missing-field`, `bad-value` with the element; what [`busbar_sdk::xml`] refuses.
pub fn read<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>, root: Element) -> Result<Communication, Rejection> {
    if root.name != "communication" {
        return Err(xml.rejection("not-this-format", format!("the root is `{}`, not `communication`", root.name)));
    }
    let mut left = HELD_BYTES_MAX;
    let tree = Tree::read(xml, root, &mut left)?;
    xml.finish()?;
    let version = cut(tree.attribute("version").unwrap_or_default());
    if !version.starts_with("2.") {
        return Err(rejection("unsupported-version", format!("version `{version}`, not 2.0 to 2.7"), &*tree.place));
    }
    let header = tree.at("header").ok_or_else(|| missing(&tree, "header"))?;
    let body = if let Some(document) = tree.at("document") {
        Body::Document(Box::new(read_document(&tree, document)?))
    } else if let Some(notification) = tree.at("notification") {
        Body::Notification(read_notification(notification)?)
    } else if let Some(acknowledgment) = tree.at("acknowledgment") {
        Body::Acknowledgment(read_acknowledgment(acknowledgment)?)
    } else {
        return Err(missing(&tree, "document, notification or acknowledgment"));
    };
    Ok(Communication {
        version,
        uid: guid(header, "uid")?,
        created: header.attribute("created").map(cut),
        sender: header.text_at("source/organization").map(cut),
        body,
        place: tree.place,
    })
}

fn read_document(tree: &Tree, document: &Tree) -> Result<Document, Rejection> {
    let uid = guid(document, "uid")?.ok_or_else(|| missing(document, "@uid"))?;
    let num = number(document.at("num"));
    let addressee = document.at("addressees/addressee");
    let addressee = addressee.and_then(|who| who.text_at("organization").or_else(|| who.text_at("person")));
    let links = document.at("links").into_iter().flat_map(|links| links.all("link"));
    let mut answered = links.filter(|link| matches!(link.text_at("linkType"), Some("В ответ на" | "На №")));
    let answers = match answered.next() {
        Some(link) => {
            let num = link.at("reference/num").or_else(|| link.at("document/num"));
            Some((guid(link, "uid")?, number(num)))
        }
        None => None,
    };
    let files: Vec<&Tree> = tree.at("files").into_iter().flat_map(|files| files.all("file")).collect();
    if files.len() > FILES_MAX {
        let reason = format!("{} files; a message names at most {FILES_MAX}", files.len());
        return Err(rejection("too-many-files", reason, &*tree.place));
    }
    let files = files.into_iter().map(|file| {
        let name = file.attribute("localName").ok_or_else(|| missing(file, "@localName"))?;
        Ok((cut(name), file.attribute("type").map(cut)))
    });
    Ok(Document {
        uid,
        kind: document.text_at("kind").map(cut),
        num,
        title: document.text_at("annotation").map(cut),
        addressee: addressee.map(cut),
        answers,
        files: files.collect::<Result<_, Rejection>>()?,
    })
}

fn read_notification(notification: &Tree) -> Result<Notification, Rejection> {
    let uid = guid(notification, "uid")?.ok_or_else(|| missing(notification, "@uid"))?;
    let event = notification.children.iter().find(|child| child.name() != "comment");
    let event = event.ok_or_else(|| missing(notification, "its event"))?;
    let text = event.text_at("reason").or_else(|| event.text_at("courseText"));
    Ok(Notification {
        uid,
        id: notification.attribute("id").map(cut),
        event: cut(event.name()),
        time: event.text_at("time").map(cut),
        foundation: number(event.at("foundation/num")),
        num: number(event.at("num").or_else(|| event.at("report/num"))),
        reason: text.map(cut),
        comment: notification.text_at("comment").map(cut),
        place: event.place.clone(),
    })
}

fn read_acknowledgment(acknowledgment: &Tree) -> Result<Acknowledgment, Rejection> {
    let accepted = match acknowledgment.text_at("accepted") {
        Some("true" | "1") => true,
        Some("false" | "0") => false,
        Some(text) => {
            let text: String = text.chars().take(20).collect();
            return Err(rejection("bad-value", format!("accepted is `{text}`"), &*acknowledgment.place));
        }
        None => return Err(missing(acknowledgment, "accepted")),
    };
    Ok(Acknowledgment {
        uid: guid(acknowledgment, "uid")?.ok_or_else(|| missing(acknowledgment, "@uid"))?,
        time: acknowledgment.text_at("time").map(cut),
        accepted,
        comment: acknowledgment.text_at("comment").map(cut),
        place: acknowledgment.place.clone(),
    })
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

fn number(num: Option<&Tree>) -> Number {
    let text = |name: &str| num.and_then(|num| num.text_at(name)).map(cut);
    Number { number: text("number"), date: text("date") }
}

/// The uid in lower case.
fn guid(tree: &Tree, name: &str) -> Result<Option<String>, Rejection> {
    match tree.attribute(name) {
        Some(text) if is_guid(text) => Ok(Some(text.to_ascii_lowercase())),
        Some(_) => Err(rejection("bad-value", format!("{name} is no GUID"), &*tree.place)),
        None => Ok(None),
    }
}

/// 8-4-4-4-12 hexadecimal digits.
pub fn is_guid(text: &str) -> bool {
    let mut groups = text.split('-');
    let fits = [8, 4, 4, 4, 12].into_iter().all(|length| {
        groups.next().is_some_and(|group| group.len() == length && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
    });
    fits && groups.next().is_none()
}

pub fn missing(tree: &Tree, what: &str) -> Rejection {
    rejection("missing-field", format!("{} without {what}", tree.name()), &*tree.place)
}
