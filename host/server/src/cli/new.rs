//! `adapter new`: the folder of an adapter that builds, passes its case, and does something small.

use crate::wasm::Entry;
use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

#[derive(Args)]
pub struct NewArgs {
    /// Name of the adapter: lower-case letters, digits and `-`.
    name: String,
    /// What it is for.
    entry: Entry,
    /// Folder of the adapters' workspace.
    #[arg(long, default_value = "plugins")]
    plugins: PathBuf,
}

/// `src/lib.rs`, `src/mapping.rs`, and the case: what is fed in, what the world answers, what must come out.
struct Template {
    glue: &'static str,
    mapping: &'static str,
    input: (&'static str, &'static str),
    setup: &'static str,
    expected: &'static str,
}

macro_rules! template {
    ($entry:literal, $input:literal) => {
        Template {
            glue: include_str!(concat!("new/", $entry, ".rs.txt")),
            mapping: include_str!(concat!("new/", $entry, ".mapping.rs.txt")),
            input: ($input, include_str!(concat!("new/", $entry, ".input.txt"))),
            setup: include_str!(concat!("new/", $entry, ".setup.json")),
            expected: include_str!(concat!("new/", $entry, ".expected.json")),
        }
    };
}

fn template(entry: Entry) -> Template {
    match entry {
        Entry::Deliver => template!("deliver", "input.json"),
        Entry::Receive => template!("receive", "input.json"),
        Entry::Poll => template!("poll", "input.json"),
        Entry::Decode => template!("decode", "input.txt"),
        Entry::Encode => template!("encode", "input.json"),
        Entry::Answer => template!("answer", "input.json"),
        Entry::Connection => template!("connection", "input.json"),
    }
}

pub fn new(args: &NewArgs, as_json: bool) -> anyhow::Result<ExitCode> {
    let name = args.name.as_str();
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !letters || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.ends_with('-') {
        bail!("`{name}` is no name of an adapter: use lower-case letters, digits and `-`");
    }
    let folder = args.plugins.join(name);
    if folder.exists() {
        bail!("{} is there already", folder.display());
    }
    if !args.plugins.join("sdk").exists() {
        bail!("{} is not the adapters' workspace; name it with --plugins", args.plugins.display());
    }
    let files = files(name, args.entry);
    for (file, text) in &files {
        let path = folder.join(file);
        let parent = path.parent().unwrap_or(&folder);
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    // Adapters are built from the lock file as it is; what is new in it is this adapter alone.
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&args.plugins).args(["update", "--workspace", "--offline", "--quiet"]);
    if !cargo.status().context("running cargo")?.success() {
        bail!("cargo did not add {name} to {}", args.plugins.join("Cargo.lock").display());
    }
    if as_json {
        let names: Vec<_> = files.iter().map(|(file, _)| file).collect();
        println!("{}", json!({ "folder": folder, "files": names }));
    } else {
        println!("{} is there. Next:", folder.display());
        println!("  busbar adapter build {name}");
        println!("  busbar adapter test {name}");
        println!(
            "  then src/mapping.rs, config.schema.json, cases/, README.md; and the table in {}",
            args.plugins.join("README.md").display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn files(name: &str, entry: Entry) -> Vec<(String, String)> {
    let Template { glue, mapping, input, setup, expected } = template(entry);
    let list = |of: &[Entry], types: &str| if of.contains(&entry) { format!("[{types}]") } else { "[]".into() };
    let payment = "\"payment.received.v1\"";
    let manifest = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"One sentence: what becomes what.\"\nemits = {}\ndelivers = {}\nasks = []\nanswers = {}\nspec = \"Where the format is from\"\n",
        list(&[Entry::Receive, Entry::Poll, Entry::Decode, Entry::Connection], payment),
        list(&[Entry::Deliver, Entry::Encode, Entry::Connection], payment),
        list(&[Entry::Answer], "\"account.lookup.v1\""),
    );
    let url = if [Entry::Deliver, Entry::Poll].contains(&entry) {
        json!({ "url": { "description": "Address of the system; its origin must be granted.", "type": "string" } })
    } else {
        json!({})
    };
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, "description": "Settings of the system.",
        "type": "object", "additionalProperties": false, "properties": url,
    });
    if schema.pointer("/properties/url").is_some() {
        schema["required"] = json!(["url"]);
    }
    let readme = format!(
        "# {name}\n\nWhat becomes what (`{entry}`).\n\n## Config\n\n| key | default | |\n|---|---|---|\n\n## Rejections\n\n| code | |\n|---|---|\n\n## Source\n\nWhere the format is from.\n"
    );
    let cargo = format!(
        "[package]\nname = \"{name}\"\nversion.workspace = true\nedition.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n[dependencies]\nbusbar-sdk.workspace = true\nserde.workspace = true\nserde_json.workspace = true\n\n[lints]\nworkspace = true\n"
    );
    let case = |file: &str| format!("cases/first/{file}");
    vec![
        ("Cargo.toml".into(), cargo),
        ("adapter.toml".into(), manifest),
        ("config.schema.json".into(), format!("{schema:#}\n")),
        ("src/lib.rs".into(), glue.replace("{name}", name)),
        ("src/mapping.rs".into(), mapping.into()),
        (case(input.0), input.1.into()),
        (case("setup.json"), setup.into()),
        (case("expected.json"), expected.into()),
        ("README.md".into(), readme),
    ]
}
