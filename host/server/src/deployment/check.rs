//! The checks of `busbar.toml` itself: shape, schemas, HTTP, systems.

use crate::config::finding::Report;
use crate::config::model::{Config, CredentialConfig, KeyConfig, SystemConfig, ViaKind};
use crate::config::source::{Source, escape};
use busbar_core::Catalog;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Holds the document against the generated JSON Schema and takes out what does not fit, so that the
/// rest can still be checked.
pub fn shape(source: &mut Source, report: &mut Report) {
    let schema = schemars::schema_for!(Config).to_value();
    match jsonschema::options().build(&schema) {
        Ok(validator) => against(&validator, source, "", report),
        Err(error) => report.error("shape", 0..0, format!("the config schema is broken: {error}"), "report this"),
    }
}

/// Holds the part of the document at `pointer` against `validator`.
pub fn against(validator: &jsonschema::Validator, source: &mut Source, pointer: &str, report: &mut Report) {
    let value = source.value.pointer(pointer).cloned().unwrap_or(Value::Null);
    for error in validator.iter_errors(&value) {
        told(&error, source, pointer, report);
    }
}

fn told(error: &ValidationError<'_>, source: &mut Source, pointer: &str, report: &mut Report) {
    let at = format!("{pointer}{}", error.instance_path());
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for name in unexpected {
                let place = format!("{at}/{}", escape(name));
                let known = known_keys();
                let remedy =
                    closest(name, &known).map_or_else(|| "remove it".to_string(), |k| format!("did you mean `{k}`?"));
                report.error("unknown-key", source.key(&place), format!("unknown key `{name}`"), remedy);
                source.remove(&place);
            }
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            report.error(
                "missing-key",
                source.key(&at),
                format!("`{name}` is missing here"),
                format!("add `{name} = …`"),
            );
        }
        ValidationErrorKind::AnyOf { context } if let Some(errors) = of_optional(context) => {
            errors.iter().for_each(|error| told(error, source, pointer, report));
        }
        ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. } => {
            let remedy = "write a value of the right form; for a secret `{ env = \"NAME\" }` or `{ file = \"path\" }`";
            // Not the value itself: it may hold a password.
            report.error("wrong-value", source.value_span(&at), error.masked().to_string(), remedy);
            source.remove(&at);
        }
        _ => {
            let remedy = "see `busbar print config-schema`, or the adapter's README for its config";
            report.error("wrong-value", source.value_span(&at), error.to_string(), remedy);
            source.remove(&at);
        }
    }
}

/// What is wrong with a part that may be left out, which schemars writes as "this or null".
fn of_optional<'a, 'b>(context: &'a [Vec<ValidationError<'b>>]) -> Option<&'a [ValidationError<'b>]> {
    let is_null = |branch: &[ValidationError<'_>]| match branch {
        [one] => matches!(one.kind(), ValidationErrorKind::Type { kind: TypeKind::Single(JsonType::Null) }),
        _ => false,
    };
    match context {
        [one, null] if is_null(null) => Some(one),
        _ => None,
    }
}

/// Puts something harmless where a key that must be there is missing or was taken out, so that one mistake
/// does not hide the others.
pub fn fill(config: &mut Value) {
    put(config, "name", "unnamed".into());
    if let Some(amqp) = config.get_mut("amqp") {
        put(amqp, "url", "".into());
        put(amqp, "publishers", Value::Array(Vec::new()));
    }
    for key in config.pointer_mut("/http/keys").and_then(Value::as_array_mut).into_iter().flatten() {
        put(key, "name", "".into());
        put(key, "rights", Value::Array(Vec::new()));
    }
    for publisher in config.pointer_mut("/amqp/publishers").and_then(Value::as_array_mut).into_iter().flatten() {
        put(publisher, "name", "".into());
    }
    for route in config.pointer_mut("/routes").and_then(Value::as_array_mut).into_iter().flatten() {
        put(route, "types", Value::Array(Vec::new()));
        put(route, "to", Value::Array(Vec::new()));
    }
    for (_, system) in config.pointer_mut("/systems").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(folder) = system.get_mut("folder") {
            put(folder, "path", "".into());
        }
    }
}

fn put(part: &mut Value, name: &str, value: Value) {
    if let Value::Object(map) = part {
        map.entry(name).or_insert(value);
    }
}

/// Every key that `busbar.toml` knows, to find what a misspelt one may mean.
fn known_keys() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(&schemars::schema_for!(Config).to_value(), &mut names);
    names
}

fn collect(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                names.extend(properties.keys().cloned());
            }
            map.values().for_each(|v| collect(v, names));
        }
        Value::Array(items) => items.iter().for_each(|v| collect(v, names)),
        _ => {}
    }
}

/// The known word nearest to `word`, if one is near.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a String>) -> Option<&'a String> {
    known
        .into_iter()
        .map(|k| (distance(word, k), k))
        .filter(|(d, k)| *d <= 1 + k.len() / 4)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

// Levenshtein distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let cost = if x == *y { diagonal } else { 1 + diagonal.min(left).min(*cell) };
            diagonal = *cell;
            *cell = cost;
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Reads the deployment's schemas; an empty catalog stands in for what could not be read.
pub fn schemas(folder: &Path, config: &Config, source: &Source, report: &mut Report) -> Catalog {
    read_catalog(&folder.join(&config.schemas)).unwrap_or_else(|errors| {
        for (kind, message, remedy) in errors {
            report.error(kind, source.value_span("/schemas"), message, remedy);
        }
        Catalog::default()
    })
}

type SchemaError = (&'static str, String, &'static str);

/// Reads `<root>/<type>/v<n>.json`.
///
/// # Errors
/// (kind, message, remedy) of every file that is no schema.
pub fn read_catalog(root: &Path) -> Result<Catalog, Vec<SchemaError>> {
    let missing = || {
        vec![(
            "missing-schemas",
            format!("no folder {}", root.display()),
            "set `schemas` to the folder of the canonical schemas",
        )]
    };
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(root).map_err(|_| missing())?.flatten() {
        let name = entry.file_name().to_string_lossy().to_string();
        for version in std::fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            let file = version.file_name().to_string_lossy().to_string();
            let Some(major) = file.strip_suffix(".json").filter(|m| m.starts_with('v')) else { continue };
            let text = std::fs::read(version.path()).map_err(|e| e.to_string());
            match text.and_then(|t| serde_json::from_slice::<Value>(&t).map_err(|e| e.to_string())) {
                Ok(schema) => found.push((format!("{name}.{major}"), schema)),
                Err(e) => errors.push(("broken-schema", format!("{}: {e}", version.path().display()), "mend the file")),
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let broken =
        |(name, reason): (String, String)| ("broken-schema", format!("schema `{name}`: {reason}"), "mend the schema");
    Catalog::compile(found).map_err(|errors| errors.into_iter().map(broken).collect())
}

pub fn http(config: &Config, source: &Source, report: &mut Report) {
    let listeners =
        [("/http/listen", Some(&config.http.listen)), ("/http/health-listen", config.http.health_listen.as_ref())];
    for (place, listen) in listeners {
        if let Some(listen) = listen.filter(|listen| listen.parse::<std::net::SocketAddr>().is_err()) {
            let message = format!("`{listen}` is no address with a port");
            report.error("wrong-value", source.value_span(place), message, "e.g. `127.0.0.1:8080`");
        }
    }
    for (i, key) in config.http.keys.iter().enumerate() {
        let at = format!("/http/keys/{i}");
        // One that was written in a wrong form is there, and reported already.
        match ["sha256", "certificate"].map(|name| source.says(&format!("{at}/{name}"))) {
            [false, false] => report.error(
                "missing-key",
                source.key(&at),
                "nobody is known by this entry",
                "add `sha256 = …` (`busbar key new`), or `certificate = …`",
            ),
            [true, true] => report.error(
                "wrong-value",
                source.key(&format!("{at}/certificate")),
                "an entry is known by `sha256` or by `certificate`: either one would do, both are not asked for",
                "write two entries, or remove one",
            ),
            _ => {}
        }
        let same = |other: &KeyConfig| {
            (!key.name.is_empty() && key.name == other.name)
                || (key.sha256.is_some() && key.sha256 == other.sha256)
                || (key.certificate.is_some() && key.certificate == other.certificate)
        };
        if config.http.keys.iter().take(i).any(same) {
            let message = format!("key `{}` is there twice", key.name);
            report.error(
                "duplicate-key",
                source.value_span(&format!("{at}/name")),
                message,
                "give every key its own name and value",
            );
        }
    }
}

/// Each system by itself, its adapter aside.
pub fn systems(config: &Config, source: &Source, report: &mut Report) {
    for (name, system) in &config.systems {
        let at = format!("/systems/{}", escape(name));
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            report.error(
                "wrong-value",
                source.key(&at),
                format!("`{name}` is no name of a system"),
                "use lower-case letters, digits and `-`",
            );
        }
        match (&system.adapter, system.via) {
            (Some(_), Some(_)) => report.error(
                "adapter-and-via",
                source.key(&format!("{at}/via")),
                "a system has either `adapter` or `via`",
                "remove one",
            ),
            (None, None) => report.error(
                "no-adapter",
                source.key(&at),
                format!("system `{name}` has neither `adapter` nor `via`"),
                "name its adapter, or `via = \"http\"` or `\"amqp\"` when it speaks canonical messages itself",
            ),
            (None, Some(ViaKind::Http)) if system.url.as_deref().is_none_or(|u| url::Url::parse(u).is_err()) => {
                report.error(
                    "missing-key",
                    source.key(&at),
                    format!("system `{name}` needs a `url` to post to"),
                    "add `url = \"https://…\"`",
                );
            }
            (None, Some(ViaKind::Amqp)) if config.amqp.is_none() => {
                report.error(
                    "no-amqp",
                    source.key(&format!("{at}/via")),
                    "`via = \"amqp\"` needs an [amqp] section",
                    "add `[amqp]` with the broker's `url`",
                );
            }
            _ => {}
        }
        secrets(name, system, &at, source, report);
        if system.limits.memory_bytes > crate::wasm::MEMORY_BYTES_MAX {
            report.error(
                "wrong-value",
                source.value_span(&format!("{at}/limits/memory-bytes")),
                "more memory than an instance can have",
                format!("at most {}", crate::wasm::MEMORY_BYTES_MAX),
            );
        }
    }
}

/// Of two systems that watch one folder each file would go to one of them, whichever comes first.
pub fn folders(config: &Config, source: &Source, report: &mut Report) {
    let mut watched = BTreeMap::new();
    for (name, system) in &config.systems {
        let Some(folder) = system.folder.as_ref().filter(|folder| !folder.path.is_empty()) else { continue };
        // Below something, so that a `.` at its start is left out as well.
        let path: PathBuf = Path::new("deployment").join(&folder.path).components().collect();
        if let Some(other) = watched.insert(path, name) {
            report.error(
                "same-folder",
                source.value_span(&format!("/systems/{}/folder/path", escape(name))),
                format!("`{other}` watches this folder as well"),
                "give every system a folder of its own",
            );
        }
    }
}

/// What a system says about its credentials.
fn secrets(name: &str, system: &SystemConfig, at: &str, source: &Source, report: &mut Report) {
    let hook = system.hook.as_ref();
    let used = [
        ("bearer", &system.bearer),
        ("hook/basic", &hook.and_then(|h| h.basic.clone())),
        ("hook/bearer", &hook.and_then(|h| h.bearer.clone())),
    ];
    for (place, credential) in used.into_iter().filter_map(|(p, c)| c.as_ref().map(|c| (p, c))) {
        // One that was written in a wrong form is there, and reported already.
        let written = source.says(&format!("{at}/credentials/{}", escape(credential)));
        if !system.credentials.contains_key(credential) && !written {
            report.error(
                "unknown-credential",
                source.value_span(&format!("{at}/{place}")),
                format!("no credential `{credential}` in this system"),
                format!("add it under [systems.{name}.credentials]"),
            );
        }
    }
    for (place, credential) in hook.iter().flat_map(|h| [("basic", &h.basic), ("bearer", &h.bearer)]) {
        let named = credential.as_ref().and_then(|name| system.credentials.get(name));
        if matches!(named, Some(CredentialConfig::Oauth2(_))) {
            report.error(
                "wrong-credential",
                source.value_span(&format!("{at}/hook/{place}")),
                "an OAuth 2.0 client is for requests that the hub sends, not for those that come",
                "name a secret: `{ env = \"NAME\" }` or `{ file = \"path\" }`",
            );
        }
    }
    if let Some(hook) = hook
        && hook.basic.is_none()
        && hook.bearer.is_none()
        && !hook.open
    {
        report.error(
            "open-hook",
            source.key(&format!("{at}/hook")),
            "nobody is authenticated at this hook",
            "set `basic` or `bearer`, or `open = true` when the adapter verifies a signature",
        );
    }
}
