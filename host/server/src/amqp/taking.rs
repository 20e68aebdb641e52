//! The connection that messages come in by: made, watched, and made again. It publishes nothing, so that the broker's alarms
//! do not hold it up; and what ends it does not disturb what goes out.

use super::consume::{Takers, Taking};
use super::dial::{Connected, Dial, RETRY_FIRST, RETRY_MAX};
use super::frames::Reading;
use busbar_core::Shards;
use busbar_core::ports::Received;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A connection that lived so long without anything to acknowledge was a good one.
const LASTING: Duration = Duration::from_secs(60);
/// Between attempts where the first message ends each connection: long enough for somebody else to move it.
const STEP_ASIDE: Duration = Duration::from_secs(30);

/// What the supervisor needs.
pub struct TakingParts {
    pub dial: Dial,
    pub prefetch: u16,
    pub reading: Reading,
    pub received: mpsc::Sender<Received>,
    pub takers: Arc<Takers>,
    /// A hub without any shard takes no messages either.
    pub owned: watch::Receiver<Shards>,
    /// Whether there is a connection.
    pub up: watch::Sender<bool>,
    pub stop: CancellationToken,
}

impl TakingParts {
    /// Keeps a connection until `stop`.
    pub async fn run(self, first: Connected) {
        let mut next = Some(first);
        let mut pause = RETRY_FIRST;
        let mut trouble = ShortLived::default();
        let queue = self.dial.topology.incoming();
        loop {
            let connected = match next.take() {
                Some(connected) => connected,
                None => match self.dial.patiently(&mut pause, &self.stop).await {
                    Some(connected) => connected,
                    None => return,
                },
            };
            let began = (Instant::now(), self.takers.acknowledged());
            self.serve(&connected, &queue, trouble.cautious).await;
            if self.stop.is_cancelled() {
                return;
            }
            let settled = self.takers.acknowledged() != began.1;
            let lasted = began.0.elapsed() > LASTING;
            if settled || lasted {
                pause = RETRY_FIRST;
            }
            if lasted {
                trouble = ShortLived::default();
            }
            trouble.note(&queue, settled);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
            pause = (pause * 2).min(if trouble.cautious { STEP_ASIDE } else { RETRY_MAX });
        }
    }

    async fn serve(&self, connected: &Connected, queue: &str, cautious: bool) {
        metrics::counter!("busbar_broker_connections_total", "for" => "taking").increment(1);
        self.up.send_replace(true);
        let (prefetch, reading, takers) = (self.prefetch, &self.reading, &*self.takers);
        let taking = Taking { queue, prefetch, reading, cautious, takers, received: &self.received };
        tokio::select! {
            ended = taking.run(&connected.connection, self.owned.clone()) => {
                if let Err(problem) = ended {
                    tracing::warn!(%problem, "taking messages ended");
                }
            }
            () = watch_over(connected) => {}
            () = self.stop.cancelled() => {}
        }
        self.up.send_replace(false);
        self.takers.clear();
        connected.end().await;
        self.dial.move_on();
    }
}

/// Connections that did not last, one after another.
#[derive(Default)]
struct ShortLived {
    ended: u32,
    /// Messages are taken one at a time: should one of them end the connection, its neighbours are not handed out in vain.
    cautious: bool,
}

impl ShortLived {
    fn note(&mut self, queue: &str, settled: bool) {
        self.ended += 1;
        if self.cautious && !settled {
            metrics::counter!("busbar_broker_stuck_total").increment(1);
            tracing::error!(
                "the connection ends before the first message of `{queue}` is acknowledged: look at the queue's head, move or drop it; the hub \
                 leaves the queue alone for up to 30 seconds each time"
            );
        } else {
            tracing::warn!("the connection that takes messages from the broker ended");
        }
        self.cautious = self.ended > 1;
    }
}

// The library ends a stream of messages; while none is taken, nothing else would say that the connection is gone.
async fn watch_over(connected: &Connected) {
    while connected.works() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
