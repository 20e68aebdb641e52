//! A notification -> the bodies of submit_sm (section 4.4.1). Pure.

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::sms::{self, Requested};
use busbar_sdk::{Failure, Message, ids, rejected};

use crate::memory::Sent;
use crate::pdu::{put_parameter, put_text, tag};
use crate::settings::{Long, Settings};
use crate::text;

/// Digits and characters of a source address.
const NUMBER_CHARS_MAX: usize = 20;
const NAME_CHARS_MAX: usize = 11;
/// Digits of a number that is no telephone's.
const SHORT_DIGITS_MAX: usize = 7;
const TON_INTERNATIONAL: u8 = 1;
const TON_NETWORK: u8 = 3;
const TON_NAME: u8 = 5;
const NPI_TELEPHONE: u8 = 1;

/// What is to be sent.
#[derive(Debug)]
pub struct Order {
    /// Of the notification with all that is sent of it: the same for the same.
    pub key: String,
    pub sent: Sent,
    /// Bodies of submit_sm, in order.
    pub bodies: Vec<Vec<u8>>,
    /// Seconds since 1970 before which, and after which, nobody wants it.
    pub after: Option<i64>,
    pub until: Option<i64>,
}

impl Order {
    /// # Errors
    /// `unsupported-channel`, `no-text`, `no-phone`, `no-sender`, `bad-sender`, `too-many-parts`, `bad-validity` at the field.
    pub fn of(settings: &Settings, message: &Message) -> Result<Self, Failure> {
        let Requested { id, phone, text, sender, account, after, until } = Requested::of(message)?;
        let sender = sender.or_else(|| Some(settings.sender.clone()).filter(|sender| !sender.is_empty()));
        let source = Source::of(settings, sender.as_deref().unwrap_or_default())?;
        let alphabet = text::alphabet_of(&text, settings.default_alphabet);
        let parts = sms::split(&text, alphabet);
        if parts.len() > settings.max_parts {
            let reason = format!("the text would be sent in {} parts, {} are allowed", parts.len(), settings.max_parts);
            return Err(rejected("too-many-parts", reason, "/data/text"));
        }
        // With other settings the same text may be sent otherwise.
        let form = format!("{:?} {alphabet:?} {}", settings.long, parts.len());
        let key = ids::derived(&["smpp", &message.source, &id, &phone, &text, &source.address, &form]);
        let head = Head { settings, source, phone: &phone, after: absolute(after), until: absolute(until) };
        let charged = parts.len();
        let (total, reference) = (u8::try_from(charged).unwrap_or(u8::MAX), ids::derived_number(&[&key], 256));
        let reference = u8::try_from(reference).unwrap_or(0);
        let encode = |text: &str| text::encode(text, alphabet, settings.default_alphabet);
        let bodies: Vec<Vec<u8>> = match (settings.long, parts.as_slice()) {
            (_, [_]) => vec![head.body(encode(&text), Vec::new(), false)],
            (Long::Payload, _) => vec![head.body(encode(&text), Vec::new(), true)],
            (Long::Parts, parts) => (1..=total)
                .zip(parts)
                .map(|(number, part)| head.body(encode(part), vec![5, 0, 3, reference, total, number], false))
                .collect(),
        };
        let sent = Sent::new(id, account, sender, &phone, charged, bodies.len());
        Ok(Self { key, sent, bodies, after, until })
    }
}

struct Source {
    address: String,
    ton: u8,
    npi: u8,
}

impl Source {
    fn of(settings: &Settings, sender: &str) -> Result<Self, Failure> {
        if sender.is_empty() {
            return Err(rejected("no-sender", "neither the notification nor the settings name one", "/data/sender"));
        }
        let number = sender.trim_start_matches('+');
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_text = sender.bytes().all(|byte| matches!(byte, b' '..=b'~')) && sender.len() <= NAME_CHARS_MAX;
        let (address, ton, npi) = match is_number {
            true if number.len() > NUMBER_CHARS_MAX => return Err(bad_sender(sender)),
            true if number.len() <= SHORT_DIGITS_MAX => (number, TON_NETWORK, 0),
            true => (number, TON_INTERNATIONAL, NPI_TELEPHONE),
            false if is_text => (sender, TON_NAME, 0),
            false => return Err(bad_sender(sender)),
        };
        let (ton, npi) = (settings.source_ton.unwrap_or(ton), settings.source_npi.unwrap_or(npi));
        Ok(Self { address: address.to_owned(), ton, npi })
    }
}

fn bad_sender(sender: &str) -> Failure {
    let reason =
        format!("`{sender}` is neither a number of at most 20 digits nor a Latin name of at most 11 characters");
    rejected("bad-sender", reason, "/data/sender")
}

struct Head<'a> {
    settings: &'a Settings,
    source: Source,
    phone: &'a str,
    after: String,
    until: String,
}

impl Head<'_> {
    /// `header`: of one part of several.
    fn body(&self, (coding, bytes): (u8, Vec<u8>), header: Vec<u8>, is_payload: bool) -> Vec<u8> {
        let mut body = Vec::with_capacity(bytes.len() + 80);
        put_text(&mut body, &self.settings.service_type);
        body.extend([self.source.ton, self.source.npi]);
        put_text(&mut body, &self.source.address);
        body.extend([TON_INTERNATIONAL, NPI_TELEPHONE]);
        put_text(&mut body, self.phone.trim_start_matches('+'));
        body.extend([if header.is_empty() { 0 } else { text::HAS_HEADER }, 0, 0]);
        put_text(&mut body, &self.after);
        put_text(&mut body, &self.until);
        body.extend([u8::from(self.settings.receipts), 0, coding, 0]);
        let message = [header, bytes].concat();
        match u8::try_from(message.len()).ok().filter(|_| !is_payload) {
            Some(length) => {
                body.push(length);
                body.extend(message);
            }
            None => {
                body.push(0);
                put_parameter(&mut body, tag::MESSAGE_PAYLOAD, &message);
            }
        }
        body
    }
}

/// Absolute, in UTC (section 7.1.1): `YYMMDDhhmmss000+`. Empty for none.
fn absolute(seconds: Option<i64>) -> String {
    let utc = Offset::of_minutes(0).and_then(|utc| dates::local_of_unix_seconds(seconds?, utc));
    let text = utc.map(dates::compact_date_time).unwrap_or_default();
    text.get(2..).map(|text| format!("{text}000+")).unwrap_or_default()
}
