//! Servers of others, written by nobody here: an IEC 60870-5-104 station of lib60870 (Python's c104) and an SMS centre of
//! node-smpp. `tests/run.sh` installs them; without them these tests say that nothing was checked.

use crate::hub::{Hub, READER, root, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Where `tests/run.sh` put what they need.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("BUSBAR_PEERS").map(PathBuf::from)
}

/// The same, where those parts of it are installed.
pub fn peers() -> Option<PathBuf> {
    let installed =
        |folder: &PathBuf| ["python", "node"].iter().all(|p| folder.join(format!("{p}.installed")).exists());
    folder().filter(installed)
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

fn station(folder: &std::path::Path, port: u16) -> Peer {
    let script = root().join("tests/fixtures/peers/iec104_server.py");
    let mut command = Command::new(folder.join("venv/bin/python"));
    Peer::start(command.arg(script).arg(port.to_string()).args(["128", "14000", "14001"]))
}

pub async fn ready(hub: &Hub, system: &str) {
    wait_for("a connection that is ready", async || {
        let systems = hub.get(READER, "/v1/systems").await.body;
        let state = systems.as_array()?.iter().find(|s| s["name"] == system)?["connection"]["state"].clone();
        (state == "ready").then_some(())
    })
    .await
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

#[tokio::test(flavor = "multi_thread")]
async fn a_station_of_lib60870_is_understood() {
    let Some(folder) = peers() else { return println!("NOT CHECKED: no lib60870 here (BUSBAR_PEERS)") };
    let port = crate::servers::free_port();
    let mut peer = station(&folder, port);
    let hub = Hub::start(&format!(
        r#"
[systems.scada]
adapter = "iec104"
connection = {{ connect = ["127.0.0.1:{port}"] }}
[[systems.scada.config.points]]
station = 128
object = 14000
id = "Q-7"
[[systems.scada.config.points]]
station = 128
object = 14001
id = "Q-8"
[systems.scada.policy]
backoff-first-ms = 100
backoff-max-ms = 500
[systems.scada.grants]
emit = ["outage.changed.v1"]
state = true
clock = true
"#
    ));
    ready(&hub, "scada").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    peer.say("off 14000");
    assert_eq!(peer.heard(), "sent");
    let told = stated(&hub, "outage.changed.v1", 1).await;
    assert_eq!(data(&hub, &told[0]).await["status"], "started");
    peer.say("on 14000");
    assert_eq!(peer.heard(), "sent");
    let told = stated(&hub, "outage.changed.v1", 2).await;
    let restored = data(&hub, &told[1]).await;
    assert_eq!((&restored["status"], &restored["equipment"][0]["id"]), (&json!("restored"), &json!("Q-7")));
    // What happens while the link is down is told by the interrogation.
    drop(peer);
    let mut peer = station(&folder, port);
    peer.say("off 14001");
    peer.heard();
    let told = stated(&hub, "outage.changed.v1", 3).await;
    let missed = data(&hub, &told[2]).await;
    assert_eq!((&missed["status"], &missed["equipment"][0]["id"]), (&json!("started"), &json!("Q-8")));
    let intakes = hub.intakes("system=scada").await;
    assert!(intakes.iter().all(|intake| intake["outcome"] == "accepted"), "{intakes:?}");
}

pub fn notification(id: &str, phone: &str, text: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/test/crm", "type": "notification.requested.v1", "subject": id,
        "data": { "id": id, "channel": "sms", "recipient": { "phone": phone }, "text": text },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sms_centre_of_node_smpp_is_understood() {
    let Some(folder) = peers() else { return println!("NOT CHECKED: no node-smpp here (BUSBAR_PEERS)") };
    let port = crate::servers::free_port();
    let mut command = Command::new("node");
    command.arg(root().join("tests/fixtures/peers/smpp_server.js")).args([&port.to_string(), "token-of"]);
    let mut peer = Peer::start(command.env("NODE_PATH", folder.join("node_modules")));
    let system = format!(
        r#"
[systems.sms]
adapter = "smpp"
connection = {{ connect = ["127.0.0.1:{port}"] }}
credentials = {{ word = {{ file = "secrets/sms" }} }}
[systems.sms.config]
system-id = "energo"
password = "word"
sender = "ENERGO"
[systems.sms.policy]
backoff-first-ms = 100
[systems.sms.grants]
credentials = ["word"]
emit = ["notification.delivered.v1", "notification.failed.v1", "appeal.received.v1"]
state = true
clock = true
[[routes]]
types = ["notification.requested.v1"]
to = ["sms"]
"#
    );
    let hub = Hub::prepared(&system, |folder| std::fs::write(folder.join("secrets/sms"), "token-of").unwrap());
    ready(&hub, "sms").await;
    let long = "Уважаемый потребитель! С 9:00 до 17:00 по адресу ул. Липовая, дома 1–15, будет отключена электроэнергия. Справки по телефону 8-495-555-01-00. Приносим извинения.";
    for (id, phone, text) in
        [("n-1", "+79005550111", "Power is off"), ("n-2", "+79005550112", long), ("n-9", "+79005550119", "Later")]
    {
        hub.publish(&notification(id, phone, text)).await;
    }
    let refused = hub.publish(&notification("n-0", "+79005550110", "Nobody")).await;
    let mut taken: Vec<Value> = (0..5).map(|_| serde_json::from_str(&peer.heard()).unwrap()).collect();
    taken.sort_by_key(|sms| sms["to"].as_str().unwrap().to_string());
    let of = |to: &str| {
        taken.iter().filter(|sms| sms["to"] == to).map(|sms| sms["text"].as_str().unwrap()).collect::<String>()
    };
    assert_eq!(
        (of("79005550111"), of("79005550112"), of("79005550119")),
        ("Power is off".into(), long.into(), "Later".into())
    );
    assert!(taken.iter().all(|sms| sms["from"] == "ENERGO"), "{taken:?}");
    // One receipt for each, however many parts it had.
    assert_eq!(stated(&hub, "notification.delivered.v1", 3).await.len(), 3);
    // A number that does not exist is an answer, too.
    let failed = stated(&hub, "notification.failed.v1", 1).await;
    assert_eq!(data(&hub, &failed[0]).await["id"], "n-0");
    hub.settled(&refused["seq"], &["done"]).await;
    peer.say("Когда дадут свет?");
    let asked = stated(&hub, "appeal.received.v1", 1).await;
    assert!(data(&hub, &asked[0]).await.to_string().contains("Когда дадут свет?"));
}
