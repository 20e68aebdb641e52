//! The example deployments: without mistakes, their mappings proved by cases, and their stories played to the end.

use crate::hub::{adapters, beside, binary, root};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const DEPLOYMENTS: [(&str, usize); 2] = [("grid-company", 9), ("energy-retailer", 7)];
/// Any value: what is checked is that nothing else is missing.
const SECRETS: [&str; 13] = [
    "ACCOUNTING_LOGIN",
    "BILLING_TOKEN",
    "CALLS_SECRET",
    "CONNECTION_TOKEN",
    "KNOWLEDGE_KEY",
    "METERING_TOKEN",
    "PORTAL_SECRET",
    "QUEUE_SECRET",
    "REPORTING_TOKEN",
    "SALES_LOGIN",
    "SMS_PASSWORD",
    "TERMINAL_LOGIN",
    "YOOKASSA_SHOP",
];

/// The deployment with the adapters of this build, and their digests.
fn furnished(name: &str) -> PathBuf {
    let folder = root().join("deploy").join(name);
    let (into, mut digests) = (folder.join("adapters"), String::new());
    std::fs::create_dir_all(&into).unwrap();
    for entry in std::fs::read_dir(adapters()).unwrap().flatten() {
        let (name, bytes) = (entry.file_name(), std::fs::read(entry.path()).unwrap());
        put(&into.join(&name), &bytes);
        if let Some(name) = name.to_str().filter(|name| name.ends_with(".wasm")) {
            let digest = busbar_server::wasm::inspect::inspect(&bytes).unwrap().sha256;
            digests.push_str(&format!("{digest}  {name}\n"));
        }
    }
    put(&into.join("SHA256SUMS"), digests.as_bytes());
    folder
}

/// Whole at once: the tests here run beside each other, over the same folders.
fn put(path: &Path, bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    file.write_all(bytes).unwrap();
    file.persist(path).unwrap();
}

fn ran(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn the_example_deployments_have_no_mistakes() {
    for (name, _) in DEPLOYMENTS {
        let folder = furnished(name);
        let mut check = Command::new(binary());
        let said =
            ran(check.arg("check").arg("--strict").arg(&folder).envs(SECRETS.map(|name| (name, "whsec_YW55dGhpbmc="))));
        assert!(said.contains("no mistakes"), "{said}");
    }
}

#[test]
fn the_mappings_of_the_example_deployments_do_what_their_cases_say() {
    for (name, _) in DEPLOYMENTS {
        let said = ran(Command::new(binary()).args(["adapter", "test", "--deployment"]).arg(furnished(name)));
        assert!(said.contains(" 0 failed"), "{said}");
    }
}

#[test]
fn the_stories_of_the_example_deployments_are_seen_to_their_end() {
    for (name, steps) in DEPLOYMENTS {
        let mut demo = Command::new(beside("busbar-demo"));
        demo.arg("--busbar").arg(binary()).arg("--deployment").arg(furnished(name));
        let said = ran(demo.args(["story", name]));
        assert!(said.contains(&format!("all of its {steps} steps were seen")), "{said}");
        println!("{said}");
    }
}
