//! A store that cannot be written for a while: a full disk, a database that is read-only, a failover. The hub says so, takes
//! nothing meanwhile, goes on by itself, and loses nothing.

use crate::hub::{Hub, READER, Standin, payment, wait_for, wait_for_at_most};
use crate::servers::{Server, psql};
use serde_json::Value;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A file system so small that it can be filled. Dropped, it is gone.
struct Small(TempDir);

impl Small {
    /// `None` for a user who may not mount.
    fn mount(size: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can mount a small disk");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("busbar-small-").tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0777"), "tmpfs"]).arg(folder.path());
        assert!(mount.status().unwrap().success());
        Some(Self(folder))
    }

    fn filler(&self) -> std::path::PathBuf {
        self.0.path().join("filler")
    }

    /// Takes all that is left.
    fn fill(&self) {
        let mut file = std::fs::File::options().create(true).append(true).open(self.filler()).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn deployment(store: &str, billing: &Standin) -> String {
    format!(
        r#"
[store]
url = "{store}"
[systems.billing]
via = "http"
url = "{}/payments"
[[routes]]
types = ["payment.received.v1"]
to = ["billing"]
"#,
        billing.url
    )
}

/// Publishes what may be refused; whether it was taken.
async fn try_publish(hub: &Hub, id: &str) -> bool {
    let answer = hub.post("application/cloudevents+json", payment(id, "100", "1.00").to_string()).await;
    match answer.status {
        202 => true,
        _ => {
            answer.problem(503, "store-unavailable");
            assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
            false
        }
    }
}

async fn is_ready(hub: &Hub) -> bool {
    let answer = hub.get("", "/readyz").await;
    let (ready, store) = (answer.body["ready"] == Value::Bool(true), answer.body["store"] == Value::Bool(true));
    assert_eq!((answer.status == 200, ready), (ready, store), "{answer:?}");
    ready
}

/// The ids of all that is in the journal and was delivered.
async fn delivered(hub: &Hub) -> Vec<String> {
    let mut ids = Vec::new();
    for message in hub.messages("").await {
        hub.settled(&message["seq"], &["done"]).await;
        ids.push(message["id"].as_str().unwrap().to_string());
    }
    ids.sort();
    ids
}

/// Publishes until it is refused, sees that the hub says so as long as it is so, and that it goes on after `mend` without
/// anybody doing anything.
async fn fails_and_goes_on(hub: &Hub, billing: &Standin, mend: impl FnOnce()) {
    let mut taken: Vec<String> = Vec::new();
    let mut refused = None;
    for number in 0..2_000 {
        let id = format!("p-{number:04}");
        match try_publish(hub, &id).await {
            true => taken.push(id),
            false => {
                refused = Some(id);
                break;
            }
        }
    }
    let refused = refused.expect("everything was taken");
    assert!(!is_ready(hub).await);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!is_ready(hub).await, "nobody could write meanwhile");
    mend();
    wait_for("readiness", async || is_ready(hub).await.then_some(())).await;
    assert!(try_publish(hub, &refused).await && try_publish(hub, "last").await);
    taken.extend([refused, "last".into()]);
    taken.sort();
    assert_eq!(delivered(hub).await, {
        let mut all = vec!["first".to_string()];
        all.extend(taken.iter().cloned());
        all.sort();
        all
    });
    assert_eq!(billing.seen().len(), taken.len() + 1, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_on_a_full_disk_goes_on_when_there_is_room_again() {
    let Some(disk) = Small::mount("8m") else { return };
    let billing = Standin::start(|_, _| (200, "")).await;
    let store = format!("sqlite:{}/busbar.db", disk.0.path().display());
    let mut hub = Hub::start(&deployment(&store, &billing));
    assert!(try_publish(&hub, "first").await && is_ready(&hub).await);
    disk.fill();
    fails_and_goes_on(&hub, &billing, || disk.free()).await;
    // It is all on the disk, not in the memory of a hub that went on.
    let before = delivered(&hub).await;
    hub.restart();
    assert_eq!(delivered(&hub).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_without_space_goes_on_when_there_is_room_again() {
    let Some(disk) = Small::mount("24m") else { return };
    let place = disk.0.path().join("tables");
    std::fs::create_dir(&place).unwrap();
    let server = tokio::task::spawn_blocking(Server::postgres).await.unwrap();
    assert!(Command::new("chown").args(["-R", "postgres"]).arg(disk.0.path()).status().unwrap().success());
    psql(&server.url, &format!("CREATE TABLESPACE small LOCATION '{}'", place.display()));
    psql(&server.url, "CREATE DATABASE small TABLESPACE small TEMPLATE template0");
    let billing = Standin::start(|_, _| (200, "")).await;
    let hub = Hub::start(&deployment(&server.url.replace("/postgres", "/small"), &billing));
    assert!(try_publish(&hub, "first").await && is_ready(&hub).await);
    disk.fill();
    fails_and_goes_on(&hub, &billing, || disk.free()).await;
}

fn read_only(server: &Server, is: bool) {
    psql(&server.url, &format!("ALTER SYSTEM SET default_transaction_read_only = {is}"));
    psql(&server.url, "SELECT pg_reload_conf()");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_that_is_read_only_for_a_while_is_noticed_and_gone_on_with() {
    let server = tokio::task::spawn_blocking(Server::postgres).await.unwrap();
    let billing = Standin::start(|_, _| (200, "")).await;
    let hub = Hub::start(&deployment(&server.url, &billing));
    assert!(try_publish(&hub, "first").await && is_ready(&hub).await);
    read_only(&server, true);
    // Also before anybody sends anything.
    wait_for("the hub to notice", async || (!is_ready(&hub).await).then_some(())).await;
    fails_and_goes_on(&hub, &billing, || read_only(&server, false)).await;
}

/// Where the hub thinks its database is: in front of whichever is the primary.
struct Front {
    port: u16,
    behind: Arc<AtomicU16>,
    tasks: JoinHandle<()>,
}

impl Front {
    async fn of(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (front, behind) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU16::new(port)));
        let to = behind.clone();
        let tasks = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let port = to.load(Ordering::SeqCst);
                open.spawn(async move {
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { port: front, behind, tasks }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

/// A primary and its standby, and a hub that reaches the first one through a front.
async fn pair() -> (Server, Server, Front, Standin, Hub) {
    let (primary, standby) = tokio::task::spawn_blocking(|| {
        let primary = Server::postgres();
        let standby = primary.standby();
        (primary, standby)
    })
    .await
    .unwrap();
    let front = Front::of(primary.port()).await;
    let url = primary.url.replace(&format!(":{}/", primary.port()), &format!(":{}/", front.port));
    let billing = Standin::start(|_, _| (200, "")).await;
    let hub = Hub::start(&deployment(&url, &billing));
    (primary, standby, front, billing, hub)
}

/// The old primary lives on, read-only, and so do the connections to it.
#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_fenced_primary_are_given_up() {
    let (primary, standby, front, _billing, hub) = pair().await;
    let accepted = hub.publish(&payment("first", "100", "1.00")).await;
    hub.settled(&accepted["seq"], &["done"]).await;
    read_only(&primary, true);
    wait_for("the hub to notice", async || (!is_ready(&hub).await).then_some(())).await;
    psql(&standby.url, "SELECT pg_promote()");
    front.behind.store(standby.port(), Ordering::SeqCst);
    wait_for_at_most("readiness", Duration::from_secs(60), async || is_ready(&hub).await.then_some(())).await;
    assert!(try_publish(&hub, "last").await);
    assert_eq!(delivered(&hub).await, ["first", "last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_the_hub_writes_to_the_new_primary() {
    let (mut primary, standby, front, _billing, hub) = pair().await;
    let accepted = hub.publish(&payment("first", "100", "1.00")).await;
    hub.settled(&accepted["seq"], &["done"]).await;
    // In order: the standby gets everything before the end.
    primary.stop();
    front.behind.store(standby.port(), Ordering::SeqCst);
    wait_for_at_most("the hub to notice", Duration::from_secs(60), async || {
        let answer = hub.get("", "/readyz").await;
        (answer.status == 503).then_some(())
    })
    .await;
    // A replica is there, and nothing is read from it: it may be behind.
    assert_eq!(hub.get(READER, "/v1/messages").await.status, 503);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!is_ready(&hub).await);
    psql(&standby.url, "SELECT pg_promote()");
    wait_for_at_most("readiness", Duration::from_secs(60), async || is_ready(&hub).await.then_some(())).await;
    assert!(try_publish(&hub, "last").await);
    assert_eq!(delivered(&hub).await, ["first", "last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_with_little_room_is_told_and_the_hub_goes_on() {
    let hub = Hub::start(&format!("[store]\nfree-bytes-min = {}", i64::MAX));
    let ready = wait_for("the alarm", async || {
        let answer = hub.get("", "/readyz").await;
        (answer.body["nearly-reached"] == serde_json::json!(["disk"])).then_some(answer)
    })
    .await;
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(hub.log().contains("a bound is nearly reached"), "{}", hub.log());
    let metrics = hub.get("", "/metrics").await.body;
    for name in ["busbar_disk_free_bytes ", "busbar_store_bytes "] {
        let value = metrics.as_str().unwrap().lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert!(value.parse::<f64>().unwrap() > 0.0, "{name}{value}");
    }
    assert!(try_publish(&hub, "first").await);
}
