//! Libraries of others as servers of their own, which `judges` talks to. `tests/run.sh` installs them; where they are not, the tests
//! say that nothing was checked.

use crate::hub::{Hub, READER, wait_for};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Where `tests/run.sh` put what they need.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("BUSBAR_PEERS").map(PathBuf::from)
}

/// A server as a child process that is told what to do in lines, and answers in lines.
pub struct Peer {
    child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Peer {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (send, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut peer = Self { input: child.stdin.take().unwrap(), child, lines };
        assert!(peer.heard().contains("ready"));
        peer
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    pub fn heard(&mut self) -> String {
        self.lines.recv_timeout(Duration::from_secs(20)).expect("the peer says nothing")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn is_ready(hub: &Hub, system: &str) -> bool {
    let systems = hub.get(READER, "/v1/systems").await.body;
    systems.as_array().unwrap().iter().any(|s| s["name"] == system && s["connection"]["state"] == "ready")
}

pub async fn ready(hub: &Hub, system: &str) {
    wait_for("a connection that is ready", async || is_ready(hub, system).await.then_some(())).await
}

/// What the hub has of this type, oldest first, once there are so many.
pub async fn stated(hub: &Hub, kind: &str, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} {kind}"), async || {
        let found = hub.messages(&format!("type={kind}")).await;
        (found.len() >= count).then_some(found)
    })
    .await
    .into_iter()
    .rev()
    .collect()
}

pub async fn data(hub: &Hub, message: &Value) -> Value {
    hub.trace(&message["seq"]).await["message"]["data"].clone()
}
