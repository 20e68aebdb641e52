//! The world of one seed: a clock, an agenda, and everything that happens on it.

use super::attempt::Go;
use super::broker::{Frame, Queue};
use super::dice::Dice;
use super::filing::FileGo;
use super::hub::Hub;
use super::plan::{Published, QUIET_MS, Scenario};
use super::store::Fate;
use super::watch::Watch;
use crate::engine::{Event, Ticket};
use crate::fakes_journal::MemoryJournal;
use crate::ports::{Claimed, Ready};
use crate::{Ack, Commit, Committed, Problem, Refill, Shards, StoredDelivery};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Virtual milliseconds after which whatever is still open hangs.
const HANGS_MS: i64 = QUIET_MS + 30_000;
const STEPS_MAX: u64 = 100_000;

/// A promise that was not kept.
#[derive(Debug)]
pub struct Broken {
    pub promise: &'static str,
    pub detail: String,
}

impl Broken {
    pub fn new(promise: &'static str, detail: impl Into<String>) -> Self {
        Self { promise, detail: detail.into() }
    }
}

pub type Held<T = ()> = Result<T, Broken>;

/// To whom something happens: what a process waits for is gone when it crashes, and waits while it stalls.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    World,
    Process { hub: usize, life: u64 },
}

/// Whose a ticket is.
#[derive(Clone, Copy, Debug)]
pub enum TicketOf {
    Broker {
        queue: usize,
        connection: u64,
        number: u64,
        message: usize,
    },
    Client {
        message: usize,
        differs: bool,
    },
    Ahead {
        delivery: i64,
    },
    FileAhead {
        system: usize,
    },
    /// Who wants something to be made now, when the system had wished so often to be left alone.
    Person {
        now: Option<(usize, u64)>,
    },
}

#[derive(Debug)]
pub enum Ev {
    Publish(Frame),
    Client { message: usize, differs: bool },
    Pump { queue: usize },
    Frame { queue: usize, connection: u64, number: u64, frame: Frame },
    Ack { queue: usize, connection: u64, ack: Ack },
    Cut { queue: usize },
    Apply { hub: usize, life: u64, batch: Vec<Commit>, fate: Fate },
    Written(Result<Vec<Committed>, Problem>),
    TakeRead { hub: usize, life: u64, system: String, refill: Refill },
    Found { system: String, refill: Refill, found: Result<Ready, Problem> },
    TakeCalls { hub: usize, life: u64, delivery: i64 },
    Go { delivery: i64, go: Go },
    TakeRecords { hub: usize, life: u64, system: usize, deliveries: Vec<i64> },
    File { system: usize, go: FileGo },
    Input(Event),
    Claim,
    TakeClaim { hub: usize, life: u64, busy: Shards, sent_ms: i64, leaving: bool },
    Claimed { claimed: Option<Claimed>, sent_ms: i64 },
    Lapse,
    News,
    Wake,
    Crash,
    Stop,
    Stopping { until_ms: i64 },
    Start { hub: usize },
    Stall,
    Pause,
    Resume { system: usize },
    Paused { system: usize, paused: bool },
    Person,
    Quiet,
}

struct Scheduled {
    moment: Moment,
    ev: Ev,
}

/// What is to happen, by time; what happens at the same time, in random order.
#[derive(Default)]
pub struct Agenda {
    order: BinaryHeap<Reverse<(i64, u64, usize)>>,
    entries: Vec<Option<Scheduled>>,
    free: Vec<usize>,
    salt: u64,
    count: u64,
}

impl Agenda {
    pub fn push(&mut self, moment: Moment, at_ms: i64, ev: Ev) {
        self.count += 1;
        let tie = (1 << 40) | (self.count ^ self.salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24;
        self.insert(at_ms, tie, Scheduled { moment, ev });
    }

    /// Before everything else of that time, in the order of the calls.
    fn postpone(&mut self, at_ms: i64, tie: u64, entry: Scheduled) {
        self.count += 1;
        // One that is put off again keeps its place.
        self.insert(at_ms, if tie < 1 << 40 { tie } else { self.count }, entry);
    }

    fn insert(&mut self, at_ms: i64, tie: u64, entry: Scheduled) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        if let Some(place) = self.entries.get_mut(slot) {
            *place = Some(entry);
        }
        self.order.push(Reverse((at_ms, tie, slot)));
    }

    fn pop(&mut self) -> Option<(i64, u64, Scheduled)> {
        let Reverse((at_ms, tie, slot)) = self.order.pop()?;
        let entry = self.entries.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some((at_ms, tie, entry))
    }
}

pub struct World {
    pub now: i64,
    pub steps: u64,
    pub hash: u64,
    pub log: Option<Vec<String>>,
    pub plan: Scenario,
    pub dice: Dice,
    pub agenda: Agenda,
    pub journal: MemoryJournal,
    pub hubs: Vec<Hub>,
    pub queues: Vec<Queue>,
    /// Executed, by delivery; and the last one of each system and key.
    pub effects: HashMap<i64, u32>,
    pub executed: HashMap<(usize, String), i64>,
    /// Files that have no name yet, by their hidden one.
    pub parts: HashMap<String, Vec<StoredDelivery>>,
    pub parts_made: u64,
    pub watch: Watch,
    pub quiet: bool,
    /// Writes that may still be applied.
    pub ghosts: u32,
    /// Messages that are still to be handed over.
    pub unsent: usize,
    pub done: bool,
}

impl World {
    pub fn new(seed: u64, log: bool) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Scenario::roll(&mut dice);
        let agenda = Agenda { salt: dice.next(), ..Agenda::default() };
        let systems = plan.systems.len();
        let mut world = Self {
            now: 0,
            steps: 0,
            hash: seed,
            log: log.then(Vec::new),
            hubs: (0..plan.hubs).map(|_| Hub::new(systems)).collect(),
            queues: (0..plan.queues).map(|_| Queue::default()).collect(),
            journal: MemoryJournal::default(),
            effects: HashMap::new(),
            executed: HashMap::new(),
            parts: HashMap::new(),
            parts_made: 0,
            watch: Watch::default(),
            quiet: false,
            ghosts: 0,
            unsent: 0,
            done: false,
            agenda,
            dice,
            plan,
        };
        world.schedule();
        world
    }

    fn schedule(&mut self) {
        let mut push = |at_ms, ev| self.agenda.push(Moment::World, at_ms, ev);
        for (place, message) in self.plan.messages.iter().enumerate() {
            for (copy, at_ms) in message.at_ms.iter().enumerate() {
                let differs = message.differs && copy > 0;
                self.unsent += 1;
                push(
                    *at_ms,
                    match message.broker {
                        true => Ev::Publish(Frame { message: place, differs, junk: false }),
                        false => Ev::Client { message: place, differs },
                    },
                );
            }
            if message.broker && self.dice.chance(self.plan.faults.junk) {
                self.unsent += 1;
                let at_ms = self.dice.range(0, QUIET_MS - 1);
                push(at_ms, Ev::Publish(Frame { message: place, differs: false, junk: true }));
            }
        }
        let faults = &self.plan.faults;
        for hub in 0..self.plan.hubs {
            push(if hub == 0 { 0 } else { self.dice.range(0, QUIET_MS / 2) }, Ev::Start { hub });
        }
        faults.crashes.iter().for_each(|at_ms| push(*at_ms, Ev::Crash));
        faults.stops.iter().for_each(|at_ms| push(*at_ms, Ev::Stop));
        faults.stalls.iter().for_each(|at_ms| push(*at_ms, Ev::Stall));
        faults.pauses.iter().for_each(|at_ms| push(*at_ms, Ev::Pause));
        for at_ms in &faults.cuts {
            push(*at_ms, Ev::Cut { queue: self.dice.below(self.plan.queues) });
        }
        push(faults.person_ms, Ev::Person);
        push(QUIET_MS, Ev::Quiet);
    }

    pub fn run(&mut self) -> Held {
        while !self.done {
            let Some((at_ms, tie, entry)) = self.agenda.pop() else {
                return Err(Broken::new("everything ends", "nothing more happens"));
            };
            self.now = self.now.max(at_ms);
            if let Moment::Process { hub, life } = entry.moment {
                let Some(process) = self.hubs.get(hub).filter(|h| h.alive && h.life == life) else { continue };
                if process.stalled_until > self.now {
                    let until = process.stalled_until;
                    self.agenda.postpone(until, tie, entry);
                    continue;
                }
            }
            self.steps += 1;
            self.hash = (self.hash ^ tie ^ at_ms.unsigned_abs()).wrapping_mul(0x0100_0000_01B3).rotate_left(17);
            if let Some(log) = &mut self.log {
                log.push(format!("{:>5} {} {:?}", self.now, place(entry.moment), entry.ev));
            }
            if self.now > HANGS_MS || self.steps > STEPS_MAX {
                return Err(Broken::new("everything ends", self.open()));
            }
            match entry.moment {
                Moment::World => self.happen(entry.ev)?,
                Moment::Process { hub, .. } => self.process(hub, entry.ev)?,
            }
        }
        self.finished()
    }

    /// What happens whether or not a hub is there.
    fn happen(&mut self, ev: Ev) -> Held {
        match ev {
            Ev::Publish(frame) => {
                self.unsent -= 1;
                self.publish(frame)
            }
            Ev::Client { message, differs } => self.client(message, differs),
            Ev::Pump { queue } => self.pump(queue),
            Ev::Ack { queue, connection, ack } => self.acked(queue, connection, ack),
            Ev::Cut { queue } => {
                self.cut(queue);
                Ok(())
            }
            Ev::Apply { hub, life, batch, fate } => self.apply(hub, life, batch, fate),
            Ev::TakeRead { hub, life, system, refill } => {
                self.take_read(hub, life, system, refill);
                Ok(())
            }
            Ev::TakeCalls { hub, life, delivery } => {
                let go = Go::Recorded(self.journal.calls(delivery));
                let delay = self.dice.delay(3, 80, self.plan.faults.late);
                self.agenda.push(Moment::Process { hub, life }, self.now + delay, Ev::Go { delivery, go });
                Ok(())
            }
            Ev::TakeRecords { hub, life, system, deliveries } => {
                self.take_records(hub, life, system, deliveries);
                Ok(())
            }
            Ev::TakeClaim { hub, life, busy, sent_ms, leaving } => {
                self.take_claim(hub, life, busy, sent_ms, leaving);
                Ok(())
            }
            Ev::Crash => {
                let hub = self.dice.below(self.hubs.len());
                self.kill(hub)
            }
            Ev::Stop => self.stop(),
            Ev::Start { hub } => self.start(hub),
            Ev::Stall => {
                self.stall();
                Ok(())
            }
            Ev::Pause => self.pause(),
            Ev::Resume { system } => self.set_paused(system, false),
            Ev::Person => self.person(),
            Ev::Quiet => self.quiet(),
            _ => Ok(()),
        }
    }

    /// What happens within a hub.
    fn process(&mut self, hub: usize, ev: Ev) -> Held {
        self.mind_lease(hub)?;
        match ev {
            Ev::Frame { queue, connection, number, frame } => self.received(hub, queue, connection, number, frame),
            Ev::Written(result) => self.feed(hub, [Event::Written(result)]),
            Ev::Found { system, refill, found } => self.feed(hub, [Event::Read { system, refill, found }]),
            Ev::Go { delivery, go } => self.go(hub, delivery, go),
            Ev::File { system, go } => self.file(hub, system, go),
            Ev::Input(event) => self.feed(hub, [event]),
            Ev::Claim => self.claim(hub),
            Ev::Claimed { claimed, sent_ms } => self.claimed(hub, claimed, sent_ms),
            Ev::News => self.news(hub),
            Ev::Stopping { until_ms } => self.stopping(hub, until_ms),
            Ev::Paused { system, paused } => self.paused(hub, system, paused),
            Ev::Wake => {
                self.hub(hub)?.wake_at = i64::MAX;
                self.feed(hub, [Event::Time])
            }
            _ => Ok(()),
        }
    }

    pub fn hub(&mut self, hub: usize) -> Held<&mut Hub> {
        self.hubs.get_mut(hub).ok_or_else(|| Broken::new("the simulation is sound", "no such hub"))
    }

    /// The plan's message that a message came from.
    pub fn published(&self, id: &str) -> Option<&Published> {
        let number = id.strip_prefix('m')?.split('.').next()?;
        self.plan.messages.get(number.parse::<usize>().ok()?)
    }

    pub fn ticket(&mut self, hub: usize, of: TicketOf) -> Held<Ticket> {
        let hub = self.hub(hub)?;
        hub.tickets_given += 1;
        hub.tickets.insert(hub.tickets_given, of);
        Ok(hub.tickets_given)
    }
}

fn place(moment: Moment) -> String {
    match moment {
        Moment::World => "  ".into(),
        Moment::Process { hub, .. } => format!("h{hub}"),
    }
}
