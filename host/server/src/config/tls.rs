//! TLS of the hub's own listener, and how a certificate names a client. Its comments are documentation, as in `model.rs`.

use super::finding::Report;
use super::model::{Config, Reference};
use super::source::Source;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;

/// TLS of the hub's own listener (1.2 and 1.3); `health-listen` stays plain HTTP. The files are looked at again while the
/// hub runs; new ones are taken when all of them are right, for connections that are made from then on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HttpTlsConfig {
    /// File with the hub's certificate and its chain (PEM), the hub's own first, relative to the deployment's folder.
    #[schemars(required, length(min = 1))]
    pub certificate: Option<String>,
    /// Its private key (PEM), by reference.
    #[schemars(required)]
    pub key: Option<Reference>,
    /// File with the certificates (PEM) of the authorities whose certificates clients may show. Each of them, and whoever
    /// they let sign, can give any client any name: it should be an authority of one's own, for this alone.
    #[schemars(length(min = 1))]
    pub client_ca: Option<String>,
    /// Whether clients must show a certificate, with `client-ca`; `required` where absent.
    pub client_certificates: Option<ClientCertificates>,
    /// File with the revocation lists (PEM) of all authorities in the clients' chains. A list that is not there, or whose
    /// time is over, lets nobody in whom that authority signed.
    #[schemars(length(min = 1))]
    pub client_crl: Option<String>,
    /// Milliseconds from one look at the files to the next.
    #[serde(default = "default_look_every_ms")]
    #[schemars(range(min = 100))]
    pub look_every_ms: u64,
}

fn default_look_every_ms() -> u64 {
    10_000
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificates {
    /// Whoever shows none gets no connection; this is also true of callers of hooks.
    Required,
    /// One that is shown must be right.
    Optional,
}

/// Something that a client's certificate says, or is: `cn:` (the subject's common name), `dns:`, `uri:` or `email:` (one of
/// its alternative names), or `sha256:` (the digest of the certificate, in hex).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CertificateName {
    CommonName(String),
    Dns(String),
    Uri(String),
    Email(String),
    Sha256(String),
}

impl CertificateName {
    /// Case does not matter in names of hosts (RFC 4343).
    pub fn dns(name: &str) -> Self {
        Self::Dns(name.to_ascii_lowercase())
    }
}

impl TryFrom<String> for CertificateName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("cn", name)) => Ok(Self::CommonName(name.to_string())),
            Some(("dns", name)) => Ok(Self::dns(name)),
            Some(("uri", name)) => Ok(Self::Uri(name.to_string())),
            Some(("email", name)) => Ok(Self::Email(name.to_string())),
            // openssl writes it with colons and large letters.
            Some(("sha256", digest)) => Ok(Self::Sha256(digest.replace(':', "").to_ascii_lowercase())),
            _ => Err(format!("`{text}` begins with none of `cn:`, `dns:`, `uri:`, `email:` and `sha256:`")),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommonName(name) => write!(f, "cn:{name}"),
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Uri(name) => write!(f, "uri:{name}"),
            Self::Email(name) => write!(f, "email:{name}"),
            Self::Sha256(digest) => write!(f, "sha256:{digest}"),
        }
    }
}

/// Whether clients are asked for the certificates that the rest of the configuration speaks of. `authorities`: how many
/// `client-ca` has, where that is known.
pub fn check(config: &Config, authorities: Option<usize>, source: &Source, report: &mut Report) {
    let tls = config.http.tls.as_ref();
    // One that was written in a wrong form is reported already.
    let asks = source.says("/http/tls/client-ca");
    for (name, remedy) in [
        ("client-certificates", "add `client-ca`, a file with the authorities that sign them"),
        ("client-crl", "add `client-ca`: what is revoked is a client's certificate"),
    ] {
        let place = format!("/http/tls/{name}");
        if tls.is_some() && source.says(&place) && !asks {
            report.error("missing-key", source.key(&place), format!("`{name}` without `client-ca`"), remedy);
        }
    }
    for (i, key) in config.http.keys.iter().enumerate() {
        let Some(name) = &key.certificate else { continue };
        let place = source.value_span(&format!("/http/keys/{i}/certificate"));
        if !asks {
            let remedy = "add `client-ca` to [http.tls], a file with the authorities that sign such certificates";
            report.error("missing-key", place, "no client is asked for a certificate", remedy);
        } else if let CertificateName::Dns(host) = name
            && host.contains('*')
        {
            report.error("wrong-value", place, format!("`{host}` is no name of one host"), "write the whole name");
        } else if let (CertificateName::CommonName(common), Some(2..)) = (name, authorities) {
            let text = format!("each authority in `client-ca` can give somebody the common name `{common}`");
            let remedy = "name an alternative name (`dns:`, `uri:`, `email:`) or `sha256:`, or keep one authority";
            report.warning("common-name", place, text, remedy);
        }
    }
}
