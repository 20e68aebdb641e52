//! XML read from chunks of a file and written to one, within bounds.
//!
//! [`Xml`] is pulled from the top down: [`Xml::root`], then [`Xml::child`] until it gives nothing, and for each child
//! [`Xml::text`], [`Xml::skip`] or its own loop over `child`. [`Xml::finish`] at the end proves that the document is whole.
//!
//! No document type is read, so there are no entities but the five of XML and characters by number. Tags and names are
//! given without their prefixes. The declared encoding is only a hint: see [`Xml::encoding`].
//!
//! Every failure is a rejection with the line: `not-xml`, `truncated`, `xml-limit`, `xml-dtd`, `xml-entity`, `xml-encoding`,
//! `unexpected-element`, `unexpected-text`.

mod decoder;
mod source;
#[cfg(test)]
mod tests;
mod tree;
mod writer;

use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::escape::{EscapeError, unescape};
use quick_xml::events::{BytesRef, BytesStart, Event as Raw};

use self::decoder::Decoder;
use self::source::Source;
pub use self::tree::Tree;
pub use self::writer::XmlWriter;
use crate::encoding::Encoding;
use crate::{Rejection, input, rejection};

/// What a document may need; more is refused as `xml-limit`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Elements within each other.
    pub depth: usize,
    /// Attributes of one element.
    pub attributes: usize,
    /// Bytes of a name.
    pub name_bytes: usize,
    /// Bytes of one tag, comment or text.
    pub text_bytes: usize,
    /// Bytes of the document.
    pub total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 64, attributes: 100, name_bytes: 256, text_bytes: 1 << 20, total_bytes: 1 << 30 }
    }
}

/// A start tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Without its prefix.
    pub name: String,
    /// The line of its `<`, from 1.
    pub line: u64,
    attributes: Vec<(String, String)>,
}

impl Element {
    /// The attribute of this name, as written, or else without its prefix.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let exact = self.attributes.iter().find(|(key, _)| key == name);
        let local = |key: &str| !key.starts_with("xmlns") && key.split_once(':').is_some_and(|(_, key)| key == name);
        exact.or_else(|| self.attributes.iter().find(|(key, _)| local(key))).map(|(_, value)| value.as_str())
    }

    /// All attributes by their names as written, `xmlns` among them.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// See [`Xml::next_event`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Start(Element),
    /// Of the element innermost until now.
    End,
    /// Whole, up to the next tag; never blank.
    Text(String),
    /// The document is whole.
    Eof,
}

/// A document being read.
pub struct Xml<R: FnMut(u32) -> Vec<u8>> {
    reader: quick_xml::Reader<Source<R>>,
    buffer: Vec<u8>,
    decoder: Decoder,
    limits: Limits,
    open: Vec<String>,
    has_root: bool,
    /// Text not given yet, and the line where it begins.
    text: String,
    text_line: u64,
    /// Comes after the text, with its line.
    held: Option<(Event, u64)>,
    line: u64,
}

impl Xml<fn(u32) -> Vec<u8>> {
    /// The file being decoded.
    pub fn of_input() -> Self {
        Self::new(input::read, Limits::default())
    }
}

impl<'a> Xml<Box<dyn FnMut(u32) -> Vec<u8> + 'a>> {
    /// A document in memory, e.g. the body of a request.
    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        let mut rest = bytes;
        let read = move |max: u32| {
            let (chunk, later) = rest.split_at(rest.len().min(max as usize));
            rest = later;
            chunk.to_vec()
        };
        Self::new(Box::new(read), Limits::default())
    }
}

impl<R: FnMut(u32) -> Vec<u8>> Xml<R> {
    /// `read` gives the next bytes, at most as many as asked for; none at the end.
    pub fn new(read: R, limits: Limits) -> Self {
        let mut reader = quick_xml::Reader::from_reader(Source::new(read, &limits));
        reader.config_mut().expand_empty_elements = true;
        Self {
            reader,
            buffer: Vec::new(),
            decoder: Decoder::default(),
            limits,
            open: Vec::new(),
            has_root: false,
            text: String::new(),
            text_line: 1,
            held: None,
            line: 1,
        }
    }

    /// The root element.
    ///
    /// # Errors
    /// See [`crate::xml`].
    pub fn root(&mut self) -> Result<Element, Rejection> {
        self.child()?.ok_or_else(|| self.rejection("not-xml", "there is no element"))
    }

    /// The next element within the one that is open; nothing at its end. The element given is then the open one,
    /// until its own end was read.
    ///
    /// # Errors
    /// `unexpected-text` where there is text between the elements; see [`crate::xml`].
    pub fn child(&mut self) -> Result<Option<Element>, Rejection> {
        match self.next_event()? {
            Event::Start(element) => Ok(Some(element)),
            Event::End | Event::Eof => Ok(None),
            Event::Text(_) => Err(self.rejection("unexpected-text", "text where only elements belong")),
        }
    }

    /// The text of the open element, without blanks around it, and its end.
    ///
    /// # Errors
    /// `unexpected-element` where it has elements; see [`crate::xml`].
    pub fn text(&mut self) -> Result<String, Rejection> {
        let mut found = String::new();
        loop {
            match self.next_event()? {
                Event::Text(text) => found = text,
                Event::End | Event::Eof => break,
                Event::Start(_) => {
                    return Err(self.rejection("unexpected-element", "an element where only text belongs"));
                }
            }
        }
        let trimmed = found.trim();
        Ok(if trimmed.len() == found.len() { found } else { trimmed.to_owned() })
    }

    /// The rest of the open element, and its end.
    ///
    /// # Errors
    /// See [`crate::xml`].
    pub fn skip(&mut self) -> Result<(), Rejection> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next_event()? {
                Event::Start(_) => depth += 1,
                Event::End => depth -= 1,
                Event::Text(_) => {}
                Event::Eof => return Ok(()),
            }
        }
        Ok(())
    }

    /// After the root was read: that nothing follows it.
    ///
    /// # Errors
    /// `not-xml` otherwise; see [`crate::xml`].
    pub fn finish(&mut self) -> Result<(), Rejection> {
        loop {
            match self.next_event()? {
                Event::Eof => return Ok(()),
                Event::Start(_) | Event::End | Event::Text(_) => {}
            }
        }
    }

    /// Everything in its order, for formats that are no tree of records. Blank text, comments and instructions are left out.
    ///
    /// # Errors
    /// See [`crate::xml`].
    pub fn next_event(&mut self) -> Result<Event, Rejection> {
        let (event, line) = match self.held.take() {
            Some(held) => held,
            None => self.read()?,
        };
        let blank = self.text.len() - self.text.trim_start().len();
        if blank < self.text.len() {
            self.held = Some((event, line));
            let before = self.text.bytes().take(blank).filter(|byte| *byte == b'\n').count();
            self.line = self.text_line + before as u64;
            if self.open.is_empty() {
                return Err(self.rejection("not-xml", "text outside of the root element"));
            }
            return Ok(Event::Text(std::mem::take(&mut self.text)));
        }
        self.text.clear();
        self.line = line;
        match &event {
            Event::Start(element) => self.enter(&element.name)?,
            Event::End => drop(self.open.pop()),
            Event::Eof if !self.open.is_empty() => {
                return Err(self.rejection("truncated", "the document ends before its elements do"));
            }
            Event::Eof if !self.has_root => return Err(self.rejection("not-xml", "there is no element")),
            Event::Eof | Event::Text(_) => {}
        }
        Ok(event)
    }

    /// The line of what was given last, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Names of the elements that are open, joined by `/`.
    pub fn path(&self) -> String {
        self.open.join("/")
    }

    /// Where the last thing given stands: `line 12, element message/area/name`.
    pub fn place(&self) -> String {
        match self.open.is_empty() {
            true => format!("line {}", self.line),
            false => format!("line {}, element {}", self.line, self.path()),
        }
    }

    /// Where an element stood whose end was read, while that around it is open. Cheaper than a place that is kept for the
    /// case that its text turns out to be wrong.
    pub fn place_of(&self, element: &Element) -> String {
        let slash = if self.open.is_empty() { "" } else { "/" };
        format!("line {}, element {}{slash}{}", element.line, self.path(), element.name)
    }

    /// A rejection at [`Xml::place`].
    pub fn rejection(&self, code: &str, reason: impl Into<String>) -> Rejection {
        rejection(code, reason, self.place())
    }

    /// The encoding that the bytes showed, where they are not all ASCII, and the declared name. UTF-8 is recognised by its
    /// form; other bytes are windows-1251, or cp866 if that is declared.
    pub fn encoding(&self) -> (Option<Encoding>, &str) {
        (self.decoder.found(), self.decoder.declared())
    }

    fn enter(&mut self, name: &str) -> Result<(), Rejection> {
        if self.open.is_empty() && self.has_root {
            return Err(self.rejection("not-xml", "a second root element"));
        }
        self.has_root = true;
        if self.open.len() >= self.limits.depth {
            return Err(self.limit(&format!("elements are nested deeper than {}", self.limits.depth)));
        }
        self.open.push(name.to_owned());
        Ok(())
    }

    /// The next tag or the end; text before it is gathered.
    fn read(&mut self) -> Result<(Event, u64), Rejection> {
        loop {
            self.buffer.clear();
            self.reader.get_mut().begin_event();
            let line = self.reader.get_ref().line();
            let raw = match self.reader.read_event_into(&mut self.buffer) {
                Ok(raw) => raw,
                Err(error) => return Err(self.failure(&error, line)),
            };
            if self.text.is_empty() {
                self.text_line = line;
            }
            let found = match raw {
                Raw::Start(tag) => Some(element(&tag, line, &mut self.decoder, &self.limits).map(Event::Start)),
                Raw::End(_) => Some(Ok(Event::End)),
                Raw::Eof => Some(Ok(Event::Eof)),
                Raw::Text(text) => append(&text, &mut self.decoder, &mut self.text).err().map(Err),
                Raw::CData(text) => append(&text, &mut self.decoder, &mut self.text).err().map(Err),
                Raw::GeneralRef(entity) => resolve(&entity).map(|c| self.text.push(c)).err().map(Err),
                Raw::Decl(decl) => {
                    self.decoder.declare(decl.encoding().and_then(Result::ok).as_deref().unwrap_or(b"utf-8"));
                    None
                }
                Raw::DocType(_) => Some(Err(("xml-dtd", "a document type (DTD) is not read".to_owned()))),
                Raw::Comment(_) | Raw::PI(_) | Raw::Empty(_) => None,
            };
            match found {
                Some(Ok(event)) => return Ok((event, line)),
                Some(Err((code, reason))) => return Err(self.at(line, code, &reason)),
                None if self.text.len() > self.limits.text_bytes => {
                    return Err(self.limit(&format!("a text is longer than {} bytes", self.limits.text_bytes)));
                }
                None => {}
            }
        }
    }

    fn failure(&self, error: &Error, line: u64) -> Rejection {
        let end = self.reader.get_ref().line();
        match (self.reader.get_ref().problem(), error) {
            (Some((code, reason)), _) => self.at(end, code, reason),
            (None, Error::Syntax(SyntaxError::InvalidBangMarkup)) => self.at(line, "not-xml", "`<!` of no known kind"),
            (None, Error::Syntax(error)) => self.at(end, "truncated", &error.to_string()),
            (None, Error::IllFormed(IllFormedError::UnclosedReference)) => {
                self.at(line, "not-xml", "an `&` without its `;`")
            }
            (None, error) => {
                let reason: String = error.to_string().chars().take(200).collect();
                self.at(line, "not-xml", &reason)
            }
        }
    }

    fn limit(&self, reason: &str) -> Rejection {
        self.rejection("xml-limit", reason)
    }

    fn at(&self, line: u64, code: &str, reason: &str) -> Rejection {
        match self.open.is_empty() {
            true => rejection(code, reason, format!("line {line}")),
            false => rejection(code, reason, format!("line {line}, element {}", self.path())),
        }
    }
}

type Problem = (&'static str, String);

fn element(tag: &BytesStart<'_>, line: u64, decoder: &mut Decoder, limits: &Limits) -> Result<Element, Problem> {
    let name = name(tag.local_name().into_inner(), decoder, limits)?;
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| ("not-xml", error.to_string()))?;
        if attributes.len() >= limits.attributes {
            return Err(("xml-limit", format!("an element has more than {} attributes", limits.attributes)));
        }
        let key = self::name(attribute.key.into_inner(), decoder, limits)?;
        let mut value = decoder.decode(&attribute.value)?;
        if value.contains(['\t', '\n', '\r']) {
            value = value.replace(['\t', '\n', '\r'], " ").into();
        }
        let value = unescape(&value).map_err(|error| match error {
            EscapeError::UnrecognizedEntity(..) => unknown_entity(),
            error => ("not-xml", error.to_string().chars().take(200).collect()),
        })?;
        checked(&value)?;
        let value = value.into_owned();
        attributes.push((key, value));
    }
    Ok(Element { name, line, attributes })
}

fn name(bytes: &[u8], decoder: &mut Decoder, limits: &Limits) -> Result<String, Problem> {
    if bytes.len() > limits.name_bytes {
        return Err(("xml-limit", format!("a name is longer than {} bytes", limits.name_bytes)));
    }
    let name = decoder.decode(bytes)?;
    if name.is_empty() || name.contains(['<', '&', '=', '"', '\'']) {
        return Err(("not-xml", "a tag without a proper name".to_owned()));
    }
    Ok(name.into_owned())
}

fn append(bytes: &[u8], decoder: &mut Decoder, text: &mut String) -> Result<(), Problem> {
    let found = decoder.decode(bytes)?;
    match found.contains('\r') {
        true => text.push_str(&found.replace("\r\n", "\n").replace('\r', "\n")),
        false => text.push_str(&found),
    }
    Ok(())
}

fn resolve(entity: &BytesRef<'_>) -> Result<char, Problem> {
    let found = match &**entity {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"apos" => Some('\''),
        b"quot" => Some('"'),
        _ => entity.resolve_char_ref().map_err(|_| ("not-xml", "a character of no such number".to_owned()))?,
    };
    match found {
        Some(c) if is_character(c) => Ok(c),
        Some(_) => Err(control_character()),
        None => Err(unknown_entity()),
    }
}

fn unknown_entity() -> Problem {
    ("xml-entity", "an entity other than &lt; &gt; &amp; &apos; &quot;".to_owned())
}

fn control_character() -> Problem {
    ("not-xml", "a control character, which no XML may have".to_owned())
}

fn checked(text: &str) -> Result<(), Problem> {
    if text.chars().all(is_character) { Ok(()) } else { Err(control_character()) }
}

// XML 1.0, 2.2.
fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}
