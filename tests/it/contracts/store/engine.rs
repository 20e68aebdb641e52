//! What several attempts, hubs and operators see of one another.

use super::*;
use DeliveryState::{Dead, Done, Parked, Ready};

pub async fn an_attempt_that_was_overtaken_is_stale(store: AnyStore) {
    let id = write(&store, commit(vec![new("1", "a")])).await[0].deliveries[0].id;
    write(&store, attempt(id, Ready, 1)).await;
    let set = StateWrite { system: "billing".into(), key: "k".into(), value: Some(vec![1]) };
    let late = Commit {
        state: vec![set],
        calls: vec![call(1, 7)],
        messages: vec![new("stated", "b")],
        intake: Some(intake("i-1")),
        ..attempt(id, Done, 1)
    };
    let batch = vec![late, attempt(id, Done, 2), attempt(id, Done, 2), attempt(id, Parked, 3)];
    let written = store.commit(batch).await.unwrap();
    assert_eq!(written, [Err(Refusal::Stale), Ok(vec![]), Err(Refusal::Stale), Err(Refusal::Stale)]);
    assert!(store.calls(id).await.unwrap().is_empty() && intakes(&store).await.is_empty());
    assert!(store.state("billing", "k").await.unwrap().is_none());
    assert_eq!(ids(&store, MessageFilter::default()).await, ["1"]);
    let head = Commit { intake: Some(intake("i-2")), ..attempt(id, Done, 2) };
    let mut chunks = vec![vec![new("streamed", "b")]];
    let refused = store.commit_stream(head, &mut || Ok(chunks.pop().unwrap_or_default())).await.unwrap();
    assert!(refused.is_none() && intakes(&store).await.is_empty());
    assert!(store.lookup("/demo/bank", "streamed").await.unwrap().is_none());
}

pub async fn calls_of_a_started_attempt_are_there_and_overwritten(store: AnyStore) {
    let id = write(&store, commit(vec![new("1", "a")])).await[0].deliveries[0].id;
    let started = |expected, attempt, calls| {
        let started = Started { system: "billing".into(), delivery: id, expected, attempt, calls };
        Commit { started: vec![started], ..Commit::default() }
    };
    let sent = Call { answer: None, outcome: "sent".into(), ..call(1, 1) };
    write(&store, started(0, 1, vec![call(1, 0), sent.clone()])).await;
    assert_eq!(store.calls(id).await.unwrap(), [call(1, 0), sent]);
    assert_eq!(
        store.ready("billing", Shards::ALL, 0, 9).await.unwrap().deliveries[0].attempts,
        1,
        "counted once it is started"
    );
    let ended = Attempted { expected: 1, ..attempted(id, Ready, 1) };
    write(&store, Commit { calls: vec![call(1, 1)], attempted: Some(ended), ..Commit::default() }).await;
    assert_eq!(store.calls(id).await.unwrap(), [call(1, 0), call(1, 1)]);
    let written = store.commit(vec![started(0, 1, vec![call(1, 5)]), started(2, 2, vec![call(2, 0)])]).await.unwrap();
    assert_eq!(written, [Err(Refusal::Stale), Ok(vec![])]);
    // Twice in one batch: the later one stands.
    let again = Call { outcome: "recorded".into(), ..call(2, 0) };
    store.commit(vec![started(3, 2, vec![call(2, 0)]), started(4, 2, vec![again.clone()])]).await.unwrap();
    assert_eq!(store.calls(id).await.unwrap(), [call(1, 0), call(1, 1), again]);
}

pub async fn an_intake_is_written_once(store: AnyStore) {
    let with = |id: &str, messages| Commit { intake: Some(intake(id)), calls: vec![call(1, 0)], ..commit(messages) };
    let batch = vec![with("i-1", vec![new("1", "a")]), with("i-1", vec![new("1", "a"), new("2", "a")])];
    store.commit(batch).await.unwrap();
    let first = intakes(&store).await;
    assert_eq!((first.len(), first[0].intake.messages), (1, 1));
    let later = Commit { calls: vec![call(1, 1)], ..with("i-1", vec![new("3", "a")]) };
    write(&store, later).await;
    let kept = intakes(&store).await;
    assert_eq!((kept.len(), &kept[0].intake, kept[0].calls.len()), (1, &first[0].intake, 2));
    assert_eq!(ids(&store, MessageFilter::default()).await, ["3", "2", "1"]);
    let head = Commit { intake: Some(Intake { name: "other".into(), ..intake("i-1") }), ..commit(vec![]) };
    store.commit_stream(head, &mut || Ok(vec![])).await.unwrap();
    assert_eq!(intakes(&store).await, kept);
}

pub async fn ready_is_of_the_hubs_shards(store: AnyStore) {
    let many = (0..200).map(|n| match n % 2 {
        0 => new(&n.to_string(), &format!("k{}", n % 40)),
        _ => admitted(message("/demo/bank", &n.to_string(), json!({})), vec![planned("billing", None)]),
    });
    let all: Vec<_> = write(&store, commit(many.collect())).await.into_iter().flat_map(|a| a.deliveries).collect();
    assert_eq!(store.ready("billing", Shards::ALL, 0, 1_000).await.unwrap().deliveries, all);
    assert!(store.ready("billing", Shards::NONE, 0, 1_000).await.unwrap().deliveries.is_empty());
    let mut found = Vec::new();
    for mine in [Shards(0x0000_ffff), Shards(0x7fff_0000), Shards(0x8000_0000)] {
        let part = store.ready("billing", mine, 0, 1_000).await.unwrap().deliveries;
        assert!(part.len() < 200 && part.is_sorted_by_key(|d| d.id));
        assert!(part.iter().all(|d| mine.has(Shards::of("billing", d.key.as_deref(), d.message_seq))));
        assert_eq!(store.ready("billing", mine, 0, 3).await.unwrap().deliveries, part[..part.len().min(3)]);
        found.extend(part);
    }
    found.sort_by_key(|d| d.id);
    assert_eq!(found, all);
}

pub async fn deliveries_by_each_condition(store: AnyStore) {
    let mut accepted = write(&store, commit(vec![new("1", "a"), new("2", "b"), new("3", "c"), new("4", "a")])).await;
    let other = Message { r#type: "invoice.issued.v1".into(), ..message("/demo/crm", "5", json!({})) };
    let other = admitted(other, vec![planned("crm", Some("a")), planned("crm", None)]);
    accepted.extend(write(&store, commit(vec![other, new("6", "d"), new("7", "e")])).await);
    let all: Vec<_> = accepted.iter().flat_map(|a| &a.deliveries).collect();
    let fail = |n: usize, state, code: &str| {
        let error = Some(ErrorRecord { code: code.into(), ..failed() });
        Commit { attempted: Some(Attempted { error, ..attempted(all[n].id, state, 1) }), ..Commit::default() }
    };
    let batch = vec![
        fail(0, Parked, "rejected"),
        attempt(all[1].id, Done, 1),
        fail(2, Dead, "timeout"),
        fail(4, Parked, "timeout"),
        fail(5, Dead, "rejected"),
        fail(6, Ready, "transient"),
    ];
    store.commit(batch).await.unwrap();
    let any = || DeliveryFilter { limit: 10, ..DeliveryFilter::default() };
    let text = |text: &str| Some(text.to_string());
    let cases = [
        (any(), vec![0, 2, 4, 5]),
        (DeliveryFilter { limit: 2, ..any() }, vec![0, 2]),
        (DeliveryFilter { states: States::Failing, ..any() }, vec![0, 2, 4, 5, 6]),
        (DeliveryFilter { after: all[2].id, ..any() }, vec![4, 5]),
        (DeliveryFilter { id: Some(all[2].id), ..any() }, vec![2]),
        (DeliveryFilter { id: Some(all[1].id), ..any() }, vec![]),
        (DeliveryFilter { states: States::One(Done), ..any() }, vec![1]),
        (DeliveryFilter { states: States::One(DeliveryState::Waiting), ..any() }, vec![3]),
        (DeliveryFilter { states: States::One(Ready), ..any() }, vec![6, 7]),
        (DeliveryFilter { system: text("crm"), ..any() }, vec![4, 5]),
        (DeliveryFilter { r#type: text("payment.received.v1"), ..any() }, vec![0, 2]),
        (DeliveryFilter { code: text("timeout"), ..any() }, vec![2, 4]),
        (DeliveryFilter { key: text("a"), ..any() }, vec![0, 4]),
        (DeliveryFilter { key: text("a"), code: text("timeout"), states: States::One(Parked), ..any() }, vec![4]),
        (DeliveryFilter { key: text("'"), ..any() }, vec![]),
    ];
    for (filter, expected) in cases {
        let found = store.deliveries(&filter).await.unwrap();
        let expected: Vec<_> = expected.into_iter().map(|n: usize| (all[n].message_seq, all[n].id)).collect();
        assert_eq!(found.iter().map(|(seq, view)| (*seq, view.id)).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let (_, view) = store.deliveries(&DeliveryFilter { limit: 1, ..any() }).await.unwrap().remove(0);
    assert_eq!(view, store.message(accepted[0].seq).await.unwrap().unwrap().deliveries[0]);
}

pub async fn hubs_share_the_shards(store: AnyStore) {
    let claim =
        |hub: &str, now_ms| Claim { hub: hub.into(), now_ms, lease_ms: 100, busy: Shards::NONE, leaving: false };
    let none = Claimed { shards: Shards::NONE, leave: Shards::NONE, hubs: 1 };
    // Alone: everything. A second one gets what the first one gives up.
    assert_eq!(store.claim(claim("a", 0)).await.unwrap(), Claimed { shards: Shards::ALL, ..none });
    assert_eq!(store.claim(claim("b", 10)).await.unwrap(), Claimed { hubs: 2, ..none });
    let busy = Claim { busy: Shards(1 << 31 | 1), ..claim("a", 20) };
    let lower = Shards(0x0000_ffff);
    assert_eq!(store.claim(busy).await.unwrap(), Claimed { shards: lower, leave: Shards(1 << 31), hubs: 2 });
    let upper = Shards(0x7fff_0000);
    assert_eq!(store.claim(claim("b", 30)).await.unwrap(), Claimed { shards: upper, hubs: 2, ..none });
    assert_eq!(store.claim(claim("a", 40)).await.unwrap(), Claimed { shards: lower, hubs: 2, ..none });
    let rest = Claimed { shards: Shards(0xffff_0000), hubs: 2, ..none };
    assert_eq!(store.claim(claim("b", 50)).await.unwrap(), rest);
    // One that is silent longer than its lease has nothing.
    assert_eq!(store.claim(claim("b", 141)).await.unwrap(), Claimed { shards: Shards::ALL, hubs: 1, ..none });
    // One that leaves keeps what is busy, until it is not.
    let leaving = |busy, now_ms| Claim { busy, leaving: true, ..claim("b", now_ms) };
    let left = store.claim(leaving(Shards(6), 150)).await.unwrap();
    assert_eq!((left.shards, left.leave), (Shards::NONE, Shards(6)));
    let taken = store.claim(claim("c", 160)).await.unwrap();
    assert_eq!((taken.shards, taken.hubs), (Shards(!6), 1));
    assert_eq!(store.claim(leaving(Shards::NONE, 170)).await.unwrap().leave, Shards::NONE);
    assert_eq!(store.claim(claim("c", 180)).await.unwrap().shards, Shards::ALL);
    // Whoever operates tells the others.
    let id = write(&store, commit(vec![new("1", "a")])).await[0].deliveries[0].id;
    write(&store, attempt(id, Parked, 1)).await;
    let before = store.ready("billing", Shards::ALL, 0, 0).await.unwrap().operations;
    write(&store, operation(id, Act::Retry)).await;
    assert_eq!(store.ready("billing", Shards::ALL, 0, 9).await.unwrap().operations, before + 1);
    assert_eq!(store.ready("nobody", Shards::NONE, 0, 9).await.unwrap().operations, before + 1);
}

pub async fn a_refusal_that_comes_again_is_counted(store: AnyStore) {
    let again = |intake: &str, times, last_at_ms| Commit {
        recurred: Some(Recurred { intake: intake.into(), times, last_at_ms }),
        ..commit(vec![])
    };
    let first = Intake { outcome: IntakeOutcome::Refused, error: Some(failed()), ..intake("i-1") };
    // Together with the row itself, two at once, and later; of one that is not there nothing comes.
    let batch = vec![Commit { intake: Some(first), ..commit(vec![]) }, again("i-1", 3, 2_000), again("i-1", 4, 3_000)];
    assert!(store.commit(batch).await.unwrap().iter().all(Result::is_ok));
    write(&store, again("i-1", 100, 4_000)).await;
    write(&store, again("i-2", 100, 4_000)).await;
    let found = intakes(&store).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let found = &found[0].intake;
    assert_eq!((found.times, found.last_at_ms, found.at_ms), (108, Some(4_000), 900));
    assert_eq!(found.outcome, IntakeOutcome::Refused);
}
