//! Backup and restore, within a database and from one to the other.

use super::*;
use busbar_core::statistics::StatisticsFilter;
use busbar_server::retention::Retention;
use std::path::Path;

/// Deliveries in every state, a state, intakes, calls, an edit, an envelope.
async fn fill(store: &AnyStore) -> Vec<Accepted> {
    let both = admitted(
        message("/demo/bank", "both", json!({"amount": "1.00", "n": 0.1, "big": u64::MAX})),
        vec![planned("billing", Some("a")), planned("crm", None)],
    );
    let kept = NewMessage { journal: Journal::Envelope, place: Some("line 3".into()), ..new("open", "\0") };
    let gone = NewMessage { journal: Journal::Envelope, ..admitted(message("/demo/bank", "gone", json!({})), vec![]) };
    let set = StateWrite { system: "bank".into(), key: "k\0".into(), value: Some(vec![0, 255]) };
    let many = (0..1_200).map(|n| new(&n.to_string(), "many"));
    let messages = [both, new("1-a", "a"), new("2-a", "a"), new("edited", "b"), kept, gone].into_iter().chain(many);
    let whole = Commit {
        intake: Some(intake("i-1")),
        state: vec![set],
        calls: vec![call(1, 0), call(1, 1)],
        ..commit(messages.collect())
    };
    let accepted = write(store, whole).await;
    let id = |n: usize| accepted[n].deliveries[0].id;
    let error = Some(ErrorRecord { answer: Some("unreachable".into()), ..failed() });
    let failed = Attempted { error, ..attempted(id(0), DeliveryState::Parked, 1) };
    write(store, Commit { attempted: Some(failed), calls: vec![call(1, 0)], ..Commit::default() }).await;
    write(store, attempt(accepted[0].deliveries[1].id, DeliveryState::Dead, 1)).await;
    write(store, attempt(id(3), DeliveryState::Parked, 1)).await;
    let edit = Act::Edit(Box::new(message("/demo/bank", "edited", json!({"amount": "9.00"}))));
    write(store, operation(id(3), edit)).await;
    write(store, attempt_again(id(3), DeliveryState::Done, 2)).await;
    write(store, attempt(id(6), DeliveryState::Done, 1)).await;
    for (system, paused) in [("billing", true), ("crm\0", true), ("billing", false)] {
        let hold = Hold { system: system.into(), paused, decider: operator() };
        write(store, Commit { hold: Some(hold), at_ms: 4_000, ..Commit::default() }).await;
    }
    accepted
}

async fn told(store: &AnyStore) -> String {
    let mut told = Vec::new();
    for view in all(store, MessageFilter { limit: 5_000, ..MessageFilter::default() }).await {
        let mut view = store.message(view.seq).await.unwrap().unwrap();
        // Versions begin anew in a restored journal: whoever looked before must look again.
        view.deliveries.iter_mut().for_each(|d| d.version = 0);
        told.push(format!("{view:?}"));
    }
    for system in ["billing", "crm"] {
        let mut ready = store.ready(system, Shards::ALL, 0, 5_000).await.unwrap().deliveries;
        ready.iter_mut().for_each(|d| d.version = 0);
        told.push(format!("{ready:?}"));
    }
    told.push(format!("{:?} {:?}", store.depths().await.unwrap(), intakes(store).await));
    told.push(format!("{:?}", store.state("bank", "k\0").await.unwrap()));
    told.push(format!("{:?}", store.failures(&FailureFilter::default()).await.unwrap()));
    told.push(format!("{:?}", store.statistics(&StatisticsFilter::default()).await.unwrap()));
    let decisions = AuditFilter { limit: 1_000, ..AuditFilter::default() };
    told.push(format!("{:?} {:?}", store.pauses().await.unwrap(), store.audit(&decisions).await.unwrap()));
    let minute = MessageFilter { since_ms: Some(0), until_ms: Some(60_000), ..MessageFilter::default() };
    told.push(format!("{:?}", ids(store, minute).await));
    told.join("\n")
}

async fn goes_and_comes(from: SqlStore, to: SqlStore, third: SqlStore, folder: &Path) {
    let file = folder.join("backup.ndjson.zst");
    let from = Arc::new(from);
    let store: AnyStore = from.clone();
    let accepted = fill(&store).await;
    let counts = from.backup(&file, 5_000).await.unwrap();
    assert_eq!((counts.messages, counts.intakes, counts.dedup_records), (1_206, 1, 1_206));
    let before = told(&store).await;
    // What comes after it is not in it.
    write(&store, commit(vec![new("later", "z")])).await;

    let to = Arc::new(to);
    let copy: AnyStore = to.clone();
    assert_eq!(to.restore(&file, true, 6_000).await.unwrap(), counts);
    assert_eq!(told(&copy).await, before);
    assert_eq!(to.verify_audit().await.unwrap().unwrap(), from.verify_audit().await.unwrap().unwrap());
    let after = write(&copy, commit(vec![new("both", "x"), new("new", "a"), new("gone", "x")]).keep()).await;
    assert!(after[0].duplicate && after[2].duplicate);
    let last = accepted.iter().flat_map(|a| &a.deliveries).map(|d| d.id).max().unwrap();
    assert!(after[1].seq > last && after[1].deliveries[0].state == DeliveryState::Waiting);
    let again = to.restore(&file, true, 6_000).await.unwrap_err();
    assert_eq!(again.code, Code::Rejected);

    of_before(&store, &file, folder).await;
    // Unless told otherwise nothing is made again.
    let third = Arc::new(third);
    let parked: AnyStore = third.clone();
    third.restore(&file, false, 6_000).await.unwrap();
    assert!(parked.ready("billing", Shards::ALL, 0, 9).await.unwrap().deliveries.is_empty());
    let found = third.reconcile(&folder.join("archive")).await.unwrap();
    assert_eq!((found.unknown_count, found.unknown.len(), found.lacking_count), (counts.in_flight, 100, 0));
    let unknown = DeliveryFilter { code: Some("unknown-outcome".into()), limit: 5_000, ..DeliveryFilter::default() };
    assert_eq!(parked.deliveries(&unknown).await.unwrap().len() as u64, counts.in_flight);
    let groups = parked.failures(&FailureFilter::default()).await.unwrap();
    let groups = groups.iter().filter(|group| group.cause.code == "unknown-outcome");
    assert_eq!(groups.map(|group| group.count).sum::<u64>(), counts.in_flight);
    let depth = |state, count| Depth { system: "billing".into(), state, count };
    let expected = [depth(DeliveryState::Done, 2), depth(DeliveryState::Parked, 1_203)];
    assert_eq!(third.depths().await.unwrap()[..2], expected);
    archived_after_the_backup(&from, &third, folder).await;
    // A person goes through them in order.
    write(&parked, operation_seen(accepted[0].deliveries[0].id, Act::Skip, DeliveryState::Parked, 0)).await;
    write(&parked, operation_seen(accepted[1].deliveries[0].id, Act::Retry, DeliveryState::Parked, 0)).await;
    assert_eq!(parked.ready("billing", Shards::ALL, 0, 9).await.unwrap().deliveries.len(), 1);
}

/// A backup by a hub that kept no pauses, no decisions, and no answers with errors.
async fn of_before(from: &AnyStore, file: &Path, folder: &Path) {
    let text = String::from_utf8(zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap()).unwrap();
    let new = ["{\"pause\"", "{\"audit\"", "{\"count\""];
    let is_old = |line: &&str| !new.iter().any(|new| line.starts_with(new));
    let old: Vec<_> = text
        .lines()
        .filter(is_old)
        .map(|line| line.replace("\"answer\":\"unreachable\"", "\"older\":1").replace("\"version\":2", "\"version\":1"))
        .collect();
    assert!(old.len() + 5 < text.lines().count() && !old.concat().contains("unreachable"), "{}", old.len());
    let older = folder.join("older.ndjson.zst");
    std::fs::write(&older, zstd::encode_all((old.join("\n") + "\n").as_bytes(), 3).unwrap()).unwrap();
    let to = Arc::new(in_sqlite(folder, "older.db").await);
    to.restore(&older, true, 6_000).await.unwrap();
    let copy: AnyStore = to.clone();
    let failures = async |store: &AnyStore| store.failures(&FailureFilter::default()).await.unwrap();
    let mut expected = failures(from).await;
    assert_eq!(expected[0].cause.answer.take().as_deref(), Some("unreachable"));
    assert_eq!(failures(&copy).await, expected);
    let minute = MessageFilter { since_ms: Some(0), until_ms: Some(60_000), ..MessageFilter::default() };
    assert_eq!(ids(&copy, minute).await.len(), 1_000);
    assert_eq!((to.verify_audit().await.unwrap().unwrap().0, copy.pauses().await.unwrap().len()), (0, 0));
}

/// What was accepted after the backup and has gone to the archive since: nobody else knows of it.
async fn archived_after_the_backup(from: &Arc<SqlStore>, third: &Arc<SqlStore>, folder: &Path) {
    let store: AnyStore = from.clone();
    for states in [States::GaveUp, States::One(DeliveryState::Waiting)] {
        let filter = DeliveryFilter { states, limit: 5_000, ..DeliveryFilter::default() };
        let found = store.deliveries(&filter).await.unwrap();
        let skip = found.into_iter().map(|(_, d)| operation_seen(d.id, Act::Skip, d.state, d.version));
        store.commit(skip.collect()).await.unwrap();
    }
    let open = store.ready("billing", Shards::ALL, 0, 5_000).await.unwrap().deliveries;
    let done = open.iter().map(|d| {
        let ended = Attempted { expected: d.version, ..attempted(d.id, DeliveryState::Done, d.attempts + 1) };
        Commit { attempted: Some(ended), ..Commit::default() }
    });
    let done = store.commit(done.collect()).await.unwrap();
    assert!(done.iter().all(Result::is_ok));
    let retention = Retention {
        store: from.clone(),
        clock: Arc::new(busbar_core::fakes::FakeClock::at(400 * 86_400_000)),
        config: Default::default(),
        folder: folder.to_path_buf(),
        clock_jumped: Default::default(),
    };
    assert_eq!(retention.run().await.unwrap().removed, [(0, Some(1_207))]);
    let found = third.reconcile(&folder.join("archive")).await.unwrap();
    assert_eq!((found.lacking_count, &found.lacking), (1, &vec![("/demo/bank".to_string(), "later".to_string())]));
}

trait Keep {
    fn keep(self) -> Self;
}

impl Keep for Commit {
    fn keep(self) -> Self {
        Self { on_differing: Some(OnDiffering::Keep), ..self }
    }
}

async fn in_sqlite(folder: &Path, name: &str) -> SqlStore {
    SqlStore::open(&format!("sqlite:{}", folder.join(name).display())).await.unwrap()
}

async fn in_postgres() -> SqlStore {
    SqlStore::open(&tokio::task::spawn_blocking(crate::servers::database).await.unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_sqlite_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    goes_and_comes(in_sqlite(at, "a.db").await, in_sqlite(at, "b.db").await, in_postgres().await, at).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_postgres_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    goes_and_comes(in_postgres().await, in_postgres().await, in_sqlite(at, "c.db").await, at).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_backup_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let store = in_sqlite(folder.path(), "a.db").await;
    let file = folder.path().join("file");
    for content in [b"".to_vec(), b"text".to_vec(), zstd::encode_all(&b"{}\n"[..], 3).unwrap()] {
        std::fs::write(&file, content).unwrap();
        let problem = store.restore(&file, false, 0).await.unwrap_err();
        assert!(problem.code == Code::Rejected && problem.detail.contains("not a backup"), "{problem}");
    }
    assert_eq!(store.restore(&folder.path().join("none"), false, 0).await.unwrap_err().code, Code::Rejected);
}
