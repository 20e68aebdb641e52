//! The measurements run: what a hub refuses, or a broker, ends them.

use crate::hub::{binary, root};
use crate::servers::vhost;
use serde_json::Value;
use std::process::Command;

#[test]
fn a_relay_is_measured() {
    let broker = vhost();
    for journal in ["none", "full"] {
        let mut command = Command::new(binary());
        command.args(["--json", "bench", "relay", "--amqp", &broker, "--journal", journal]).current_dir(root());
        let output = command.args(["--messages", "2000", "--rounds", "1", "--seconds", "0"]).output().unwrap();
        assert!(output.status.success(), "{journal}: {}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stdout).unwrap();
        let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert!(last["journal"] == journal && last["median-ratio"].as_f64().unwrap() > 0.0, "{told}");
    }
}
