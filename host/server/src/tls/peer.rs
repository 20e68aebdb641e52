//! Who a client's certificate says it is.

use crate::config::model::CertificateName;
use busbar_core::visible;
use sha2::{Digest, Sha256};
use std::fmt;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Characters of the names that are shown of one certificate: it may have thousands.
const SHOWN_MAX: usize = 500;

/// The certificate that a client has shown, after its chain was verified.
#[derive(Debug)]
pub struct PeerCertificate {
    names: Vec<CertificateName>,
    not_after_s: i64,
}

impl PeerCertificate {
    pub fn read(der: &[u8]) -> Self {
        let digest: String = Sha256::digest(der).iter().map(|b| format!("{b:02x}")).collect();
        let digest = CertificateName::Sha256(digest);
        match X509Certificate::from_der(der) {
            Ok((_, parsed)) => Self {
                names: common_name(&parsed).into_iter().chain(alternative_names(&parsed)).chain([digest]).collect(),
                not_after_s: parsed.validity().not_after.timestamp(),
            },
            // What this parser does not read is nobody.
            Err(_) => Self { names: vec![digest], not_after_s: i64::MIN },
        }
    }

    pub fn is(&self, name: &CertificateName) -> bool {
        self.names.contains(name)
    }

    /// A connection may be older than its certificate lives.
    pub fn has_expired(&self) -> bool {
        super::now_s() > self.not_after_s
    }

    /// Hex SHA-256 of the certificate.
    pub fn digest(&self) -> &str {
        let digest = self.names.iter().find_map(|name| match name {
            CertificateName::Sha256(digest) => Some(digest.as_str()),
            _ => None,
        });
        digest.unwrap_or_default()
    }
}

impl fmt::Display for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The digest is the last, and is never cut.
        let (digest, names) = self.names.split_last().map_or((None, [].as_slice()), |(last, rest)| (Some(last), rest));
        let names: Vec<String> = names.iter().map(|name| visible(&name.to_string()).into_owned()).collect();
        let names = names.join(", ");
        let cut: String = names.chars().take(SHOWN_MAX).collect();
        let more = if cut.len() < names.len() { "…" } else { "" };
        let comma = if names.is_empty() { "" } else { ", " };
        write!(f, "{cut}{more}{comma}{}", digest.map(CertificateName::to_string).unwrap_or_default())
    }
}

/// Of a subject that has several, nobody knows which one its authority has looked at.
fn common_name(parsed: &X509Certificate<'_>) -> Option<CertificateName> {
    let mut all = parsed.subject().iter_common_name();
    match (all.next(), all.next()) {
        (Some(one), None) => Some(CertificateName::CommonName(one.as_str().ok()?.to_string())),
        _ => None,
    }
}

fn alternative_names(parsed: &X509Certificate<'_>) -> Vec<CertificateName> {
    let extension = parsed.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    let known = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(CertificateName::dns(name)),
        GeneralName::URI(name) => Some(CertificateName::Uri((*name).to_string())),
        GeneralName::RFC822Name(name) => Some(CertificateName::Email((*name).to_string())),
        _ => None,
    };
    names.filter_map(known).collect()
}
