//! What comes over AMQP, as the hub knows it.

use super::attributes::attributes;
use super::one;
use busbar_core::ports::{Original, Received, Tag};
use busbar_core::{Code, Payload, Problem};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::ShortString;
use std::sync::Arc;

/// How messages are read.
pub struct Reading {
    /// Attributes that are written without a prefix.
    pub bare: Vec<String>,
    pub body_bytes_max: usize,
}

/// A message as it came.
pub fn incoming(connection: u64, delivery: Delivery, reading: &Reading) -> Received {
    let Delivery { delivery_tag, exchange, routing_key, properties, data, .. } = delivery;
    let optional = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
    let (payload, fault) = payload(&properties, data, &reading.bare);
    let reply_to = properties.reply_to().as_ref().map(|address| one::queue(address.as_str()));
    // JMS and AMQP 1.0 match an answer by the id of the question where it has no correlation id.
    let correlation_id = optional(properties.correlation_id());
    let correlation_id = correlation_id.or_else(|| optional(properties.message_id()).filter(|_| reply_to.is_some()));
    let (bytes, most) = (payload.body.len(), reading.body_bytes_max);
    let too_large =
        || Problem::new(Code::TooLarge, format!("the body has {bytes} bytes, over {most} (amqp.body-bytes-max)"));
    let fault = (bytes > most).then(too_large).or(fault);
    Received {
        tag: Tag { connection, number: delivery_tag },
        routing_key: routing_key.to_string(),
        exchange: exchange.to_string(),
        user: optional(properties.user_id()),
        reply_to,
        correlation_id,
        payload,
        fault,
        original: Original(Some(Arc::new(properties))),
    }
}

/// An answer, by what it is the answer to.
pub fn reply(delivery: Delivery) -> (String, Result<Payload, Problem>) {
    let correlation = delivery.properties.correlation_id().as_ref().map(ToString::to_string).unwrap_or_default();
    let (payload, fault) = payload(&delivery.properties, delivery.data, &[]);
    (correlation, fault.map_or(Ok(payload), Err))
}

fn payload(properties: &BasicProperties, body: Vec<u8>, bare: &[String]) -> (Payload, Option<Problem>) {
    let content_type = one::content_type(properties.content_type().as_ref().map(ShortString::as_str));
    let headers = properties.headers().as_ref().map(one::headers);
    let (attributes, fault) = match attributes(headers.as_deref(), bare) {
        Ok(attributes) => (attributes, None),
        Err(fault) => (Vec::new(), Some(fault)),
    };
    let kind = properties.kind().as_ref().map(ShortString::as_str);
    let (body, fault) = match one::body(kind, body) {
        Ok(body) => (body, fault),
        Err((problem, body)) => (body, Some(problem)),
    };
    (Payload { attributes, content_type, body }, fault)
}

/// Nothing comes or goes now.
pub fn down(text: &str) -> Problem {
    Problem::new(Code::BrokerUnavailable, text)
}
