//! The smaller part of a cluster: of three nodes two are killed, and the hub is at the third.

use crate::flows::alarm::{arrived_at_portal, drained, hub, post, ready};
use crate::flows::broker::Broker;
use crate::hub::{Hub, wait_for_at_most};
use crate::servers::Server;
use serde_json::json;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// More than twice as long as a confirm may take.
const WHILE: Duration = Duration::from_secs(5);

async fn done(hub: &Hub, count: usize) {
    let what = format!("{count} done");
    wait_for_at_most(&what, PATIENCE, async || {
        (hub.messages("system=crm&state=done").await.len() == count).then_some(())
    })
    .await;
}

async fn ready_is(hub: &Hub, status: u16) {
    let what = format!("/readyz with {status}");
    wait_for_at_most(&what, PATIENCE, async || (ready(hub).await.0 == status).then_some(())).await;
}

fn kill_two(nodes: &mut [Server; 3]) {
    nodes[1..].iter_mut().for_each(Server::kill);
}

/// At once, as after a power cut: each may wait for the other.
fn start_two(nodes: &mut [Server; 3]) {
    std::thread::scope(|scope| nodes[1..].iter_mut().for_each(|node| drop(scope.spawn(|| node.restart()))));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_smaller_part_of_a_cluster_nothing_counts_as_done_and_all_goes_on_after_it() {
    let mut nodes = tokio::task::spawn_blocking(Server::rabbitmq_cluster).await.unwrap();
    let (hub, broker, portal) = hub(&nodes[0]).await;
    // Each queue has a member at every node.
    let members = "{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"crm.messages\">>)), \
                   3 = length(maps:get(nodes, amqqueue:get_type_state(Q))).";
    nodes[0].rabbitmqctl(&["eval", members]);
    post(&hub, 0).await;
    done(&hub, 20).await;
    kill_two(&mut nodes);
    post(&hub, 20).await;
    arrived_at_portal(&portal, 40).await;
    ready_is(&hub, 503).await;
    tokio::time::sleep(WHILE).await;
    // It stays so, though each new connection to the node is a good one.
    let (status, shown) = ready(&hub).await;
    assert_eq!((status, &shown["broker"]), (503, &json!(false)), "{shown}");
    assert!(shown["broker-trouble"].as_str().unwrap().contains("confirm"), "{shown}");
    assert_eq!(hub.messages("system=crm&state=done").await.len(), 20);
    tokio::task::block_in_place(|| start_two(&mut nodes));
    done(&hub, 40).await;
    ready_is(&hub, 200).await;
    // A node that pauses in a minority ends its connections instead, and takes none.
    nodes[0].rabbitmqctl(&["eval", "application:set_env(rabbit, cluster_partition_handling, pause_minority)."]);
    kill_two(&mut nodes);
    ready_is(&hub, 503).await;
    post(&hub, 40).await;
    arrived_at_portal(&portal, 60).await;
    tokio::time::sleep(WHILE).await;
    assert_eq!(ready(&hub).await.0, 503);
    assert_eq!(hub.messages("system=crm&state=done").await.len(), 40);
    tokio::task::block_in_place(|| start_two(&mut nodes));
    done(&hub, 60).await;
    ready_is(&hub, 200).await;
    drop(broker);
    let came = drained(&Broker::patient(&nodes[0].url).await).await;
    assert_eq!(came.len(), 60, "{came:?}");
    assert!(came.values().all(|(_, ids)| *ids == 1), "{came:?}");
}
