//! Rules about adapters and schemas: each folder looks like its neighbours.

use busbar_core::Catalog;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The folders directly under `parent`, with their files, as paths from the folder.
fn folders<'a>(parent: &str, files: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (folder, file) in files.filter_map(|path| path.strip_prefix(parent)?.split_once('/')) {
        found.entry(folder).or_default().insert(file);
    }
    found
}

pub fn adapters(files: &BTreeSet<String>, readme: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, inside) in folders("plugins/", files.iter().map(String::as_str)) {
        // Not adapters: the SDK, the native functions of `busbar bench call`, and folders of settings.
        if ["sdk", "native"].contains(&name) || name.starts_with('.') {
            continue;
        }
        let needed = ["Cargo.toml", "adapter.toml", "config.schema.json", "src/lib.rs", "src/mapping.rs", "README.md"];
        for file in needed.into_iter().filter(|file| !inside.contains(file)) {
            faults.push(format!("plugins/{name}: has no {file}"));
        }
        let cases = folders("cases/", inside.iter().copied());
        if cases.is_empty() {
            faults.push(format!("plugins/{name}: has no cases/<name>/"));
        }
        for (case, inside) in cases {
            if !inside.contains("expected.json") || !inside.iter().any(|file| file.starts_with("input.")) {
                faults.push(format!("plugins/{name}/cases/{case}: needs input.* and expected.json"));
            }
        }
        if !readme.contains(name) {
            faults.push(format!("plugins/README.md: does not name {name}"));
        }
    }
    faults
}

/// `files`: every JSON file under `schemas/`, with its text.
pub fn schemas(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, inside) in folders("schemas/", files.keys().map(String::as_str)) {
        let of = |file: &str| -> Result<Value, String> {
            let text = files.get(&format!("schemas/{name}/{file}")).ok_or("is missing")?;
            serde_json::from_str(text).map_err(|e| e.to_string())
        };
        let kind = format!("{name}.v1");
        let compiled = of("v1.json")
            .and_then(|schema| Catalog::compile(vec![(kind.clone(), schema)]).map_err(|wrong| format!("{wrong:?}")));
        let catalog = match compiled {
            Ok(catalog) => catalog,
            Err(e) => {
                faults.push(format!("schemas/{name}/v1.json: {e}"));
                continue;
            }
        };
        for folder in ["valid/", "invalid/"] {
            let examples: Vec<_> = inside.iter().filter(|file| file.starts_with(folder)).collect();
            if examples.is_empty() {
                faults.push(format!("schemas/{name}/{folder}: has no example"));
            }
            for file in examples {
                let check = if folder == "valid/" { valid } else { invalid };
                if let Err(fault) = of(file).and_then(|example| check(&catalog, &kind, &example)) {
                    faults.push(format!("schemas/{name}/{file}: {fault}"));
                }
            }
        }
    }
    faults
}

fn valid(catalog: &Catalog, kind: &str, example: &Value) -> Result<(), String> {
    catalog.validate(kind, example).map_err(|problem| format!("should be valid: {problem}"))
}

fn invalid(catalog: &Catalog, kind: &str, example: &Value) -> Result<(), String> {
    let text = |key: &str| example.get(key).and_then(Value::as_str).ok_or(format!("needs `{key}`, a text"));
    let (why, path) = (text("why")?, text("path")?);
    let data = example.get("data").ok_or("needs `data`")?;
    match catalog.validate(kind, data) {
        Ok(()) => Err(format!("should be invalid: {why}")),
        Err(problem) if problem.place == Some(format!("/data{path}")) => Ok(()),
        Err(problem) => Err(format!("is wrong at another place than `{path}`: {problem}")),
    }
}

#[test]
fn a_misshapen_adapter_is_seen() {
    let whole = [
        "Cargo.toml",
        "adapter.toml",
        "config.schema.json",
        "src/lib.rs",
        "src/mapping.rs",
        "README.md",
        "cases/one/input.xml",
        "cases/one/expected.json",
    ];
    let mut files: BTreeSet<_> = whole.map(|file| format!("plugins/osmp/{file}")).into();
    files.extend(["plugins/Cargo.toml", "plugins/sdk/src/lib.rs", "plugins/README.md"].map(String::from));
    assert_eq!(adapters(&files, "| `osmp` | terminals |"), Vec::<String>::new());
    assert_eq!(adapters(&files, "nothing").len(), 1);
    for file in whole {
        let mut less = files.clone();
        less.remove(&format!("plugins/osmp/{file}"));
        assert_eq!(adapters(&less, "osmp").len(), 1, "without {file}");
    }
    files.retain(|file| !file.contains("cases"));
    assert_eq!(adapters(&files, "osmp").len(), 1);
}

#[test]
fn a_wrong_example_is_seen() {
    let schema = r#"{"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}"#;
    let good = [
        ("v1.json", schema),
        ("valid/one.json", r#"{"a": "x"}"#),
        ("invalid/number.json", r#"{"why": "not a text", "path": "/a", "data": {"a": 1}}"#),
        ("invalid/missing.json", r#"{"why": "missing", "path": "", "data": {}}"#),
    ];
    let with = |changes: &[(&str, &str)]| -> BTreeMap<String, String> {
        let all = good.iter().chain(changes);
        all.map(|(file, text)| (format!("schemas/thing.seen/{file}"), text.to_string())).collect()
    };
    assert_eq!(schemas(&with(&[])), Vec::<String>::new());
    let bad = [
        ("v1.json", r#"{"type": "nonsense"}"#),
        ("v1.json", "{"),
        ("valid/one.json", r#"{"a": 1}"#),
        ("valid/two.json", "not json"),
        ("invalid/number.json", r#"{"why": "no fault", "path": "/a", "data": {"a": "x"}}"#),
        ("invalid/number.json", r#"{"why": "elsewhere", "path": "/b", "data": {"a": 1}}"#),
        ("invalid/number.json", r#"{"path": "/a", "data": {"a": 1}}"#),
    ];
    for change in bad {
        assert_eq!(schemas(&with(&[change])).len(), 1, "{change:?}");
    }
    for missing in ["v1.json", "valid/one.json"] {
        let mut less = with(&[]);
        less.remove(&format!("schemas/thing.seen/{missing}"));
        assert_eq!(schemas(&less).len(), 1, "{missing}");
    }
}
