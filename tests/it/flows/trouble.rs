//! A far end that cannot be talked to is one clear state, not an intake every few seconds.

use crate::hub::{Hub, OFFICER, READER, wait_for};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A slave that confirms STARTDT and numbers its first I frame 1, as some real ones do (IEC 60870-5-104, section 5.1:
/// both ends begin with 0).
async fn slave(first: u16) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut start = [0; 6];
            if stream.read_exact(&mut start).await.is_err() {
                continue;
            }
            let [low, high] = (first << 1).to_le_bytes();
            // An interrogation that is confirmed: type 100, cause 7, station 128.
            let confirmed = [0x68, 0x0e, low, high, 0, 0, 100, 1, 7, 0, 128, 0, 0, 0, 0, 20];
            let frames = [&[0x68, 4, 0x0b, 0, 0, 0][..], &confirmed].concat();
            if stream.write_all(&frames).await.is_ok() {
                let mut rest = [0; 64];
                while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
            }
        }
    });
    (address, count)
}

fn deployment(address: &str) -> String {
    format!(
        r#"
[systems.scada]
adapter = "iec104"
connection = {{ connect = ["{address}"] }}
[[systems.scada.config.points]]
station = 128
object = 14000
id = "Q-7"
[systems.scada.policy]
backoff-first-ms = 20
backoff-max-ms = 100
[systems.scada.grants]
emit = ["outage.changed.v1"]
state = true
clock = true
"#
    )
}

async fn connection(hub: &Hub, key: &str) -> Value {
    let systems = hub.get(key, "/v1/systems").await.body;
    systems.as_array().unwrap().iter().find(|s| s["name"] == "scada").unwrap()["connection"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_end_that_breaks_the_protocol_each_time_is_failing_and_told_of_once() {
    let (address, count) = slave(1).await;
    let hub = Hub::start(&deployment(&address));
    wait_for("some tries", async || (count.load(Ordering::SeqCst) >= 4).then_some(())).await;
    for _ in 0..20 {
        let shown = connection(&hub, READER).await;
        assert_eq!(shown["state"], "failing", "{shown}");
        assert!(shown["last-error"].is_string() && shown["failures"].as_u64() >= Some(2), "{shown}");
        assert!(shown["retry-at-ms"].is_i64(), "{shown}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = hub.intakes("outcome=refused").await;
    assert_eq!(refused.len(), 1, "{refused:?}");
    let connections = count.load(Ordering::SeqCst);
    assert!(connections >= 6, "{connections}");
    // In words only for those who may see what a far end says.
    assert!(connection(&hub, READER).await["reason"].is_null());
    assert!(connection(&hub, OFFICER).await["reason"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_keeps_to_it_is_ready() {
    let (address, _) = slave(0).await;
    let hub = Hub::start(&deployment(&address));
    wait_for("ready", async || (connection(&hub, READER).await["state"] == "ready").then_some(())).await;
    assert!(hub.intakes("outcome=refused").await.is_empty());
}

#[test]
fn a_broker_that_takes_the_connection_and_never_greets_does_not_hang_the_start() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("amqp://guest:guest@{}/%2f", silent.local_addr().unwrap());
    let schemas = crate::hub::root().join("schemas").display().to_string();
    let deployment = format!("name = \"example\"\nschemas = \"{schemas}\"\n[amqp]\nurl = \"{url}\"\npublishers = []\n");
    crate::hub::furnish(folder.path(), &deployment);
    let mut command = std::process::Command::new("timeout");
    command.arg("60").arg(crate::hub::binary()).arg("run").arg(folder.path()).args(["--listen", "127.0.0.1:0"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("broker-unavailable: the broker does not answer"), "{said}");
}
