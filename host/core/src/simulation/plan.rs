//! What a seed stands for: hubs, systems, messages and how much goes wrong.

use super::dice::Dice;
use crate::engine::{BreakerPolicy, FileRules, Rate, SystemRules};
use crate::journal::{Journal, Made, NewMessage};
use crate::{ErrorRecord, Marks, Message, Planned, Policy};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Milliseconds of virtual time in which things go wrong; afterwards everything heals.
pub const QUIET_MS: i64 = 2_500;
pub const LEASE_MS: i64 = 700;
const KEYS: usize = 4;

/// What a system's far end does with a request that it gets twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Executes it once: it knows the message's id.
    Once,
    /// Executes it twice, but can be asked whether it did.
    Asks,
    /// Executes it twice and cannot be asked.
    Blind,
    /// There is no far end: the adapter only states messages.
    States,
    /// Its deliveries become files, which it fetches.
    Files,
}

pub struct Sys {
    pub name: String,
    pub kind: Kind,
    /// The system that gets what a delivery states, and how many messages that is.
    pub emits: Option<(usize, usize)>,
    pub rules: SystemRules,
    /// Deliveries may be made before they are written.
    pub ahead: bool,
    /// When it is down.
    pub down: Vec<(i64, i64)>,
}

/// One message as a publisher hands it over, perhaps more than once.
pub struct Published {
    pub id: String,
    pub key: Option<usize>,
    /// Over the broker, or straight to a hub.
    pub broker: bool,
    pub at_ms: Vec<i64>,
    /// The last copy has the same id and other content.
    pub differs: bool,
    /// To systems, and whether the route's key could not be worked out.
    pub to: Vec<(usize, bool)>,
    /// Refused by far ends until a person edits it.
    pub poison: bool,
    /// Far ends have trouble with it until the quiet phase.
    pub sick: bool,
}

/// Chances in a thousand.
#[derive(Default)]
pub struct Faults {
    pub lose_answer: u32,
    pub lose_request: u32,
    pub error: u32,
    pub limited: u32,
    pub trap_before: u32,
    pub trap_after: u32,
    pub write_fails: u32,
    /// Applied, and the hub is told that it failed.
    pub write_unheard: u32,
    /// The hub is told that it failed, and it is applied later.
    pub write_ghost: u32,
    pub read_fails: u32,
    pub late: u32,
    pub claim_fails: u32,
    pub junk: u32,
    pub crashes: Vec<i64>,
    /// A hub is told to stop, and is killed if it takes too long.
    pub stops: Vec<i64>,
    pub stalls: Vec<i64>,
    pub cuts: Vec<i64>,
    pub pauses: Vec<i64>,
    /// Milliseconds between a person's looks at what failed.
    pub person_ms: i64,
}

pub struct Scenario {
    pub hubs: usize,
    pub queues: usize,
    pub prefetch: usize,
    pub systems: Vec<Sys>,
    pub messages: Vec<Published>,
    pub faults: Faults,
}

fn times(dice: &mut Dice, seeds_per_mille: u32, most: i64) -> Vec<i64> {
    let count = if dice.chance(seeds_per_mille) { dice.range(1, most) } else { 0 };
    (0..count).map(|_| dice.range(5, QUIET_MS - 1)).collect()
}

impl Faults {
    fn roll(dice: &mut Dice) -> Self {
        // Half of the seeds know nothing of a given fault, so that the others are seen alone too.
        let chance =
            |dice: &mut Dice, most| if dice.chance(500) { dice.range(1, most).unsigned_abs() as u32 } else { 0 };
        Self {
            lose_answer: chance(dice, 200),
            lose_request: chance(dice, 100),
            error: chance(dice, 250),
            limited: chance(dice, 100),
            trap_before: chance(dice, 80),
            trap_after: chance(dice, 100),
            write_fails: chance(dice, 150),
            write_unheard: chance(dice, 120),
            write_ghost: chance(dice, 80),
            read_fails: chance(dice, 100),
            late: chance(dice, 200),
            claim_fails: chance(dice, 150),
            junk: chance(dice, 100),
            crashes: times(dice, 600, 4),
            stops: times(dice, 300, 2),
            stalls: times(dice, 500, 4),
            cuts: times(dice, 400, 3),
            pauses: times(dice, 300, 3),
            person_ms: dice.range(30, 400),
        }
    }
}

fn rules(dice: &mut Dice) -> SystemRules {
    let first = dice.range(20, 120).unsigned_abs();
    SystemRules {
        policy: Policy {
            attempts_max: dice.range(2, 6).unsigned_abs() as u32,
            backoff_first_ms: first,
            backoff_max_ms: first * 6,
            wait_max_ms: 150,
        },
        breaker: BreakerPolicy {
            failures: dice.range(2, 5).unsigned_abs() as u32,
            open_first_ms: dice.range(20, 100).unsigned_abs(),
            open_max_ms: 400,
        },
        rate: dice
            .chance(200)
            .then(|| Rate { per_second: dice.range(30, 200) as f64, burst: dice.range(1, 4).unsigned_abs() as u32 }),
        in_flight_max: 1 + dice.below(5),
        window_max: if dice.chance(500) { 1 + dice.below(6) } else { 10 + dice.below(30) },
        files: None,
    }
}

fn system(dice: &mut Dice, place: usize, first: usize, count: usize) -> Sys {
    let stage_one = place < first;
    let far = [Kind::Once, Kind::Asks, Kind::Blind, Kind::Files];
    let all = [Kind::Once, Kind::Asks, Kind::Blind, Kind::States];
    let emits = (stage_one && count > first && dice.chance(600))
        .then(|| (first + dice.below(count - first), 1 + dice.below(2)));
    let kind = dice.pick(if emits.is_some() { &all } else { far.as_slice() }).unwrap_or(Kind::Once);
    let down = (kind != Kind::States && dice.chance(300)).then(|| {
        let from = dice.range(0, QUIET_MS - 800);
        (from, from + dice.range(50, 800))
    });
    let name = format!("s{place}");
    let mut rules = rules(dice);
    if kind == Kind::Files {
        let files = FileRules { messages_max: rules.in_flight_max, every_ms: dice.range(0, 150) };
        (rules.files, rules.window_max) = (Some(files), rules.window_max.max(2 * files.messages_max));
    }
    Sys { name, kind, emits, rules, ahead: dice.chance(600), down: down.into_iter().collect() }
}

fn message(dice: &mut Dice, number: usize, first: usize, shape: (u32, u32, u32)) -> Published {
    let (rest, poison, broken_routes) = shape;
    let at = dice.range(0, QUIET_MS - 700);
    let mut at_ms = vec![at];
    if dice.chance(120) {
        at_ms.push(at + dice.range(0, 600));
    }
    let differs = at_ms.len() > 1 && dice.chance(300);
    let mut to: Vec<_> = (0..first).filter(|_| dice.chance(700)).collect();
    if to.is_empty() {
        to.push(dice.below(first));
    }
    Published {
        id: format!("m{number}"),
        key: (!dice.chance(150)).then(|| dice.below(KEYS)),
        broker: !dice.chance(rest),
        at_ms,
        differs,
        to: to.into_iter().map(|system| (system, dice.chance(broken_routes))).collect(),
        poison: dice.chance(poison),
        sick: dice.chance(30),
    }
}

impl Scenario {
    pub fn roll(dice: &mut Dice) -> Self {
        let first = 1 + dice.below(2);
        let count = first + dice.below(3);
        let systems = (0..count).map(|place| system(dice, place, first, count)).collect();
        let share =
            |dice: &mut Dice, most| if dice.chance(500) { dice.range(1, most).unsigned_abs() as u32 } else { 0 };
        let shape = (dice.pick(&[0, 200, 1000]).unwrap_or(0), share(dice, 150), share(dice, 80));
        let messages = (0..dice.range(6, 26)).map(|n| message(dice, n as usize, first, shape)).collect();
        Self {
            hubs: dice.pick(&[1, 1, 2, 2, 3]).unwrap_or(1),
            queues: 1 + dice.below(3),
            prefetch: 1 + dice.below(20),
            systems,
            messages,
            faults: Faults::roll(dice),
        }
    }

    pub fn system_named(&self, name: &str) -> Option<usize> {
        self.systems.iter().position(|system| system.name == name)
    }

    pub fn queue_of(&self, message: &Published) -> usize {
        message.key.unwrap_or(message.id.len()) % self.queues.max(1)
    }

    /// The message as it is admitted. `ahead`: deliveries that can only state messages are made at once.
    pub fn admit(&self, published: &Published, differs: bool, ahead: bool) -> NewMessage {
        let message = event(&published.id, "p", published.key);
        let planned = |(system, error): &(usize, bool)| {
            let sys = self.systems.get(*system)?;
            let makes = ahead && sys.ahead && sys.kind == Kind::States && !published.poison && !*error;
            let made = makes.then(|| Made { messages: self.stated(*system, &message), calls: vec![] });
            let error = error.then(|| ErrorRecord { code: "condition-failed".into(), ..ErrorRecord::default() });
            Some(Planned { system: sys.name.clone(), key: message.partitionkey.clone(), made, error })
        };
        NewMessage {
            marks: Marks::from(if differs { "other" } else { "same" }.to_string()),
            deliveries: published.to.iter().filter_map(planned).collect(),
            place: None,
            stated_by: None,
            journal: Journal::Full,
            message,
        }
    }

    /// What a system's adapter states for a message.
    pub fn stated(&self, system: usize, message: &Message) -> Vec<NewMessage> {
        let Some((sys, (target, count))) = self.systems.get(system).and_then(|sys| Some((sys, sys.emits?))) else {
            return Vec::new();
        };
        let Some(target) = self.systems.get(target) else { return Vec::new() };
        let stated = |place: usize| {
            let mut stated = Message::clone(message);
            stated.id = format!("{}.{place}", message.id);
            stated.source = sys.name.clone();
            let key = message.partitionkey.clone();
            NewMessage {
                message: Arc::new(stated),
                marks: Marks::from("same".to_string()),
                deliveries: vec![Planned { system: target.name.clone(), key, ..Planned::default() }],
                place: None,
                stated_by: None,
                journal: Journal::Full,
            }
        };
        (0..count).map(stated).collect()
    }
}

pub fn event(id: &str, source: &str, key: Option<usize>) -> Arc<Message> {
    Arc::new(Message {
        id: id.into(),
        source: source.into(),
        r#type: "t.v1".into(),
        subject: None,
        time: None,
        dataschema: None,
        traceparent: None,
        partitionkey: key.map(|key| format!("k{key}")),
        correlationid: None,
        causationid: None,
        extensions: BTreeMap::new(),
        data: Value::Null.into(),
    })
}
