//! The envelope of IEC 61968-100: what of its header matters, and the reply.

use crate::encoding::Encoding;
use crate::xml::{Element, Xml, XmlWriter};
use crate::{HookResponse, Rejection};

/// Characters of a field that are kept; none that is good has so many.
pub const FIELD_CHARS_MAX: usize = 200;
/// The namespace of messages where the sender's is unknown.
const NAMESPACE: &str = "http://iec.ch/TC57/2011/schema/message";

/// `Header` of IEC 61968-100, as far as it matters, and the envelope, for the reply.
#[derive(Debug)]
pub struct Header {
    pub verb: String,
    pub noun: String,
    pub message_id: String,
    pub correlation_id: String,
    /// When the message was made; text.
    pub timestamp: String,
    /// Namespace of the message's envelope.
    pub namespace: String,
    /// Namespace of SOAP's envelope, where there is one.
    pub soap: Option<String>,
}

impl Default for Header {
    fn default() -> Self {
        let empty = String::new;
        Self {
            verb: empty(),
            noun: empty(),
            message_id: empty(),
            correlation_id: empty(),
            timestamp: empty(),
            namespace: NAMESPACE.to_owned(),
            soap: None,
        }
    }
}

impl Header {
    /// Reads the element `Header`, whose start tag was read.
    ///
    /// # Errors
    /// What is wrong with the XML.
    pub fn read<R: FnMut(u32) -> Vec<u8>>(&mut self, xml: &mut Xml<R>, header: &Element) -> Result<(), Rejection> {
        self.note_namespace(header);
        while let Some(element) = xml.child()? {
            match self.field(&element.name) {
                Some(kept) => *kept = field(xml)?,
                None => xml.skip()?,
            }
        }
        Ok(())
    }

    /// The field of this name.
    pub fn field(&mut self, name: &str) -> Option<&mut String> {
        match name {
            "Verb" => Some(&mut self.verb),
            "Noun" => Some(&mut self.noun),
            "MessageID" => Some(&mut self.message_id),
            "CorrelationID" => Some(&mut self.correlation_id),
            "Timestamp" => Some(&mut self.timestamp),
            _ => None,
        }
    }

    /// Of SOAP's `Envelope`.
    pub fn note_soap(&mut self, envelope: &Element) {
        let mut uris = envelope.attributes().map(|(_, uri)| uri);
        let soap = uris.find(|uri| uri.contains("soap") && uri.len() <= FIELD_CHARS_MAX);
        self.soap = soap.map(str::to_owned);
        self.note_namespace(envelope);
    }

    pub fn note_namespace(&mut self, element: &Element) {
        let found = element.attributes().map(|(_, uri)| uri).find(|uri| uri.ends_with("schema/message"));
        if let Some(uri) = found.filter(|uri| uri.len() <= FIELD_CHARS_MAX) {
            uri.clone_into(&mut self.namespace);
        }
    }

    /// What the reply names: the request's correlation, or the request.
    pub fn correlation(&self) -> &str {
        if self.correlation_id.is_empty() { &self.message_id } else { &self.correlation_id }
    }
}

/// A `ResponseMessage`, in SOAP where the request was: `OK`, or `FAILED` with the rejection. The status is 200 in both
/// cases: the reply itself tells. `noun`: where the request has none.
pub fn reply(header: &Header, noun: &str, rejection: Option<&Rejection>) -> HookResponse {
    let mut body = Vec::new();
    let mut xml = XmlWriter::new(Encoding::Utf8, |bytes| body.extend_from_slice(bytes));
    if let Some(soap) = &header.soap {
        xml.start("soap:Envelope", &[("xmlns:soap", soap)]);
        xml.start("soap:Body", &[]);
    }
    xml.start("ResponseMessage", &[("xmlns", &header.namespace)]);
    xml.start("Header", &[]);
    xml.leaf("Verb", &[], "reply");
    xml.leaf("Noun", &[], if header.noun.is_empty() { noun } else { &header.noun });
    if !header.correlation().is_empty() {
        xml.leaf("CorrelationID", &[], header.correlation());
    }
    xml.end();
    xml.start("Reply", &[]);
    match rejection {
        None => xml.leaf("Result", &[], "OK"),
        Some(rejection) => {
            xml.leaf("Result", &[], "FAILED");
            xml.start("Error", &[]);
            xml.leaf("code", &[], &rejection.code);
            xml.leaf("level", &[], "FATAL");
            xml.leaf("reason", &[], &rejection.reason);
            xml.leaf("details", &[], rejection.place.as_deref().unwrap_or_default());
        }
    }
    xml.finish();
    let content_type = crate::Header { name: "content-type".into(), value: "text/xml; charset=utf-8".into() };
    HookResponse { status: 200, headers: vec![content_type], body }
}

/// The text of the open element, cut to what is kept of a field.
///
/// # Errors
/// What is wrong with the XML.
pub fn field<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>) -> Result<String, Rejection> {
    let mut text = xml.text()?;
    if let Some((end, _)) = text.char_indices().nth(FIELD_CHARS_MAX) {
        text.truncate(end);
        text.shrink_to_fit();
    }
    Ok(text)
}

/// What a reason may repeat of the input.
pub fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}
