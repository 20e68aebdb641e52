//! Notifications on their way: parts in the window, what was answered, and how deliveries end.

use std::collections::{BTreeMap, VecDeque};

use busbar_sdk::{Delay, Failure, Message, rejected, transient};

use crate::call::Call;
use crate::drafts;
use crate::mapping::Order;
use crate::memory::{Part, PartState, Pointer, Sent, pointer};
use crate::overdue;
use crate::pdu::{self, status};
use crate::receipt::Outcome;

/// How long nothing is sent after the centre says that it is too much; doubled each time, up to the most.
const PAUSE_MS: u64 = 1000;
const PAUSE_MS_MAX: u64 = 60_000;

#[derive(Default)]
pub struct Sending {
    jobs: BTreeMap<u64, Job>,
    /// Deliveries with parts to be sent, in order.
    order: VecDeque<u64>,
    /// By sequence number.
    window: BTreeMap<u32, Waiting>,
    paused_until_ms: u64,
    pause_ms: u64,
    /// Not before, by `per-second`.
    next_ms: u64,
}

struct Job {
    key: String,
    sent: Sent,
    bodies: Vec<Vec<u8>>,
    /// Indexes of parts.
    todo: VecDeque<usize>,
    outstanding: usize,
    failure: Option<Failure>,
    /// The recipient's number is none.
    is_no_number: bool,
}

struct Waiting {
    key: String,
    part: usize,
    delivery: u64,
    since_ms: u64,
}

impl Sending {
    /// Takes a message to be delivered.
    ///
    /// # Errors
    /// The delivery ends so: what [`Order::of`] refuses; `rate-limited` while the centre has too much; `unknown-outcome` where an
    /// earlier attempt sent a part that was not answered.
    pub fn take(
        &mut self,
        call: &mut Call<'_>,
        delivery: u64,
        message: &Message,
        maybe_sent: bool,
    ) -> Result<(), Failure> {
        let order = Order::of(&call.settings, message)?;
        if call.now_ms < self.paused_until_ms {
            return Err(limited(self.paused_until_ms - call.now_ms));
        }
        let known = call.store.sent(&order.key);
        let is_late = order.until.is_some_and(|until| u64::try_from(until).unwrap_or(0) * 1000 <= call.now_ms);
        if known.is_none() && is_late {
            let text = "its time was over before it was sent";
            let failed = Outcome::Failed("expired");
            call.emit(drafts::outcome(&call.settings, &order.key, &order.sent, failed, text, None, call.now_ms));
            call.step.settle(delivery, Ok(()));
            return Ok(());
        }
        // The host gave up on an earlier attempt that is still here.
        if let Some(old) = self.jobs.iter().find(|(_, job)| job.key == order.key).map(|(old, _)| *old) {
            self.move_job(old, delivery);
            return Ok(());
        }
        let due_ms = overdue::due_ms(&call.settings, [order.after, order.until], call.now_ms);
        let sent = known.unwrap_or_else(|| Sent { due_ms, ..order.sent.clone() });
        let unanswered = sent.parts.iter().position(|part| part.state == PartState::Sent).filter(|_| maybe_sent);
        if let Some(part) = unanswered {
            let reason = format!("part {} of {} was sent, and no answer came", part + 1, sent.parts.len());
            return Err(Failure::UnknownOutcome(reason));
        }
        let is_open = |part: &Part| matches!(part.state, PartState::Unsent | PartState::Sent);
        let todo: VecDeque<usize> =
            (0..).zip(&sent.parts).filter(|(_, part)| is_open(part)).map(|(at, _)| at).collect();
        let job = Job {
            key: order.key,
            sent,
            bodies: order.bodies,
            todo,
            outstanding: 0,
            failure: None,
            is_no_number: false,
        };
        if job.todo.is_empty() {
            call.step.settle(delivery, Ok(()));
            return Ok(());
        }
        self.jobs.insert(delivery, job);
        self.order.push_back(delivery);
        Ok(())
    }

    fn move_job(&mut self, old: u64, new: u64) {
        if let Some(job) = self.jobs.remove(&old) {
            self.jobs.insert(new, job);
        }
        let all = self.order.iter_mut().chain(self.window.values_mut().map(|waiting| &mut waiting.delivery));
        all.filter(|delivery| **delivery == old).for_each(|delivery| *delivery = new);
    }

    /// Sends as much as the window, the rate and the call allow.
    pub fn send(&mut self, call: &mut Call<'_>, sequence: &mut dyn FnMut() -> u32) {
        while let Some(delivery) = self.order.front().copied() {
            let Some(job) = self.jobs.get_mut(&delivery).filter(|job| !job.todo.is_empty()) else {
                self.order.pop_front();
                continue;
            };
            let mut parts = Vec::new();
            while self.window.len() < call.settings.window && call.now_ms >= self.next_ms && !call.is_full() {
                let Some(part) = job.todo.pop_front() else { break };
                let number = sequence();
                let body = job.bodies.get(part).map(Vec::as_slice).unwrap_or_default();
                call.send(pdu::SUBMIT_SM, status::OK, number, body);
                let since_ms = call.now_ms;
                self.window.insert(number, Waiting { key: job.key.clone(), part, delivery, since_ms });
                job.outstanding += 1;
                self.next_ms = call.now_ms + 1000_u64.checked_div(u64::from(call.settings.per_second)).unwrap_or(0);
                parts.push(part);
            }
            if parts.is_empty() {
                return;
            }
            // Written before it is sent: what has no record was never sent.
            let known = call.store.sent(&job.key);
            if known.is_none() {
                overdue::begin(call, &job.key);
            }
            let mut sent = known.unwrap_or_else(|| job.sent.clone());
            for part in parts {
                set(&mut sent, part, PartState::Sent, "");
            }
            call.store.save(&Sent::key(&job.key), &sent);
        }
    }

    /// The answer to submit_sm, or a generic_nack of it. `false` where nothing was asked under this number.
    pub fn answered(&mut self, call: &mut Call<'_>, sequence: u32, code: u32, id: &str) -> bool {
        let Some(waiting) = self.window.remove(&sequence) else { return false };
        let Some(mut sent) = call.store.sent(&waiting.key) else { return true };
        if code == status::OK {
            self.pause_ms = 0;
            set(&mut sent, waiting.part, PartState::Accepted, id);
            if call.settings.receipts && !id.is_empty() {
                let to = Pointer { key: waiting.key.clone(), part: waiting.part };
                call.store.save(&pointer(id), &to);
            }
        } else {
            set(&mut sent, waiting.part, PartState::Unsent, "");
        }
        call.store.save(&Sent::key(&waiting.key), &sent);
        if matches!(code, status::THROTTLED | status::QUEUE_FULL) {
            self.pause(call);
        }
        let pause_ms = self.paused_until_ms.saturating_sub(call.now_ms);
        if let Some(job) = self.jobs.get_mut(&waiting.delivery) {
            job.outstanding = job.outstanding.saturating_sub(1);
            if code != status::OK {
                job.todo.clear();
                job.is_no_number |= code == status::INVALID_DESTINATION;
                job.failure = Some(refusal(&sent, waiting.part, code, pause_ms));
            }
            if job.outstanding == 0 && job.todo.is_empty() {
                self.end(call, waiting.delivery, sent);
            }
        }
        true
    }

    /// All parts are answered that were sent.
    fn end(&mut self, call: &mut Call<'_>, delivery: u64, mut sent: Sent) {
        let Some(job) = self.jobs.remove(&delivery) else { return };
        let Some(failure) = job.failure else {
            if !call.settings.receipts {
                call.store.delete(&Sent::key(&job.key));
            }
            return call.step.settle(delivery, Ok(()));
        };
        if !job.is_no_number {
            return call.step.settle(delivery, Err(failure));
        }
        let (failed, text) = (Outcome::Failed("unknown-recipient"), status::text(status::INVALID_DESTINATION));
        call.emit(drafts::outcome(&call.settings, &job.key, &sent, failed, &text, None, call.now_ms));
        sent.told = true;
        sent.parts
            .iter_mut()
            .filter(|part| part.state == PartState::Unsent)
            .for_each(|part| part.state = PartState::Failed);
        match sent.is_over() || !call.settings.receipts {
            true => call.store.forget(&job.key, &sent),
            false => call.store.save(&Sent::key(&job.key), &sent),
        }
        call.step.settle(delivery, Ok(()));
    }

    /// Nothing more is sent for a while; deliveries of which nothing is on its way end, to be tried later.
    fn pause(&mut self, call: &mut Call<'_>) {
        if call.now_ms >= self.paused_until_ms {
            self.pause_ms = (self.pause_ms * 2).clamp(PAUSE_MS, PAUSE_MS_MAX);
            self.paused_until_ms = call.now_ms + self.pause_ms;
        }
        let pause_ms = self.paused_until_ms.saturating_sub(call.now_ms);
        for delivery in std::mem::take(&mut self.order) {
            let Some(job) = self.jobs.get_mut(&delivery).filter(|job| !job.todo.is_empty()) else { continue };
            job.todo.clear();
            job.failure.get_or_insert_with(|| limited(pause_ms));
            if job.outstanding == 0 {
                self.jobs.remove(&delivery);
                call.step.settle(delivery, Err(limited(pause_ms)));
            }
        }
    }

    /// Ends deliveries whose answer does not come. It may still come: then its id is kept for the receipt.
    pub fn expire(&mut self, call: &mut Call<'_>) {
        let limit_ms = u64::from(call.settings.response_s) * 1000;
        let over: Vec<u64> =
            self.window.values().filter(|w| call.now_ms >= w.since_ms + limit_ms).map(|w| w.delivery).collect();
        for delivery in over {
            if let Some(job) = self.jobs.remove(&delivery) {
                let reason = format!("{} of {} parts got no answer", job.outstanding, job.bodies.len());
                call.step.settle(delivery, Err(Failure::UnknownOutcome(reason)));
            }
        }
        self.window.retain(|_, waiting| call.now_ms < waiting.since_ms + 2 * limit_ms);
    }

    /// The next moment at which there is something to do without anything coming.
    pub fn deadline_ms(&self, response_s: u32, window: usize) -> u64 {
        let limit_ms = u64::from(response_s) * 1000;
        let of = |waiting: &Waiting| match self.jobs.contains_key(&waiting.delivery) {
            true => waiting.since_ms + limit_ms,
            false => waiting.since_ms + 2 * limit_ms,
        };
        let answer = self.window.values().map(of).min();
        let send = (!self.order.is_empty() && self.window.len() < window).then_some(self.next_ms);
        answer.into_iter().chain(send).min().unwrap_or(u64::MAX)
    }

    pub fn disconnected(&mut self) -> Vec<(u64, Failure)> {
        let all = std::mem::take(self);
        let end = |(delivery, job): (u64, Job)| match job.outstanding {
            0 => (delivery, transient("the connection was lost before it was sent", None)),
            count => {
                let reason =
                    format!("the connection was lost before {count} of {} parts were answered", job.bodies.len());
                (delivery, Failure::UnknownOutcome(reason))
            }
        };
        all.jobs.into_iter().map(end).collect()
    }
}

fn set(sent: &mut Sent, part: usize, state: PartState, id: &str) {
    if let Some(part) = sent.parts.get_mut(part) {
        *part = Part { state, id: id.to_owned() };
    }
}

fn limited(ms: u64) -> Failure {
    Failure::RateLimited(Delay { reason: "the SMS centre has too much to do".to_owned(), retry_after_ms: Some(ms) })
}

/// Why a part was not taken, as a failure of its delivery. Says how much of the notification is on its way nevertheless.
fn refusal(sent: &Sent, part: usize, code: u32, pause_ms: u64) -> Failure {
    let (total, accepted) =
        (sent.parts.len(), sent.parts.len() - sent.count(PartState::Unsent) - sent.count(PartState::Sent));
    let mut reason = status::text(code);
    if accepted > 0 {
        reason += &format!("; {accepted} of {total} parts are on their way and will not be sent again");
    }
    match code {
        status::THROTTLED | status::QUEUE_FULL => {
            Failure::RateLimited(Delay { reason, retry_after_ms: Some(pause_ms) })
        }
        status::SYSTEM_ERROR => transient(reason, None),
        _ => rejected("refused", reason, format!("part {} of {total}", part + 1)),
    }
}
