//! The queue of what was put aside. It has a delivery limit of its own, because RabbitMQ 4 gives one of 20 to a queue without
//! it: a message that was looked at so often vanished. Arguments of a queue cannot be changed, so the messages of an older
//! one go to a queue beside it and come back into the new one, whatever happens in between.

use super::frames::down;
use super::publish::publish;
use super::topology::{DEAD_LOOKS_MAX, LIMIT_ARGUMENT, different, quorum};
use busbar_core::ports::{Original, Outgoing};
use busbar_core::{Code, Payload, Problem};
use lapin::options::{BasicAckOptions, BasicGetOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

const TOGETHER: usize = 256;
const CONFIRM_MAX: Duration = Duration::from_secs(30);

/// Makes the queue what it must be; its messages stay.
///
/// # Errors
/// `broker-unavailable`: it is tried again with the next connection, from where it ended.
pub async fn prepare(connection: &Connection, dead: &str) -> Result<(), Problem> {
    let aside = format!("{dead}.aside");
    if is_as_wanted(connection, dead).await? && count(connection, &aside).await?.is_none() {
        return bind(&channel(connection).await?, dead).await;
    }
    let channel = channel(connection).await?;
    // One hub at a time: the queue is the lock, and gone with the connection.
    let lock = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let locked = channel.queue_declare(format!("{dead}.moving").into(), lock, FieldTable::default()).await;
    locked.map_err(|e| down(&format!("`{dead}` is being moved by another hub: {e}")))?;
    if !is_as_wanted(connection, dead).await? {
        if count(connection, dead).await?.is_some_and(|(_, consumers)| consumers > 0) {
            tracing::warn!(
                queue = dead,
                "the queue has no delivery limit of its own, which RabbitMQ 4 takes for 20 looks at a message. The hub would make \
                 it anew with all its messages, but somebody reads it: stop the reader and start the hub again"
            );
            return bind(&channel, dead).await;
        }
        declare(&channel, &aside).await?;
        // Nothing comes in any more: what is to be put aside meanwhile is unroutable, and waits where it is.
        let unbound = channel.queue_unbind(dead.into(), dead.into(), "#".into(), FieldTable::default()).await;
        unbound.map_err(|e| down(&e.to_string()))?;
        let moved = move_all(connection, &channel, dead, &aside).await?;
        delete(&channel, dead).await?;
        tracing::info!(queue = dead, moved, "the queue is made anew with a delivery limit");
    }
    declare(&channel, dead).await?;
    bind(&channel, dead).await?;
    if count(connection, &aside).await?.is_some() {
        move_all(connection, &channel, &aside, dead).await?;
        delete(&channel, &aside).await?;
    }
    Ok(())
}

async fn channel(connection: &Connection) -> Result<Channel, Problem> {
    let failed = |e: lapin::Error| down(&e.to_string());
    let channel = connection.create_channel().await.map_err(failed)?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(failed)?;
    Ok(channel)
}

async fn declare(channel: &Channel, name: &str) -> Result<(), Problem> {
    declared(channel, name).await.map_err(|e| different("queue", name, &e))
}

async fn declared(channel: &Channel, name: &str) -> lapin::Result<()> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let limit = [(LIMIT_ARGUMENT, AMQPValue::LongInt(DEAD_LOOKS_MAX))];
    channel.queue_declare(name.into(), options, quorum(&limit)).await.map(drop)
}

async fn bind(channel: &Channel, dead: &str) -> Result<(), Problem> {
    super::topology::bind(channel, dead, dead, "#").await
}

/// Declares it; no, where there is one with other arguments. On a channel of its own, which the broker closes then.
async fn is_as_wanted(connection: &Connection, name: &str) -> Result<bool, Problem> {
    let channel = connection.create_channel().await.map_err(|e| down(&e.to_string()))?;
    match declared(&channel, name).await {
        Ok(()) => Ok(true),
        Err(e) if refused(&e, 406) => Ok(false),
        Err(e) => Err(different("queue", name, &e)),
    }
}

/// Messages that wait in a queue and its consumers; nothing where there is no such queue.
async fn count(connection: &Connection, name: &str) -> Result<Option<(u32, u32)>, Problem> {
    let channel = connection.create_channel().await.map_err(|e| down(&e.to_string()))?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(name.into(), passive, FieldTable::default()).await {
        Ok(queue) => Ok(Some((queue.message_count(), queue.consumer_count()))),
        Err(e) if refused(&e, 404) => Ok(None),
        Err(e) => Err(down(&e.to_string())),
    }
}

/// What the broker says by closing the channel (AMQP 0-9-1, section 1.2, constants).
fn refused(error: &lapin::Error, code: u16) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said) if said.get_id() == code)
}

async fn delete(channel: &Channel, name: &str) -> Result<(), Problem> {
    let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default()).await;
    deleted.map(drop).map_err(|e| down(&format!("`{name}` is not deleted: {e}")))
}

/// Moves every message: each is acknowledged after the broker has confirmed its copy.
async fn move_all(connection: &Connection, channel: &Channel, from: &str, to: &str) -> Result<usize, Problem> {
    let room = super::fit::room(connection.configuration().frame_max());
    let failed = |e: lapin::Error| down(&format!("moving `{from}`: {e}"));
    let mut moved = 0;
    loop {
        let (mut copies, mut last) = (Vec::new(), None);
        while copies.len() < TOGETHER
            && let Some(message) = channel.basic_get(from.into(), BasicGetOptions::default()).await.map_err(failed)?
        {
            last = Some(message.delivery_tag);
            let delivery = message.delivery;
            copies.push(Outgoing {
                routing_key: to.to_string(),
                payload: Payload { body: delivery.data, ..Payload::default() },
                original: Original(Some(Arc::new(delivery.properties))),
                ..Outgoing::default()
            });
        }
        let Some(last) = last else { return Ok(moved) };
        for result in publish(channel, room, &copies, tokio::time::sleep(CONFIRM_MAX)).await {
            result.map_err(|problem| Problem::new(Code::BrokerUnavailable, format!("moving `{from}`: {problem}")))?;
        }
        channel.basic_ack(last, BasicAckOptions { multiple: true }).await.map_err(failed)?;
        moved += copies.len();
    }
}
