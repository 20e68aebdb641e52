//! The port `Transport` over RabbitMQ.

use super::consume::Takers;
use super::dial::Dial;
use super::frames::{Reading, down};
use super::link::{Doubt, Link, Live, Unanswered, is_live};
use super::policies::PolicyWatcher;
use super::publish::{self, Publishers};
use super::taking::TakingParts;
use super::topology::Topology;
use crate::config::model::AmqpConfig;
use async_trait::async_trait;
use busbar_core::ports::{Confirms, Outgoing, Received, Tag, Transport};
use busbar_core::{Code, Payload, Problem, Shards};
use secrecy::SecretString;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// RabbitMQ behind a connection that comes back by itself.
pub struct RabbitTransport {
    received: Mutex<mpsc::Receiver<Received>>,
    publishers: Publishers,
    takers: Arc<Takers>,
    live: watch::Receiver<Option<Arc<Live>>>,
    taking: watch::Receiver<bool>,
    doubt: Arc<Doubt>,
    waiting: Unanswered,
    timeout: Duration,
    /// The queue of what was put aside.
    dead: String,
    stop: CancellationToken,
    links: Mutex<JoinSet<()>>,
}

impl RabbitTransport {
    /// Connects, declares the topology, and keeps the connections from then on: one to publish, one to take.
    ///
    /// # Errors
    /// `broker-unavailable` when there is no broker now, or it has something else under our names.
    pub async fn start(
        config: &AmqpConfig,
        urls: Vec<SecretString>,
        topology: Topology,
        owned: watch::Receiver<Shards>,
        stop: CancellationToken,
    ) -> Result<Self, Problem> {
        let (received, incoming) = mpsc::channel(usize::from(config.prefetch));
        let (live_sender, live) = watch::channel(None);
        let (up, taking) = watch::channel(true);
        let (takers, waiting, doubt) = (Arc::new(Takers::default()), Unanswered::default(), Arc::new(Doubt::default()));
        let timeout = Duration::from_millis(config.confirm_timeout_ms);
        let dead = topology.dead();
        let dial = |first| Dial { urls: urls.clone(), topology: topology.clone(), next: AtomicUsize::new(first) };
        let link = Link {
            dial: dial(0),
            waiting: waiting.clone(),
            live: live_sender,
            doubt: doubt.clone(),
            stop: stop.clone(),
        };
        let opened = link.open(1, link.dial.connect().await?).await?;
        // Whoever starts publishing right away finds the connection.
        link.live.send_replace(Some(opened.0.clone()));
        let intake = TakingParts {
            // The one that answered does so again.
            dial: dial(link.dial.next.load(Ordering::Relaxed)),
            prefetch: config.prefetch,
            reading: Reading { bare: config.bare_attributes.clone(), body_bytes_max: config.body_bytes_max },
            received,
            takers: takers.clone(),
            owned,
            up,
            stop: stop.clone(),
        };
        let first = intake.dial.connect().await?;
        let mut links = JoinSet::new();
        links.spawn(link.run(opened));
        links.spawn(intake.run(first));
        let (links, received) = (Mutex::new(links), Mutex::new(incoming));
        let publishers = Publishers::start(&live, &doubt, timeout);
        Ok(Self { received, publishers, takers, live, taking, doubt, waiting, timeout, dead, stop, links })
    }

    /// Looks at the broker's policies, now and as long as it runs.
    pub async fn watch_policies(&self, mut watcher: PolicyWatcher) {
        watcher.begin().await;
        self.links.lock().await.spawn(watcher.run(self.live.clone(), self.stop.clone()));
    }
}

#[async_trait]
impl Transport for RabbitTransport {
    async fn receive(&self, max: usize) -> Result<Vec<Received>, Problem> {
        let mut batch = Vec::with_capacity(max);
        match self.received.lock().await.recv_many(&mut batch, max).await {
            0 => Err(down("the hub is stopping")),
            _ => Ok(batch),
        }
    }

    async fn ack(&self, tags: &[Tag]) -> Result<(), Problem> {
        self.takers.ack(tags).await
    }

    async fn hand_over(&self, batch: Vec<Outgoing>) -> Confirms {
        let mut pending = Vec::with_capacity(batch.len());
        for outgoing in batch {
            pending.push(self.publishers.publish(outgoing).await);
        }
        Box::pin(async move {
            let mut results = Vec::with_capacity(pending.len());
            for result in pending {
                results.push(result.await.unwrap_or_else(|_| Err(down("the hub is stopping"))));
            }
            results
        })
    }

    fn connected(&self) -> bool {
        is_live(&self.live).is_some() && *self.taking.borrow() && !self.doubt.is()
    }

    fn trouble(&self) -> Option<String> {
        let alarm = is_live(&self.live).and_then(|live| live.alarm());
        alarm.or_else(|| self.doubt.is().then(|| "it does not confirm what it was sent".into()))
    }

    async fn put_aside(&self) -> Result<Option<u64>, Problem> {
        let live = is_live(&self.live).ok_or_else(|| down("no connection to the broker"))?;
        live.length(&self.dead).await.map(Some)
    }

    async fn close(&self) {
        self.stop.cancel();
        // Each closes its connection and ends.
        while self.links.lock().await.join_next().await.is_some() {}
    }

    async fn ask(&self, question: Outgoing, deadline_ms: u64) -> Result<Payload, Problem> {
        let live = is_live(&self.live).ok_or_else(|| down("no connection to the broker"))?;
        if let Some(alarm) = live.alarm() {
            return Err(down(&format!("the broker reads nothing: {alarm}")));
        }
        let correlation = crate::ids::new_id();
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(correlation.clone(), answer);
        let question = Outgoing {
            reply_to: Some("amq.rabbitmq.reply-to".into()),
            correlation_id: Some(correlation.clone()),
            ..question
        };
        let asked = async {
            let published = publish::publish(&live.asking, live.room(), &[question], live.overdue(self.timeout)).await;
            published.into_iter().next().unwrap_or_else(|| Err(down("not published")))?;
            answered.await.map_err(|_| down("the connection ended before the answer came"))?
        };
        let result = tokio::time::timeout(Duration::from_millis(deadline_ms), asked).await;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation);
        result.unwrap_or_else(|_| Err(Problem::new(Code::AnswerTimeout, format!("no answer within {deadline_ms} ms"))))
    }
}
