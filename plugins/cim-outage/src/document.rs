//! The envelope in XML or JSON, and each outage in it as one tree of names and texts.

use busbar_sdk::cim::{Header, cut};
use busbar_sdk::xml::{Element, Limits, Tree, Xml};
use busbar_sdk::{Draft, Rejection, encoding, rejection};
use serde_json::Value;

use crate::mapping::Settings;
use crate::outage;

/// What one outage may take in memory, roughly.
const OUTAGE_BYTES_MAX: usize = 8 << 20;
/// A JSON document is held whole.
const JSON_BYTES_MAX: usize = 4 << 20;
const CHUNK_BYTES: u32 = 64 << 10;

/// An element, or a member of a JSON object; one for each element of an array.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub text: String,
    pub children: Vec<Node>,
    pub place: String,
}

impl Node {
    /// The text on this path below, e.g. `estimatedPeriod/start`; nothing for an empty one.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        let node =
            path.split('/').try_fold(self, |node, name| node.children.iter().find(|child| child.name == name))?;
        Some(node.text.as_str()).filter(|text| !text.is_empty())
    }

    fn of_tree(tree: Tree) -> Self {
        let mut children: Vec<Node> = tree.children.into_iter().map(Self::of_tree).collect();
        if let Some(reference) = tree.element.attribute("ref").filter(|_| children.is_empty()) {
            let (name, text) = ("ref".to_owned(), reference.trim().to_owned());
            children.push(Self { name, text, children: Vec::new(), place: tree.place.clone() });
        }
        Self { name: tree.element.name, text: tree.text, children, place: tree.place }
    }

    fn push_json(into: &mut Vec<Node>, name: &str, value: Value, place: String) {
        let mut node = Self { name: name.to_owned(), text: String::new(), children: Vec::new(), place };
        match value {
            Value::Array(elements) => {
                for (index, element) in elements.into_iter().enumerate() {
                    Self::push_json(into, name, element, format!("{}/{index}", node.place));
                }
                return;
            }
            Value::Object(members) => {
                for (key, value) in members {
                    let place = format!("{}/{key}", node.place);
                    Self::push_json(&mut node.children, &key, value, place);
                }
            }
            Value::String(text) => node.text = text.trim().to_owned(),
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) => node.text = value.to_string(),
        }
        into.push(node);
    }
}

/// Whether it is JSON rather than XML.
pub fn is_json(bytes: &[u8]) -> bool {
    let first = encoding::without_bom(bytes).iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'['))
}

/// Takes an outage of a message, or why it is none.
pub type Give<'a> = &'a mut dyn FnMut(Result<Draft, Rejection>) -> Result<(), Rejection>;

/// Reads a whole message and gives each of its outages.
///
/// # Errors
/// The first thing that makes it unfit, or no news, with its place. `header` then holds what was read before.
pub fn read(
    settings: &Settings,
    read: &mut dyn FnMut(u32) -> Vec<u8>,
    header: &mut Header,
    give: Give<'_>,
) -> Result<(), Rejection> {
    let mut begun = read(CHUNK_BYTES);
    let mut reader = Reader { settings, header, give, found: 0 };
    if is_json(&begun) {
        loop {
            let chunk = read(CHUNK_BYTES);
            if chunk.is_empty() {
                break;
            }
            begun.extend_from_slice(&chunk);
            if begun.len() > JSON_BYTES_MAX {
                return Err(rejection("too-large", format!("JSON of over {JSON_BYTES_MAX} bytes: send XML"), ""));
            }
        }
        reader.json(&begun)?;
    } else {
        let mut begun = Some(begun);
        let mut offset = 0;
        let mut next = |max: u32| match &begun {
            Some(first) if offset < first.len() => {
                let end = first.len().min(offset + max as usize);
                let chunk = first.get(offset..end).unwrap_or_default().to_vec();
                offset = end;
                chunk
            }
            _ => {
                begun = None;
                read(max)
            }
        };
        reader.xml(&mut Xml::new(&mut next, Limits::default()))?;
    }
    if reader.found == 0 { Err(rejection("no-data", "no outage", "")) } else { Ok(()) }
}

struct Reader<'a> {
    settings: &'a Settings,
    header: &'a mut Header,
    give: Give<'a>,
    found: usize,
}

impl Reader<'_> {
    fn outage(&mut self, node: &Node) -> Result<(), Rejection> {
        self.found += 1;
        (self.give)(outage::draft(self.settings, self.header, node))
    }

    /// What the header says of a payload that follows.
    fn check(&self, place: &str) -> Result<(), Rejection> {
        let is_request = self.header.verb.eq_ignore_ascii_case("get");
        if is_request || self.header.noun.to_ascii_lowercase().contains("control") {
            let what = format!("a request or a command ({} {})", cut(&self.header.verb), cut(&self.header.noun));
            return Err(rejection("not-news", what, place));
        }
        if !outage::is_verb(&self.header.verb) {
            return Err(rejection("unsupported-verb", format!("no verb: `{}`", cut(&self.header.verb)), place));
        }
        Ok(())
    }

    fn xml<R: FnMut(u32) -> Vec<u8>>(&mut self, xml: &mut Xml<R>) -> Result<(), Rejection> {
        let root = xml.root()?;
        if root.name == "Envelope" {
            self.header.note_soap(&root);
            while let Some(element) = xml.child()? {
                if element.name != "Body" {
                    xml.skip()?;
                    continue;
                }
                while let Some(message) = xml.child()? {
                    self.xml_message(xml, message)?;
                }
            }
        } else {
            self.xml_message(xml, root)?;
        }
        xml.finish()
    }

    fn xml_message<R: FnMut(u32) -> Vec<u8>>(&mut self, xml: &mut Xml<R>, message: Element) -> Result<(), Rejection> {
        self.header.note_namespace(&message);
        if outage::is_one(&message.name) || outage::is_container(&message.name) {
            return self.xml_item(xml, message);
        }
        while let Some(element) = xml.child()? {
            match element.name.as_str() {
                "Header" => self.header.read(xml, &element)?,
                "Payload" => {
                    self.check(&xml.place())?;
                    while let Some(item) = xml.child()? {
                        self.xml_item(xml, item)?;
                    }
                }
                _ => xml.skip()?,
            }
        }
        Ok(())
    }

    fn xml_item<R: FnMut(u32) -> Vec<u8>>(&mut self, xml: &mut Xml<R>, item: Element) -> Result<(), Rejection> {
        if outage::is_one(&item.name) {
            let tree = Tree::read(xml, item, &mut OUTAGE_BYTES_MAX.clone())?;
            return self.outage(&Node::of_tree(tree));
        }
        if item.name == "Format" {
            return xml.skip();
        }
        if !outage::is_container(&item.name) {
            return Err(xml.rejection("unsupported-payload", "no outage"));
        }
        while let Some(item) = xml.child()? {
            self.xml_item(xml, item)?;
        }
        Ok(())
    }

    fn json(&mut self, body: &[u8]) -> Result<(), Rejection> {
        let value: Value = serde_json::from_slice(encoding::without_bom(body)).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            rejection("not-json", format!("no whole JSON: {error}"), place)
        })?;
        let mut nodes = Vec::new();
        Node::push_json(&mut nodes, "", value, String::new());
        nodes.iter().try_for_each(|node| self.json_message(node))
    }

    fn json_message(&mut self, node: &Node) -> Result<(), Rejection> {
        if let Some(header) = node.children.iter().find(|child| child.name == "Header") {
            for field in &header.children {
                if let Some(kept) = self.header.field(&field.name) {
                    *kept = field.text.chars().take(busbar_sdk::cim::FIELD_CHARS_MAX).collect();
                }
            }
        }
        for child in node.children.iter().filter(|child| child.name != "Header") {
            match child.name.as_str() {
                "Payload" => {
                    self.check(&child.place)?;
                    child.children.iter().try_for_each(|item| self.json_item(item))?;
                }
                name if outage::is_one(name) || outage::is_container(name) => self.json_item(child)?,
                name if name.ends_with("Message") => self.json_message(child)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn json_item(&mut self, node: &Node) -> Result<(), Rejection> {
        if outage::is_one(&node.name) {
            return self.outage(node);
        }
        if !outage::is_container(&node.name) {
            return Err(rejection("unsupported-payload", "no outage", node.place.clone()));
        }
        // `{"PlannedOutages": [{…}]}` names the outages themselves, `{"Outages": {"PlannedOutage": […]}}` what holds them.
        let holds = |child: &Node| outage::is_one(&child.name) || outage::is_container(&child.name);
        if node.children.iter().any(holds) {
            return node.children.iter().filter(|child| holds(child)).try_for_each(|child| self.json_item(child));
        }
        if node.children.is_empty() { Ok(()) } else { self.outage(node) }
    }
}
