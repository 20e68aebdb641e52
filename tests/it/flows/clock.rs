//! A clock that jumps: what is 450 days old by it, and was of today before, is not let go until somebody says so.

use crate::hub::{Hub, READER, binary, payment, wait_for, wait_for_at_most};
use busbar_core::fakes::FakeClock;
use busbar_core::ports::Store;
use busbar_core::{Commit, Journal, Message, NewMessage};
use busbar_server::config::model::RetentionConfig;
use busbar_server::retention::Retention;
use busbar_server::store::SqlStore;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// What a hub leaves that ran so many days ago: the clock of the next one is so far ahead of it.
async fn ran(folder: &Path, days_ago: i64) {
    let at_ms = now_ms() - days_ago * DAY_MS;
    let store = SqlStore::open(&format!("sqlite:{}", folder.join("data/busbar.db").display())).await.unwrap();
    let store = Arc::new(store);
    let retention = Retention {
        store: store.clone(),
        clock: Arc::new(FakeClock::at(at_ms)),
        config: RetentionConfig::default(),
        folder: folder.to_path_buf(),
        clock_jumped: Arc::default(),
    };
    retention.run().await.unwrap();
    let messages = (1..=3).map(|n| NewMessage {
        message: Arc::new(Message::from_structured(payment(&format!("p-{n}"), "100", "1.00")).unwrap()),
        marks: n.to_string().into(),
        deliveries: vec![],
        place: None,
        stated_by: None,
        journal: Journal::Full,
    });
    store.commit(vec![Commit { messages: messages.collect(), at_ms, ..Commit::default() }]).await.unwrap();
    store.close().await;
}

async fn hub_after(days: i64) -> Hub {
    let mut hub = Hub::unstarted("");
    ran(hub.folder.path(), days).await;
    assert!(hub.try_run(), "{}", hub.log());
    hub
}

async fn metric(hub: &Hub, name: &str) -> Option<String> {
    let metrics = hub.get(READER, "/metrics").await.body;
    let line = metrics.as_str()?.lines().find(|line| line.starts_with(&format!("{name} ")))?.to_string();
    line.rsplit(' ').next().map(str::to_string)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_far_ahead_lets_nothing_go_until_a_person_confirms_it() {
    let mut hub = hub_after(450).await;
    for round in 1..=2 {
        wait_for("it is told", async || (hub.log().matches("clock-jumped").count() == round).then_some(())).await;
        let ready = hub.get(READER, "/readyz").await;
        assert_eq!((ready.status, &ready.body["ready"], &ready.body["clock"]), (200, &json!(true), &json!(false)));
        assert_eq!(metric(&hub, "busbar_retention_clock_jumped").await.as_deref(), Some("1"));
        // What comes in by the same clock does not make it right.
        hub.publish(&payment(&format!("new-{round}"), "100", "1.00")).await;
        assert_eq!(hub.messages("").await.len(), 3 + round);
        if round == 1 {
            hub.restart();
        }
    }
    // Longer than it takes to look again.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((hub.messages("").await.len(), hub.log().matches("clock-jumped").count()), (5, 2), "{}", hub.log());
    let confirmed = Command::new(binary()).args(["journal", "trust-clock"]).arg(hub.folder.path()).output().unwrap();
    assert!(confirmed.status.success(), "{confirmed:?}");
    wait_for("the old day goes", async || (hub.messages("").await.len() == 2).then_some(())).await;
    assert_eq!(std::fs::read_dir(hub.path("archive")).unwrap().count(), 1);
    wait_for_at_most("all is well", Duration::from_secs(20), async || {
        (hub.get(READER, "/readyz").await.body["clock"] == json!(true)).then_some(())
    })
    .await;
    assert_eq!(metric(&hub, "busbar_retention_clock_jumped").await.as_deref(), Some("0"));
}

/// A few days off are no jump, and nothing is confirmed by them that was not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_was_off_for_some_days_goes_on_by_itself() {
    let hub = hub_after(6).await;
    wait_for("retention ran", async || metric(&hub, "busbar_retention_clock_jumped").await).await;
    assert_eq!(metric(&hub, "busbar_retention_clock_jumped").await.as_deref(), Some("0"));
    assert_eq!(hub.get(READER, "/readyz").await.body["clock"], json!(true));
    assert_eq!(hub.messages("").await.len(), 3);
}
