//! A hub: the engine, and what a crash wipes with it.

use super::attempt::{Attempt, Go};
use super::broker::Frame;
use super::filing::{FileGo, Filing};
use super::plan::{Kind, LEASE_MS, QUIET_MS};
use super::watch::Sight;
use super::world::{Broken, Ev, Held, Moment, TicketOf, World};
use crate::engine::{Engine, Event, Step, Ticket};
use crate::journal::OnDiffering;
use crate::leases::Lease;
use crate::ports::Claimed;
use crate::{Acks, Commit, Committed, Problem, Shards};
use std::collections::HashMap;

/// A hub counts its lease as over so long before it ends.
const MARGIN_MS: i64 = 50;

pub struct Hub {
    pub alive: bool,
    /// Counts its processes.
    pub life: u64,
    pub engine: Engine,
    pub stopping: bool,
    pub stalled_until: i64,
    pub lease: Lease,
    pub owned: Shards,
    alone: bool,
    pub attempts: HashMap<i64, Attempt>,
    /// By system.
    pub files: HashMap<usize, Filing>,
    pub tickets: HashMap<Ticket, TicketOf>,
    pub tickets_given: Ticket,
    acks: HashMap<usize, (u64, Acks)>,
    pub wake_at: i64,
    /// What is watched, by system.
    pub sights: Vec<Sight>,
}

impl Hub {
    pub fn new(systems: usize) -> Self {
        Self {
            alive: false,
            life: 0,
            engine: Engine::new([]),
            stopping: false,
            stalled_until: 0,
            lease: Lease::none(),
            owned: Shards::NONE,
            alone: true,
            attempts: HashMap::new(),
            files: HashMap::new(),
            tickets: HashMap::new(),
            tickets_given: 0,
            acks: HashMap::new(),
            wake_at: i64::MAX,
            sights: (0..systems).map(|_| Sight::default()).collect(),
        }
    }
}

impl World {
    pub fn start(&mut self, hub: usize) -> Held {
        let systems: Vec<_> = self.plan.systems.iter().map(|sys| (sys.name.clone(), sys.rules.clone())).collect();
        let count = systems.len();
        let now = self.now;
        let h = self.hub(hub)?;
        if h.alive {
            return Ok(());
        }
        *h = Hub { alive: true, life: h.life + 1, engine: Engine::new(systems), ..Hub::new(count) };
        h.sights.iter_mut().for_each(|sight| sight.since_ms = now);
        let process = Moment::Process { hub, life: h.life };
        self.feed(hub, [Event::Owns { shards: Shards::NONE }])?;
        for system in 0..count {
            if self.watch.paused.contains(&system) {
                self.paused(hub, system, true)?;
            }
        }
        let at_ms = self.now + self.dice.range(0, 20);
        self.agenda.push(process, at_ms, Ev::Claim);
        self.agenda.push(process, at_ms + 100, Ev::News);
        (0..self.plan.queues).try_for_each(|queue| self.pump(queue))
    }

    /// Tells a hub to stop: it begins nothing more, and goes when what runs is written.
    pub fn stop(&mut self) -> Held {
        let hub = self.dice.below(self.hubs.len());
        let until_ms = self.now + 600;
        let h = self.hub(hub)?;
        if h.alive {
            let process = Moment::Process { hub, life: self.hub(hub)?.life };
            self.agenda.push(process, self.now, Ev::Stopping { until_ms });
        }
        Ok(())
    }

    pub fn stopping(&mut self, hub: usize, until_ms: i64) -> Held {
        self.hub(hub)?.stopping = true;
        self.feed(hub, [Event::Stop])?;
        let (now, h) = (self.now, self.hub(hub)?);
        if h.engine.is_idle() || now >= until_ms {
            return self.kill(hub);
        }
        let life = h.life;
        self.agenda.push(Moment::Process { hub, life }, now + 30, Ev::Stopping { until_ms });
        Ok(())
    }

    pub fn kill(&mut self, hub: usize) -> Held {
        let count = self.plan.systems.len();
        let h = self.hub(hub)?;
        if !h.alive {
            return Ok(());
        }
        let mut tickets: Vec<_> = h.tickets.drain().collect();
        tickets.sort_by_key(|(ticket, _)| *ticket);
        *h = Hub { life: h.life, ..Hub::new(count) };
        self.watch.running.retain(|running| running.hub != hub);
        self.cut_hub(hub);
        for (_, of) in tickets {
            self.client_again(of);
        }
        let at_ms = (self.now + self.dice.range(10, 700)).min(QUIET_MS);
        self.agenda.push(Moment::World, at_ms, Ev::Start { hub });
        Ok(())
    }

    pub fn stall(&mut self) {
        let hub = self.dice.below(self.hubs.len());
        let until = (self.now + self.dice.range(50, 1200)).min(QUIET_MS);
        if let Some(hub) = self.hubs.get_mut(hub) {
            hub.stalled_until = hub.stalled_until.max(until);
        }
    }

    /// Tells a hub's engine what happened and does what it says.
    pub fn feed(&mut self, hub: usize, events: impl IntoIterator<Item = Event>) -> Held {
        let now = self.now;
        let h = self.hub(hub)?;
        let mut steps = Vec::new();
        h.engine.handle(events, now, &mut steps);
        let life = h.life;
        let wake = h.engine.wake_ms();
        if let Some(at_ms) = wake.filter(|at_ms| *at_ms < h.wake_at) {
            h.wake_at = at_ms;
            self.agenda.push(Moment::Process { hub, life }, at_ms, Ev::Wake);
        }
        if wake.is_some_and(|at_ms| at_ms <= now) {
            return Err(Broken::new("an engine sleeps until there is something to do", format!("h{hub} at {now}")));
        }
        self.bounds(hub)?;
        steps.into_iter().try_for_each(|step| self.perform(hub, life, step))
    }

    fn perform(&mut self, hub: usize, life: u64, step: Step) -> Held {
        if let Some(log) = &mut self.log {
            log.push(format!("{:>5} h{hub}   {step:?}", self.now));
        }
        match step {
            Step::Write(batch) => self.write(hub, life, batch),
            Step::Read { system, refill } => self.read(hub, life, system, refill),
            Step::Confirm { ticket, result } => return self.confirm(hub, ticket, result),
            Step::Attempt { delivery, fresh } => {
                self.starting(hub, &[&delivery])?;
                return self.begin(hub, delivery, fresh);
            }
            Step::File { system, deliveries } => {
                self.starting(hub, &deliveries.iter().map(|work| &work.stored).collect::<Vec<_>>())?;
                let Some(system) = self.plan.system_named(&system) else { return Ok(()) };
                return self.begin_file(hub, system, deliveries);
            }
        }
        Ok(())
    }

    pub fn input(&mut self, hub: usize, of: TicketOf, patient: bool, commit: Commit) -> Held {
        let ticket = self.ticket(hub, of)?;
        self.feed(hub, [Event::Input { ticket, patient, commit: Box::new(commit) }])
    }

    fn admitted(&mut self, message: usize, differs: bool) -> Held<Commit> {
        let published = self.plan.messages.get(message);
        let new = published.map(|published| self.plan.admit(published, differs, self.dice.chance(700)));
        Ok(Commit {
            messages: new.into_iter().collect(),
            on_differing: Some(OnDiffering::Refuse),
            at_ms: self.now,
            ..Commit::default()
        })
    }

    pub fn received(&mut self, hub: usize, queue: usize, connection: u64, number: u64, frame: Frame) -> Held {
        let h = self.hub(hub)?;
        let fresh = || (connection, Acks::default());
        let (current, acks) = h.acks.entry(queue).or_insert_with(fresh);
        if *current > connection {
            return Ok(());
        }
        if *current < connection {
            (*current, *acks) = fresh();
        }
        acks.arrived(number);
        if frame.junk {
            let settled = acks.settle([number]);
            self.send_acks(queue, connection, settled);
            return Ok(());
        }
        let commit = self.admitted(frame.message, frame.differs)?;
        self.input(hub, TicketOf::Broker { queue, connection, number, message: frame.message }, true, commit)
    }

    /// A client hands a message to some hub, and again until it is confirmed.
    pub fn client(&mut self, message: usize, differs: bool) -> Held {
        let alive: Vec<_> = (0..self.hubs.len()).filter(|n| self.hubs.get(*n).is_some_and(|h| h.alive)).collect();
        let Some(hub) = self.dice.pick(&alive) else {
            self.client_again(TicketOf::Client { message, differs });
            return Ok(());
        };
        let commit = self.admitted(message, differs)?;
        self.send_input(hub, TicketOf::Client { message, differs }, commit)
    }

    /// Somebody asks a hub to write something; it comes in when the hub gets to it.
    pub fn send_input(&mut self, hub: usize, of: TicketOf, commit: Commit) -> Held {
        let ticket = self.ticket(hub, of)?;
        let life = self.hub(hub)?.life;
        let at_ms = self.now + self.dice.delay(5, 500, 150);
        let ev = Ev::Input(Event::Input { ticket, patient: false, commit: Box::new(commit) });
        self.agenda.push(Moment::Process { hub, life }, at_ms, ev);
        Ok(())
    }

    fn client_again(&mut self, of: TicketOf) {
        if let TicketOf::Client { message, differs } = of {
            let at_ms = self.now + self.dice.range(20, 200);
            self.agenda.push(Moment::World, at_ms, Ev::Client { message, differs });
        }
    }

    fn confirm(&mut self, hub: usize, ticket: Ticket, result: Result<Committed, Problem>) -> Held {
        let Some(of) = self.hub(hub)?.tickets.remove(&ticket) else { return Ok(()) };
        match (of, result) {
            (TicketOf::Broker { queue, connection, number, message }, Ok(_)) => {
                self.confirmed(message)?;
                let acks = self.hub(hub)?.acks.get_mut(&queue).filter(|(current, _)| *current == connection);
                let settled = acks.map(|(_, acks)| acks.settle([number])).unwrap_or_default();
                self.send_acks(queue, connection, settled);
            }
            (TicketOf::Broker { .. }, Err(_)) => {
                return Err(Broken::new("a patient input waits", format!("ticket {ticket} of h{hub}")));
            }
            (TicketOf::Client { message, .. }, Ok(_)) => {
                self.unsent -= 1;
                self.confirmed(message)?;
            }
            (TicketOf::Client { .. }, Err(_)) => self.client_again(of),
            (TicketOf::Ahead { delivery }, result) => {
                let go = Go::Ahead(matches!(result, Ok(Ok(_))));
                let at_ms = self.now + self.dice.delay(1, 40, self.plan.faults.late);
                let life = self.hub(hub)?.life;
                self.agenda.push(Moment::Process { hub, life }, at_ms, Ev::Go { delivery, go });
            }
            (TicketOf::FileAhead { system }, result) => {
                let go = FileGo::Ahead(result.ok().map(|committed| committed.is_ok()));
                let at_ms = self.now + self.dice.delay(1, 40, self.plan.faults.late);
                let life = self.hub(hub)?.life;
                self.agenda.push(Moment::Process { hub, life }, at_ms, Ev::File { system, go });
            }
            (TicketOf::Person { now: Some((system, wishes)) }, Ok(Ok(_))) => self.heard(hub, system, wishes)?,
            (TicketOf::Person { .. }, _) => {}
        }
        Ok(())
    }

    pub fn claim(&mut self, hub: usize) -> Held {
        let sent_ms = self.now;
        let at_ms = self.now + self.dice.delay(3, 60, self.plan.faults.late);
        let h = self.hub(hub)?;
        let (life, busy, leaving) = (h.life, h.engine.busy(), h.stopping);
        self.agenda.push(Moment::World, at_ms, Ev::TakeClaim { hub, life, busy, sent_ms, leaving });
        Ok(())
    }

    pub fn claimed(&mut self, hub: usize, claimed: Option<Claimed>, sent_ms: i64) -> Held {
        let at_ms = self.now + self.dice.range(180, 260);
        let now = self.now;
        let life = self.hub(hub)?.life;
        self.agenda.push(Moment::Process { hub, life }, at_ms, Ev::Claim);
        let h = self.hub(hub)?;
        let lease_end = sent_ms + LEASE_MS - MARGIN_MS;
        let Some(claimed) = claimed.filter(|_| now < lease_end) else { return Ok(()) };
        h.lease.renew(lease_end);
        h.owned = claimed.shards;
        h.alone = claimed.hubs < 2;
        self.agenda.push(Moment::Process { hub, life }, lease_end, Ev::Lapse);
        self.feed(hub, [Event::Owns { shards: claimed.shards }])
    }

    /// A hub whose lease is over makes nothing more, whatever it was about to hear.
    pub fn mind_lease(&mut self, hub: usize) -> Held {
        let now = self.now;
        let h = self.hub(hub)?;
        if h.lease.runs(now) || h.owned == Shards::NONE {
            return Ok(());
        }
        h.owned = Shards::NONE;
        h.lease.end();
        self.feed(hub, [Event::Owns { shards: Shards::NONE }])
    }

    pub fn news(&mut self, hub: usize) -> Held {
        let h = self.hub(hub)?;
        let (life, every) = (h.life, if h.alone { 900 } else { 150 });
        let at_ms = self.now + every + self.dice.range(0, 60);
        self.agenda.push(Moment::Process { hub, life }, at_ms, Ev::News);
        self.feed(hub, [Event::News])
    }

    pub fn pause(&mut self) -> Held {
        let system = self.dice.below(self.plan.systems.len());
        let at_ms = (self.now + self.dice.range(20, 600)).min(QUIET_MS);
        self.agenda.push(Moment::World, at_ms, Ev::Resume { system });
        self.set_paused(system, true)
    }

    pub fn set_paused(&mut self, system: usize, paused: bool) -> Held {
        self.watch.paused.remove(&system);
        if paused {
            self.watch.paused.insert(system);
        }
        for hub in 0..self.hubs.len() {
            let (alive, life) = (self.hub(hub)?.alive, self.hub(hub)?.life);
            if alive {
                self.agenda.push(Moment::Process { hub, life }, self.now, Ev::Paused { system, paused });
            }
        }
        Ok(())
    }

    pub fn paused(&mut self, hub: usize, system: usize, paused: bool) -> Held {
        let Some(name) = self.plan.systems.get(system).map(|sys| sys.name.clone()) else { return Ok(()) };
        self.sight(hub, system)?.paused = paused;
        self.feed(hub, [Event::Pause { system: name, paused }])
    }

    /// Everything heals.
    pub fn quiet(&mut self) -> Held {
        self.quiet = true;
        self.hubs.iter_mut().for_each(|hub| hub.stalled_until = 0);
        for hub in 0..self.hubs.len() {
            self.start(hub)?;
        }
        (0..self.plan.systems.len()).try_for_each(|system| self.set_paused(system, false))
    }

    pub fn kind_of(&self, system: usize) -> Kind {
        self.plan.systems.get(system).map_or(Kind::States, |sys| sys.kind)
    }
}
