//! What a component exports, imports and declares, found by looking at it, without running it.

use super::engine::broken;
use super::entry::Entry;
use super::needs::{Needs, needs};
use crate::config::model::Manifest;
use busbar_core::Problem;
use serde::Serialize;
use sha2::{Digest, Sha256};
use wasmparser::{Parser, Payload};
use wit_component::DecodedWasm;
use wit_parser::{WorldItem, WorldKey};

/// Name of the custom section that holds the manifest.
pub const SECTION: &str = "busbar:adapter";

/// The findings.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// Hex SHA-256 of the file.
    pub sha256: String,
    pub bytes: usize,
    pub exports: Vec<Entry>,
    /// Entries of a later contract: this hub never calls them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_exports: Vec<String>,
    /// Imported functions, `interface.function`.
    pub imports: Vec<String>,
    /// Imports that are none of `busbar:adapter`; such a component does not load.
    pub foreign_imports: Vec<String>,
    /// WIT version it was built against.
    pub contract: String,
    /// What one instance takes.
    pub needs: Needs,
    pub manifest: Option<Manifest>,
}

impl Inspection {
    pub fn imports_interface(&self, name: &str) -> bool {
        self.imports.iter().any(|i| i.split('.').next() == Some(name))
    }

    /// What it exports, for people.
    pub fn entries(&self) -> String {
        let unknown = self.unknown_exports.iter().map(|name| format!("{name} (unknown to this hub)"));
        let known = self.exports.iter().map(|entry| entry.as_str().to_string());
        known.chain(unknown).collect::<Vec<_>>().join(", ")
    }

    pub fn imports_function(&self, name: &str) -> bool {
        self.imports.iter().any(|i| i == name)
    }
}

/// # Errors
/// `broken-adapter` when `wasm` is no component, needs more than the host has, or its manifest is malformed.
pub fn inspect(wasm: &[u8]) -> Result<Inspection, Problem> {
    let needs = needs(wasm)?;
    let decoded = wit_component::decode(wasm).map_err(|e| broken(format!("not a component: {e:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(broken("a WIT package, not a component"));
    };
    let mut found = Inspection {
        sha256: super::cache::hex(&Sha256::digest(wasm)),
        bytes: wasm.len(),
        needs,
        manifest: manifest(wasm)?,
        ..Inspection::default()
    };
    let world = resolve.worlds.get(world).ok_or_else(|| broken("no world"))?;
    for (key, item) in &world.imports {
        let Some((name, ours, version)) = name_of(&resolve, key) else { continue };
        if !ours {
            found.foreign_imports.push(name);
            continue;
        }
        found.contract = version;
        if let WorldItem::Interface { id, .. } = item
            && let Some(interface) = resolve.interfaces.get(*id)
        {
            found.imports.extend(interface.functions.keys().map(|f| format!("{name}.{f}")));
        }
    }
    for key in world.exports.keys() {
        if let Some((name, true, version)) = name_of(&resolve, key) {
            match Entry::parse(&name) {
                Some(entry) => found.exports.push(entry),
                None => found.unknown_exports.push(name),
            }
            found.contract = version;
        }
    }
    Ok(found)
}

fn name_of(resolve: &wit_parser::Resolve, key: &WorldKey) -> Option<(String, bool, String)> {
    let WorldKey::Interface(id) = key else { return Some((resolve.name_world_key(key), false, String::new())) };
    let interface = resolve.interfaces.get(*id)?;
    let package = resolve.packages.get(interface.package?)?;
    if package.name.namespace == "busbar" && package.name.name == "adapter" {
        let version = package.name.version.as_ref().map(ToString::to_string).unwrap_or_default();
        return Some((interface.name.clone()?, true, version));
    }
    Some((resolve.name_world_key(key), false, String::new()))
}

fn manifest(wasm: &[u8]) -> Result<Option<Manifest>, Problem> {
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|e| broken(format!("not valid wasm: {e}")))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == SECTION => {
                let manifest = serde_json::from_slice(section.data());
                return manifest.map(Some).map_err(|e| broken(format!("section `{SECTION}`: {e}")));
            }
            _ => {}
        }
    }
    Ok(None)
}
