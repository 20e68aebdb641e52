//! What the people on duty go by: that it is right whoever wrote the journal, and whatever stands in it.
#![allow(unsafe_code)]

use super::*;
use busbar_core::statistics::StatisticsFilter;
use libsqlite3_sys::*;
use std::ffi::CString;

const MINUTE_MS: i64 = 60_000;

/// What the migration that brought causes, minutes, pauses and decisions did, undone.
const UNDO: &str = "DROP INDEX open_by_cause; DROP INDEX open_cause_times; DROP INDEX open_held_newest; DROP INDEX open_held_of; \
    DROP INDEX open_held_typed; ALTER TABLE open DROP COLUMN cause; DROP TABLE causes; DROP TABLE minutes; DROP TABLE pauses; \
    DROP TABLE audit; DROP TABLE statistics; DELETE FROM counters WHERE name = 'uncounted'; DELETE FROM _sqlx_migrations WHERE version = 7";

/// Another program that writes to a database.
fn run(url: &str, sql: &str) {
    let Some(file) = url.strip_prefix("sqlite:") else { return crate::servers::psql(url, sql) };
    let (file, sql) = (CString::new(file).unwrap(), CString::new(sql).unwrap());
    let mut database = std::ptr::null_mut();
    // Safety: the texts end with NUL and live as long as the calls; the handle is closed once, and not used after that.
    unsafe {
        assert_eq!(sqlite3_open(file.as_ptr(), &mut database), SQLITE_OK);
        sqlite3_busy_timeout(database, 10_000);
        let done = sqlite3_exec(database, sql.as_ptr(), None, std::ptr::null_mut(), std::ptr::null_mut());
        let why = std::ffi::CStr::from_ptr(sqlite3_errmsg(database)).to_string_lossy().into_owned();
        sqlite3_close(database);
        assert_eq!(done, SQLITE_OK, "{why}");
    }
}

fn hold(system: &str, paused: bool, by: &str, comment: Option<&str>) -> Commit {
    let decider = Decider { by: by.into(), comment: comment.map(Into::into) };
    Commit { hold: Some(Hold { system: system.into(), paused, decider }), at_ms: 7_000, ..Commit::default() }
}

/// A message in each of forty minutes; most of their deliveries fail in one way or another.
async fn fill(store: &AnyStore) {
    for n in 0..40_i64 {
        let at_ms = n * MINUTE_MS;
        let new = new(&n.to_string(), &n.to_string());
        let id = write(store, Commit { at_ms, ..commit(vec![new]) }).await[0].deliveries[0].id;
        let state =
            [DeliveryState::Parked, DeliveryState::Dead, DeliveryState::Ready, DeliveryState::Done][n as usize % 4];
        let place = Some(format!("/lines/{n}/{}", ["sum", "tax", "\0"][n as usize % 3]));
        let error = (state != DeliveryState::Done).then(|| ErrorRecord { place, ..failed() });
        let ended = Attempted { error, at_ms, ..attempted(id, state, 1) };
        write(store, Commit { attempted: Some(ended), ..Commit::default() }).await;
    }
}

async fn told(store: &AnyStore) -> String {
    let mut told = vec![format!("{:#?}", store.failures(&FailureFilter::default()).await.unwrap())];
    told.push(format!("{:?}", store.statistics(&StatisticsFilter::default()).await.unwrap()));
    for since in [0, 10, 35] {
        let (since_ms, until_ms) = (Some(since * MINUTE_MS), Some((since + 4) * MINUTE_MS));
        let found = ids(store, MessageFilter { since_ms, until_ms, ..MessageFilter::default() }).await;
        assert_eq!(found.len(), 4, "{since}: {found:?}");
        told.push(format!("{found:?}"));
    }
    told.join("\n")
}

async fn open(url: &str) -> AnyStore {
    Arc::new(SqlStore::open(url).await.unwrap())
}

async fn is_caught_up(url: &str) {
    let store = Arc::new(SqlStore::open(url).await.unwrap());
    let any: AnyStore = store.clone();
    fill(&any).await;
    let expected = told(&any).await;
    store.close().await;
    // A journal of before.
    run(url, UNDO);
    let after = open(url).await;
    assert_eq!(told(&after).await, expected);
    // An older hub went on after another program had brought its tables up to date: what it wrote, and what it finished.
    let half = "(SELECT seq FROM messages ORDER BY seq LIMIT 1 OFFSET 20)";
    run(url, &format!("DELETE FROM minutes WHERE last > {half}"));
    let after = open(url).await;
    assert_eq!(told(&after).await, expected);
    run(url, &format!("UPDATE open SET cause = 0 WHERE id > {half}"));
    let after = open(url).await;
    assert_eq!(told(&after).await, expected);
    run(url, "UPDATE causes SET total = total + 1 WHERE state = 'parked'");
    let after = open(url).await;
    assert_eq!(told(&after).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_catches_up_with_an_older_hub() {
    let folder = tempfile::tempdir().unwrap();
    is_caught_up(&format!("sqlite:{}", folder.path().join("busbar.db").display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_catches_up_with_an_older_hub() {
    is_caught_up(&tokio::task::spawn_blocking(crate::servers::database).await.unwrap()).await;
}

async fn is_told(url: &str) {
    let store = Arc::new(SqlStore::open(url).await.unwrap());
    let any: AnyStore = store.clone();
    for paused in [true, false, true] {
        write(&any, hold("billing", paused, "a", None)).await;
    }
    assert_eq!(store.verify_audit().await.unwrap().unwrap().0, 3);
    // It is shown with the others, though it stands outside the chain.
    run(
        url,
        "INSERT INTO audit SELECT 0 - seq, at_ms, 'nobody', deed, system, delivery, record, hash FROM audit WHERE seq = 1",
    );
    let wrong = store.verify_audit().await.unwrap().unwrap_err();
    assert!(wrong.contains("columns of entry 1"), "{wrong}");
    run(url, "DELETE FROM audit WHERE seq = -1; UPDATE audit SET seq = 0 WHERE seq = 2");
    assert!(store.verify_audit().await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_put_in_before_the_first_is_told() {
    let folder = tempfile::tempdir().unwrap();
    is_told(&format!("sqlite:{}", folder.path().join("busbar.db").display())).await;
    is_told(&tokio::task::spawn_blocking(crate::servers::database).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hubs_that_decide_at_once_make_one_chain() {
    let url = tokio::task::spawn_blocking(crate::servers::database).await.unwrap();
    let reader = SqlStore::open(&url).await.unwrap();
    let hubs = futures::future::join_all((0..3).map(|_| open(&url))).await;
    let decided = hubs.into_iter().enumerate().map(|(hub, store)| {
        tokio::spawn(async move {
            for n in 0..60 {
                write(&store, hold(["billing", "crm"][n % 2], n % 3 > 0, &hub.to_string(), Some("\0\u{1A}"))).await;
            }
        })
    });
    let decided: Vec<_> = decided.collect();
    let mut seen = 0;
    while seen < 180 {
        let (last, _) = reader.verify_audit().await.unwrap().unwrap();
        assert!(last >= seen);
        seen = last;
    }
    for hub in decided {
        hub.await.unwrap();
    }
    assert_eq!(reader.verify_audit().await.unwrap().unwrap().0, 180);
}

/// Whatever stands in a text, it is found by it.
pub async fn odd_text_is_found(store: AnyStore) {
    let odd = ["\0", "\u{1A}", "\u{1A}0", "\"", "\\", "a\\nb", "\n", "é", "e\u{301}", "\u{2028}", "😀", "%", "_", "'"];
    for (n, text) in odd.iter().enumerate() {
        let message = message("/demo/bank", &n.to_string(), json!({ "text": format!("<{text}>") }));
        write(&store, commit(vec![admitted(message, vec![])])).await;
        write(&store, hold(text, true, text, Some(text))).await;
    }
    assert_eq!(store.pauses().await.unwrap().len(), odd.len());
    for (n, text) in odd.iter().enumerate() {
        let filter = MessageFilter { limit: 9, ..MessageFilter::default() };
        let found = store.search(&filter, &format!("<{text}>")).await.unwrap();
        let found: Vec<_> = found.messages.into_iter().map(|view| view.message.id).collect();
        assert_eq!(found, [n.to_string()], "{text:?}");
        for filter in [
            AuditFilter { by: Some(text.to_string()), limit: 9, ..AuditFilter::default() },
            AuditFilter { system: Some(text.to_string()), limit: 9, ..AuditFilter::default() },
        ] {
            let found = store.audit(&filter).await.unwrap();
            assert_eq!(found.len(), 1, "{text:?}");
            assert_eq!(found[0].record.comment.as_deref(), Some(*text));
        }
    }
}
