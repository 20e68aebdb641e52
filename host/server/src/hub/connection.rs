//! Connections of systems: made or waited for, made again after a pause, one session each. What happens on one is in
//! [`super::session`].

use super::Connections;
use super::session::Serving;
use crate::tcp::{Dialer, Door, Endpoint, PeerSocket};
use crate::wasm::Session;
use busbar_core::Failure;
use busbar_core::outcome::pause_ms;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The far end of SCADA or the SMS centre must not wait longer, however long it was away.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A connection that held so long was a good one, whatever ended it.
const GOOD: Duration = Duration::from_secs(60);
/// A connection that held so long is worth being called what it is, after others ended in one and the same error.
const HOLDS: Duration = Duration::from_secs(10);

impl Connections {
    pub async fn run(self, endpoint: Endpoint) {
        let this = Arc::new(self);
        match endpoint {
            Endpoint::Connect(dialer) => this.dial(dialer).await,
            Endpoint::Listen(door) => this.listen(Arc::new(door)).await,
        }
    }

    async fn dial(&self, dialer: Dialer) {
        let mut session = None;
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            if !self.is_mine() {
                // Another hub goes on with what is in the state.
                session = None;
                self.show("elsewhere", None);
                self.rest(LOOK_AGAIN).await;
                continue;
            }
            self.show("connecting", None);
            let connected = tokio::select! {
                connected = dialer.connect() => connected,
                () = self.stop.cancelled() => return,
            };
            let began = Instant::now();
            let result = match connected {
                Ok(connected) => self.serve(&mut session, connected).await,
                Err(reason) => Err(Failure::Transient { reason, retry_after_ms: None }),
            };
            failures = if began.elapsed() >= GOOD { 0 } else { failures + 1 };
            let failure = self.ended(result);
            let pause = pause_ms(&self.policy, failures, &failure, rand::random(), 0);
            let pause = Duration::from_millis(pause).min(PAUSE_MAX);
            let retry_at_ms = self.hub.clock.now_ms() + i64::try_from(pause.as_millis()).unwrap_or_default();
            self.board.change(self.system(), |shown| {
                (shown.failures, shown.retry_at_ms) = (failures, Some(retry_at_ms));
            });
            self.rest(pause).await;
        }
    }

    async fn listen(self: &Arc<Self>, door: Arc<Door>) {
        let room = Arc::new(Semaphore::new(self.at_once));
        let mut sessions = tokio::task::JoinSet::new();
        while !self.stop.is_cancelled() {
            if sessions.is_empty() {
                self.show("listening", None);
            }
            while sessions.try_join_next().is_some() {}
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let stream = tokio::select! {
                stream = door.knock() => stream,
                () = self.stop.cancelled() => break,
            };
            if !self.is_mine() {
                continue; // Another hub listens: whoever stands between sends it there.
            }
            let (this, door) = (self.clone(), door.clone());
            sessions.spawn(async move {
                let _permit = permit;
                let result = match door.greet(stream).await {
                    Ok(connected) => this.serve(&mut None, connected).await,
                    Err(reason) => Err(Failure::Transient { reason, retry_after_ms: None }),
                };
                this.ended(result);
            });
        }
        while sessions.join_next().await.is_some() {}
    }

    /// Talks over one connection until it ends; `session` is there again for the next one while it is sound.
    async fn serve(&self, session: &mut Option<Session>, (socket, peer): PeerSocket) -> Result<(), Failure> {
        let mut own = match session.take() {
            Some(own) => own,
            None => Session::open(self.caller.clone()).await.map_err(Failure::Hub)?,
        };
        self.show("connected", Some(&peer));
        tracing::info!(system = self.system(), peer, "connected");
        let mut serving = Serving::new(self, &mut own, socket, peer.clone());
        let result = {
            let mut running = std::pin::pin!(serving.run());
            match tokio::time::timeout(HOLDS, &mut running).await {
                Ok(ended) => ended,
                Err(_) => {
                    self.holds(&peer);
                    running.await
                }
            }
        };
        serving.end().await;
        if own.is_sound() {
            *session = Some(own);
        }
        result
    }

    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }
}
