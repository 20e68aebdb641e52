//! `busbar check`: a folder for every kind of mistake, `fixtures/check/<name>/{busbar.toml,expected.json}`.

use crate::hub::{adapters, binary, root};
use busbar_server::config::finding::Severity;
use busbar_server::deployment::load;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Kinds that no `busbar.toml` can show while the generated schema has no gap; and the file not being there.
const NOT_SHOWN: [&str; 2] = ["shape", "unreadable"];

/// A place like a repository: `schemas/`, and each case under `deploy/` with adapters, good and bad.
fn place() -> TempDir {
    let place = tempfile::Builder::new().prefix("busbar-check-").tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("schemas"), place.path().join("schemas")).unwrap();
    std::fs::create_dir(place.path().join("deploy")).unwrap();
    place
}

fn cases() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("tests/fixtures/check")).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn furnish(place: &Path, case: &str) -> PathBuf {
    let folder = place.join("deploy").join(case);
    for below in ["adapters", "secrets", "broken-schemas/a.b", "wrong-schemas/a.b"] {
        std::fs::create_dir_all(folder.join(below)).unwrap();
    }
    let from = root().join("tests/fixtures/check").join(case);
    for file in ["busbar.toml", "authorities.pem"].into_iter().filter(|file| from.join(file).exists()) {
        std::fs::copy(from.join(file), folder.join(file)).unwrap();
    }
    std::fs::write(folder.join("secrets/login"), "user:password\n").unwrap();
    std::fs::write(folder.join("secrets/empty"), "\n").unwrap();
    std::fs::write(folder.join("broken-schemas/a.b/v1.json"), "{").unwrap();
    std::fs::write(folder.join("wrong-schemas/a.b/v1.json"), r#"{"type": 5}"#).unwrap();
    for name in ["osmp", "rest-json", "client-bank-exchange", "iec104"] {
        std::os::unix::fs::symlink(adapters().join(name).with_extension("wasm"), adapter(&folder, name)).unwrap();
    }
    for name in ["unpinned", "changed"] {
        std::os::unix::fs::symlink(adapters().join("osmp.wasm"), adapter(&folder, name)).unwrap();
    }
    std::fs::write(adapter(&folder, "broken"), "no component").unwrap();
    std::fs::write(adapter(&folder, "foreign"), foreign()).unwrap();
    std::fs::write(adapter(&folder, "picky"), picky()).unwrap();
    std::fs::write(folder.join("adapters/SHA256SUMS"), digests(&folder)).unwrap();
    folder
}

fn adapter(folder: &Path, name: &str) -> PathBuf {
    folder.join("adapters").join(format!("{name}.wasm"))
}

fn digests(folder: &Path) -> String {
    let line = |name: &str| {
        let wasm = std::fs::read(adapter(folder, if name == "changed" { "rest-json" } else { name })).unwrap();
        format!("{}  {name}.wasm\n", busbar_server::wasm::inspect::inspect(&wasm).unwrap().sha256)
    };
    ["osmp", "rest-json", "client-bank-exchange", "iec104", "changed", "foreign", "picky"].map(line).concat()
}

/// A component whose only content is the import of an instance that the host does not have
/// (component-model, design/mvp/Binary.md).
fn foreign() -> Vec<u8> {
    let name = b"wasi:cli/environment@0.2.0";
    let import = [&[1, 0, name.len() as u8][..], name, &[5, 0]].concat();
    let head = [b"\0asm".as_slice(), &[0x0d, 0, 1, 0], &[7, 3, 1, 0x42, 0], &[10, import.len() as u8]].concat();
    [head, import].concat()
}

/// The webhook adapter, declaring that it takes payments alone.
fn picky() -> Vec<u8> {
    let wasm = std::fs::read(adapters().join("webhook.wasm")).unwrap();
    let (from, to) = (br#""delivers":["*"]"#, br#""delivers":["payment.received.v1"]"#);
    replaced_in_section(&wasm, from, to)
}

/// The manifest is the last section of a component: its length, LEB128, stands before its name.
fn replaced_in_section(wasm: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = wasm.windows(from.len()).rposition(|w| w == from).unwrap();
    let name = b"\x0ebusbar:adapter";
    let start = wasm.windows(name.len()).rposition(|w| w == name).unwrap();
    let content = [&wasm[start..at], to, &wasm[at + from.len()..]].concat();
    let old_length = (wasm.len() - start) as u64;
    let head = &wasm[..start - leb(old_length).len()];
    [head, &leb(content.len() as u64), &content].concat()
}

fn leb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        bytes.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            return bytes;
        }
    }
}

fn expected(case: &str) -> Vec<Value> {
    let path = root().join("tests/fixtures/check").join(case).join("expected.json");
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

/// What differs between the findings and what was expected, as lines.
fn differences(case: &str, found: &[Value]) -> Vec<String> {
    let mut left: Vec<&Value> = found.iter().collect();
    let mut lines = Vec::new();
    for wanted in expected(case) {
        let fits = |f: &&Value| {
            ["kind", "severity", "line"].iter().all(|field| f[field] == wanted[field])
                && f["remedy"].as_str().unwrap().contains(wanted["remedy"].as_str().unwrap())
        };
        match left.iter().position(fits) {
            Some(at) => drop(left.remove(at)),
            None => lines.push(format!("{case}: missing {wanted}")),
        }
    }
    lines.extend(left.iter().map(|f| format!("{case}: unexpected {f}")));
    lines
}

#[test]
fn every_mistake_is_found_at_its_line_with_a_remedy_and_nothing_else() {
    let place = place();
    let mut wrong = Vec::new();
    for case in cases() {
        let (deployment, report) = load(&furnish(place.path(), &case));
        let found: Vec<Value> = report.json().as_array().unwrap().clone();
        wrong.extend(differences(&case, &found));
        let errors = report.count(Severity::Error);
        assert_eq!(deployment.is_some(), errors == 0, "{case}");
        for finding in &found {
            assert!(
                !finding["remedy"].as_str().unwrap().is_empty() && finding["column"].as_u64() > Some(0),
                "{finding}"
            );
        }
        let text = report.render(false);
        for finding in &found {
            let (kind, message) = (finding["kind"].as_str().unwrap(), finding["message"].as_str().unwrap());
            let line = message.lines().next().unwrap();
            assert!(text.contains(&format!("[{kind}]")) && text.contains(line), "{case}: {line} is not in\n{text}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_expression_that_does_not_compile_is_found_at_its_line() {
    let place = place();
    let folder = furnish(place.path(), "good");
    let settings = r#"
[systems.portal]
adapter = "rest-json"
[systems.portal.config]
base-url = "https://portal.example"
[systems.portal.config.deliver."payment.received.v1"]
path = "/payments"
body = ".data | tonumbers"
[systems.portal.grants]
http = ["https://portal.example"]
"#;
    let written = |settings: &str| {
        std::fs::write(folder.join("busbar.toml"), format!("name = \"example\"{settings}")).unwrap();
        let shown = Command::new(binary()).args(["--json", "check"]).arg(&folder).output().unwrap();
        serde_json::from_slice::<Value>(&shown.stdout).unwrap()
    };
    let found = written(settings);
    let finding = &found[0];
    assert_eq!((&finding["kind"], &finding["line"]), (&"bad-settings".into(), &8.into()), "{found}");
    assert!(finding["message"].as_str().unwrap().contains("tonumbers"), "{found}");
    assert_eq!(written(&settings.replace("tonumbers", "tostring")), serde_json::json!([]));
}

/// The words after `.error(` and `.warning(` in the sources of the check.
fn kinds_in_source() -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    let folders = ["host/server/src/config", "host/server/src/deployment"];
    for entry in folders.iter().flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap().flatten()) {
        let text = std::fs::read_to_string(entry.path()).unwrap();
        for call in [".error(", ".warning(", "vec![(", "Err(e) => errors.push((", "(\"broken-schema\""] {
            for (at, _) in text.match_indices(call) {
                let rest = text[at + call.len()..].trim_start();
                let Some(literal) = rest.strip_prefix('"') else { continue };
                kinds.extend(literal.split('"').next().map(str::to_string));
            }
        }
    }
    kinds
}

#[test]
fn every_kind_of_mistake_has_a_case() {
    let of_case =
        |case: &String| expected(case).iter().map(|e| e["kind"].as_str().unwrap().to_string()).collect::<Vec<_>>();
    let shown: BTreeSet<String> = cases().iter().flat_map(of_case).collect();
    let known = kinds_in_source();
    assert!(known.len() > 20, "{known:?}");
    let without: Vec<_> = known.iter().filter(|k| !shown.contains(*k) && !NOT_SHOWN.contains(&k.as_str())).collect();
    assert!(without.is_empty(), "no case shows {without:?}");
}

fn check(folder: &Path, more: &[&str]) -> Output {
    Command::new(binary()).arg("check").arg(folder).args(more).output().unwrap()
}

#[test]
fn ten_mistakes_are_reported_at_once_and_the_exit_code_tells() {
    let place = place();
    let ten = furnish(place.path(), "ten-mistakes");
    let output = check(&ten, &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found.len() >= 10, "{found:?}");
    let wrong = differences("ten-mistakes", &found);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found.iter().all(|f| f["file"].as_str().unwrap().ends_with("ten-mistakes/busbar.toml")));
    let text = String::from_utf8(check(&ten, &[]).stdout).unwrap();
    for part in ["min-sum = 10", "did you mean `schemas`", "busbar.toml:", "10 errors, 1 warnings"] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }

    let good = check(&furnish(place.path(), "good"), &["--json", "--strict"]);
    assert_eq!((good.status.code(), good.stdout.as_slice()), (Some(0), b"[]\n".as_slice()));
    let warned = furnish(place.path(), "unused-grant");
    assert_eq!(check(&warned, &[]).status.code(), Some(0));
    assert_eq!(check(&warned, &["--strict"]).status.code(), Some(1));
    let nowhere = check(&place.path().join("nowhere"), &["--json"]);
    assert_eq!(nowhere.status.code(), Some(1));
    let found: Vec<Value> = serde_json::from_slice(&nowhere.stdout).unwrap();
    assert_eq!(found[0]["kind"], "unreadable");
    assert_eq!(Command::new(binary()).args(["check", "a", "b"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_hub_does_not_start_with_mistakes_and_names_them() {
    let place = place();
    let output = Command::new(binary()).arg("run").arg(furnish(place.path(), "ten-mistakes")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("unknown-key") && text.contains("nothing was started"), "{text}");
}
