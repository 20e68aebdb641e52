//! Policies of the broker: those that undo what the hub declares are found over the broker's management, named, and make the
//! hub not ready where messages vanish by them.

use super::broker::{Broker, header};
use super::limits::relay;
use crate::hub::{Hub, READER, payment, wait_for, wait_for_at_most};
use crate::servers::{Server, free_port};
use lapin::message::BasicGetMessage;
use lapin::options::BasicGetOptions;
use serde_json::{Value, json};
use std::time::Duration;

/// Several times as long as the hub leaves between two looks, and the broker's statistics need.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker with its management, and the address of that.
async fn server() -> (Server, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let listens = format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}", address.replace("127.0.0.1:", ""));
    let server = tokio::task::spawn_blocking(move || Server::rabbitmq_plugged("rabbitmq_management", &listens));
    (server.await.unwrap(), address)
}

fn managed(server: &Server, management: &str) -> Hub {
    Hub::start(&relay(&server.url, &format!("management = \"{management}\"")))
}

/// The status of `/readyz` once `policies` in it is as wanted.
async fn ready_with(hub: &Hub, wanted: impl Fn(&Value) -> bool) -> (u16, Value) {
    wait_for_at_most("the policies", PATIENCE, async || {
        let answer = hub.get(READER, "/readyz").await;
        wanted(&answer.body["policies"]).then(|| (answer.status, answer.body["policies"].clone()))
    })
    .await
}

async fn has_metric(hub: &Hub, line: &str) -> bool {
    hub.get("", "/metrics").await.body.as_str().unwrap().lines().any(|found| found == line)
}

/// The next message of a queue. One at a time: a consumer would be given the next ones as well.
async fn taken(broker: &Broker, queue: &str) -> BasicGetMessage {
    let options = BasicGetOptions { no_ack: true };
    wait_for(queue, async || broker.channel.basic_get(queue.into(), options).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_undo_what_the_hub_declares_are_named_and_red_where_messages_vanish() {
    let (server, management) = server().await;
    let hub = managed(&server, &format!("http://{management}"));
    let broker = Broker::connect(&server.url).await.unwrap();
    let none = |policies: &Value| *policies == json!([]);
    assert_eq!(ready_with(&hub, none).await.0, 200);
    assert!(has_metric(&hub, "busbar_broker_policies{queue=\"busbar.dead\"} 0").await);
    // Nothing is lost by it: a full queue refuses.
    let set = |kind: &str, name: &str, queue: &str, definition: &str| {
        server.rabbitmqctl(&[kind, "--apply-to", "queues", name, &format!("^{queue}$"), definition]);
    };
    set("set_policy", "short", "busbar.in", r#"{"max-length": 1000, "dead-letter-exchange": "amq.topic"}"#);
    let one = |policies: &Value| policies.as_array().is_some_and(|all| all.len() == 1);
    let (status, shown) = ready_with(&hub, one).await;
    assert_eq!((status, &shown[0]["loses"]), (200, &json!(false)), "{shown}");
    assert_eq!(
        (&shown[0]["queue"], &shown[0]["policy"], &shown[0]["key"], &shown[0]["value"]),
        (&json!("busbar.in"), &json!("short"), &json!("max-length"), &json!(1000))
    );
    // With these, messages vanish: the operators' limit, and what a full queue does by the other one.
    set("set_policy", "drops", "crm.messages", r#"{"overflow": "drop-head", "dead-letter-strategy": "at-most-once"}"#);
    set("set_operator_policy", "few", "crm.messages", r#"{"max-length": 2}"#);
    let (status, shown) = ready_with(&hub, |policies| policies.as_array().is_some_and(|all| all.len() == 3)).await;
    assert_eq!(status, 503, "{shown}");
    let (limit, overflow) = (&shown[1], &shown[2]);
    assert_eq!((&limit["key"], &limit["loses"]), (&json!("max-length"), &json!(true)), "{shown}");
    assert_eq!((&overflow["key"], &overflow["value"]), (&json!("overflow"), &json!("drop-head")), "{shown}");
    assert!(limit["remedy"].as_str().unwrap().contains("the policy `drops` or the operator policy `few`"), "{shown}");
    assert!(has_metric(&hub, "busbar_broker_policies{queue=\"crm.messages\"} 2").await);
    assert!(hub.log().contains("policies of the broker undo what the hub declares"), "{}", hub.log());
    // So it is: all are done, and two of four are not in the queue. The queue's own exchange for dead letters holds.
    for n in 0..4 {
        let accepted = hub.publish(&payment(&format!("p-{n}"), &n.to_string(), "1.00")).await;
        hub.settled(&accepted["seq"], &["done"]).await;
    }
    for (queue, id) in
        [("busbar.dead", "p-0"), ("busbar.dead", "p-1"), ("crm.messages", "p-2"), ("crm.messages", "p-3")]
    {
        assert_eq!(header(&taken(&broker, queue).await.delivery, "id"), id);
    }
    for (kind, name) in [("clear_policy", "short"), ("clear_policy", "drops"), ("clear_operator_policy", "few")] {
        server.rabbitmqctl(&[kind, name]);
    }
    assert_eq!(ready_with(&hub, none).await.0, 200);
    assert!(has_metric(&hub, "busbar_broker_policies{queue=\"crm.messages\"} 0").await);
    assert!(hub.log().contains("no policy of the broker undoes"), "{}", hub.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_management_that_says_nothing_is_named_and_no_reason_to_stop() {
    let (server, management) = server().await;
    let refused = managed(&server, &format!("http://clerk:clerk@{management}"));
    let unreachable = managed(&server, &format!("http://127.0.0.1:{}", free_port()));
    for (hub, reason) in
        [(&refused, "`rabbitmqctl set_user_tags clerk management`"), (&unreachable, "cannot be reached")]
    {
        assert_eq!(ready_with(hub, |policies| *policies == json!("not known")).await.0, 200);
        let warned = async || hub.log().contains("the broker's policies are not known").then_some(());
        wait_for_at_most("a warning", PATIENCE, warned).await;
        assert!(hub.log().contains(reason), "{}", hub.log());
    }
    let silent = Hub::start(&relay(&server.url, ""));
    assert_eq!(ready_with(&silent, |policies| *policies == json!("not asked")).await.0, 200);
    wait_for("a line", async || silent.log().contains("policies of the broker are not looked at").then_some(())).await;
}
