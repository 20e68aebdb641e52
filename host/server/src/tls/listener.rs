//! What the hub's own listener shows, and whom it asks for a certificate.

use super::files::{contents, items, trusted};
use super::{TlsFault, private_key, provider};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, ServerConfig};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// Where everything stands.
#[derive(Debug)]
pub struct ListenerFiles {
    pub certificate: PathBuf,
    pub key: SecretString,
    /// Where the key may have changed since.
    pub key_file: Option<PathBuf>,
    pub client_ca: Option<PathBuf>,
    pub client_crl: Option<PathBuf>,
    /// Whoever shows no certificate gets no connection.
    pub required: bool,
}

/// Which of them is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    Certificate,
    Key,
    ClientCa,
    ClientCrl,
}

impl TlsFile {
    /// As it is written in `busbar.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::ClientCa => "client-ca",
            Self::ClientCrl => "client-crl",
        }
    }
}

/// Every one that is wrong, and how.
pub type TlsFaults = Vec<(TlsFile, TlsFault)>;

/// All that is shown and asked for, read at one time.
#[derive(Debug)]
pub struct ListenerTls {
    pub server: Arc<ServerConfig>,
    /// When the hub's own certificate ends, in seconds since the epoch.
    pub not_after_s: i64,
}

/// What the files held at one time.
pub struct FilesRead {
    certificate: Result<Vec<u8>, TlsFault>,
    key: Result<SecretString, TlsFault>,
    client_ca: Option<Result<Vec<u8>, TlsFault>>,
    client_crl: Option<Result<Vec<u8>, TlsFault>>,
}

impl ListenerFiles {
    pub fn read(&self) -> FilesRead {
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).map_err(|_| TlsFault::BrokenKey("no text".into()));
            text.map(SecretString::from)
        };
        let key = self.key_file.as_ref().map(|file| contents(file).and_then(text));
        FilesRead {
            certificate: contents(&self.certificate),
            key: key.unwrap_or_else(|| Ok(self.key.clone())),
            client_ca: self.client_ca.as_deref().map(contents),
            client_crl: self.client_crl.as_deref().map(contents),
        }
    }

    /// # Errors
    /// Every mistake in what was read.
    pub fn judge(&self, read: FilesRead, now_s: i64) -> Result<ListenerTls, TlsFaults> {
        let mut faults = Vec::new();
        let chain = read.certificate.and_then(|pem| chain(&self.certificate, &pem, now_s));
        let chain = kept(TlsFile::Certificate, chain, &mut faults);
        let key = read.key.and_then(|pem| private_key(Some(&pem)));
        let key = key.and_then(|key| {
            provider().key_provider.load_private_key(key).map_err(|e| TlsFault::BrokenKey(e.to_string()))
        });
        let key = kept(TlsFile::Key, key, &mut faults);
        let authorities = self.client_ca.as_deref().zip(read.client_ca);
        let authorities = authorities.map(|(path, pem)| authorities_of(path, &pem?, now_s)).transpose();
        let authorities = kept(TlsFile::ClientCa, authorities, &mut faults).flatten().unwrap_or_default();
        let lists = self.client_crl.as_deref().zip(read.client_crl);
        let lists = lists.map(|(path, pem)| lists_of(path, &pem?, now_s)).transpose();
        let lists = kept(TlsFile::ClientCrl, lists, &mut faults).flatten().unwrap_or_default();
        let shown = chain.zip(key).map(|((chain, not_after_s), key)| (CertifiedKey::new(chain, key), not_after_s));
        match shown.as_ref().map(|(shown, _)| shown.keys_match()) {
            None | Some(Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown))) => {}
            Some(Err(Error::InconsistentKeys(_))) => {
                faults.push((TlsFile::Key, TlsFault::OtherKey { path: self.certificate.clone() }));
            }
            Some(Err(e)) => faults.push((TlsFile::Certificate, broken(&self.certificate, &e))),
        }
        let verifier = self.verifier(authorities, lists).map_err(|fault| faults.push(fault)).ok();
        match (shown, verifier) {
            (Some((shown, not_after_s)), Some(verifier)) if faults.is_empty() => {
                let server = server(shown, verifier, self.client_ca.is_some());
                let server = server.map_err(|fault| vec![(TlsFile::Certificate, fault)])?;
                Ok(ListenerTls { server: Arc::new(server), not_after_s })
            }
            _ => Err(faults),
        }
    }

    fn verifier(
        &self,
        authorities: Vec<CertificateDer<'static>>,
        lists: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Arc<dyn ClientCertVerifier>, (TlsFile, TlsFault)> {
        // One that is wrong is said already.
        let Some(path) = self.client_ca.as_ref().filter(|_| !authorities.is_empty()) else {
            return Ok(WebPkiClientVerifier::no_client_auth());
        };
        let roots = trusted(path, authorities).map_err(|fault| (TlsFile::ClientCa, fault))?;
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        // A list that is old does not know what was revoked since.
        let builder = builder.with_crls(lists).enforce_revocation_expiration();
        let builder = if self.required { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|e| match e {
            VerifierBuilderError::InvalidCrl(e) => {
                let path = self.client_crl.clone().unwrap_or_default();
                (
                    TlsFile::ClientCrl,
                    TlsFault::BadList { path, reason: Error::InvalidCertRevocationList(e).to_string() },
                )
            }
            _ => (TlsFile::ClientCa, TlsFault::Other(e.to_string())),
        })
    }
}

impl FilesRead {
    /// Of all that was read, so that a change is seen whatever the files' times say.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut add = |part: Result<&[u8], &TlsFault>| {
            let part = part.map_or_else(|fault| fault.to_string().into_bytes(), <[u8]>::to_vec);
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        };
        add(self.certificate.as_deref());
        add(self.key.as_ref().map(|key| key.expose_secret().as_bytes()));
        for file in [&self.client_ca, &self.client_crl].into_iter().flatten() {
            add(file.as_deref());
        }
        digest.finalize().into()
    }
}

fn kept<T>(file: TlsFile, found: Result<T, TlsFault>, faults: &mut TlsFaults) -> Option<T> {
    found.map_err(|fault| faults.push((file, fault))).ok()
}

fn server(shown: CertifiedKey, verifier: Arc<dyn ClientCertVerifier>, asks: bool) -> Result<ServerConfig, TlsFault> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| TlsFault::Other(e.to_string()))?.with_client_cert_verifier(verifier);
    let mut server = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    if asks {
        // A session that is taken up again is not verified again: its certificate may have expired, or be revoked.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
    }
    Ok(server)
}

/// The certificates to be shown, and when the first of them ends. The others may be older ones that only some clients need.
fn chain(path: &Path, pem: &[u8], now_s: i64) -> Result<(Vec<CertificateDer<'static>>, i64), TlsFault> {
    let chain: Vec<CertificateDer<'static>> = items(path, pem, "certificate")?;
    let mut not_after_s = 0;
    for (i, certificate) in chain.iter().enumerate() {
        let parsed = parsed(path, certificate)?;
        if i == 0 {
            in_time(path, &parsed, now_s)?;
            not_after_s = parsed.validity().not_after.timestamp();
        }
    }
    Ok((chain, not_after_s))
}

fn authorities_of(path: &Path, pem: &[u8], now_s: i64) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let found: Vec<CertificateDer<'static>> = items(path, pem, "certificate")?;
    for certificate in &found {
        let parsed = parsed(path, certificate)?;
        if !parsed.is_ca() {
            return Err(TlsFault::NoAuthority { path: path.to_path_buf(), subject: parsed.subject().to_string() });
        }
        // What it has signed would be taken for ever otherwise: the time of those that are trusted is not looked at later.
        in_time(path, &parsed, now_s)?;
    }
    Ok(found)
}

fn lists_of(path: &Path, pem: &[u8], now_s: i64) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFault> {
    let found: Vec<CertificateRevocationListDer<'static>> = items(path, pem, "revocation list")?;
    for list in &found {
        let (_, parsed) = CertificateRevocationList::from_der(list).map_err(|e| broken(path, &e))?;
        let next_s = parsed.next_update().map(|time| time.timestamp());
        if let Some(at_s) = next_s.filter(|at_s| *at_s < now_s) {
            let subject = format!("the list of {}", parsed.issuer());
            return Err(TlsFault::Expired { path: path.to_path_buf(), subject, at_s });
        }
    }
    Ok(found)
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> TlsFault {
    TlsFault::Broken { path: path.to_path_buf(), reason: error.to_string() }
}

fn parsed<'a>(path: &Path, certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, TlsFault> {
    X509Certificate::from_der(certificate).map(|(_, parsed)| parsed).map_err(|e| broken(path, &e))
}

fn in_time(path: &Path, parsed: &X509Certificate<'_>, now_s: i64) -> Result<(), TlsFault> {
    let (path, subject) = (path.to_path_buf(), parsed.subject().to_string());
    let validity = parsed.validity();
    let (from_s, to_s) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    if now_s < from_s {
        return Err(TlsFault::NotYet { path, subject, at_s: from_s });
    }
    if now_s > to_s {
        return Err(TlsFault::Expired { path, subject, at_s: to_s });
    }
    Ok(())
}
