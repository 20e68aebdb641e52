//! The broker: queues with one active consumer, handed back in order when it is gone.

use super::world::{Ev, Held, Moment, World};
use crate::Ack;
use std::collections::VecDeque;

/// One message in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Which of the plan's messages.
    pub message: usize,
    pub differs: bool,
    /// Not a message at all: put aside without being written.
    pub junk: bool,
}

#[derive(Default)]
pub struct Queue {
    pub ready: VecDeque<Frame>,
    pub unacked: VecDeque<(u64, Frame)>,
    consumer: Option<(usize, u64)>,
    pub connection: u64,
    numbers: u64,
    /// What was sent earlier arrives earlier.
    frames_at: i64,
    acks_at: i64,
}

impl World {
    pub fn publish(&mut self, frame: Frame) -> Held {
        let Some(message) = self.plan.messages.get(frame.message) else { return Ok(()) };
        let queue = self.plan.queue_of(message);
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.ready.push_back(frame);
        }
        self.pump(queue)
    }

    /// Hands out what the prefetch allows.
    pub fn pump(&mut self, at: usize) -> Held {
        let alive: Vec<_> = self.hubs.iter().enumerate().filter(|(_, hub)| hub.alive).map(|(n, h)| (n, h.life)).collect();
        let chosen = self.dice.pick(&alive);
        let Some(queue) = self.queues.get_mut(at) else { return Ok(()) };
        queue.consumer = queue.consumer.or(chosen);
        let Some((hub, life)) = queue.consumer else { return Ok(()) };
        while queue.unacked.len() < self.plan.prefetch
            && let Some(frame) = queue.ready.pop_front()
        {
            queue.numbers += 1;
            queue.unacked.push_back((queue.numbers, frame));
            let delay = self.dice.delay(4, 60, self.plan.faults.late);
            queue.frames_at = (self.now + delay).max(queue.frames_at + 1);
            let ev = Ev::Frame { queue: at, connection: queue.connection, number: queue.numbers, frame };
            self.agenda.push(Moment::Process { hub, life }, queue.frames_at, ev);
        }
        Ok(())
    }

    /// The consumer's connection is gone: what it did not acknowledge comes first again.
    pub fn cut(&mut self, at: usize) {
        let Some(queue) = self.queues.get_mut(at) else { return };
        while let Some((_, frame)) = queue.unacked.pop_back() {
            queue.ready.push_front(frame);
        }
        queue.consumer = None;
        queue.connection += 1;
        let at_ms = self.now + self.dice.range(5, 150);
        self.agenda.push(Moment::World, at_ms, Ev::Pump { queue: at });
    }

    pub fn cut_hub(&mut self, hub: usize) {
        for at in 0..self.queues.len() {
            if self.queues.get(at).is_some_and(|queue| queue.consumer.is_some_and(|(n, _)| n == hub)) {
                self.cut(at);
            }
        }
    }

    /// A hub sends acknowledgements, in their order.
    pub fn send_acks(&mut self, at: usize, connection: u64, acks: Vec<Ack>) {
        let delay = self.dice.delay(3, 40, self.plan.faults.late);
        let Some(queue) = self.queues.get_mut(at) else { return };
        for ack in acks {
            queue.acks_at = (self.now + delay).max(queue.acks_at + 1);
            self.agenda.push(Moment::World, queue.acks_at, Ev::Ack { queue: at, connection, ack });
        }
    }

    /// An acknowledgement arrives: whatever it covers is gone from the broker.
    pub fn acked(&mut self, at: usize, connection: u64, ack: Ack) -> Held {
        let Some(queue) = self.queues.get_mut(at).filter(|queue| queue.connection == connection) else { return Ok(()) };
        let covered = |number: u64| match ack {
            Ack::UpTo(last) => number <= last,
            Ack::One(one) => number == one,
        };
        let gone: Vec<_> = queue.unacked.iter().filter(|(number, _)| covered(*number)).map(|(_, f)| *f).collect();
        queue.unacked.retain(|(number, _)| !covered(*number));
        for frame in gone.into_iter().filter(|frame| !frame.junk) {
            self.confirmed(frame.message)?;
        }
        self.pump(at)
    }
}
