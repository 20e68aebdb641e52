//! `credentials`: what an adapter may do with its system's secrets without ever having their bytes.

use super::bindings::busbar::adapter as wit;
use super::host::{missing_grant, trap};
use super::state::CallState;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use secrecy::ExposeSecret;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use wasmtime::Result;
use wit::credentials::{Digest as Algorithm, Piece};

const PREFIX: &str = "whsec_";
const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// HMAC-SHA256; a secret `whsec_…` is base64, as Standard Webhooks has it.
///
/// # Errors
/// When the secret is not valid base64 behind `whsec_`.
pub fn hmac_sha256(secret: &str, data: &[u8]) -> std::result::Result<Vec<u8>, String> {
    match secret.starts_with(PREFIX) {
        true => mac(&base64_key(secret)?, data),
        false => mac(secret.as_bytes(), data),
    }
}

/// The key of a secret of Standard Webhooks: base64, with or without its prefix and its padding. The reference libraries
/// take all of these as one key.
///
/// # Errors
/// When it is no base64.
pub fn base64_key(secret: &str) -> std::result::Result<Vec<u8>, String> {
    let encoded = secret.strip_prefix(PREFIX).unwrap_or(secret);
    PADDED_OR_NOT.decode(encoded).map_err(|_| "the secret is no base64, as Standard Webhooks wants it".to_string())
}

fn mac(key: &[u8], data: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|e| e.to_string())?;
    mac.update(data);
    Ok(mac.finalize().into_bytes().to_vec())
}

fn hash(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Md5 => Md5::digest(bytes).to_vec(),
        Algorithm::Sha1 => Sha1::digest(bytes).to_vec(),
        Algorithm::Sha256 => Sha256::digest(bytes).to_vec(),
        Algorithm::Sha384 => Sha384::digest(bytes).to_vec(),
        Algorithm::Sha512 => Sha512::digest(bytes).to_vec(),
    }
}

fn same(computed: &[u8], given: &[u8]) -> bool {
    computed.ct_eq(given).into()
}

impl CallState {
    fn may_use(&self, name: &str) -> Result<()> {
        self.credential_granted(name).map_err(|text| trap(missing_grant(text)))
    }
}

impl wit::credentials::Host for CallState {
    async fn length(&mut self, name: String) -> Result<std::result::Result<u32, String>> {
        self.may_use(&name)?;
        let secret = self.effects.secret(&name);
        Ok(secret.map(|secret| u32::try_from(secret.expose_secret().len()).unwrap_or(u32::MAX)))
    }

    async fn hash(&mut self, algorithm: Algorithm, pieces: Vec<Piece>) -> Result<std::result::Result<Vec<u8>, String>> {
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Plain(plain) => bytes.extend_from_slice(&plain),
                Piece::Secret(name) => {
                    self.may_use(&name)?;
                    match self.effects.secret(&name) {
                        Ok(secret) => bytes.extend_from_slice(secret.expose_secret().as_bytes()),
                        Err(text) => return Ok(Err(text)),
                    }
                }
            }
        }
        Ok(Ok(hash(algorithm, &bytes)))
    }

    async fn verify_hash(
        &mut self,
        algorithm: Algorithm,
        pieces: Vec<Piece>,
        expected: Vec<u8>,
    ) -> Result<std::result::Result<bool, String>> {
        Ok(self.hash(algorithm, pieces).await?.map(|computed| same(&computed, &expected)))
    }

    async fn hmac_sha256(&mut self, name: String, data: Vec<u8>) -> Result<std::result::Result<Vec<u8>, String>> {
        self.may_use(&name)?;
        Ok(self.effects.secret(&name).and_then(|secret| hmac_sha256(secret.expose_secret(), &data)))
    }

    async fn verify_hmac_sha256(
        &mut self,
        name: String,
        data: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<std::result::Result<bool, String>> {
        Ok(self.hmac_sha256(name, data).await?.map(|mac| same(&mac, &signature)))
    }

    async fn hmac_sha256_base64(
        &mut self,
        name: String,
        data: Vec<u8>,
    ) -> Result<std::result::Result<Vec<u8>, String>> {
        self.may_use(&name)?;
        let secret = self.effects.secret(&name);
        Ok(secret.and_then(|secret| mac(&base64_key(secret.expose_secret())?, &data)))
    }

    async fn verify_hmac_sha256_base64(
        &mut self,
        name: String,
        data: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<std::result::Result<bool, String>> {
        Ok(self.hmac_sha256_base64(name, data).await?.map(|mac| same(&mac, &signature)))
    }
}
