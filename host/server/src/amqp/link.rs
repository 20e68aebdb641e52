//! The connection that messages go out by: made, watched, and made again. A broker that is short of memory or disk reads
//! nothing from a connection that publishes, so that messages come in by another one (`taking.rs`).

use super::dial::{Connected, Dial, RETRY_FIRST};
use super::frames::{down, reply};
use busbar_core::{Payload, Problem};
use futures::{Stream, StreamExt};
use lapin::options::{BasicConsumeOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer, Event};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Publishers, each with a channel of its own. One batch is on its way on each, so that confirms are waited for side by side, and a
/// return can only be of the batch that waits on its channel.
pub const PUBLISHERS: usize = 4;
/// For a channel to be opened.
const OPEN_MAX: Duration = Duration::from_secs(15);
/// A connection that lived so long was a good one.
const LASTING: Duration = Duration::from_secs(10);
/// A connection that left nothing unconfirmed for so long is no longer doubted: there may be nothing to be sent.
const CALM: Duration = Duration::from_secs(60);

/// Questions that wait for their answer, by correlation id.
pub type Unanswered = Arc<Mutex<HashMap<String, oneshot::Sender<Result<Payload, Problem>>>>>;

/// One connection that works.
pub struct Live {
    /// Grows with every connection.
    pub number: u64,
    pub asking: Channel,
    connected: Connected,
    /// The alarm for which the broker reads nothing, as it names it.
    alarm: watch::Sender<Option<String>>,
    given_up: Notify,
    doubt: Arc<Doubt>,
}

/// The connection, while it works.
pub fn is_live(live: &watch::Receiver<Option<Arc<Live>>>) -> Option<Arc<Live>> {
    live.borrow().clone().filter(|l| l.works())
}

/// Whether the broker leaves unconfirmed what it is sent.
#[derive(Default)]
pub struct Doubt(AtomicBool);

impl Doubt {
    pub fn is(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    async fn calm(&self) {
        tokio::time::sleep(CALM).await;
        self.confirmed();
        std::future::pending().await
    }

    pub fn confirmed(&self) {
        if self.is() && self.0.swap(false, Ordering::SeqCst) {
            tracing::info!("the broker leaves nothing unconfirmed any more");
        }
    }
}

impl Live {
    pub fn works(&self) -> bool {
        self.connected.works() && self.asking.status().connected()
    }

    /// A channel with confirms.
    ///
    /// # Errors
    /// `broker-unavailable`.
    pub async fn confirmed(&self) -> Result<Channel, Problem> {
        confirmed(&self.connected).await
    }

    /// How many messages a queue has, asked on a channel of its own: of a queue that is gone the broker closes it.
    ///
    /// # Errors
    /// `broker-unavailable`.
    pub async fn length(&self, queue: &str) -> Result<u64, Problem> {
        let counted = async {
            let channel = self.connected.connection.create_channel().await?;
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let count = channel.queue_declare(queue.into(), options, FieldTable::default()).await?.message_count();
            channel.close(200, "it is counted".into()).await?;
            Ok(count.into())
        };
        counted.await.map_err(|e: lapin::Error| down(&format!("not counted: {e}")))
    }

    /// Bytes that the properties of a message may have.
    pub fn room(&self) -> usize {
        super::fit::room(self.connected.connection.configuration().frame_max())
    }

    pub fn alarm(&self) -> Option<String> {
        self.alarm.borrow().clone()
    }

    /// Waits while the broker reads nothing, or until the connection ends.
    pub async fn reads(&self) {
        let mut alarm = self.alarm.subscribe();
        tokio::select! {
            _ = alarm.wait_for(Option::is_none) => {}
            () = watch_over(self) => {}
        }
    }

    /// Ends when the broker has had so long to confirm. While it reads nothing the time stands still, and afterwards begins
    /// anew: what it was sent is on its way, and would arrive twice if it were sent again.
    pub async fn overdue(&self, within: Duration) {
        let mut alarm = self.alarm.subscribe();
        loop {
            self.reads().await;
            tokio::select! {
                () = tokio::time::sleep(within) => return,
                Ok(_) = alarm.wait_for(Option::is_some) => {}
            }
            if !self.works() {
                return;
            }
        }
    }

    /// The broker did not confirm in time: another connection, to the next broker, may do better.
    pub fn give_up(&self) {
        if self.works() && !self.doubt.0.swap(true, Ordering::SeqCst) {
            tracing::error!(connection = self.number, "the broker does not confirm what it was sent");
        }
        self.given_up.notify_one();
    }

    async fn alarms(&self, mut events: impl Stream<Item = Event> + Unpin) {
        while let Some(event) = events.next().await {
            let alarm = match event {
                Event::ConnectionBlocked(alarm) => Some(alarm),
                Event::ConnectionUnblocked => None,
                _ => continue,
            };
            match &alarm {
                Some(alarm) => tracing::error!(alarm, "the broker has an alarm and reads nothing; messages wait"),
                None => tracing::info!("the broker's alarm is over"),
            }
            metrics::gauge!("busbar_broker_blocked").set(if alarm.is_some() { 1.0 } else { 0.0 });
            self.alarm.send_replace(alarm);
        }
    }
}

async fn confirmed(connected: &Connected) -> Result<Channel, Problem> {
    let opened = async {
        let channel = connected.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    };
    let opened = timeout(OPEN_MAX, opened).await.map_err(|_| down("no channel in time"))?;
    opened.map_err(|e: lapin::Error| down(&format!("no channel: {e}")))
}

/// What the supervisor needs.
pub struct Link {
    pub dial: Dial,
    pub waiting: Unanswered,
    pub live: watch::Sender<Option<Arc<Live>>>,
    pub doubt: Arc<Doubt>,
    pub stop: CancellationToken,
}

impl Link {
    /// Keeps a connection until `stop`.
    pub async fn run(self, first: (Arc<Live>, Consumer)) {
        let mut next = Some(first);
        let (mut number, mut pause) = (1, RETRY_FIRST);
        loop {
            let began = Instant::now();
            if let Some((live, replies)) = next.take() {
                number = live.number + 1;
                self.serve(&live, replies).await;
            }
            if self.stop.is_cancelled() {
                return;
            }
            if began.elapsed() > LASTING {
                pause = RETRY_FIRST;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
            let Some(connected) = self.dial.patiently(&mut pause, &self.stop).await else { return };
            match self.open(number, connected).await {
                Ok(opened) => next = Some(opened),
                Err(problem) => tracing::warn!(%problem, "no channel at the broker; trying again"),
            }
        }
    }

    /// Makes a new connection ready to ask and be answered.
    ///
    /// # Errors
    /// `broker-unavailable`.
    pub async fn open(&self, number: u64, connected: Connected) -> Result<(Arc<Live>, Consumer), Problem> {
        let asking = confirmed(&connected).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let replies = asking.basic_consume("amq.rabbitmq.reply-to".into(), "".into(), options, FieldTable::default());
        let replies = timeout(OPEN_MAX, replies).await.map_err(|_| down("no answers in time"))?;
        let replies = replies.map_err(|e| down(&format!("cannot take answers: {e}")))?;
        let (alarm, given_up, doubt) = (watch::Sender::new(None), Notify::new(), self.doubt.clone());
        Ok((Arc::new(Live { number, asking, connected, alarm, given_up, doubt }), replies))
    }

    async fn serve(&self, live: &Arc<Live>, replies: Consumer) {
        tracing::info!(connection = live.number, "connected to the broker");
        metrics::counter!("busbar_broker_connections_total", "for" => "publishing").increment(1);
        let events = live.connected.connection.events_listener();
        self.live.send_replace(Some(live.clone()));
        tokio::select! {
            () = live.alarms(Box::pin(events)) => {}
            () = self.answers(replies) => {}
            () = watch_over(live) => {}
            () = live.given_up.notified() => {}
            () = self.doubt.calm() => {}
            () = self.stop.cancelled() => {}
        }
        self.live.send_replace(None);
        metrics::gauge!("busbar_broker_blocked").set(0.0);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
        tracing::warn!(connection = live.number, "the connection to the broker ended");
        live.connected.end().await;
        self.dial.move_on();
    }

    async fn answers(&self, mut replies: Consumer) {
        while let Some(Ok(delivery)) = replies.next().await {
            let (correlation, payload) = reply(delivery);
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation);
            if let Some(waiting) = waiting {
                // Whoever asked may have given up.
                let _ = waiting.send(payload);
            }
        }
    }
}

// A channel can be closed by the broker while the connection lives on.
async fn watch_over(live: &Live) {
    while live.works() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
