//! Signatures, links, and calls of ResultURL.
//!
//! Source: Robokassa's documentation: payment interface, notifications.

use busbar_sdk::acquiring::{self, Invoice, Page, Payment, Stated};
use busbar_sdk::credentials::{Digest, Piece};
use busbar_sdk::dates::{self, Offset};
use busbar_sdk::money::{self, Money};
use busbar_sdk::{Draft, Failure, form, ids, rejected};
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// Shops have no other, unless their sums are converted.
pub const CURRENCY: &str = "RUB";
const DESCRIPTION_CHARS_MAX: usize = 100;
/// The largest number of an invoice there, 2^63 - 1.
const NUMBER_MAX: u64 = 9_223_372_036_854_775_807;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    #[serde(default = "default_base_url")]
    pub base_url: String,
    pub login: String,
    credential_1: String,
    credential_2: String,
    #[serde(default)]
    hash: Algorithm,
    #[serde(default)]
    pub test: bool,
    description: Option<String>,
    link_days: Option<u32>,
    account_parameter: Option<String>,
    invoice_parameter: Option<String>,
    utc_offset: Option<Offset>,
}

fn default_base_url() -> String {
    "https://auth.robokassa.ru/Merchant".to_owned()
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Algorithm {
    #[default]
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Settings {
    pub fn digest(&self) -> Digest {
        match self.hash {
            Algorithm::Md5 => Digest::Md5,
            Algorithm::Sha1 => Digest::Sha1,
            Algorithm::Sha256 => Digest::Sha256,
            Algorithm::Sha384 => Digest::Sha384,
            Algorithm::Sha512 => Digest::Sha512,
        }
    }

    pub fn link_days(&self) -> u32 {
        self.link_days.unwrap_or(30)
    }

    pub fn account_parameter(&self) -> &str {
        self.account_parameter.as_deref().unwrap_or("Shp_account")
    }

    fn invoice_parameter(&self) -> &str {
        self.invoice_parameter.as_deref().unwrap_or("Shp_invoice")
    }

    pub fn offset(&self) -> Offset {
        self.utc_offset.unwrap_or(Offset::MOSCOW)
    }

    /// RFC 3339, local, of seconds since 1970.
    pub fn local(&self, seconds: i64) -> String {
        let local = dates::local_of_unix_seconds(seconds, self.offset());
        local.map(|local| dates::rfc3339(local, self.offset())).unwrap_or_default()
    }

    /// What a question about an invoice signs.
    pub fn signed_question(&self, number: &str) -> Vec<Piece> {
        vec![plain(format!("{}:{number}:", self.login)), Piece::Secret(self.credential_2.clone())]
    }

    /// What a call of ResultURL signs: `own` are the shop's own parameters.
    fn signed_result(&self, sum: &str, number: &str, own: &[(&str, &str)]) -> Vec<Piece> {
        vec![
            plain(format!("{sum}:{number}:")),
            Piece::Secret(self.credential_2.clone()),
            plain(own.iter().map(|(name, value)| format!(":{name}={value}")).collect()),
        ]
    }
}

fn plain(text: String) -> Piece {
    Piece::Plain(text.into_bytes())
}

/// A link to pay by, before it is signed.
pub struct Link<'a> {
    invoice: &'a Invoice,
    amount: Money,
    pub number: String,
    description: String,
    expires_at: String,
    own: Vec<(String, String)>,
}

impl<'a> Link<'a> {
    /// Nothing where there is nothing to pay.
    ///
    /// # Errors
    /// `bad-amount`, `bad-currency`, `expired`.
    pub fn of(
        settings: &Settings,
        (source, id): (&str, &str),
        invoice: &'a Invoice,
        now_ms: u64,
    ) -> Result<Option<Self>, Failure> {
        invoice.must_be_in(CURRENCY)?;
        let Some(minor) = invoice.due()? else { return Ok(None) };
        let expiry = invoice.expiry(settings.link_days(), settings.offset(), now_ms)?;
        let template = settings.description.as_deref().unwrap_or("Счёт {invoice}, ЛС {account}");
        let mut own: Vec<(String, String)> =
            [(settings.account_parameter(), &invoice.account), (settings.invoice_parameter(), &invoice.number)]
                .into_iter()
                // How other characters are signed, as they are or percent-encoded, is not the same with everybody.
                .filter(|(_, value)| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)))
                .map(|(name, value)| (name.to_owned(), value.clone()))
                .collect();
        own.sort();
        Ok(Some(Self {
            invoice,
            amount: Money::of_minor(minor, CURRENCY),
            number: (ids::derived_number(&["robokassa", source, id], NUMBER_MAX) + 1).to_string(),
            description: invoice.described(template, DESCRIPTION_CHARS_MAX),
            expires_at: settings.local(expiry),
            own,
        }))
    }

    pub fn signed(&self, settings: &Settings) -> Vec<Piece> {
        vec![
            plain(format!("{}:{}:{}:", settings.login, self.amount.value, self.number)),
            Piece::Secret(settings.credential_1.clone()),
            plain(self.own.iter().map(|(name, value)| format!(":{name}={value}")).collect()),
        ]
    }

    /// `payment.link.issued.v1`.
    ///
    /// # Errors
    /// `bad-config` where it would be no page, being too long.
    pub fn draft(self, settings: &Settings, signature: &str) -> Result<Draft, Failure> {
        // The fraction is that of the documented form.
        let (day, offset) = self.expires_at.split_at_checked(19).unwrap_or_default();
        let expiry = format!("{day}.0000000{offset}");
        let mut pairs = vec![
            ("MerchantLogin", settings.login.as_str()),
            ("OutSum", &self.amount.value),
            ("InvId", &self.number),
            ("Description", &self.description),
            ("SignatureValue", signature),
            ("ExpirationDate", &expiry),
            ("Encoding", "utf-8"),
        ];
        pairs.extend(self.own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if settings.test {
            pairs.push(("IsTest", "1"));
        }
        let url = format!("{}/Index.aspx?{}", settings.base_url, form::encoded(&pairs));
        if !acquiring::is_page(&url) {
            return Err(rejected("bad-config", "the address of the page is none, or too long", "config, base-url"));
        }
        let page = Page {
            invoice: self.invoice,
            amount: self.amount,
            url: &url,
            number: &self.number,
            issuer: "Robokassa",
            expires_at: Some(self.expires_at),
            at: None,
        };
        Ok(page.draft(link_id(&self.number)))
    }
}

/// A call of ResultURL.
pub struct Call {
    sum: String,
    pub number: String,
    pub signature: String,
    pub is_test: bool,
    own: Vec<(String, String)>,
}

impl Call {
    /// # Errors
    /// `missing-field`, `bad-field` naming the parameter.
    pub fn of(parameters: &[(String, String)]) -> Result<Self, Failure> {
        let text = |name: &str| {
            let pair = parameters.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            pair.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let required =
            |name: &str| text(name).ok_or_else(|| rejected("missing-field", format!("{name} is not stated"), name));
        let is_own =
            |(name, _): &&(String, String)| name.get(..4).is_some_and(|part| part.eq_ignore_ascii_case("shp_"));
        let mut own: Vec<(String, String)> = parameters.iter().filter(is_own).cloned().collect();
        own.sort();
        own.dedup();
        let number = required("InvId")?;
        if !is_number(&number) {
            return Err(rejected("bad-field", "InvId is no number", "InvId"));
        }
        if number.bytes().all(|byte| byte == b'0') {
            return Err(rejected("bad-field", "InvId is 0, by which no payment can be told from another", "InvId"));
        }
        if let Some(currency) = text("OutSumCurrency").filter(|currency| money::currency_of(currency) != Some(CURRENCY))
        {
            let reason = format!("OutSumCurrency is {currency}, payments here are in {CURRENCY}");
            return Err(rejected("bad-currency", reason, "OutSumCurrency"));
        }
        let is_test = match text("IsTest").as_deref() {
            Some("1") => true,
            None | Some("0") => false,
            Some(_) => return Err(rejected("bad-field", "IsTest is neither 0 nor 1", "IsTest")),
        };
        let (sum, signature) = (required("OutSum")?, required("SignatureValue")?);
        Ok(Self { sum, number, signature, is_test, own })
    }

    /// What the signature may be of: the service does not say how it orders the names of the shop's own parameters. Its SDK sorts them
    /// by bytes, its module for WordPress ignores case, for which some take small letters and some capitals. Any of them proves the
    /// password.
    pub fn signed(&self, settings: &Settings) -> Vec<Vec<Piece>> {
        let keys: [fn(&str) -> String; 3] = [str::to_owned, str::to_lowercase, str::to_uppercase];
        let mut orders: Vec<Vec<(&str, &str)>> = Vec::new();
        for key in keys {
            let mut own: Vec<(&str, &str)> =
                self.own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            own.sort_by_cached_key(|(name, _)| key(name));
            if !orders.contains(&own) {
                orders.push(own);
            }
        }
        orders.iter().map(|own| settings.signed_result(&self.sum, &self.number, own)).collect()
    }

    /// `payment.received.v1`, or `payment.rejected.v1` where no account is known. `page`: what was stated of the link. Nothing
    /// where it is `known`.
    ///
    /// # Errors
    /// `bad-field` for a sum that is none; `other-sum`, `other-account` where something else is `known` of it.
    pub fn payment(
        &self,
        settings: &Settings,
        page: Stated,
        known: Option<&Stated>,
        now_ms: u64,
    ) -> Result<Option<Draft>, Failure> {
        let minor = minor(&self.sum).filter(|minor| *minor > 0);
        let minor = minor.ok_or_else(|| rejected("bad-field", "OutSum is no positive sum", "OutSum"))?;
        let own = |name: &str| {
            let pair = self.own.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            pair.map(|(_, value)| value.trim().to_owned()).filter(|value| acquiring::is_number(value))
        };
        let account = || own(settings.account_parameter()).filter(|account| !account.contains(acquiring::is_blank));
        let amount = Money::of_minor(minor, CURRENCY);
        let account = page.account.or_else(account);
        if let Some(known) = known {
            return known.must_be(&amount, account.as_deref(), "OutSum").map(|()| None);
        }
        let payment = Payment {
            account,
            sought: settings.account_parameter(),
            amount,
            fee: None,
            at: settings.local(i64::try_from(now_ms / 1000).unwrap_or_default()),
            number: &self.number,
            invoice: page.invoice.or_else(|| own(settings.invoice_parameter())),
        };
        Ok(Some(payment.draft(payment_id(&self.number))))
    }
}

/// Kopecks of `1052.98` or, as it is written too, `1052.980000`.
pub fn minor(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let (kopecks, rest) = fraction.split_at_checked(2).unwrap_or((fraction, ""));
    if rest.bytes().any(|byte| byte != b'0') || kopecks.is_empty() {
        return None;
    }
    money::parse_minor(&format!("{whole}.{kopecks}"))
}

fn is_number(text: &str) -> bool {
    text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub fn payment_id(number: &str) -> String {
    ids::derived(&["robokassa", "paid", number.trim_start_matches('0')])
}

pub fn link_id(number: &str) -> String {
    ids::derived(&["robokassa", "link", number.trim_start_matches('0')])
}
