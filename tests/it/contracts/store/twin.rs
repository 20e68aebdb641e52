//! Random work, done by the store in memory and by an SQL store: both must tell the same afterwards.
//! Ids may have gaps in a database, so they are compared by their rank.

use super::*;
use busbar_core::statistics::StatisticsFilter;
use std::collections::BTreeMap;

/// SplitMix64: the same numbers from the same seed, for ever.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

const SYSTEMS: &[&str] = &["billing", "crm", "portal"];
const STATES: &[DeliveryState] =
    &[DeliveryState::Ready, DeliveryState::Done, DeliveryState::Parked, DeliveryState::Dead];
const KEYS: &[Option<&str>] = &[None, Some("k"), Some("k"), Some("\0")];

fn some_message(dice: &mut Dice, depth: usize) -> NewMessage {
    let kind = dice.of(&["payment.received.v1", "invoice.issued.v1"]);
    let source = dice.of(&["/demo/bank", "/demo/crm"]);
    let message = Message {
        r#type: kind.into(),
        subject: dice.of(&[None, Some("A"), Some("Б")]).map(Into::into),
        ..message(source, &dice.below(400).to_string(), json!({"n": dice.below(3)}))
    };
    let mut deliveries = Vec::new();
    for _ in 0..dice.below(3) {
        let mut planned = planned(dice.of(SYSTEMS), dice.of(KEYS));
        planned.error = dice.one_in(12).then(failed);
        if depth < 2 && dice.one_in(2) {
            let messages = (0..dice.below(3)).map(|_| some_message(dice, depth + 1)).collect();
            planned.made = Some(Made { messages, calls: (0..dice.below(3)).map(|n| call(1, n as u32)).collect() });
        }
        deliveries.push(planned);
    }
    NewMessage { place: dice.one_in(2).then(|| "line 1".into()), ..admitted(message, deliveries) }
}

/// A delivery as a store shows it before a round: its rank, state, attempts and version.
type Shown = (i64, DeliveryState, u32, u32);

fn some_entry(dice: &mut Dice, round: usize) -> Intake {
    let place = Some(dice.below(9).to_string());
    let entry = Rejection { code: "bad-sum".into(), reason: "нет суммы".into(), place };
    Origin::delivery(dice.of(SYSTEMS)).left_out(&entry, round as i64)
}

fn some_hold(dice: &mut Dice) -> Hold {
    let comment = dice.of(&[None, Some("\0?")]).map(Into::into);
    Hold {
        system: dice.of(SYSTEMS).into(),
        paused: dice.one_in(2),
        decider: Decider { by: dice.of(&["a", "b"]).into(), comment },
    }
}

fn some_failure(dice: &mut Dice) -> ErrorRecord {
    let place = dice.of(&[None, Some("/lines/1"), Some("/lines/2"), Some("/sum")]).map(Into::into);
    let answer = dice.of(&[None, Some("409"), Some("no-answer")]).map(Into::into);
    ErrorRecord {
        code: dice.of(&["rejected", "transient"]).into(),
        place,
        answer,
        by_adapter: dice.one_in(2),
        ..failed()
    }
}

/// Those of a file are started together, or none of them.
fn some_started(deliveries: &[Shown]) -> Vec<Started> {
    let mut started: Vec<Started> = Vec::new();
    for (delivery, _, attempts, expected) in deliveries.iter().copied() {
        if started.iter().all(|other| other.delivery != delivery) {
            let (system, attempt, calls) = ("billing".into(), attempts + 1, vec![call(attempts + 1, 0)]);
            started.push(Started { system, delivery, expected, attempt, calls });
        }
    }
    started
}

/// Attempts and operations name a delivery by its rank; mostly one that fits.
fn some_commit(dice: &mut Dice, round: usize, shown: &[Shown]) -> Commit {
    let ready: Vec<_> = shown.iter().filter(|d| d.1 == DeliveryState::Ready).copied().collect();
    let failed_ones: Vec<_> =
        shown.iter().filter(|d| !matches!(d.1, DeliveryState::Ready | DeliveryState::Done)).copied().collect();
    let any = |dice: &mut Dice, fit: &[Shown]| match fit {
        [] => dice.of(shown),
        _ if dice.one_in(6) => dice.of(shown),
        fit => dice.of(fit),
    };
    let write = |dice: &mut Dice| StateWrite {
        system: dice.of(SYSTEMS).into(),
        key: dice.of(&["a", "b"]).into(),
        value: (!dice.one_in(3)).then(|| vec![dice.below(256) as u8]),
    };
    let mut commit = Commit {
        entries: (0..dice.below(3)).map(|_| some_entry(dice, round)).collect(),
        decided: dice.one_in(6).then(|| Decided {
            intake: some_entry(dice, round).id,
            outcome: dice.of(&[IntakeOutcome::Dismissed, IntakeOutcome::Dismissed, IntakeOutcome::Accepted]),
            decider: operator(),
        }),
        intake: dice.one_in(3).then(|| Intake {
            system: dice.of(SYSTEMS).into(),
            ..intake(&format!("i-{}", if dice.one_in(5) { round / 3 } else { round }))
        }),
        messages: (0..dice.below(4)).map(|_| some_message(dice, 0)).collect(),
        on_differing: dice.of(&[None, Some(OnDiffering::Keep), Some(OnDiffering::Refuse)]),
        state: (0..dice.below(3)).map(|_| write(dice)).collect(),
        calls: (0..dice.below(3)).map(|n| call(1, n as u32)).collect(),
        // The minutes of a journal are not in the order of its ids.
        at_ms: round as i64 * 20_000 - dice.of(&[0, 0, 0, 400_000]),
        hold: dice.one_in(5).then(|| some_hold(dice)),
        ..Commit::default()
    };
    match dice.below(if shown.is_empty() { 1 } else { 8 }) {
        1..=4 => {
            let (delivery, _, attempts, expected) = any(dice, &ready);
            commit.attempted = Some(Attempted {
                expected: expected + dice.of(&[0, 0, 0, 0, 1]),
                next_at_ms: dice.below(5) as i64,
                tries: dice.below(3) as u32,
                error: dice.one_in(2).then(|| some_failure(dice)),
                ..attempted(delivery, dice.of(STATES), attempts + 1)
            });
        }
        5 => {
            let several = (0..1 + dice.below(3)).map(|_| any(dice, &ready)).collect::<Vec<_>>();
            commit.started = some_started(&several);
        }
        6..=7 => {
            let fit = if dice.one_in(3) { &ready } else { &failed_ones };
            let (delivery, state, _, seen) = any(dice, fit);
            let state = if dice.one_in(6) { DeliveryState::Parked } else { state };
            let seen = seen + dice.of(&[0, 0, 0, 0, 0, 1]);
            let edited = Act::Edit(Box::new(message("/demo/bank", "edited", json!({"edited": dice.below(9)}))));
            let act = match dice.below(3) {
                0 => Act::Retry,
                1 => edited,
                _ => Act::Skip,
            };
            let (system, decider) = ("billing".into(), operator());
            commit.operation = Some(Operation { delivery, system, shard: 0, act, state, seen, decider });
        }
        _ => {}
    }
    commit
}

/// A database keeps no version of what is finished.
fn version(view: &DeliveryView) -> u32 {
    if matches!(view.state, DeliveryState::Done | DeliveryState::Skipped) { 0 } else { view.version }
}

/// A store's deliveries, by rank.
async fn deliveries(store: &AnyStore) -> Vec<Shown> {
    let views = all(store, MessageFilter::default()).await.into_iter().flat_map(|v| v.deliveries);
    let shown: BTreeMap<_, _> = views.map(|d| (d.id, (d.id, d.state, d.attempts, version(&d)))).collect();
    shown.into_values().collect()
}

async fn run(store: &AnyStore, seed: u64) -> String {
    let mut dice = Dice(seed);
    let mut told_so_far = Vec::new();
    for round in 0..60 {
        let there = deliveries(store).await;
        let shown: Vec<Shown> = there.iter().enumerate().map(|(rank, d)| (rank as i64, d.1, d.2, d.3)).collect();
        let id = |rank: i64| there[rank as usize].0;
        let named = |mut commit: Commit| {
            commit.attempted.iter_mut().for_each(|a| a.delivery = id(a.delivery));
            commit.started.iter_mut().for_each(|s| s.delivery = id(s.delivery));
            commit.operation.iter_mut().for_each(|o| o.delivery = id(o.delivery));
            commit
        };
        if dice.one_in(8) {
            let mut head = named(some_commit(&mut dice, round, &shown));
            if head.intake.is_none() {
                head.attempted = None; // What is written so is a file, or nothing's.
            }
            let mut chunks: Vec<Vec<_>> =
                (0..3).map(|_| (0..4).map(|_| some_message(&mut dice, 0)).collect()).collect();
            let intake = store.commit_stream(head, &mut || Ok(chunks.pop().unwrap_or_default())).await.unwrap();
            told_so_far.push(format!("{intake:?}"));
        } else {
            let batch: Vec<_> =
                (0..1 + dice.below(6)).map(|n| named(some_commit(&mut dice, round * 10 + n, &shown))).collect();
            for committed in store.commit(batch).await.unwrap() {
                let rank = |id: i64| there.iter().position(|d| d.0 == id);
                told_so_far.push(match committed {
                    Ok(accepted) => format!("{:?}", accepted.iter().map(outcome).collect::<Vec<_>>()),
                    Err(Refusal::Behind { delivery }) => format!("behind {:?}", rank(delivery)),
                    Err(refusal) => format!("{refusal:?}"),
                });
            }
        }
        let operations = store.ready("billing", Shards::ALL, 0, 0).await.unwrap().operations;
        told_so_far.push(format!("operations {operations}"));
    }
    told_so_far.push(told(store).await);
    told_so_far.join("\n")
}

/// What became of a message, without a store's own numbers.
fn outcome(accepted: &Accepted) -> String {
    let of = |d: &StoredDelivery| format!("{} {:?} {:?} {} {}", d.system, d.key, d.state, d.attempts, d.message.id);
    let deliveries: Vec<_> = accepted.deliveries.iter().map(of).collect();
    format!("{} {} {deliveries:?}", accepted.duplicate, accepted.differs)
}

/// Everything that a store tells, as text, without its own numbers.
async fn told(store: &AnyStore) -> String {
    let deliveries: Vec<_> = deliveries(store).await.into_iter().map(|d| d.0).collect();
    let views = all(store, MessageFilter::default()).await;
    let seqs: Vec<_> = views.iter().rev().map(|view| view.seq).collect();
    let rank = |ids: &[i64], id: i64| ids.binary_search(&id).unwrap() as i64;
    let mut told = Vec::new();
    for view in views {
        let mut view = store.message(view.seq).await.unwrap().unwrap();
        view.seq = rank(&seqs, view.seq);
        view.deliveries.iter_mut().for_each(|d| (d.id, d.version) = (rank(&deliveries, d.id), version(d)));
        told.push(format!("{view:?}"));
    }
    for system in SYSTEMS {
        for mut ready in store.ready(system, Shards::ALL, 0, 1_000).await.unwrap().deliveries {
            (ready.id, ready.message_seq) = (rank(&deliveries, ready.id), rank(&seqs, ready.message_seq));
            told.push(format!("{ready:?}"));
        }
        for state in DeliveryState::ALL {
            let filter = DeliveryFilter { states: States::One(state), limit: 1_000, ..DeliveryFilter::default() };
            let found = store.deliveries(&DeliveryFilter { system: Some(system.to_string()), ..filter }).await.unwrap();
            let view = |(_, mut view): (i64, DeliveryView)| {
                (view.id, view.version) = (rank(&deliveries, view.id), version(&view));
                format!("{view:?}")
            };
            told.push(format!("{:?}", found.into_iter().map(view).collect::<Vec<_>>()));
            for subject in [None, Some("A".to_string())] {
                let filter = MessageFilter {
                    system: Some(system.to_string()),
                    state: Some(state),
                    subject,
                    ..MessageFilter::default()
                };
                told.push(format!("{filter:?} {:?}", ids(store, filter.clone()).await));
            }
        }
        for key in ["a", "b"] {
            told.push(format!("{:?}", store.state(system, key).await.unwrap()));
        }
    }
    told.push(format!("{:?}", store.depths().await.unwrap()));
    told.extend(desk(store, &deliveries).await);
    told.extend(every_intake(store).await.into_iter().map(|view| format!("{view:?}")));
    told.join("\n")
}

/// What people on duty look at. `known`: ids of all deliveries, in their order.
async fn desk(store: &AnyStore, known: &[i64]) -> Vec<String> {
    let mut told = vec![format!("{:?}", store.pauses().await.unwrap())];
    let rank = |id: i64| known.binary_search(&id).unwrap() as i64;
    for (since_ms, system) in [(None, None), (Some(1), Some("crm".to_string()))] {
        let filter = StatisticsFilter { since_ms, system, ..StatisticsFilter::default() };
        told.push(format!("{:?}", store.statistics(&filter).await.unwrap()));
    }
    for system in SYSTEMS.iter().map(|system| Some(system.to_string())).chain([None]) {
        let groups = store.failures(&FailureFilter { system: system.clone(), r#type: None }).await.unwrap();
        for group in groups {
            let states = States::One(group.state);
            let cause = Some(group.cause.id());
            let filter = DeliveryFilter { states, cause, limit: 1_000, ..DeliveryFilter::default() };
            let found = store.deliveries(&filter).await.unwrap();
            assert_eq!(group.count, found.len() as u64, "{group:?}");
            let found: Vec<_> = found.into_iter().map(|(_, view)| rank(view.id)).collect();
            told.push(format!("{group:?} {found:?}"));
        }
        for deed in [None, Some(Deed::Pause), Some(Deed::Edit)] {
            let filter = AuditFilter { system: system.clone(), deed, limit: 1_000, ..AuditFilter::default() };
            for mut entry in store.audit(&filter).await.unwrap() {
                entry.record.delivery = entry.record.delivery.map(rank);
                // What is hashed has a store's own ids in it.
                entry.hash.clear();
                told.push(format!("{entry:?}"));
            }
        }
    }
    for (since_ms, until_ms) in [(Some(100_000), Some(400_000)), (None, Some(60_000)), (Some(9_000_000), None)] {
        for (system, source) in
            [(None, None), (Some("crm"), None), (None, Some("/demo/crm")), (Some("crm"), Some("/demo/crm"))]
        {
            let (system, source) = (system.map(Into::into), source.map(Into::into));
            for (r#type, subject, text) in [
                (None, None, "n"),
                (Some("payment.received.v1"), None, "2"),
                (None, Some("Б"), "1"),
                (None, None, "\""),
            ] {
                let (r#type, subject) = (r#type.map(Into::into), subject.map(Into::into));
                let filter =
                    MessageFilter { r#type, subject, since_ms, until_ms, limit: 7, ..MessageFilter::default() };
                let found = store.search(&filter, text).await.unwrap();
                let ids: Vec<_> = found.messages.iter().map(|view| &view.message.id).collect();
                told.push(format!("{text} {filter:?} {} {ids:?}", found.next.is_some()));
            }
            let filter = MessageFilter { system, source, since_ms, until_ms, ..MessageFilter::default() };
            told.push(format!("{filter:?} {:?}", ids(store, filter.clone()).await));
        }
        let filter =
            DeliveryFilter { since_ms, until_ms, states: States::Failing, limit: 1_000, ..DeliveryFilter::default() };
        let found = store.deliveries(&filter).await.unwrap().into_iter().map(|(_, view)| rank(view.id));
        told.push(format!("{filter:?} {:?}", found.collect::<Vec<_>>()));
        let filter = AuditFilter { since_ms, until_ms, limit: 1_000, ..AuditFilter::default() };
        let found = store.audit(&filter).await.unwrap().into_iter().map(|entry| entry.record.seq);
        told.push(format!("{filter:?} {:?}", found.collect::<Vec<_>>()));
    }
    told
}

async fn every_intake(store: &AnyStore) -> Vec<IntakeView> {
    store.intakes(&IntakeFilter { limit: 10_000, ..IntakeFilter::default() }).await.unwrap()
}

async fn same(sql: AnyStore, seed: u64) {
    let memory: AnyStore = Arc::new(MemoryStore::default());
    let (expected, found) = (run(&memory, seed).await, run(&sql, seed).await);
    let before = |n: usize| expected.lines().take(n).skip(n.saturating_sub(8)).collect::<Vec<_>>().join("\n");
    for (n, (expected, found)) in expected.lines().zip(found.lines()).enumerate() {
        assert_eq!(found, expected, "seed {seed}, after\n{}", before(n));
    }
    assert_eq!(found.len(), expected.len(), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_does_as_memory_does() {
    for seed in 0..12 {
        let (_folder, store) = sqlite().await;
        same(store, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_does_as_memory_does() {
    for seed in 0..12 {
        same(postgres().await, seed).await;
    }
}
