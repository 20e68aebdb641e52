//! CloudEvents attributes as real clients write them: AMQP's own types under each prefix, quoted headers, byte order
//! marks, data in base64. What comes of each type stands here from the type system and the AMQP binding, not from the hub.

use super::broker::{Broker, header};

use crate::hub::{ANYBODY, Hub, PUBLISHER, READER, Standin, payment, wait_for};
use crate::servers::vhost;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ATTRIBUTES: [&str; 10] =
    ["id", "source", "type", "subject", "time", "dataschema", "traceparent", "partitionkey", "correlationid", "num"];
const PREFIXES: [&str; 3] = ["cloudEvents:", "cloudEvents_", "ce-"];

/// What a value of this AMQP type is as an attribute: its text, not set, or no attribute at all.
#[derive(Clone, Copy)]
enum Comes {
    Text(&'static str),
    Unset,
    Refused,
}

/// Every type that a field of AMQP 0-9-1 may have; short strings RabbitMQ itself does not take in a table.
fn values() -> Vec<(AMQPValue, Comes)> {
    use Comes::{Refused, Text, Unset};
    vec![
        (AMQPValue::LongString("ЛС-7".into()), Text("ЛС-7")),
        (AMQPValue::Boolean(true), Text("true")),
        (AMQPValue::ShortShortInt(-5), Text("-5")),
        (AMQPValue::ShortShortUInt(200), Text("200")),
        (AMQPValue::ShortInt(-300), Text("-300")),
        (AMQPValue::ShortUInt(60_000), Text("60000")),
        (AMQPValue::LongInt(-70_000), Text("-70000")),
        (AMQPValue::LongUInt(4_000_000_000), Text("4000000000")),
        (AMQPValue::LongLongInt(1_795_849_200_123), Text("1795849200123")),
        (AMQPValue::Timestamp(1_795_849_200), Text("2026-11-28T07:00:00Z")),
        (AMQPValue::Void, Unset),
        (AMQPValue::Float(1.5), Refused),
        (AMQPValue::Double(1.5), Refused),
        (AMQPValue::DecimalValue(DecimalValue { scale: 1, value: 15 }), Refused),
        (AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::LongInt(1)])), Refused),
        (AMQPValue::FieldTable(FieldTable::default()), Refused),
        (AMQPValue::ByteArray(vec![1u8, 2].into()), Refused),
    ]
}

/// The attribute's text, or `None`: the message is refused for it.
fn expected(attribute: &str, value: &AMQPValue, comes: Comes) -> Option<Option<String>> {
    let required = ["id", "source", "type"].contains(&attribute);
    match (attribute, comes) {
        (_, Comes::Refused) => None,
        (_, Comes::Unset) => (!required).then_some(None),
        // A time is a timestamp, milliseconds of AMQP 1.0, or RFC 3339; none of the other texts is one.
        ("time", _) => match value {
            AMQPValue::Timestamp(_) => Some(Some("2026-11-28T07:00:00Z".into())),
            AMQPValue::LongLongInt(_) => Some(Some("2026-11-28T07:00:00.123Z".into())),
            _ => None,
        },
        // No text of the list is a type of ours.
        ("type", _) => None,
        (_, Comes::Text(text)) => Some(Some(text.into())),
    }
}

async fn publish(broker: &Broker, headers: FieldTable, properties: BasicProperties, body: &[u8]) {
    let properties = properties.with_headers(headers).with_delivery_mode(2);
    let options = lapin::options::BasicPublishOptions { mandatory: true, ..Default::default() };
    let sent = broker.channel.basic_publish("busbar.in".into(), "any".into(), options, body, properties).await;
    assert!(sent.unwrap().await.unwrap().is_ack());
}

/// The next one in `busbar.dead`, without a consumer that takes the others along.
async fn dead(broker: &Broker) -> lapin::message::Delivery {
    wait_for("a message in busbar.dead", async || {
        let options = lapin::options::BasicGetOptions { no_ack: true };
        Some(broker.channel.basic_get("busbar.dead".into(), options).await.unwrap()?.delivery)
    })
    .await
}

fn headers(prefix: &str, id: &str) -> FieldTable {
    let mut table = FieldTable::default();
    let own = [("specversion", "1.0"), ("id", id), ("source", "/test/types"), ("type", "payment.received.v1")];
    for (name, value) in own {
        table.insert(format!("{prefix}{name}").into(), AMQPValue::LongString(value.into()));
    }
    table
}

async fn start(toml: &str) -> (Hub, Broker) {
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let hub = Hub::start(&format!("[amqp]\nurl = \"{url}\"\n{toml}\n{ANYBODY}"));
    (hub, Broker::connect(&url).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_amqp_type_is_an_attribute_or_a_refusal_that_names_it() {
    let (hub, broker) = start("").await;
    let mut wanted: BTreeMap<String, (&str, Option<Option<String>>)> = BTreeMap::new();
    for (place, attribute) in ATTRIBUTES.into_iter().enumerate() {
        for (number, (value, comes)) in values().into_iter().enumerate() {
            let mark = format!("{attribute}-{number}");
            let prefix = PREFIXES[(place + number) % PREFIXES.len()];
            let mut table = headers(prefix, &mark);
            table.insert(format!("{prefix}mark").into(), AMQPValue::LongString(mark.as_str().into()));
            table.insert(format!("{prefix}{attribute}").into(), value.clone());
            let body = payment("", "0042", "12.50")["data"].to_string();
            publish(
                &broker,
                table,
                BasicProperties::default().with_content_type("application/json".into()),
                body.as_bytes(),
            )
            .await;
            wanted.insert(mark, (attribute, expected(attribute, &value, comes)));
        }
    }
    let refused = wanted.values().filter(|(_, text)| text.is_none()).count();
    let taken = wait_for("all of them", async || {
        let found = hub.messages("").await;
        (found.len() == wanted.len() - refused).then_some(found)
    })
    .await;
    for message in &taken {
        let event = hub.trace(&message["seq"]).await["message"].clone();
        let (attribute, text) = &wanted[event["mark"].as_str().unwrap()];
        let text = text.clone().unwrap_or_else(|| panic!("taken: {event}"));
        assert_eq!(event[*attribute].as_str(), text.as_deref(), "{event}");
    }
    for _ in 0..refused {
        let dead = dead(&broker).await;
        let all = dead.properties.headers().as_ref().unwrap().inner();
        let mark = PREFIXES.iter().find_map(|p| all.get(format!("{p}mark").as_str())).unwrap();
        let AMQPValue::LongString(mark) = mark else { panic!("{mark:?}") };
        let (attribute, text) = &wanted[&mark.to_string()];
        assert_eq!(
            (header(&dead, "busbarerror"), header(&dead, "busbarplace")),
            ("invalid-event".into(), attribute.to_string())
        );
        assert!(text.is_none(), "refused: {mark}");
    }
    println!("{} values of {} attributes, {refused} refused", wanted.len(), ATTRIBUTES.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_without_prefix_are_taken_where_the_deployment_says_so() {
    let (hub, broker) = start("bare-attributes = [\"partitionkey\"]\n").await;
    let mut table = headers("cloudEvents_", "bare-1");
    table.insert("partitionkey".into(), AMQPValue::LongInt(77));
    table.insert("tenant".into(), AMQPValue::LongString("7".into()));
    let body = payment("", "0042", "12.50")["data"].to_string();
    // Without a content type as well, and with a byte order mark.
    publish(&broker, table, BasicProperties::default(), format!("\u{feff}{body}").as_bytes()).await;
    let found = wait_for("the message", async || hub.messages("id=bare-1").await.pop()).await;
    let event = hub.trace(&found["seq"]).await["message"].clone();
    assert_eq!((&event["partitionkey"], &event["tenant"]), (&json!("77"), &Value::Null));
}

/// Whoever looks into `busbar.dead` finds all that the sender wrote, and can send it again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_keeps_all_that_its_sender_wrote() {
    let (_hub, broker) = start("").await;
    let mut table = headers("ce-", "kept-1");
    table.insert("tenant".into(), AMQPValue::LongInt(7));
    table.insert("CC".into(), AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::LongString("elsewhere".into())])));
    let properties = BasicProperties::default()
        .with_content_type("application/json; charset=utf-8".into())
        .with_message_id("m-1".into())
        .with_app_id("billing".into())
        .with_type("payment".into())
        .with_priority(3)
        .with_timestamp(1_795_849_200)
        .with_expiration("3600000".into())
        .with_user_id("busbar".into())
        .with_reply_to("answers".into())
        .with_correlation_id("c-1".into());
    publish(&broker, table, properties, b"{}").await;
    let dead = broker.next("busbar.dead").await.unwrap();
    assert_eq!(header(&dead, "busbarerror"), "invalid-data");
    let headers = dead.properties.headers().as_ref().unwrap().inner();
    let text = |name: &str| match headers.get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(text("ce-id"), "kept-1");
    assert_eq!(headers.get("tenant"), Some(&AMQPValue::LongInt(7)));
    assert!(headers.get("CC").is_none() && headers.get("busbar-CC").is_some());
    assert_eq!((text("busbar-user-id"), text("busbar-expiration")), ("busbar".into(), "3600000".into()));
    assert_eq!(text("busbar-reply-to"), "answers");
    let own = &dead.properties;
    let word = |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    assert_eq!(word(own.message_id()), "m-1");
    assert_eq!(
        (word(own.app_id()), word(own.kind()), word(own.correlation_id())),
        ("billing".into(), "payment".into(), "c-1".into())
    );
    assert_eq!((own.timestamp(), own.priority()), (&Some(1_795_849_200), &Some(3)));
    assert_eq!(word(own.content_type()), "application/json; charset=utf-8");
    assert_eq!((own.expiration(), own.user_id()), (&None, &None));
}

/// RabbitMQ 3.10 delivers an answer to its own replying queue and returns it as well, where it is `mandatory`.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_direct_reply_to_comes_once_and_is_no_trouble() {
    let (hub, broker) = start("").await;
    let no_ack = lapin::options::BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut answers = broker
        .channel
        .basic_consume("amq.rabbitmq.reply-to".into(), "".into(), no_ack, FieldTable::default())
        .await
        .unwrap();
    let mut table = headers("cloudEvents:", "q-1");
    table.insert("cloudEvents:type".into(), AMQPValue::LongString("account.lookup.v1".into()));
    let properties = BasicProperties::default().with_reply_to("amq.rabbitmq.reply-to".into());
    publish(&broker, table, properties, br#"{"account":"77"}"#).await;
    let answer = futures::StreamExt::next(&mut answers).await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&answer.data).unwrap()["code"], "no-answerer");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!hub.log().contains("nobody waits for an answer"), "{}", hub.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn http_headers_are_unquoted_and_data_may_be_base64() {
    let hub = Hub::start("");
    let data = payment("", "0042", "12.50")["data"].clone();
    let request = hub.client.post(format!("{}/v1/messages", hub.url)).bearer_auth(PUBLISHER);
    let request = request.header("ce-specversion", "\"1.0\"").header("ce-id", r#""a \"b\" \\ c""#);
    let request = request.header("ce-source", "/test/quoted").header("ce-type", "payment.received.v1");
    let request = request.header("ce-subject", "\"%D0%9B%D0%A1-42\"").header("ce-branch", "say \"hi\"");
    let request = request.header("content-type", "application/json");
    let answer = hub.send(request.body(format!("\u{feff}{data}"))).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let event = hub.trace(&answer.body["accepted"][0]["seq"]).await["message"].clone();
    assert_eq!((&event["id"], &event["subject"]), (&json!(r#"a "b" \ c"#), &json!("ЛС-42")));
    assert_eq!(event["branch"], "say \"hi\"");

    let mut event = payment("base64-1", "0042", "12.50");
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, data.to_string());
    let map = event.as_object_mut().unwrap();
    map.remove("data");
    map.insert("datacontenttype".into(), "application/json".into());
    map.insert("data_base64".into(), encoded.into());
    let seq = hub.publish(&event).await["seq"].clone();
    assert_eq!(hub.trace(&seq).await["message"]["data"], data);
    for (name, value, place) in [("data_base64", json!("%%"), "data_base64"), ("num", json!(1.5), "num")] {
        let mut wrong = payment("wrong", "0042", "12.50");
        if name == "data_base64" {
            wrong.as_object_mut().unwrap().remove("data");
        }
        wrong[name] = value;
        let answer = hub.post("application/cloudevents+json", wrong.to_string()).await;
        assert_eq!((answer.status, &answer.body["place"]), (400, &json!(place)), "{answer:?}");
    }
    event["data"] = data;
    let both = hub.post("application/cloudevents+json", event.to_string()).await;
    assert_eq!((both.status, &both.body["place"]), (400, &json!("data_base64")), "{both:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_over_http_may_get_whole_events() {
    let crm = Standin::start(|_, _| (200, "")).await;
    let hub = Hub::start(&format!(
        "[systems.crm]\nvia = \"http\"\nmode = \"structured\"\nurl = \"{}/events\"\n[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"crm\"]\n",
        crm.url
    ));
    let seq = hub.publish(&payment("p-1", "ЛС-42", "12.50")).await["seq"].clone();
    hub.settled(&seq, &["done"]).await;
    let seen = crm.seen();
    let event: Value = serde_json::from_str(&seen[0].body).unwrap();
    assert_eq!(
        (&event["id"], &event["subject"], &event["specversion"]),
        (&json!("p-1"), &json!("ЛС-42"), &json!("1.0"))
    );
    assert_eq!(event["data"]["amount"]["value"], "12.50");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_system_over_http_says_of_its_refusal_is_kept() {
    let said: [(&str, &'static str); 5] = [
        (r#"{"error": "no account 17"}"#, "no account 17"),
        (r#"{"title": "Bad", "detail": "no account 18"}"#, "no account 18"),
        (r#"{"error": {"message": "no account 19"}}"#, r#"{"error": {"message": "no account 19"}}"#),
        ("no\taccount\n20", "no account 20"),
        ("", ""),
    ];
    for (body, words) in
        said.map(|(body, words)| (body.to_owned(), words)).into_iter().chain([("ж".repeat(100_000), "жжж")])
    {
        let long = body.len() > 1000;
        let body: &'static str = Box::leak(body.into_boxed_str());
        let crm = Standin::start(move |_, _| (400, body)).await;
        let hub = Hub::start(&format!(
            "[systems.crm]\nvia = \"http\"\nurl = \"{}/events\"\n[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"crm\"]\n",
            crm.url
        ));
        let seq = hub.publish(&payment("p-1", "42", "12.50")).await["seq"].clone();
        let trace = hub.settled(&seq, &["parked"]).await;
        let detail = trace["deliveries"][0]["error"]["detail"].as_str().unwrap().to_owned();
        let expected = format!("answered 400{}{words}", if words.is_empty() { "" } else { ": " });
        match long {
            true => {
                assert!(detail.contains(&expected) && detail.chars().count() < 700 && detail.ends_with('…'), "{detail}")
            }
            false => assert!(detail.ends_with(&expected), "{detail}"),
        }
        // Only who may see personal data sees it, as with everything in a system's own words.
        let shown = hub.get(READER, &format!("/v1/messages/{}", seq.as_str().unwrap())).await.body.to_string();
        assert!(words.is_empty() || !shown.contains(words), "{shown}");
        assert!(words.is_empty() || !hub.log().contains(words), "{}", hub.log());
    }
}
