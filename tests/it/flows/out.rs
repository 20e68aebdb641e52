//! Files out: each payment in one file, once, wherever the hub stops.

use crate::hostile;
use crate::hub::{Hub, payment, wait_for};
use busbar_core::fakes::{FakeClock, MemoryStore};
use busbar_core::ports::Store;
use busbar_core::{Commit, DeliveryState, Message, NewMessage, Planned, Policy, Shards, StateWrite};
use busbar_server::config::model::{Grants, Limits, OutConfig};
use busbar_server::hub::{Gate, Outbox, Turn, WasmAdapters};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// The test adapter, which writes a line for each payment and rejects those to the account `bad`.
fn files(out: &str) -> String {
    format!(
        r#"
[systems.files]
adapter = "hostile"
[systems.files.out]
path = "out"
{out}
[systems.files.policy]
attempts = 2
backoff-first-ms = 20
[[routes]]
types = ["payment.received.v1"]
to = ["files"]
"#
    )
}

/// Every file that the far end sees, by name.
fn written(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let file = |path: std::path::PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_string(), std::fs::read_to_string(&path).unwrap())
    };
    // A hidden one may get its name at any time.
    let named = entries.filter(|e| !e.file_name().to_string_lossy().starts_with('.'));
    named.map(|e| file(e.path())).collect()
}

fn lines(files: &BTreeMap<String, String>) -> Vec<String> {
    files.values().flat_map(|text| text.lines().map(str::to_string)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_becomes_a_file_and_what_is_rejected_goes_alone() {
    let hub = Hub::start(&files("every-ms = 100\nmessages-max = 100"));
    let batch = [("p-1", "1"), ("p-2", "bad"), ("p-3", "3"), ("p-4", "bad"), ("p-5", "1")];
    let batch: Vec<_> = batch.iter().map(|(id, account)| payment(id, account, "1.00")).collect();
    let answer = hub.post("application/cloudevents-batch+json", Value::from(batch).to_string()).await;
    assert_eq!(answer.status, 202);
    let taken = answer.body["accepted"].as_array().unwrap().clone();
    for (index, state) in ["done", "parked", "done", "waiting", "done"].iter().enumerate() {
        let trace = hub.settled(&taken[index]["seq"], &[state]).await;
        let delivery = &trace["deliveries"][0];
        match index {
            1 => assert_eq!((&delivery["error"]["code"], &delivery["attempts"]), (&json!("bad-account"), &json!(1))),
            3 => assert_eq!((&delivery["error"], &delivery["attempts"]), (&Value::Null, &json!(0))),
            _ => {
                let call = &delivery["calls"][0];
                assert_eq!(
                    (call["kind"].as_str(), &call["request"]["name"]),
                    (Some("file"), &json!("p-1.csv")),
                    "{trace}"
                );
            }
        }
    }
    assert_eq!(written(&hub.path("out")), BTreeMap::from([("p-1.csv".into(), "p-1;1\np-3;3\np-5;1\n".into())]));
    assert_eq!(std::fs::read_dir(hub.path("out")).unwrap().count(), 1, "something was left behind");
    // One more comes into a file of its own.
    let more = hub.publish(&payment("p-6", "1", "1.00")).await;
    hub.settled(&more["seq"], &["done"]).await;
    assert_eq!(written(&hub.path("out"))["p-6.csv"], "p-6;1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_payment_is_in_one_file_once_however_often_the_hub_is_killed() {
    const COUNT: usize = 400;
    let mut hub = Hub::start(&files("every-ms = 100\nmessages-max = 7"));
    for round in 0..4 {
        let numbers = round * COUNT / 4..(round + 1) * COUNT / 4;
        let batch: Vec<_> = numbers.map(|n| payment(&format!("p-{n:03}"), &format!("{}", n % 9), "1.00")).collect();
        let answer = hub.post("application/cloudevents-batch+json", Value::from(batch).to_string()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let wanted = round * COUNT / 4 + 20;
        wait_for("some", async || (lines(&written(&hub.path("out"))).len() >= wanted).then_some(())).await;
        hub.restart();
    }
    wait_for("all", async || (hub.messages("system=files&state=done").await.len() >= COUNT).then_some(())).await;
    let mut all = lines(&written(&hub.path("out")));
    all.sort();
    let expected: Vec<_> = (0..COUNT).map(|n| format!("p-{n:03};{}", n % 9)).collect();
    assert_eq!(all, expected);
}

/// An outbox over a store in memory with the real component, and three payments waiting.
async fn outbox(behaviour: &str) -> (TempDir, Arc<MemoryStore>, Outbox) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::default());
    let new = |n: u32| NewMessage {
        message: Arc::new(Message::from_structured(payment(&format!("p-{n}"), &n.to_string(), "1.00")).unwrap()),
        digest: n.to_string(),
        deliveries: vec![Planned { system: "files".into(), key: Some(n.to_string()), made: None, error: None }],
        place: None,
        stated_by: None,
        journal: busbar_core::Journal::Full,
    };
    let messages = (1..=3).map(new).collect();
    store.commit(vec![Commit { messages, ..Commit::default() }]).await.unwrap();
    let mut adapters = WasmAdapters::default();
    adapters.add("files".into(), Arc::new(hostile::caller(behaviour, "", Grants::default(), Limits::default())), None);
    let outbox = Outbox {
        system: "files".into(),
        folder: folder.path().join("out"),
        config: OutConfig { path: "out".into(), every_ms: 100, messages_max: 10 },
        policy: Policy { attempts_max: 2, backoff_first_ms: 100, backoff_max_ms: 100, wait_max_ms: 1_000 },
        store: store.clone(),
        adapters: Arc::new(adapters),
        clock: Arc::new(FakeClock::at(1_000_000)),
        gate: Gate::new(Turn(tokio::sync::watch::channel(Shards::ALL).1)),
        board: Arc::default(),
    };
    outbox.prepare().unwrap();
    (folder, store, outbox)
}

const WHOLE: &str = "p-1;1\np-2;2\np-3;3\n";

async fn states(store: &MemoryStore) -> Vec<(DeliveryState, i64)> {
    store.depths().await.unwrap().into_iter().map(|d| (d.state, d.count)).collect()
}

/// What the hub leaves when it is killed after the note was committed.
async fn leave_note(store: &MemoryStore, name: &str) {
    let ids: Vec<_> = store
        .ready("files", Shards::ALL, 0, 10)
        .await
        .unwrap()
        .deliveries
        .iter()
        .map(|d| (d.id, d.attempts, d.version))
        .collect();
    let note = json!({ "name": name, "deliveries": ids, "calls": [], "bytes": WHOLE.len() });
    let write = StateWrite { system: "files".into(), key: "busbar:file".into(), value: Some(note.to_string().into()) };
    store.commit(vec![Commit { state: vec![write], ..Commit::default() }]).await.unwrap();
}

async fn all_done(store: &MemoryStore) {
    assert_eq!(states(store).await, [(DeliveryState::Done, 3)]);
    assert_eq!(store.state("files", "busbar:file").await.unwrap(), None, "the note is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_from_every_place_at_which_it_can_be_killed() {
    // Killed while it wrote: what is hidden is half of a file, and nothing else happened.
    let (_folder, store, outbox) = outbox("ok").await;
    std::fs::write(outbox.folder.join(".busbar-files.part"), "p-1;1\np-").unwrap();
    assert!(outbox.once(true).await.unwrap());
    assert_eq!(written(&outbox.folder), BTreeMap::from([("p-1.csv".into(), WHOLE.into())]));
    all_done(&store).await;

    // Killed after the note: the hidden file is whole and gets the name in the note.
    let (_folder, store, outbox) = self::outbox("ok").await;
    leave_note(&store, "noted.csv").await;
    std::fs::write(outbox.folder.join(".busbar-files.part"), WHOLE).unwrap();
    assert!(!outbox.once(true).await.unwrap(), "there was nothing left to write");
    assert_eq!(written(&outbox.folder), BTreeMap::from([("noted.csv".into(), WHOLE.into())]));
    all_done(&store).await;

    // Killed after the renaming: the file is there, and stays what it is.
    let (_folder, store, outbox) = self::outbox("ok").await;
    leave_note(&store, "noted.csv").await;
    std::fs::write(outbox.folder.join("noted.csv"), WHOLE).unwrap();
    assert!(!outbox.once(true).await.unwrap());
    assert_eq!(written(&outbox.folder), BTreeMap::from([("noted.csv".into(), WHOLE.into())]));
    all_done(&store).await;

    // The same, and the far end has fetched the file meanwhile: it must not get it again.
    let (_folder, store, outbox) = self::outbox("ok").await;
    leave_note(&store, "noted.csv").await;
    assert!(!outbox.once(true).await.unwrap());
    assert!(written(&outbox.folder).is_empty());
    all_done(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_made_is_tried_again_and_given_up() {
    for (behaviour, code) in [("fail", "transient"), ("name", "adapter-other"), ("trap", "adapter-trap")] {
        let (_folder, store, outbox) = outbox(behaviour).await;
        assert!(!outbox.once(true).await.unwrap());
        assert_eq!(states(&store).await, [(DeliveryState::Ready, 3)], "{behaviour}");
        let waiting = store.ready("files", Shards::ALL, 0, 10).await.unwrap().deliveries;
        assert!(
            waiting.iter().all(|d| d.attempts == 1 && (1_000_050..=1_000_100).contains(&d.next_at_ms)),
            "{waiting:?}"
        );
        // Not before its time.
        outbox.once(true).await.unwrap();
        assert_eq!(store.ready("files", Shards::ALL, 0, 10).await.unwrap().deliveries, waiting);
        let later = Outbox { clock: Arc::new(FakeClock::at(1_000_200)), ..outbox };
        later.once(true).await.unwrap();
        assert_eq!(states(&store).await, [(DeliveryState::Parked, 3)], "{behaviour}");
        let seq = waiting[0].message_seq;
        let view = store.message(seq).await.unwrap().unwrap();
        assert_eq!(view.deliveries[0].error.as_ref().unwrap().code, code);
        assert!(written(&later.folder).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_far_end_has_not_fetched_is_not_written_over() {
    let (_folder, store, outbox) = outbox("same-name").await;
    std::fs::write(outbox.folder.join("payments.csv"), "of yesterday").unwrap();
    assert!(!outbox.once(true).await.unwrap());
    assert_eq!(written(&outbox.folder)["payments.csv"], "of yesterday");
    assert_eq!(states(&store).await, [(DeliveryState::Ready, 3)]);
    std::fs::remove_file(outbox.folder.join("payments.csv")).unwrap();
    let later = Outbox { clock: Arc::new(FakeClock::at(1_000_200)), ..outbox };
    assert!(later.once(true).await.unwrap());
    assert_eq!(written(&later.folder)["payments.csv"], WHOLE);
    all_done(&store).await;
}

/// The far end has the folder, and may put there what it likes.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_folder_is_written() {
    let hub = Hub::prepared(&files("every-ms = 100"), |folder| {
        std::fs::create_dir(folder.join("out")).unwrap();
        std::fs::write(folder.join("outside"), "mine").unwrap();
        std::os::unix::fs::symlink(folder.join("outside"), folder.join("out/.busbar-files.part")).unwrap();
    });
    let taken = hub.publish(&payment("p-1", "1", "1.00")).await;
    hub.settled(&taken["seq"], &["done"]).await;
    assert_eq!(std::fs::read_to_string(hub.path("outside")).unwrap(), "mine");
    assert!(hub.path("out/p-1.csv").symlink_metadata().unwrap().is_file(), "the far end got a link");
    assert_eq!(written(&hub.path("out"))["p-1.csv"], "p-1;1\n");
    // A link to nowhere has the name as well.
    std::os::unix::fs::symlink(hub.path("nowhere"), hub.path("out/p-2.csv")).unwrap();
    let taken = hub.publish(&payment("p-2", "1", "1.00")).await;
    hub.settled(&taken["seq"], &["parked"]).await;
    assert!(hub.path("out/p-2.csv").symlink_metadata().unwrap().is_symlink() && !hub.path("nowhere").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_to_is_told_once() {
    let hub = Hub::start(&files("every-ms = 100"));
    std::fs::create_dir_all(hub.path("out/.busbar-files.part/in-the-way")).unwrap();
    let taken = hub.publish(&payment("p-1", "1", "1.00")).await;
    wait_for("it is told", async || hub.log().contains("it must wait").then_some(())).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(hub.log().matches("it must wait").count(), 1, "{}", hub.log());
    let systems = hub.get(crate::hub::READER, "/v1/systems").await.body;
    let shown = systems.as_array().unwrap().iter().find(|s| s["name"] == "files").unwrap();
    assert_eq!(shown["files"]["outbox"]["held"], 1, "{systems}");
    std::fs::remove_dir_all(hub.path("out/.busbar-files.part")).unwrap();
    hub.settled(&taken["seq"], &["done"]).await;
}

/// Whoever clears the folder up may do so before a file has its name: then nobody has fetched it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_removed_before_it_has_its_name_is_made_again() {
    const COUNT: usize = 3_000;
    let hub = Hub::start(&files("every-ms = 100\nmessages-max = 10000"));
    let hidden = hub.path("out/.busbar-files.part");
    let removing = std::thread::spawn(move || {
        let began = std::time::Instant::now();
        while std::fs::remove_file(&hidden).is_err() {
            assert!(began.elapsed() < std::time::Duration::from_secs(30), "there never was one");
        }
    });
    for from in (0..COUNT).step_by(300) {
        let batch: Vec<_> = (from..from + 300).map(|n| payment(&format!("p-{n:04}"), &n.to_string(), "1.00")).collect();
        assert_eq!(hub.post("application/cloudevents-batch+json", Value::from(batch).to_string()).await.status, 202);
    }
    removing.join().unwrap();
    wait_for("all", async || hub.messages("state=ready").await.is_empty().then_some(())).await;
    let mut all = lines(&written(&hub.path("out")));
    all.sort();
    assert_eq!(all.len(), COUNT, "{:?}\n{}", all.first(), hub.log());
    all.dedup();
    assert_eq!(all.len(), COUNT, "some are in two files");
}
