//! Files out: each payment in one file, once, wherever the hub stops.

use crate::hostile;
use crate::hub::{Hub, payment, wait_for};
use busbar_core::engine::{BreakerPolicy, Engine, Event, FileRules, SystemRules};
use busbar_core::fakes::MemoryStore;
use busbar_core::files::{Begun, ahead};
use busbar_core::leases::Lease;
use busbar_core::ports::Store;
use busbar_core::{
    Act, Commit, Decider, DeliveryFilter, DeliveryState, DeliveryView, Message, NewMessage, Operation, Planned, Policy,
    Shards, StateWrite, States,
};
use busbar_server::config::model::{Grants, Limits};
use busbar_server::hub::{Attempter, Driver, Outbox, SystemClock, WasmAdapters, WriterThread};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

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

/// A hub's engine over a store in memory with the real component, and three payments waiting.
struct Works {
    folder: TempDir,
    store: Arc<MemoryStore>,
    driver: Arc<Driver>,
    attempter: Arc<Attempter>,
    stop: CancellationToken,
}

impl Works {
    async fn new(behaviour: &str) -> Self {
        Self::with(behaviour, 10).await
    }

    /// With files of none, the system gets its deliveries one by one.
    async fn with(behaviour: &str, messages_max: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::default());
        let new = |n: u32| NewMessage {
            message: Arc::new(Message::from_structured(payment(&format!("p-{n}"), &n.to_string(), "1.00")).unwrap()),
            marks: n.to_string().into(),
            deliveries: vec![Planned { system: "files".into(), key: Some(n.to_string()), ..Planned::default() }],
            place: None,
            stated_by: None,
            journal: busbar_core::Journal::Full,
        };
        let messages = (1..=3).map(new).collect();
        store.commit(vec![Commit { messages, ..Commit::default() }]).await.unwrap();
        let mut adapters = WasmAdapters::default();
        let caller = hostile::caller(behaviour, "", Grants::default(), Limits::default());
        adapters.add("files".into(), Arc::new(caller), None);
        let (adapters, clock) = (Arc::new(adapters), Arc::new(SystemClock));
        let rules = SystemRules {
            policy: Policy { attempts_max: 2, backoff_first_ms: 300, backoff_max_ms: 300, wait_max_ms: 1_000 },
            breaker: BreakerPolicy::default(),
            rate: None,
            in_flight_max: messages_max.max(1),
            window_max: 20,
            files: (messages_max > 0).then_some(FileRules { messages_max, every_ms: 100 }),
        };
        let engine = Engine::new([("files".to_string(), rules)]);
        let (driver, attempts) = Driver::new(engine, store.clone(), WriterThread::start().unwrap(), clock.clone());
        let outbox = Outbox {
            system: "files".into(),
            folder: folder.path().to_path_buf(),
            store: store.clone(),
            committer: driver.clone(),
            adapters: adapters.clone(),
            clock,
            lease: Arc::new(Lease::for_ever()),
            board: Arc::default(),
            told: Mutex::default(),
        };
        let stop = CancellationToken::new();
        let attempter = Arc::new(Attempter {
            rules: Arc::default(),
            adapters,
            via: Arc::default(),
            stating: Default::default(),
            outboxes: BTreeMap::from([("files".to_string(), outbox)]),
            store: store.clone(),
            stop: stop.clone(),
        });
        tokio::spawn(attempter.clone().work(attempts, driver.clone(), stop.clone()));
        Self { folder, store, driver, attempter, stop }
    }

    /// What a hub leaves that is killed after it wrote ahead.
    async fn begun(self, begun: &Begun) -> Self {
        self.begin(begun).await;
        self
    }

    async fn begin(&self, begun: &Begun) {
        let waiting = self.store.ready("files", Shards::ALL, 0, 10).await.unwrap().deliveries;
        let mut started = ahead(&waiting, begun, 0);
        started.iter_mut().zip(&waiting).for_each(|(started, delivery)| started.expected = delivery.version);
        let commit = Commit { started, ..Commit::default() };
        assert!(self.store.commit(vec![commit]).await.unwrap()[0].is_ok());
    }

    fn start(&self) {
        self.driver.start(Shards::ALL, self.stop.clone());
    }

    async fn states(&self) -> Vec<(DeliveryState, i64)> {
        self.store.depths().await.unwrap().into_iter().map(|d| (d.state, d.count)).collect()
    }

    /// Starts it and waits until all are in this state.
    async fn ends(&self, state: DeliveryState) -> BTreeMap<String, String> {
        self.start();
        wait_for("all have ended", async || (self.states().await == [(state, 3)]).then_some(())).await;
        written(self.folder.path())
    }

    async fn view(&self) -> DeliveryView {
        let filter = DeliveryFilter { states: States::One(DeliveryState::Parked), limit: 1, ..Default::default() };
        self.store.deliveries(&filter).await.unwrap().pop().unwrap().1
    }
}

impl Drop for Works {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const WHOLE: &str = "p-1;1\np-2;2\np-3;3\n";
const PART: &str = ".busbar-files-2-01890a5d-ac96-774b-bcce-b302099a8056.part";

fn one(name: &str, text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.into(), text.into())])
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_from_every_place_at_which_it_can_be_killed() {
    let begun = Begun { name: "begun.csv".into(), part: PART.into() };
    // Killed while it wrote: what is hidden is half of a file, and nothing else happened.
    let works = Works::new("ok").await;
    let part = works.folder.path().join(PART);
    std::fs::write(&part, "p-1;1\np-").unwrap();
    assert_eq!(works.ends(DeliveryState::Done).await, one("p-1.csv", WHOLE));
    // It goes when nobody can be about to go on with it any more.
    works.attempter.clear_up().await;
    assert!(part.exists());
    let days_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 24 * 3600);
    std::fs::File::options().write(true).open(&part).unwrap().set_modified(days_ago).unwrap();
    works.attempter.clear_up().await;
    assert!(!part.exists(), "what nobody knows of stays for ever");

    // Killed after it was written ahead: the hidden file is whole, gets its name, and was never cleared up.
    let works = Works::new("ok").await.begun(&begun).await;
    let part = works.folder.path().join(PART);
    std::fs::write(&part, WHOLE).unwrap();
    std::fs::File::options().write(true).open(&part).unwrap().set_modified(days_ago).unwrap();
    works.attempter.clear_up().await;
    assert_eq!(works.ends(DeliveryState::Done).await, one("begun.csv", WHOLE));

    // Killed after the renaming: the file is there, and stays what it is.
    let works = Works::new("ok").await.begun(&begun).await;
    std::fs::write(works.folder.path().join("begun.csv"), WHOLE).unwrap();
    assert_eq!(works.ends(DeliveryState::Done).await, one("begun.csv", WHOLE));

    // The same, and the far end has fetched the file meanwhile: it must not get it again.
    let works = Works::new("ok").await.begun(&begun).await;
    assert_eq!(works.ends(DeliveryState::Done).await, BTreeMap::new());

    // An earlier version of the hub left its note in the system's state.
    let works = Works::new("ok").await;
    goes_on_from_a_note(works).await;
}

async fn goes_on_from_a_note(works: Works) {
    let waiting = works.store.ready("files", Shards::ALL, 0, 10).await.unwrap().deliveries;
    let ids: Vec<_> = waiting.iter().map(|d| (d.id, d.attempts, d.version)).collect();
    let note = json!({ "name": "noted.csv", "deliveries": ids, "calls": [], "bytes": WHOLE.len() });
    let write = StateWrite { system: "files".into(), key: "busbar:file".into(), value: Some(note.to_string().into()) };
    works.store.commit(vec![Commit { state: vec![write], ..Commit::default() }]).await.unwrap();
    std::fs::write(works.folder.path().join(".busbar-files.part"), WHOLE).unwrap();
    assert_eq!(works.ends(DeliveryState::Done).await, one("noted.csv", WHOLE));
    assert_eq!(works.store.state("files", "busbar:file").await.unwrap(), None, "the note is still there");
}

/// The file of an earlier version's note has more deliveries than one file may have now.
#[tokio::test(flavor = "multi_thread")]
async fn a_noted_file_is_not_made_again_of_those_that_come_later() {
    let works = Works::with("ok", 2).await;
    goes_on_from_a_note(works).await;
}

/// Names of systems may begin alike, and systems may share a folder.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_system_has_begun_is_not_cleared_up() {
    let works = Works::new("ok").await;
    let part = works.folder.path().join(".busbar-files-2-17-01890a5d-ac96-774b-bcce-b302099a8057.part");
    std::fs::write(&part, WHOLE).unwrap();
    let days_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 24 * 3600);
    std::fs::File::options().write(true).open(&part).unwrap().set_modified(days_ago).unwrap();
    works.attempter.clear_up().await;
    assert!(part.exists(), "it is the one of `files-2`");
}

/// Another hub took the deliveries over between this one's look at them and its file: of what that one began nothing is
/// touched, and then it is gone on with.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_hub_began_is_neither_removed_nor_made_again() {
    let begun = Begun { name: "begun.csv".into(), part: PART.into() };
    for before in [false, true] {
        let works = Works::new("ok").await;
        if before {
            works.begin(&begun).await;
        }
        works.driver.feed([Event::Pause { system: "files".into(), paused: true }]);
        works.start();
        let read = async || (works.driver.statuses()["files"].held == 3).then_some(());
        wait_for("they are read", read).await;
        works.begin(&begun).await;
        std::fs::write(works.folder.path().join(PART), WHOLE).unwrap();
        works.driver.feed([Event::Pause { system: "files".into(), paused: false }]);
        let done = async || (works.states().await == [(DeliveryState::Done, 3)]).then_some(());
        wait_for("all are done", done).await;
        assert_eq!(written(works.folder.path()), one("begun.csv", WHOLE), "begun before the look: {before}");
        assert_eq!(std::fs::read_dir(works.folder.path()).unwrap().count(), 1, "something was left behind");
    }
}

/// Whoever takes `out` out of a system in the middle of a file: what may be in the folder is not delivered besides.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_as_a_file_is_not_delivered_in_another_way_before_a_person_says_so() {
    let works = Works::with("ok", 0).await.begun(&Begun { name: "begun.csv".into(), part: PART.into() }).await;
    works.ends(DeliveryState::Parked).await;
    let view = works.view().await;
    let error = view.error.unwrap();
    assert!(error.code == "unknown-outcome" && error.detail.contains("begun.csv"), "{error:?}");
    let filter = DeliveryFilter { states: States::One(DeliveryState::Parked), limit: 9, ..Default::default() };
    for (seq, view) in works.store.deliveries(&filter).await.unwrap() {
        let operation = Operation {
            delivery: view.id,
            system: "files".into(),
            shard: Shards::of("files", view.key.as_deref(), seq),
            act: Act::Retry,
            state: view.state,
            seen: view.version,
            decider: Decider::new("person"),
        };
        let commit = Commit { operation: Some(operation), ..Commit::default() };
        assert!(works.driver.commit(commit).await.unwrap().is_ok());
    }
    let done = async || (works.states().await == [(DeliveryState::Done, 3)]).then_some(());
    wait_for("all are delivered", done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_system_makes_no_file() {
    let begun = Begun { name: "begun.csv".into(), part: PART.into() };
    let works = Works::new("ok").await.begun(&begun).await;
    std::fs::write(works.folder.path().join(PART), WHOLE).unwrap();
    works.driver.feed([Event::Pause { system: "files".into(), paused: true }]);
    works.start();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(works.states().await, [(DeliveryState::Ready, 3)], "a paused system is left alone");
    assert!(works.driver.statuses()["files"].paused);
    works.driver.feed([Event::Pause { system: "files".into(), paused: false }]);
    assert_eq!(works.ends(DeliveryState::Done).await, one("begun.csv", WHOLE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_made_is_tried_again_and_given_up() {
    for (behaviour, code) in [("fail", "transient"), ("name", "adapter-other"), ("trap", "adapter-trap")] {
        let works = Works::new(behaviour).await;
        works.start();
        let waiting = wait_for("the first attempt", async || {
            let waiting = works.store.ready("files", Shards::ALL, 0, 10).await.unwrap().deliveries;
            (waiting.len() == 3 && waiting.iter().all(|d| d.attempts == 1)).then_some(waiting)
        });
        let waiting = waiting.await;
        assert!(waiting.iter().all(|d| d.tries == 1 && d.next_at_ms > 0), "{behaviour}: {waiting:?}");
        let parked = async || (works.states().await == [(DeliveryState::Parked, 3)]).then_some(());
        wait_for(&format!("{behaviour}: given up"), parked).await;
        let view = works.view().await;
        assert_eq!((view.attempts, view.error.unwrap().code.as_str()), (2, code));
        assert_eq!(std::fs::read_dir(works.folder.path()).unwrap().count(), 0, "{behaviour} left something behind");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_far_end_has_not_fetched_is_not_written_over() {
    let works = Works::new("same-name").await;
    let taken = works.folder.path().join("payments.csv");
    std::fs::write(&taken, "of yesterday").unwrap();
    works.start();
    let tried = async || {
        let waiting = works.store.ready("files", Shards::ALL, 0, 10).await.unwrap().deliveries;
        waiting.iter().any(|d| d.attempts == 1).then_some(())
    };
    wait_for("the first attempt", tried).await;
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "of yesterday");
    std::fs::remove_file(taken).unwrap();
    assert_eq!(works.ends(DeliveryState::Done).await, one("payments.csv", WHOLE));
}

/// The far end has the folder, and may put there what it likes.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_folder_is_written() {
    let hub = Hub::prepared(&files("every-ms = 100"), |folder| {
        std::fs::create_dir(folder.join("out")).unwrap();
        std::fs::write(folder.join("outside"), "mine").unwrap();
        std::os::unix::fs::symlink(folder.join("outside"), folder.join("out/p-0.csv")).unwrap();
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
    std::fs::remove_dir(hub.path("out")).unwrap();
    std::fs::write(hub.path("out"), "in the way").unwrap();
    let taken = hub.publish(&payment("p-1", "1", "1.00")).await;
    wait_for("it is told", async || hub.log().contains("it must wait").then_some(())).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(hub.log().matches("it must wait").count(), 1, "{}", hub.log());
    let systems = hub.get(crate::hub::READER, "/v1/systems").await.body;
    let shown = systems.as_array().unwrap().iter().find(|s| s["name"] == "files").unwrap();
    assert_eq!(shown["files"]["outbox"]["held"], 1, "{systems}");
    assert!(shown["down-since-ms"].is_i64(), "{systems}");
    std::fs::remove_file(hub.path("out")).unwrap();
    std::fs::create_dir(hub.path("out")).unwrap();
    hub.settled(&taken["seq"], &["done"]).await;
}

/// Whoever clears the folder up may do so before a file has its name: then nobody has fetched it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_removed_before_it_has_its_name_is_made_again() {
    const COUNT: usize = 3_000;
    let hub = Hub::start(&files("every-ms = 100\nmessages-max = 10000"));
    let out = hub.path("out");
    let removing = std::thread::spawn(move || {
        let began = std::time::Instant::now();
        let hidden = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".busbar-files-");
        let removed = |entry: std::fs::DirEntry| std::fs::remove_file(entry.path()).is_ok();
        while !std::fs::read_dir(&out).unwrap().flatten().filter(hidden).any(removed) {
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
