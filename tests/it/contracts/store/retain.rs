//! Retention over both databases: what goes, what stays, and that the archive holds it.

use super::*;
use busbar_core::fakes::FakeClock;
use busbar_server::config::model::RetentionConfig;
use busbar_server::retention::Retention;
use busbar_server::store::Day;
use std::io::Read;
use std::path::Path;

const DAY_MS: i64 = 86_400_000;

fn on(day: i64, commit: Commit) -> Commit {
    Commit { at_ms: day * DAY_MS + 1, ..commit }
}

fn invoice(id: &str) -> NewMessage {
    let message = Message { r#type: "invoice.issued.v1".into(), ..message("/demo/crm", id, json!({"n": id})) };
    admitted(message, vec![planned("portal", Some("k"))])
}

fn lines(file: &Path) -> Vec<Value> {
    let mut text = String::new();
    let decoded = std::fs::read(file).unwrap();
    zstd::Decoder::new(&decoded[..]).unwrap().read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn days_go(sql: SqlStore, folder: &Path) {
    let sql = Arc::new(sql);
    let store: AnyStore = sql.clone();
    let with_intake = Commit { intake: Some(intake("i-1")), calls: vec![call(1, 0)], ..commit(vec![new("1", "a")]) };
    let first = write(&store, on(100, with_intake)).await.remove(0);
    write(&store, on(100, commit((2..1_300).map(|n| invoice(&n.to_string())).collect()))).await;
    let open = write(&store, on(101, commit(vec![new("open", "b")]))).await.remove(0);
    let later = write(&store, on(195, commit(vec![new("later", "c")]))).await.remove(0);
    let ready = store.ready("portal", Shards::ALL, 0, 2_000).await.unwrap().deliveries;
    let ended = ready.iter().map(|d| d.id).chain([first.deliveries[0].id]);
    let ended = ended.map(|id| Commit { calls: vec![call(1, 0)], ..attempt(id, DeliveryState::Done, 1) });
    store.commit(ended.collect()).await.unwrap();
    let expected = [Day { day: 100, unfinished: 0 }, Day { day: 101, unfinished: 1 }, Day { day: 195, unfinished: 1 }];
    assert_eq!(sql.days().await.unwrap(), expected);
    let kept = store.message(first.seq).await.unwrap().unwrap();

    let config = RetentionConfig { days: 30, dedup_days: 50, ..RetentionConfig::default() };
    let retention = |config: &RetentionConfig, today| Retention {
        store: sql.clone(),
        clock: Arc::new(FakeClock::at(today * DAY_MS)),
        config: config.clone(),
        folder: folder.to_path_buf(),
        clock_jumped: Arc::default(),
    };
    let done = retention(&config, 200).run().await.unwrap();
    assert_eq!((done.removed, done.kept), (vec![(100, Some(1_299))], vec![Day { day: 101, unfinished: 1 }]));
    let since =
        MessageFilter { since_ms: Some(100 * DAY_MS), until_ms: Some(102 * DAY_MS), ..MessageFilter::default() };
    assert_eq!(ids(&store, since).await, ["open"]);
    // The archive: every message once, with its deliveries and calls, and the intake.
    let archived = lines(&folder.join("archive/1970-04-11.ndjson.zst"));
    assert_eq!(archived.len(), 1_300);
    let line = &archived[0]["message"];
    assert_eq!(line["event"], kept.message.to_structured());
    assert_eq!((&line["received-at-ms"], &line["intake"]), (&json!(kept.received_at_ms), &json!("i-1")));
    let delivery = &line["deliveries"][0];
    assert_eq!(
        (&delivery["state"], &delivery["system"], &delivery["attempts"]),
        (&json!("done"), &json!("billing"), &json!(1))
    );
    assert_eq!(delivery["calls"], serde_json::to_value([call(1, 0)]).unwrap());
    assert_eq!(
        archived.iter().filter(|l| l["message"]["deliveries"].as_array().is_some_and(|d| d.len() == 1)).count(),
        1_299
    );
    let intake_line = &archived[1_299]["intake"];
    assert_eq!((&intake_line["intake"]["id"], intake_line["calls"].as_array().unwrap().len()), (&json!("i-1"), 1));
    // What is left, and that nothing else is.
    assert_eq!(ids(&store, MessageFilter::default()).await, ["later", "open"]);
    assert!(store.message(first.seq).await.unwrap().is_none() && intakes(&store).await.is_empty());
    assert!(store.calls(first.deliveries[0].id).await.unwrap().is_empty());
    let depth = Depth { system: "billing".into(), state: DeliveryState::Ready, count: 2 };
    assert_eq!(store.depths().await.unwrap(), [depth]);
    // Known all the same, until its time: payments for ever.
    assert!(write(&store, on(200, commit(vec![new("1", "a")]))).await[0].duplicate);
    // All of day 100 but the payment; a message in the journal keeps the records of its day and later ones.
    assert_eq!(done.forgotten, 1_298);

    write(&store, attempt(open.deliveries[0].id, DeliveryState::Done, 1)).await;
    let done = retention(&config, 200).run().await.unwrap();
    assert_eq!((done.removed, done.kept, done.forgotten), (vec![(101, Some(1))], vec![], 0));
    assert!(write(&store, on(200, commit(vec![new("1", "a"), new("open", "b")]))).await.iter().all(|a| a.duplicate));
    assert!(!write(&store, on(200, commit(vec![invoice("2")]))).await[0].duplicate);
    // Nothing to do: nothing done. What is in the journal still works.
    let done = retention(&config, 200).run().await.unwrap();
    assert_eq!((done.removed, done.forgotten), (vec![], 0));
    assert_eq!(store.ready("billing", Shards::ALL, 0, 9).await.unwrap().deliveries, later.deliveries);
}

async fn envelopes_are_emptied(sql: SqlStore) {
    let sql = Arc::new(sql);
    let store: AnyStore = sql.clone();
    let envelope = |id| NewMessage { journal: Journal::Envelope, ..new(id, id) };
    let accepted = write(&store, commit(vec![envelope("1"), envelope("2"), new("3", "c")])).await;
    let failed = Call { outcome: "timeout".into(), ..call(1, 1) };
    for n in [0, 2] {
        let calls = vec![call(1, 0), failed.clone()];
        write(&store, Commit { calls, ..attempt(accepted[n].deliveries[0].id, DeliveryState::Done, 1) }).await;
    }
    assert_eq!(sql.sweep().await.unwrap(), 1);
    let emptied = store.message(accepted[0].seq).await.unwrap().unwrap();
    assert_eq!((&*emptied.message.data, &emptied.deliveries[0].calls), (&Value::Null, &vec![failed]));
    assert_eq!(
        store.ready("billing", Shards::ALL, 0, 9).await.unwrap().deliveries[0].message.data,
        json!({"amount": "1.00"})
    );
    let full = store.message(accepted[2].seq).await.unwrap().unwrap();
    assert_eq!((full.message.data.into_value(), full.deliveries[0].calls.len()), (json!({"amount": "1.00"}), 2));
    write(&store, attempt(accepted[1].deliveries[0].id, DeliveryState::Done, 1)).await;
    assert_eq!((sql.sweep().await.unwrap(), sql.sweep().await.unwrap()), (1, 0));
}

async fn in_sqlite() -> (tempfile::TempDir, SqlStore) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("busbar.db").display());
    (folder, SqlStore::open(&url).await.unwrap())
}

async fn in_postgres() -> (tempfile::TempDir, SqlStore) {
    let url = tokio::task::spawn_blocking(crate::servers::database).await.unwrap();
    (tempfile::tempdir().unwrap(), SqlStore::open(&url).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_lets_old_days_go() {
    let (folder, store) = in_sqlite().await;
    days_go(store, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_lets_old_days_go() {
    let (folder, store) = in_postgres().await;
    days_go(store, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_empties_envelopes() {
    envelopes_are_emptied(in_sqlite().await.1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_empties_envelopes() {
    envelopes_are_emptied(in_postgres().await.1).await;
}
