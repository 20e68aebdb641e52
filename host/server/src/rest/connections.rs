//! The connections that are open. A new one is always let in while any waits for a request: the one that has waited longest
//! goes for it, and one that never sent a request before all others. Whoever opens many and says nothing shuts out only
//! itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub struct HttpConnections {
    most: usize,
    open: Mutex<Seats>,
    freed: Notify,
}

#[derive(Default)]
struct Seats {
    last: u64,
    seats: BTreeMap<u64, SeatState>,
}

struct SeatState {
    /// Requests being answered.
    running: usize,
    has_asked: bool,
    /// Grows: what is smaller has waited longer.
    since: u64,
    leave: CancellationToken,
}

/// One connection's place, until it is dropped.
pub struct Seat {
    number: u64,
    connections: Arc<HttpConnections>,
    /// Another one needs the place.
    pub leave: CancellationToken,
}

/// As long as a request is being answered.
pub struct Asking(Arc<Seat>);

impl HttpConnections {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default(), freed: Notify::new() })
    }

    fn open(&self) -> MutexGuard<'_, Seats> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, at once unless every connection is being answered.
    pub async fn enter(self: &Arc<Self>) -> Seat {
        loop {
            let freed = self.freed.notified();
            if let Some(seat) = self.try_enter() {
                return seat;
            }
            freed.await;
        }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Seat> {
        let mut open = self.open();
        if open.seats.len() >= self.most && !open.make_room() {
            return None;
        }
        open.last += 1;
        let (number, leave) = (open.last, CancellationToken::new());
        let state = SeatState { running: 0, has_asked: false, since: number, leave: leave.clone() };
        open.seats.insert(number, state);
        Some(Seat { number, connections: self.clone(), leave })
    }

    /// Ends the connection that has waited longest, also below the limit: the process may have no socket left.
    pub fn make_room(&self) {
        self.open().make_room();
    }
}

impl Seats {
    fn make_room(&mut self) -> bool {
        let idle = self.seats.iter().filter(|(_, state)| state.running == 0);
        let first = idle.min_by_key(|(_, state)| (state.has_asked, state.since)).map(|(number, _)| *number);
        let Some(state) = first.and_then(|number| self.seats.remove(&number)) else { return false };
        metrics::counter!("busbar_http_idle_closed_total").increment(1);
        state.leave.cancel();
        true
    }
}

impl Seat {
    pub fn ask(self: &Arc<Self>) -> Asking {
        if let Some(state) = self.connections.open().seats.get_mut(&self.number) {
            state.running += 1;
            state.has_asked = true;
        }
        Asking(self.clone())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let Seat { number, connections, .. } = &*self.0;
        let mut open = connections.open();
        open.last += 1;
        let now = open.last;
        if let Some(state) = open.seats.get_mut(number) {
            state.running = state.running.saturating_sub(1);
            state.since = now;
        }
        drop(open);
        connections.freed.notify_one();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.open().seats.remove(&self.number);
        self.connections.freed.notify_one();
    }
}
