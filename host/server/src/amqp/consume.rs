//! Taking messages. To give them up the channel is closed, so that the broker hands everything that is not
//! acknowledged, in its order, to whoever is next.

use super::frames::{Reading, down, incoming};
use busbar_core::ports::{Received, Tag};
use busbar_core::{Ack, Acks, Problem, Shards};
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const ACK_MAX: Duration = Duration::from_secs(10);
/// Bytes of messages that are handed out at once, about: RabbitMQ has no such limit of its own (`prefetch-size`).
const TOGETHER_BYTES: usize = 64 << 20;
/// So many small messages in a row, and as many as ever are taken at once again.
const CALM: u32 = 1_000;

/// The channels that messages come from, by the number that stands in their tags.
#[derive(Default)]
pub struct Takers {
    open: Mutex<HashMap<u64, (Channel, Acks)>>,
    /// Held from working out what may be acknowledged until it is on its way: the broker closes a channel that gets
    /// a prefix after a longer one.
    acknowledging: tokio::sync::Mutex<()>,
    last: AtomicU64,
    acknowledged: AtomicU64,
}

impl Takers {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, (Channel, Acks)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, channel: Channel) -> u64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.open().insert(number, (channel, Acks::default()));
        number
    }

    fn remove(&self, number: u64) -> Option<Channel> {
        self.open().remove(&number).map(|(channel, _)| channel)
    }

    /// The connection is gone: all its tags are stale.
    pub fn clear(&self) {
        self.open().clear();
    }

    /// Grows with every acknowledgement.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn arrived(&self, tag: Tag) {
        if let Some((_, acks)) = self.open().get_mut(&tag.connection) {
            acks.arrived(tag.number);
        }
    }

    /// Acknowledges what is committed, as far as possible with one frame for many.
    ///
    /// # Errors
    /// `broker-unavailable`: what was not acknowledged comes again.
    pub async fn ack(&self, tags: &[Tag]) -> Result<(), Problem> {
        let mut by_channel: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for tag in tags {
            by_channel.entry(tag.connection).or_default().push(tag.number);
        }
        let _turn = self.acknowledging.lock().await;
        for (number, settled) in by_channel {
            let found = self.open().get_mut(&number).map(|(channel, acks)| (channel.clone(), acks.settle(settled)));
            let Some((channel, acks)) = found else { continue };
            for ack in acks {
                let (tag, multiple) = match ack {
                    Ack::UpTo(tag) => (tag, true),
                    Ack::One(tag) => (tag, false),
                };
                // A connection that is dying may never say so.
                let sent = tokio::time::timeout(ACK_MAX, channel.basic_ack(tag, BasicAckOptions { multiple }));
                let sent = sent.await.map_err(|_| down("not acknowledged in time, comes again"))?;
                sent.map_err(|e| down(&format!("not acknowledged, comes again: {e}")))?;
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// What taking messages needs.
pub struct Taking<'a> {
    pub queue: &'a str,
    pub prefetch: u16,
    pub reading: &'a Reading,
    /// One message at a time until one was acknowledged.
    pub cautious: bool,
    pub takers: &'a Takers,
    pub received: &'a mpsc::Sender<Received>,
}

impl Taking<'_> {
    /// Takes messages until the connection fails; none while nothing is this hub's: it may not be able to write, and
    /// another one should have them.
    ///
    /// # Errors
    /// `broker-unavailable`, for whatever reason nothing comes any more.
    pub async fn run(&self, connection: &Connection, mut owned: watch::Receiver<Shards>) -> Result<(), Problem> {
        let mut pace = if self.cautious { 1 } else { self.prefetch };
        loop {
            let any = owned.wait_for(|owned| *owned != Shards::NONE).await.map(drop);
            any.map_err(|_| down("the hub is stopping"))?;
            let (number, messages) = self.take(connection, pace).await?;
            pace = self.pass_on(number, messages, pace, &mut owned).await?;
            self.give_up(number).await;
        }
    }

    /// Passes messages on until they are to be given up; says how many to take at once afterwards.
    async fn pass_on(
        &self,
        number: u64,
        mut messages: Consumer,
        pace: u16,
        owned: &mut watch::Receiver<Shards>,
    ) -> Result<u16, Problem> {
        let before = self.takers.acknowledged();
        let (mut calm, enough) = (0, if self.cautious { 1 } else { CALM });
        while let Some(message) = self.next(&mut messages, owned).await? {
            let together = TOGETHER_BYTES / message.data.len().max(1);
            if usize::from(pace) > together.max(1) {
                // It comes again, with fewer beside it.
                return Ok(pace / 2);
            }
            calm = if usize::from(self.prefetch) > together { 0 } else { calm + 1 };
            if pace < self.prefetch && calm > enough && self.takers.acknowledged() != before {
                return Ok(self.prefetch);
            }
            let message = incoming(number, message, self.reading);
            self.takers.arrived(message.tag);
            self.received.send(message).await.map_err(|_| down("the hub is stopping"))?;
        }
        Ok(pace)
    }

    /// The next message; nothing when all was given up.
    async fn next(
        &self,
        messages: &mut Consumer,
        owned: &mut watch::Receiver<Shards>,
    ) -> Result<Option<Delivery>, Problem> {
        tokio::select! {
            biased;
            // The pattern fails where nobody sends any more: a hub that has the store to itself keeps what it has.
            Ok(_) = owned.wait_for(|owned| *owned == Shards::NONE) => Ok(None),
            // lapin ends the stream silently when the broker cancels the consumer: either way, connect anew.
            message = messages.next() => match message {
                Some(message) => message.map(Some).map_err(|e| down(&e.to_string())),
                None => Err(down("the broker ended the consumer")),
            },
        }
    }

    async fn take(&self, connection: &Connection, pace: u16) -> Result<(u64, Consumer), Problem> {
        let failed = |e: lapin::Error| down(&format!("cannot consume: {e}"));
        let channel = connection.create_channel().await.map_err(failed)?;
        channel.basic_qos(pace, BasicQosOptions::default()).await.map_err(failed)?;
        let number = self.takers.add(channel.clone());
        let consumer = channel
            .basic_consume(self.queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await;
        Ok((number, consumer.map_err(failed)?))
    }

    async fn give_up(&self, number: u64) {
        if let Some(channel) = self.takers.remove(number)
            && let Err(error) = channel.close(200, "another hub takes over".into()).await
        {
            tracing::debug!(%error, "a channel was closed already");
        }
    }
}
