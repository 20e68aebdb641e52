//! Generated documents are what the program prints, and the demo tells a true story.

use crate::hub::{adapters, beside, binary, root};
use std::process::Command;

#[test]
fn generated_documents_are_up_to_date() {
    let documents = [
        ("openapi", "openapi.json"),
        ("asyncapi", "asyncapi.json"),
        ("config-schema", "config.schema.json"),
        ("errors", "errors.md"),
        ("rights", "rights.md"),
    ];
    for (document, file) in documents {
        let output = Command::new(binary()).args(["print", document]).current_dir(root()).output().unwrap();
        assert!(output.status.success());
        let printed = String::from_utf8(output.stdout).unwrap();
        let kept = std::fs::read_to_string(root().join("host/docs").join(file)).unwrap();
        assert!(printed == kept, "host/docs/{file} drifted: busbar print {document} > host/docs/{file}");
    }
}

/// Every command and file that the READMEs name is there.
#[test]
fn readmes_name_what_exists() {
    let help = |arguments: &[&str]| {
        let output = Command::new(binary()).args(arguments).arg("--help").output().unwrap();
        output.status.success()
    };
    for arguments in [
        &["run"][..],
        &["check"],
        &["send"],
        &["messages"],
        &["messages", "show"],
        &["messages", "intakes"],
        &["adapter", "build"],
        &["adapter", "inspect"],
        &["adapter", "try"],
        &["adapter", "test"],
        &["adapter", "fuzz"],
        &["adapter", "new"],
        &["key", "new"],
        &["print"],
    ] {
        assert!(help(arguments), "busbar {}", arguments.join(" "));
    }
    for readme in [
        "README.md",
        "host/README.md",
        "plugins/README.md",
        "schemas/README.md",
        ".github/CONTRIBUTING.md",
        "deploy/README.md",
        "deploy/demo/README.md",
        "deploy/grid-company/README.md",
        "deploy/energy-retailer/README.md",
    ] {
        let text = std::fs::read_to_string(root().join(readme)).unwrap();
        let folder = root().join(readme).parent().unwrap().to_path_buf();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            assert!(
                path.is_empty() || path.starts_with("http") || folder.join(path).exists(),
                "{readme} links to {link}"
            );
        }
    }
}

/// The demo as it stands, on its own ports.
#[test]
fn the_demo_passes() {
    let demo = beside("busbar-demo");
    let folder = root().join("deploy/demo");
    std::fs::create_dir_all(folder.join("adapters")).unwrap();
    for entry in std::fs::read_dir(adapters()).unwrap().flatten() {
        let copy = folder.join("adapters").join(entry.file_name());
        // Copied onto itself a file is empty.
        if copy.canonicalize().ok() != entry.path().canonicalize().ok() {
            std::fs::copy(entry.path(), copy).unwrap();
        }
    }
    let output = Command::new(demo).arg("--busbar").arg(binary()).arg("--deployment").arg(&folder).output().unwrap();
    let story = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{story}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(story.contains("Everything arrived"), "{story}");
}
