//! Random work, done by the store in memory and by an SQL store: both must tell the same afterwards.
//! Ids may have gaps in a database, so they are compared by their rank.

use super::*;
use std::collections::BTreeSet;

/// SplitMix64: the same numbers from the same seed, for ever.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

const SYSTEMS: &[&str] = &["billing", "crm", "portal"];
const STATES: &[DeliveryState] =
    &[DeliveryState::Ready, DeliveryState::Done, DeliveryState::Parked, DeliveryState::Dead];

fn some_message(dice: &mut Dice) -> NewMessage {
    let kind = dice.of(&["payment.received.v1", "invoice.issued.v1"]);
    let source = dice.of(&["/demo/bank", "/demo/crm"]);
    let message = Message {
        r#type: kind.into(),
        subject: dice.of(&[None, Some("A"), Some("Б")]).map(Into::into),
        ..message(source, &dice.below(60).to_string(), json!({"n": dice.below(3)}))
    };
    let mut deliveries = Vec::new();
    for _ in 0..dice.below(3) {
        let mut planned = planned(dice.of(SYSTEMS), dice.of(&[None, Some("k"), Some("\0")]));
        planned.error = dice.one_in(5).then(failed);
        deliveries.push(planned);
    }
    NewMessage { place: dice.one_in(2).then(|| "line 1".into()), ..admitted(message, deliveries) }
}

/// `deliveries`: how many there are; an attempt names one by its rank.
fn some_commit(dice: &mut Dice, round: usize, deliveries: usize) -> Commit {
    let attempt = |dice: &mut Dice| Attempted {
        next_at_ms: dice.below(5) as i64,
        error: dice.one_in(2).then(failed),
        ..attempted(dice.below(deliveries) as i64, dice.of(STATES), dice.below(9) as u32)
    };
    let write = |dice: &mut Dice| StateWrite {
        system: dice.of(SYSTEMS).into(),
        key: dice.of(&["a", "b"]).into(),
        value: (!dice.one_in(3)).then(|| vec![dice.below(256) as u8]),
    };
    Commit {
        intake: dice.one_in(3).then(|| Intake { system: dice.of(SYSTEMS).into(), ..intake(&format!("i-{round}")) }),
        messages: (0..dice.below(5)).map(|_| some_message(dice)).collect(),
        on_differing: dice.of(&[None, Some(OnDiffering::Keep), Some(OnDiffering::Refuse)]),
        state: (0..dice.below(3)).map(|_| write(dice)).collect(),
        calls: (0..dice.below(3)).map(|n| call(1, n as u32)).collect(),
        attempted: (deliveries > 0 && dice.one_in(2)).then(|| attempt(dice)),
        at_ms: round as i64,
    }
}

/// The ids of a store's deliveries, by rank.
async fn delivery_ids(store: &AnyStore) -> Vec<i64> {
    let ids: BTreeSet<_> =
        all(store, MessageFilter::default()).await.into_iter().flat_map(|v| v.deliveries).map(|d| d.id).collect();
    ids.into_iter().collect()
}

async fn run(store: &AnyStore, seed: u64) -> String {
    let mut dice = Dice(seed);
    for round in 0..60 {
        let ids = delivery_ids(store).await;
        let named = |mut commit: Commit| {
            if let Some(attempted) = &mut commit.attempted {
                attempted.delivery = ids[attempted.delivery as usize];
            }
            commit
        };
        if dice.one_in(8) {
            let head = named(some_commit(&mut dice, round, ids.len()));
            let mut chunks: Vec<Vec<_>> = (0..3).map(|_| (0..4).map(|_| some_message(&mut dice)).collect()).collect();
            store.commit_stream(head, &mut || Ok(chunks.pop().unwrap_or_default())).await.unwrap();
        } else {
            let batch = (0..1 + dice.below(6)).map(|n| named(some_commit(&mut dice, round * 10 + n, ids.len())));
            store.commit(batch.collect()).await.unwrap();
        }
    }
    told(store).await
}

/// Everything that a store tells, as text, without its own numbers.
async fn told(store: &AnyStore) -> String {
    let deliveries = delivery_ids(store).await;
    let views = all(store, MessageFilter::default()).await;
    let seqs: Vec<_> = views.iter().rev().map(|view| view.seq).collect();
    let rank = |ids: &[i64], id: i64| ids.binary_search(&id).unwrap() as i64;
    let mut told = Vec::new();
    for view in views {
        let mut view = store.message(view.seq).await.unwrap().unwrap();
        view.seq = rank(&seqs, view.seq);
        view.deliveries.iter_mut().for_each(|d| d.id = rank(&deliveries, d.id));
        told.push(format!("{view:?}"));
    }
    for system in SYSTEMS {
        for mut ready in store.ready(system, 0, 1_000).await.unwrap() {
            (ready.id, ready.message_seq) = (rank(&deliveries, ready.id), rank(&seqs, ready.message_seq));
            told.push(format!("{ready:?}"));
        }
        told.push(format!("{:?}", store.parked_keys(system).await.unwrap()));
        for state in STATES {
            for subject in [None, Some("A".to_string())] {
                let filter = MessageFilter {
                    system: Some(system.to_string()),
                    state: Some(*state),
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
    told.push(format!("{:?} {:?}", store.depths().await.unwrap(), intakes(store).await));
    told.join("\n")
}

async fn same(sql: AnyStore, seed: u64) {
    let memory: AnyStore = Arc::new(MemoryStore::default());
    let (expected, found) = (run(&memory, seed).await, run(&sql, seed).await);
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(found, expected, "seed {seed}");
    }
    assert_eq!(found.len(), expected.len(), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_does_as_memory_does() {
    for seed in 0..6 {
        let (_folder, store) = sqlite().await;
        same(store, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_does_as_memory_does() {
    for seed in 0..6 {
        same(postgres().await, seed).await;
    }
}
