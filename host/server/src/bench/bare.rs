//! What the hub's relay is compared with: consume, publish with confirms, acknowledge many at once, and nothing else.

use crate::amqp::Topology;
use anyhow::Context;
use futures::StreamExt;
use futures::future::{join_all, try_join_all};
use futures::stream::FuturesOrdered;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

/// As the hub's own: messages in a batch, and batches on their way.
const BATCH: usize = 256;
const BATCHES: usize = 4;

/// Relays from the incoming queue to the outgoing exchange until it is killed.
///
/// # Errors
/// Whatever the broker says.
pub async fn relay(url: &str, prefix: &str, prefetch: u16) -> anyhow::Result<()> {
    let topology = Topology { prefix: prefix.to_string(), ..Topology::default() };
    let connection = Connection::connect(url, ConnectionProperties::default()).await.context("connecting")?;
    let (consuming, publishing) = (connection.create_channel().await?, connection.create_channel().await?);
    publishing.confirm_select(ConfirmSelectOptions::default()).await?;
    consuming.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let queue = topology.incoming();
    let consumer = consuming.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await?;
    let mut batches = consumer.ready_chunks(BATCH);
    let mut running = FuturesOrdered::new();
    loop {
        tokio::select! {
            Some(batch) = batches.next(), if running.len() < BATCHES => {
                let batch = batch.into_iter().collect::<Result<Vec<_>, _>>()?;
                running.push_back(publish(&publishing, topology.outgoing(), batch).await?);
            }
            Some(last) = running.next(), if !running.is_empty() => {
                consuming.basic_ack(last?, BasicAckOptions { multiple: true }).await?;
            }
            else => return Ok(()),
        }
    }
}

/// Hands a batch over; the future gives the tag of its last message when all are confirmed.
async fn publish(
    channel: &Channel,
    exchange: String,
    batch: Vec<Delivery>,
) -> anyhow::Result<impl Future<Output = anyhow::Result<u64>>> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let last = batch.last().map_or(0, |delivery| delivery.delivery_tag);
    let sending = batch.iter().map(|delivery| {
        let (key, properties) = (delivery.routing_key.clone(), delivery.properties.clone());
        channel.basic_publish(exchange.as_str().into(), key, options, &delivery.data, properties)
    });
    let confirms = try_join_all(sending).await?;
    Ok(async move {
        for confirm in join_all(confirms).await {
            anyhow::ensure!(confirm?.is_ack(), "the broker did not take a message");
        }
        Ok(last)
    })
}
