//! `adapter build`: from source to a component with its manifest, and its digest.

use super::toolchain::{TARGET, find};
use crate::config::model::Manifest;
use crate::wasm::inspect::{SECTION, inspect};
use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where components go unless told otherwise.
pub const BUILT: &str = "plugins/target/adapters";

#[derive(Args)]
pub struct BuildArgs {
    /// Names of adapters, folders of `plugins/`.
    #[arg(required_unless_present_any = ["all", "deployment"])]
    names: Vec<String>,
    /// All adapters.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// The adapters that a deployment's `busbar.toml` names, into its folder `adapters`.
    #[arg(long = "for", value_name = "DEPLOYMENT", conflicts_with_all = ["names", "all"])]
    deployment: Option<PathBuf>,
    /// Folder of the adapters' workspace.
    #[arg(long, default_value = "plugins")]
    plugins: PathBuf,
    /// Folder for the components; `SHA256SUMS` there is kept up to date.
    #[arg(long, default_value = BUILT, conflicts_with = "deployment")]
    into: PathBuf,
}

pub fn build(args: &BuildArgs, as_json: bool) -> anyhow::Result<ExitCode> {
    let names = match &args.deployment {
        Some(deployment) => named_by(deployment)?,
        None if args.all => all(&args.plugins)?,
        None => args.names.clone(),
    };
    let into = args.deployment.as_ref().map_or_else(|| args.into.clone(), |deployment| deployment.join("adapters"));
    for name in &names {
        if !args.plugins.join(name).join("adapter.toml").exists() {
            bail!("{} is no adapter: it has no adapter.toml", args.plugins.join(name).display());
        }
    }
    let toolchain = find()?;
    eprintln!("building {} with {}", names.join(", "), toolchain.name);
    // The path leads out of the toolchain's own folder, so that both ways share nothing.
    let target =
        std::env::var_os("BUSBAR_PLUGINS_TARGET_DIR").map_or_else(|| args.plugins.join("target"), PathBuf::from);
    let target = std::path::absolute(target)?;
    let mut cargo = Command::new(&toolchain.cargo);
    cargo.current_dir(&args.plugins).args(["build", "--release", "--locked", "--target", TARGET]);
    // Not the profile's `strip`: cargo forgets it where an adapter has an optimisation of its own.
    cargo.args(["--config", "target.wasm32-unknown-unknown.rustflags = ['-Cstrip=symbols']"]);
    cargo.args(&toolchain.arguments).envs(toolchain.environment).env("CARGO_TARGET_DIR", &target);
    for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO"] {
        cargo.env_remove(inherited);
    }
    names.iter().for_each(|name| {
        cargo.args(["-p", name]);
    });
    if !cargo.status().with_context(|| format!("running {}", toolchain.cargo.display()))?.success() {
        bail!("cargo did not build the adapters; its messages are above");
    }
    std::fs::create_dir_all(&into).with_context(|| into.display().to_string())?;
    let mut digests = read_digests(&into);
    for name in &names {
        let module = target.join(TARGET).join("release").join(format!("{}.wasm", name.replace('-', "_")));
        let wasm = component(&module, &args.plugins.join(name)).with_context(|| format!("adapter `{name}`"))?;
        let found = inspect(&wasm)?;
        std::fs::write(into.join(format!("{name}.wasm")), &wasm)?;
        if as_json {
            println!(
                "{}",
                json!({ "name": name, "bytes": wasm.len(), "sha256": found.sha256, "exports": found.exports })
            );
        } else {
            println!("{name}: {} kB, exports {}", wasm.len() / 1000, found.entries());
        }
        digests.insert(format!("{name}.wasm"), found.sha256);
    }
    let lines: Vec<String> = digests.iter().map(|(file, digest)| format!("{digest}  {file}\n")).collect();
    std::fs::write(into.join("SHA256SUMS"), lines.concat())?;
    Ok(ExitCode::SUCCESS)
}

/// The adapters of a deployment's systems.
fn named_by(deployment: &Path) -> anyhow::Result<Vec<String>> {
    let path = deployment.join("busbar.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let config: toml::Table = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let systems = config.get("systems").and_then(toml::Value::as_table).into_iter().flatten();
    let names = systems.filter_map(|(_, system)| system.get("adapter")?.as_str().map(str::to_string));
    let names: BTreeSet<_> = names.collect();
    if names.is_empty() {
        bail!("{} names no adapter", path.display());
    }
    Ok(names.into_iter().collect())
}

fn all(plugins: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(plugins).with_context(|| plugins.display().to_string())?;
    let adapters = entries.flatten().filter(|e| e.path().join("adapter.toml").exists());
    let mut names: Vec<String> = adapters.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn read_digests(folder: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap_or_default();
    let line = |line: &str| line.split_once("  ").map(|(digest, file)| (file.trim().to_string(), digest.to_string()));
    text.lines().filter_map(line).filter(|(file, _)| folder.join(file).exists()).collect()
}

/// The core module as a component, with its manifest.
fn component(module: &Path, folder: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(module).with_context(|| module.display().to_string())?;
    let encoder = wit_component::ComponentEncoder::default();
    let mut wasm = encoder.validate(true).module(&bytes).and_then(|mut e| e.encode()).map_err(anyhow::Error::msg)?;
    let manifest = serde_json::to_vec(&manifest(folder)?)?;
    let section = wasm_encoder::CustomSection { name: SECTION.into(), data: manifest.into() };
    wasm_encoder::ComponentSection::append_to_component(&section, &mut wasm);
    Ok(wasm)
}

/// `adapter.toml` and `config.schema.json` of an adapter's folder.
pub fn manifest(folder: &Path) -> anyhow::Result<Manifest> {
    let path = folder.join("adapter.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut manifest: Manifest = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let path = folder.join("config.schema.json");
    let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
    manifest.config_schema = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    Ok(manifest)
}
