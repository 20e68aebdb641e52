//! A broker of several nodes, of which one stops without a word: it is left for the next, and nothing piles up meanwhile.

use super::broker::{Broker, header};
use crate::hub::{ANYBODY, Hub, READER, payment, wait_for_at_most};
use crate::servers::Server;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn toml(urls: &[&str]) -> String {
    format!(
        r#"
[amqp]
url = {urls:?}
confirm-timeout-ms = 2000
{ANYBODY}
[systems.crm]
via = "amqp"
queue = "crm.messages"
policy = {{ backoff-first-ms = 50, attempts = 50 }}
[[routes]]
types = ["payment.received.v1"]
to = ["crm"]
"#
    )
}

async fn servers<const N: usize>() -> [Server; N] {
    tokio::task::spawn_blocking(|| std::array::from_fn(|_| Server::rabbitmq())).await.unwrap()
}

/// Noticed within two seconds when it says nothing.
fn impatient(server: &Server) -> String {
    format!("{}?heartbeat=1&connection_timeout=1000", server.url)
}

async fn is_ready(hub: &Hub, wanted: bool) {
    let what = if wanted { "a hub that is ready" } else { "a hub that is not ready" };
    wait_for_at_most(what, PATIENCE, async || {
        let answer = hub.get(READER, "/readyz").await;
        ((answer.status == 200) == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_is_left_for_the_next_one_at_the_start_and_later() {
    let [one, two] = servers().await;
    one.freeze(true);
    let began = Instant::now();
    let hub = Hub::start(&toml(&[&impatient(&one), &impatient(&two)]));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let broker = Broker::connect(&two.url).await.unwrap();
    hub.publish(&payment("p-1", "1", "1.00")).await;
    assert_eq!(header(&broker.next("crm.messages").await.unwrap(), "id"), "p-1");
    one.freeze(false);
    two.freeze(true);
    hub.publish(&payment("p-2", "2", "1.00")).await;
    is_ready(&hub, false).await;
    is_ready(&hub, true).await;
    let other = Broker::connect(&one.url).await.unwrap();
    assert_eq!(header(&other.next("crm.messages").await.unwrap(), "id"), "p-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_against_a_node_that_says_nothing_leave_nothing_behind() {
    let [node] = servers().await;
    let mut hub = Hub::start(&toml(&[&impatient(&node)]));
    // The store's connections, each with a thread, are made when they are needed.
    futures::future::join_all((0..20).map(|_| hub.get(READER, "/v1/messages"))).await;
    node.freeze(true);
    let tries = async |least: usize| {
        let count = async || (hub.log().matches("no broker; trying again").count() >= least).then_some(());
        wait_for_at_most("some tries", PATIENCE, count).await
    };
    tries(3).await;
    let before = hub.descriptors_and_threads();
    tries(12).await;
    // Between two attempts there is as much as before. Where attempts stay, each leaves nearly one descriptor and one thread.
    wait_for_at_most("as few descriptors and threads as before", PATIENCE, async || {
        let now = hub.descriptors_and_threads();
        (now.0 <= before.0 + 2 && now.1 <= before.1 + 2).then_some(())
    })
    .await;
    node.freeze(false);
    is_ready(&hub, true).await;
    // At the start it is no different: an end with a reason, instead of waiting for ever.
    node.freeze(true);
    hub.kill();
    let began = Instant::now();
    assert!(!hub.try_run());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(hub.log().contains("the broker does not answer"), "{}", hub.log());
}
