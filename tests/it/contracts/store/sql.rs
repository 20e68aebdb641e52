//! What only a database can get wrong: opening, closing, restarts, secrets, several hubs.

use super::*;
use crate::servers::Server;
use std::time::{Duration, Instant};

async fn keeps_all(url: &str) {
    let store = SqlStore::open(url).await.unwrap();
    store.ping().await.unwrap();
    let any: AnyStore = Arc::new(store);
    let first = write(&any, Commit { intake: Some(intake("i-1")), ..commit(vec![new("1", "a")]) }).await;
    let again: AnyStore = Arc::new(SqlStore::open(url).await.unwrap());
    let second = write(&again, commit(vec![new("1", "a"), new("2", "a")])).await;
    assert!(second[0].duplicate && second[1].seq > first[0].deliveries[0].id);
    assert_eq!(ids(&any, MessageFilter::default()).await, ["2", "1"]);
    assert_eq!(
        any.ready("billing", Shards::ALL, 0, 10).await.unwrap().deliveries,
        again.ready("billing", Shards::ALL, 0, 10).await.unwrap().deliveries
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_all_when_closed_and_is_made_with_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("Данные 100%41 #1/глубже");
    let url = format!("sqlite:{}", odd.join("busbar.db").display());
    keeps_all(&url).await;
    assert!(odd.join("busbar.db").is_file());
    let store = SqlStore::open(&url).await.unwrap();
    assert_eq!(store.messages(&MessageFilter { limit: 9, ..MessageFilter::default() }).await.unwrap().len(), 2);
    store.close().await;
    // The last connection has put everything into the one file.
    assert!(!odd.join("busbar.db-wal").exists());
    let closed = store.commit(vec![commit(vec![new("3", "a")])]).await.unwrap_err();
    assert_eq!(closed.code, Code::StoreUnavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_all_when_closed() {
    let url = tokio::task::spawn_blocking(crate::servers::database).await.unwrap();
    keeps_all(&url).await;
}

/// What the journal keeps of a message whose routes want no more than the envelope.
async fn keeps_envelopes(store: AnyStore) {
    let done = Made { messages: vec![], calls: vec![call(1, 0), Call { outcome: "timeout".into(), ..call(1, 1) }] };
    let envelope = |id: &str, made: Option<Made>| NewMessage {
        journal: Journal::Envelope,
        ..admitted(message("/demo/bank", id, json!({"n": id})), vec![Planned { made, ..planned("maps", Some("a")) }])
    };
    let accepted = write(&store, commit(vec![envelope("1", Some(done)), envelope("2", None)])).await;
    let view = store.message(accepted[0].seq).await.unwrap().unwrap();
    assert_eq!(view.message, message("/demo/bank", "1", Value::Null));
    assert_eq!(view.deliveries[0].calls.iter().map(|c| c.outcome.as_str()).collect::<Vec<_>>(), ["timeout"]);
    assert_eq!(store.lookup("/demo/bank", "1").await.unwrap().unwrap().1.data, Value::Null);
    // Repeats are known all the same. What is not finished keeps its data.
    assert!(write(&store, commit(vec![envelope("1", None)])).await[0].duplicate);
    assert_eq!(store.ready("maps", Shards::ALL, 0, 9).await.unwrap().deliveries[0].message.data, json!({"n": "2"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_envelopes_without_data() {
    let (_folder, store) = sqlite().await;
    keeps_envelopes(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_envelopes_without_data() {
    keeps_envelopes(postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_hub_is_left_alone() {
    let url = tokio::task::spawn_blocking(crate::servers::database).await.unwrap();
    SqlStore::open(&url).await.unwrap().close().await;
    let columns = "version, description, success, checksum, execution_time";
    let later = format!("INSERT INTO _sqlx_migrations ({columns}) VALUES (9999, 'later', true, '', 0)");
    crate::servers::psql(&url, &later);
    let Err(problem) = SqlStore::open(&url).await else { panic!("it was opened") };
    assert!(problem.code == Code::StoreUnavailable && problem.detail.contains("newer busbar"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hubs_that_share_a_database_take_turns() {
    let url = tokio::task::spawn_blocking(crate::servers::database).await.unwrap();
    let mut hubs: Vec<AnyStore> = Vec::new();
    for opened in futures::future::join_all((0..3).map(|_| SqlStore::open(&url))).await {
        hubs.push(Arc::new(opened.unwrap()));
    }
    let reader = hubs[0].clone();
    let written = hubs.into_iter().map(|hub| {
        tokio::spawn(async move {
            let mut new_ones = 0;
            for n in 0..100 {
                let batch = vec![commit(vec![new(&n.to_string(), "k")]), commit(vec![new(&(n + 1).to_string(), "k")])];
                let accepted = hub.commit(batch).await.unwrap().into_iter().flat_map(Result::unwrap);
                new_ones += accepted.filter(|a| !a.duplicate).count();
            }
            new_ones
        })
    });
    let written: Vec<_> = written.collect();
    // Who reads on from the last id he saw misses none: ids are given out in the order of commits.
    let (mut seen, mut after) = (Vec::new(), 0);
    while seen.len() < 101 {
        let page = reader.ready("billing", Shards::ALL, after, 10).await.unwrap().deliveries;
        after = page.last().map_or(after, |d| d.id);
        seen.extend(page.into_iter().map(|d| d.id));
    }
    let mut new_ones = 0;
    for hub in written {
        new_ones += hub.await.unwrap();
    }
    assert_eq!((seen.len(), new_ones), (101, 101));
    assert_eq!(
        seen,
        reader
            .ready("billing", Shards::ALL, 0, 1_000)
            .await
            .unwrap()
            .deliveries
            .iter()
            .map(|d| d.id)
            .collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_server_is_a_clear_problem_and_comes_back() {
    let mut server = tokio::task::spawn_blocking(Server::postgres).await.unwrap();
    let store = SqlStore::open(&server.url).await.unwrap();
    store.commit(vec![commit(vec![new("1", "a")])]).await.unwrap();
    server.kill();
    let began = Instant::now();
    assert_eq!(store.ping().await.unwrap_err().code, Code::StoreUnavailable);
    assert!(began.elapsed() < Duration::from_secs(10));
    // A write that finds the server away waits for it.
    let store = Arc::new(store);
    let late = tokio::spawn({
        let store = store.clone();
        async move { store.commit(vec![commit(vec![new("1", "a"), new("2", "a")])]).await }
    });
    server.restart();
    let mut written = late.await.unwrap();
    while written.is_err() {
        assert_eq!(written.as_ref().unwrap_err().code, Code::StoreUnavailable);
        written = store.commit(vec![commit(vec![new("1", "a"), new("2", "a")])]).await;
    }
    assert!(written.unwrap()[0].as_ref().unwrap()[0].duplicate);
    store.ping().await.unwrap();
    assert_eq!(store.ready("billing", Shards::ALL, 0, 10).await.unwrap().deliveries.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_write_does_no_harm() {
    let (_folder, store) = sqlite().await;
    for round in 0..200u64 {
        let batch = vec![commit(vec![new(&round.to_string(), "k")])];
        // Dropped at a different moment every time; what began is written to its end.
        let _ = tokio::time::timeout(Duration::from_micros(round * 7), store.commit(batch)).await;
    }
    let mut once = 0;
    let mut stream = || {
        once += 1;
        Ok(if once == 1 {
            vec![new("stream", "k")]
        } else {
            std::thread::sleep(Duration::from_millis(200));
            vec![]
        })
    };
    drop(futures::poll!(Box::pin(store.commit_stream(commit(vec![]), &mut stream))));
    write(&store, commit(vec![new("last", "k")])).await;
    assert_eq!(store.lookup("/demo/bank", "last").await.unwrap().unwrap().1.id, "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_is_said_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "this is no database, but a text that is longer than a header would be").unwrap();
    let shared = tokio::task::spawn_blocking(crate::servers::database).await.unwrap();
    let urls = [
        "postgres://hub:top-secret@127.0.0.1:1/busbar".to_string(),
        "postgres://hub:top-secret@127.0.0.1:99999/busbar".to_string(),
        "postgres://hub:top-secret@[::/busbar".to_string(),
        "postgres://hub@127.0.0.1/busbar?password=top-secret&sslmode=sometimes".to_string(),
        shared.replace("only-for-tests", "top-secret"),
        format!("{shared}-missing"),
        "mysql://hub:top-secret@127.0.0.1/busbar".to_string(),
        "top-secret".to_string(),
        "sqlite::memory:".to_string(),
        "sqlite:data/busbar.db?mode=ro".to_string(),
        "sqlite:".to_string(),
        format!("sqlite:{}", file.display()),
        format!("sqlite:{}/deeper/busbar.db", file.display()),
        format!("sqlite:{}", folder.path().display()),
    ];
    for url in urls {
        let began = Instant::now();
        let Err(problem) = SqlStore::open(&url).await else { panic!("{url} was opened") };
        println!("{url}\n    {problem}");
        assert_eq!(problem.code, Code::StoreUnavailable, "{url}");
        assert!(!problem.to_string().contains("top-secret"), "{problem}");
        assert!(began.elapsed() < Duration::from_secs(5), "{url}");
    }
}
