//! SIGTERM: what runs ends, what came of it is written, and the broker and the store hear goodbye.

use crate::flows::limits::relay;
use crate::hub::{Hub, payment, wait_for};
use crate::servers::Server;

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_hears_goodbye_after_all_is_written() {
    let server = tokio::task::spawn_blocking(Server::rabbitmq).await.unwrap();
    let mut hub = Hub::start(&relay(&server.url, ""));
    let mut sequence = Vec::new();
    for number in 0..200 {
        sequence.push(hub.publish(&payment(&format!("p-{number}"), "100", "1.00")).await["seq"].clone());
    }
    // While deliveries are on their way.
    assert!(hub.stop().success());
    // Whoever looked whether the broker was there before did not say goodbye.
    let log = wait_for("the broker to note the end", async || {
        let log = server.log().split_once("client-provided name: busbar")?.1.to_string();
        (log.contains("closing AMQP connection") || log.contains("unexpectedly")).then_some(log)
    })
    .await;
    assert!(!log.contains("unexpectedly"), "{log}");
    let said = hub.log();
    assert!(!said.contains("not everything ended") && !said.contains("in time"), "{said}");
    // The store was closed last: what SQLite keeps beside the file of a store that is open is gone.
    assert!(!hub.path("data/busbar.db-wal").exists());
    hub.restart();
    for seq in &sequence {
        let trace = hub.settled(seq, &["done"]).await;
        assert_eq!(trace["deliveries"][0]["attempts"], 1, "{trace}");
    }
}
