//! The reply of IEC 61968-100: a `ResponseMessage`, in SOAP where the request was.

use busbar_sdk::encoding::Encoding;
use busbar_sdk::xml::XmlWriter;
use busbar_sdk::{HookResponse, Rejection};

use crate::message::Header;

/// `OK`, or `FAILED` with the rejection. The status is 200 in both cases: the reply itself tells.
pub fn reply(header: &Header, rejection: Option<&Rejection>) -> HookResponse {
    let mut body = Vec::new();
    let mut xml = XmlWriter::new(Encoding::Utf8, |bytes| body.extend_from_slice(bytes));
    if let Some(soap) = &header.soap {
        xml.start("soap:Envelope", &[("xmlns:soap", soap)]);
        xml.start("soap:Body", &[]);
    }
    xml.start("ResponseMessage", &[("xmlns", &header.namespace)]);
    xml.start("Header", &[]);
    xml.leaf("Verb", &[], "reply");
    let noun = if header.noun.is_empty() { "MeterReadings" } else { &header.noun };
    xml.leaf("Noun", &[], noun);
    let correlation = if header.correlation_id.is_empty() { &header.message_id } else { &header.correlation_id };
    if !correlation.is_empty() {
        xml.leaf("CorrelationID", &[], correlation);
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
    let content_type = busbar_sdk::Header { name: "content-type".into(), value: "text/xml; charset=utf-8".into() };
    HookResponse { status: 200, headers: vec![content_type], body }
}
