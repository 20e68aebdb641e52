//! Questions of adapters on their way to a system that answers over HTTP.

use crate::hub::{client, root, wait_for};
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use busbar_core::engine::Engine;
use busbar_core::fakes::MemoryStore;
use busbar_core::ports::Store;
use busbar_core::{IntakeFilter, Journal, Message, Problem, Route, Rules, StatedBy};
use busbar_server::config::model::HttpMode;
use busbar_server::egress::Egress;
use busbar_server::hub::{
    Asker, Driver, Questions, SystemClock, SystemSecrets, Via, ViaHttp, WasmAdapters, WriterThread,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// More than may be on their way at once.
const SLOW: usize = 100;

/// Answers of one account wait until the gate opens.
struct System {
    gate: Semaphore,
    held_up: AtomicUsize,
}

/// Counts a request for as long as its sender waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(State(system): State<Arc<System>>, Json(question): Json<Value>) -> impl IntoResponse {
    let account = &question["data"]["account"];
    if account == "slow" {
        system.held_up.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&system.held_up);
        let _ = system.gate.acquire().await.unwrap();
    }
    let answer = json!({
        "specversion": "1.0", "id": "a", "source": "/portal", "type": "account.lookup.answer.v1",
        "data": { "account": account, "found": false },
    });
    ([("content-type", "application/cloudevents+json")], answer.to_string())
}

async fn questions(url: String, store: Arc<MemoryStore>) -> Arc<Questions> {
    client(); // The egress needs the TLS provider that comes with it.
    let clock = Arc::new(SystemClock);
    let portal = Via::Http(Box::new(ViaHttp {
        url,
        mode: HttpMode::Structured,
        bearer: None,
        secrets: SystemSecrets::default(),
        egress: Egress::new(vec!["127.0.0.1".into()], 1 << 20, 1 << 16).unwrap(),
        timeout_ms: 60_000,
        clock: clock.clone(),
    }));
    let catalog = busbar_server::deployment::catalog(&root().join("schemas")).unwrap();
    let types = vec!["account.lookup.v1".to_string()];
    let route = Route { types, to: vec!["portal".into()], when: None, key: None, journal: Journal::Full };
    // Nobody makes attempts here.
    let (committer, _) = Driver::new(Engine::new([]), store, WriterThread::start().unwrap(), clock.clone());
    Arc::new(Questions {
        rules: Arc::new(Rules::new(catalog, vec![route])),
        adapters: Arc::new(WasmAdapters::default()),
        via: Arc::new(BTreeMap::from([("portal".to_string(), portal)])),
        committer,
        clock,
    })
}

async fn ask(asker: Asker, account: &str) -> Result<Message, Problem> {
    let question = json!({
        "specversion": "1.0", "id": "q", "source": "/till", "type": "account.lookup.v1", "data": { "account": account },
    });
    let question = Message::from_structured(question).unwrap();
    asker.ask(question, StatedBy::System("till".into()), 60_000).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_question_holds_up_no_other_and_one_that_nobody_waits_for_is_ended() {
    let system = Arc::new(System { gate: Semaphore::new(0), held_up: AtomicUsize::new(0) });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback_service(post(answer).with_state(system.clone()));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let (store, stop) = (Arc::new(MemoryStore::default()), CancellationToken::new());
    let (asker, asked) = Asker::new();
    // Asked before anybody takes questions: they wait.
    let mut slow: Vec<_> = (0..SLOW).map(|_| tokio::spawn(ask(asker.clone(), "slow"))).collect();
    tokio::spawn(questions(url, store.clone()).await.take(asked, stop.clone()));
    let held_up = async |count: usize| (system.held_up.load(Ordering::SeqCst) == count).then_some(());
    wait_for("all are asked", async || held_up(SLOW).await).await;
    assert_eq!(ask(asker.clone(), "7").await.unwrap().data["found"], json!(false));

    slow.remove(0).abort();
    wait_for("the question is taken back", async || held_up(SLOW - 1).await).await;
    system.gate.add_permits(SLOW);
    for answered in slow {
        assert_eq!(answered.await.unwrap().unwrap().data["account"], json!("slow"));
    }
    let filter = IntakeFilter { limit: 500, ..IntakeFilter::default() };
    let written = async || (store.intakes(&filter).await.unwrap().len() == SLOW).then_some(());
    wait_for("each that was answered is written down", written).await;

    stop.cancel();
    wait_for("nobody takes questions", async || ask(asker.clone(), "7").await.err()).await;
}
