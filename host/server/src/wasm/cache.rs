//! Compiled code on disk, so that a start takes milliseconds. Loading it is as trusted as running
//! native code: each file carries an HMAC under a key that only the owner can read.

use super::Compiler;
use super::engine::{broken, internal};
use busbar_core::Problem;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

const TAG_BYTES: usize = 32;

/// A folder of compiled components, owner-only.
pub struct Cache {
    folder: Option<PathBuf>,
    key: [u8; 32],
    compatibility: String,
    compiler: Compiler,
}

impl Cache {
    /// # Errors
    /// `internal` when the folder cannot be made, or others can write into it.
    pub(crate) fn open(folder: Option<PathBuf>, engine: &Engine, compiler: Compiler) -> Result<Self, Problem> {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let compatibility = format!("{:016x}", hasher.finish());
        let Some(folder) = folder else { return Ok(Self { folder: None, key: [0; 32], compatibility, compiler }) };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(internal)?;
        let mode = std::fs::metadata(&folder).map_err(internal)?.mode();
        if mode & 0o022 != 0 {
            return Err(internal(format!("{}: others may write here; chmod 700 it", folder.display())));
        }
        let key = read_or_make_key(&folder.join("key"))?;
        Ok(Self { folder: Some(folder), key, compatibility, compiler })
    }

    /// The component compiled, from the folder if it is there and authentic.
    ///
    /// # Errors
    /// `compile-limit` or `broken-adapter` when `wasm` does not compile.
    pub(crate) fn component(&self, engine: &Engine, wasm: &[u8]) -> Result<Component, Problem> {
        let digest = hex(&Sha256::digest(wasm));
        let path = self.folder.as_ref().map(|folder| folder.join(format!("{digest}-{}.cwasm", self.compatibility)));
        if let Some(path) = &path
            && let Some(code) = self.read(path, &digest)
        {
            match trusted(engine, &code) {
                Ok(component) => return Ok(component),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "compiled code does not load; compiling anew")
                }
            }
        }
        let code = self.compiler.compile(wasm)?;
        let component = trusted(engine, &code)?;
        if let Some(path) = &path
            && let Err(error) = self.write(path, &digest, &code)
        {
            tracing::warn!(path = %path.display(), %error, "compiled code could not be kept");
        }
        Ok(component)
    }

    fn read(&self, path: &Path, digest: &str) -> Option<Vec<u8>> {
        let mut bytes = std::fs::read(path).ok()?;
        let split = bytes.len().checked_sub(TAG_BYTES)?;
        let tag = bytes.split_off(split);
        match self.mac(digest, &bytes)?.verify_slice(&tag) {
            Ok(()) => Some(bytes),
            Err(_) => {
                tracing::error!(path = %path.display(), "compiled code is not ours or damaged; compiling anew");
                None
            }
        }
    }

    fn write(&self, path: &Path, digest: &str, code: &[u8]) -> std::io::Result<()> {
        let mac = self.mac(digest, code).ok_or_else(|| std::io::Error::other("no key"))?;
        let folder = path.parent().ok_or_else(|| std::io::Error::other("no folder"))?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(code)?;
        file.write_all(&mac.finalize().into_bytes())?;
        file.persist(path)?;
        Ok(())
    }

    // The digest and the engine are part of what is signed: a file cannot stand in for another.
    fn mac(&self, digest: &str, code: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(digest.as_bytes());
        mac.update(self.compatibility.as_bytes());
        mac.update(code);
        Some(mac)
    }
}

/// Of our own child, which had just this to write into, or with our own HMAC.
fn trusted(engine: &Engine, code: &[u8]) -> Result<Component, Problem> {
    // SAFETY: the bytes are what this program wrote after compiling, see above.
    #[allow(unsafe_code)]
    unsafe { Component::deserialize(engine, code) }.map_err(|e| broken(format!("{e:#}")))
}

fn read_or_make_key(path: &Path) -> Result<[u8; 32], Problem> {
    if let Ok(found) = std::fs::read(path)
        && let Ok(key) = <[u8; 32]>::try_from(found.as_slice())
    {
        return Ok(key);
    }
    let key: [u8; 32] = rand::random();
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(internal)?;
    file.write_all(&key).map_err(internal)?;
    Ok(key)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
