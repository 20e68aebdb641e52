//! `busbar adapter new`: what it makes builds as it is and passes its case, for every entry.

use crate::hub::{binary, root};
use std::path::Path;
use std::process::Command;

const ENTRIES: [&str; 7] = ["deliver", "receive", "poll", "decode", "encode", "answer", "connection"];

/// The adapters' workspace without its adapters.
fn workspace(at: &Path) {
    for shared in ["wit", "schemas"] {
        std::os::unix::fs::symlink(root().join(shared), at.join(shared)).unwrap();
    }
    std::fs::create_dir(at.join("plugins")).unwrap();
    for file in ["Cargo.toml", "Cargo.lock", "clippy.toml"] {
        std::fs::copy(root().join("plugins").join(file), at.join("plugins").join(file)).unwrap();
    }
    let copied =
        Command::new("cp").arg("-r").arg(root().join("plugins/sdk")).arg(at.join("plugins/sdk")).status().unwrap();
    assert!(copied.success());
}

#[test]
fn a_new_adapter_builds_and_passes_its_case_whatever_it_is_for() {
    let place = tempfile::Builder::new().prefix("busbar-new-").tempdir().unwrap();
    workspace(place.path());
    let busbar = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(place.path());
        command.env("BUSBAR_PLUGINS_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-adapters"));
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for entry in ENTRIES {
        let (good, _, text) = busbar(&["adapter", "new", &format!("my-{entry}"), entry]);
        assert!(good, "{entry}: {text}");
    }
    let (good, _, text) = busbar(&["adapter", "new", "my-poll", "poll"]);
    assert!(!good && text.contains("is there already"), "{text}");
    let (good, _, text) = busbar(&["adapter", "new", "../poll", "poll"]);
    assert!(!good && text.contains("no name"), "{text}");
    let (good, _, text) = busbar(&["adapter", "build", "--all"]);
    assert!(good, "{text}");
    let (good, said, text) = busbar(&["adapter", "test"]);
    assert!(good && said.contains("7 cases passed, 0 failed"), "{said}{text}");
}
