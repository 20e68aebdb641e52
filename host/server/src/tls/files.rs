//! Certificates and keys from files.

use super::{TlsFault, provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretString};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Revocation lists may be long.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A file that is one: a pipe in its place would hold the thread.
pub(super) fn contents(path: &Path) -> Result<Vec<u8>, TlsFault> {
    let unreadable = |error| TlsFault::Unreadable { path: path.to_path_buf(), error };
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() || found.len() > FILE_BYTES_MAX {
        return Err(TlsFault::NoFile { path: path.to_path_buf(), max: FILE_BYTES_MAX });
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

/// Everything of one kind in `pem`, at least one; `what` is its name for a person.
pub(super) fn items<T: PemObject>(path: &Path, pem: &[u8], what: &'static str) -> Result<Vec<T>, TlsFault> {
    let broken = |error| TlsFault::Broken { path: path.to_path_buf(), reason: format!("{error}") };
    let found = T::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(broken)?;
    if found.is_empty() {
        return Err(TlsFault::Without { path: path.to_path_buf(), what });
    }
    Ok(found)
}

/// # Errors
/// The file cannot be read, or has none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    items(path, &contents(path)?, "certificate")
}

/// # Errors
/// As [`certificates`], or one of them is none.
pub fn roots(path: &Path) -> Result<RootCertStore, TlsFault> {
    trusted(path, certificates(path)?)
}

pub(super) fn trusted(path: &Path, found: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in found {
        let broken = |e: rustls::Error| TlsFault::Broken { path: path.to_path_buf(), reason: e.to_string() };
        roots.add(certificate).map_err(broken)?;
    }
    Ok(roots)
}

/// # Errors
/// There is none, or it is no key in PEM form.
pub fn private_key(key: Option<&SecretString>) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let pem = key.ok_or(TlsFault::NoKey)?.expose_secret().as_bytes();
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| TlsFault::BrokenKey(e.to_string()))
}

/// For connections to a server that has a certificate of the authorities in the file `ca`, or of the machine's own;
/// `own`: a file with the certificate that is shown, and its key.
///
/// # Errors
/// What cannot be read, or does not fit.
pub fn client_config(ca: Option<&Path>, own: Option<(&Path, Option<&SecretString>)>) -> Result<ClientConfig, TlsFault> {
    let other = |e: rustls::Error| TlsFault::Other(e.to_string());
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(other)?;
    let builder = match ca {
        Some(ca) => builder.with_root_certificates(roots(ca)?),
        None => builder.with_platform_verifier().map_err(other)?,
    };
    let Some((file, key)) = own else { return Ok(builder.with_no_client_auth()) };
    builder.with_client_auth_cert(certificates(file)?, private_key(key)?).map_err(other)
}
