//! Rules about which part may know which, and what the root holds.

use std::collections::BTreeSet;
use toml::{Table, Value};

/// Folder of a manifest, and dependencies it must not have.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "host/core/",
        &["tokio", "sqlx", "lapin", "wasmtime", "axum", "reqwest", "busbar-server", "busbar-tests", "busbar-standins"],
    ),
    ("host/server/", &["busbar-tests", "busbar-standins"]),
    ("deploy/demo/standins/", &["busbar-core", "busbar-server", "busbar-tests"]),
    ("plugins/", &["busbar-core", "busbar-server", "busbar-tests", "busbar-standins"]),
];

pub fn dependencies(path: &str, text: &str) -> Vec<String> {
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(e) => return vec![format!("{path}: {e}")],
    };
    let mut found = Vec::new();
    collect(&manifest, &mut found);
    let mut faults = Vec::new();
    for (folder, forbidden) in FORBIDDEN.iter().filter(|(folder, _)| path.starts_with(folder)) {
        for (name, at) in &found {
            if forbidden.contains(&name.as_str()) {
                faults.push(format!("{path}: depends on {name}, which {folder} must not know"));
            }
            if *folder == "plugins/" && at.as_deref().is_some_and(|at| at.contains("..") && at.contains("host")) {
                faults.push(format!("{path}: depends on {name} in the host; adapters know only wit/"));
            }
        }
    }
    faults
}

/// Every dependency with its path, whichever table it is in. A renamed one counts by its real name.
fn collect(table: &Table, found: &mut Vec<(String, Option<String>)>) {
    for (name, value) in table {
        let Value::Table(inner) = value else { continue };
        if !name.ends_with("dependencies") {
            collect(inner, found);
            continue;
        }
        for (name, wanted) in inner {
            let text = |key: &str| wanted.get(key).and_then(Value::as_str).map(str::to_string);
            found.push((text("package").unwrap_or_else(|| name.clone()), text("path")));
        }
    }
}

/// design.md, section 3, and what belongs to every project.
const ROOT: &[&str] = &[
    "Cargo.toml",
    "host",
    "plugins",
    "findings",
    "wit",
    "schemas",
    "deploy",
    "tests",
    "README.md",
    "Cargo.lock",
    "LICENSE",
    "CHANGELOG.md",
    "rustfmt.toml",
    "deny.toml",
];

pub fn root_entries(files: &BTreeSet<String>) -> Vec<String> {
    let entries: BTreeSet<_> = files.iter().filter_map(|path| path.split('/').next()).collect();
    let unknown = entries.into_iter().filter(|entry| !entry.starts_with('.') && !ROOT.contains(entry));
    unknown.map(|entry| format!("{entry}: the layout has no such entry at the root")).collect()
}

#[test]
fn forbidden_dependencies_are_seen() {
    let bad = [
        ("host/core/Cargo.toml", "[dependencies]\ntokio.workspace = true"),
        ("host/core/Cargo.toml", "[target.'cfg(unix)'.dev-dependencies]\nsqlx = \"0.9\""),
        ("host/core/Cargo.toml", "[dependencies]\nsmall = { package = \"reqwest\", version = \"1\" }"),
        ("host/server/Cargo.toml", "[dev-dependencies]\nbusbar-standins.workspace = true"),
        ("deploy/demo/standins/Cargo.toml", "[build-dependencies]\nbusbar-core = { path = \"x\" }"),
        ("plugins/osmp/Cargo.toml", "[dependencies]\nrules = { path = \"../../host/core\" }"),
        ("plugins/Cargo.toml", "[workspace.dependencies]\nbusbar-core = \"1\""),
        ("plugins/osmp/Cargo.toml", "not toml"),
    ];
    for (path, text) in bad {
        assert_eq!(dependencies(path, text).len(), 1, "{path}: {text}");
    }
    let good = [
        ("host/core/Cargo.toml", "[package]\nname = \"tokio\"\n[dependencies]\nserde = \"1\""),
        ("host/server/Cargo.toml", "[dependencies]\nbusbar-core.workspace = true\ntokio = \"1\""),
        ("plugins/osmp/Cargo.toml", "[dependencies]\nbusbar-sdk = { path = \"../sdk\" }"),
        ("tests/Cargo.toml", "[dev-dependencies]\nbusbar-server.workspace = true"),
    ];
    for (path, text) in good {
        assert_eq!(dependencies(path, text), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn an_unknown_root_entry_is_seen() {
    let files = ["README.md", ".github/CONTRIBUTING.md", "host/core/src/lib.rs", "notes.txt", "scripts/a.sh"];
    let found = root_entries(&files.map(String::from).into());
    assert_eq!(found.len(), 2, "{found:?}");
}
