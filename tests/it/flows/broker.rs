//! A publisher and a listener at the broker, as another system would be one.

use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value;
use std::time::Duration;

pub struct Broker {
    connection: Connection,
    pub channel: Channel,
}

impl Broker {
    pub async fn connect(url: &str) -> lapin::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, channel })
    }

    /// Waits for a broker that is down or just starting.
    pub async fn patient(url: &str) -> Self {
        for _ in 0..240 {
            if let Ok(broker) = Self::connect(url).await {
                return broker;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("no broker at {url}");
    }

    /// Publishes a CloudEvent in binary mode; true when the broker has confirmed it and routed it.
    pub async fn publish(&self, exchange: &str, event: &Value, properties: BasicProperties) -> bool {
        let mut headers = FieldTable::default();
        for (name, value) in event.as_object().unwrap().iter().filter(|(name, _)| *name != "data") {
            let value = AMQPValue::LongString(value.as_str().unwrap().into());
            headers.insert(format!("cloudEvents:{name}").into(), value);
        }
        let properties =
            properties.with_headers(headers).with_content_type("application/json".into()).with_delivery_mode(2);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let kind = event["type"].as_str().unwrap();
        let body = event["data"].to_string();
        match self.channel.basic_publish(exchange.into(), kind.into(), options, body.as_bytes(), properties).await {
            Ok(confirm) => confirm.await.is_ok_and(|c| c.is_ack() && c.take_message().is_none()),
            Err(_) => false,
        }
    }

    /// Takes the next message of a queue, or nothing within 15 s.
    pub async fn next(&self, queue: &str) -> Option<Delivery> {
        let consumer =
            self.channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let mut consumer = consumer.await.ok()?;
        let delivery = tokio::time::timeout(Duration::from_secs(15), consumer.next()).await.ok()??.ok()?;
        delivery.ack(BasicAckOptions::default()).await.ok()?;
        self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.ok()?;
        Some(delivery)
    }

    pub async fn queue(&self, name: &str, exchange: &str, key: &str) {
        let declare = self.channel.queue_declare(name.into(), QueueDeclareOptions::default(), FieldTable::default());
        declare.await.unwrap();
        let options = QueueBindOptions::default();
        self.channel
            .queue_bind(name.into(), exchange.into(), key.into(), options, FieldTable::default())
            .await
            .unwrap();
    }

    pub async fn close(self) {
        self.connection.close(200, "".into()).await.ok();
    }
}

/// The value of a CloudEvents header.
pub fn header(delivery: &Delivery, name: &str) -> String {
    let headers = delivery.properties.headers().as_ref().unwrap();
    match headers.inner().get(format!("cloudEvents:{name}").as_str()) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("header {name} is {other:?}"),
    }
}
