//! Order per system and key: what is held, what lets it go, what a person may do.

use super::*;
use DeliveryState::{Dead, Done, Parked, Ready, Skipped, Waiting};

async fn state(store: &AnyStore, delivery: &StoredDelivery) -> DeliveryState {
    let view = store.message(delivery.message_seq).await.unwrap().unwrap();
    view.deliveries.into_iter().find(|d| d.id == delivery.id).unwrap().state
}

async fn states(store: &AnyStore, all: &[StoredDelivery]) -> Vec<DeliveryState> {
    let mut states = Vec::new();
    for delivery in all {
        states.push(state(store, delivery).await);
    }
    states
}

/// Deliveries to billing with these keys, one message each.
async fn put(store: &AnyStore, keys: &[&str]) -> Vec<StoredDelivery> {
    let first = store.depths().await.unwrap().iter().map(|d| d.count).sum::<i64>();
    let new = |(n, key): (usize, &&str)| new(&(first as usize + n).to_string(), key);
    let accepted = write(store, commit(keys.iter().enumerate().map(new).collect())).await;
    accepted.into_iter().flat_map(|a| a.deliveries).collect()
}

async fn refused(store: &AnyStore, commit: Commit) -> Refusal {
    store.commit(vec![commit]).await.unwrap().remove(0).unwrap_err()
}

pub async fn a_parked_delivery_holds_its_key(store: AnyStore) {
    let all = put(&store, &["a", "a", "b", "a"]).await;
    // The second one: what was before it goes on, what is behind it waits; so does what comes later.
    write(&store, attempt(all[1].id, Parked, 1)).await;
    assert_eq!(states(&store, &all).await, [Ready, Parked, Ready, Waiting]);
    let later = put(&store, &["a", "b"]).await;
    assert_eq!((later[0].state, later[1].state), (Waiting, Ready));
    let ready: Vec<_> =
        store.ready("billing", Shards::ALL, 0, 10).await.unwrap().deliveries.iter().map(|d| d.id).collect();
    assert_eq!(ready, [all[0].id, all[2].id, later[1].id]);
    // The same key of another system is another one; without a key nothing is held.
    let other =
        admitted(message("/demo/crm", "x", json!({})), vec![planned("crm", Some("a")), planned("billing", None)]);
    let other = write(&store, commit(vec![other])).await.remove(0).deliveries;
    assert_eq!((other[0].state, other[1].state), (Ready, Ready));
    write(&store, attempt(other[1].id, Dead, 1)).await;
    assert_eq!(states(&store, &all).await, [Ready, Parked, Ready, Waiting]);
    // Parked from the start, within a batch, and a waiting one holds as well.
    let mut broken = new("broken", "c");
    broken.deliveries[0].error = Some(failed());
    let batch = vec![commit(vec![broken]), commit(vec![new("c-1", "c")]), commit(vec![new("c-2", "c")])];
    let written = store.commit(batch).await.unwrap();
    let found: Vec<_> = written.iter().map(|w| w.as_ref().unwrap()[0].deliveries[0].state).collect();
    assert_eq!(found, [Parked, Waiting, Waiting]);
}

pub async fn a_retried_one_goes_first_and_lets_the_others_go(store: AnyStore) {
    let all = put(&store, &["a", "a", "a"]).await;
    write(&store, Commit { calls: vec![call(1, 0)], ..attempt(all[0].id, Parked, 1) }).await;
    let late = Attempted { next_at_ms: 9_000, error: Some(failed()), ..attempted(all[1].id, Ready, 1) };
    assert_eq!(refused(&store, Commit { attempted: Some(late), ..Commit::default() }).await, Refusal::Stale);
    write(&store, operation(all[0].id, Act::Retry)).await;
    let ready = store.ready("billing", Shards::ALL, 0, 10).await.unwrap().deliveries;
    assert_eq!(ready.len(), 1);
    assert_eq!((ready[0].id, ready[0].attempts, ready[0].tries, ready[0].operated), (all[0].id, 1, 0, true));
    assert_eq!(states(&store, &all).await, [Ready, Waiting, Waiting]);
    assert_eq!(store.calls(all[0].id).await.unwrap(), [call(1, 0)]);
    write(&store, attempt_again(all[0].id, Done, 2)).await;
    assert_eq!(states(&store, &all).await, [Done, Ready, Ready]);
    let view = store.message(all[0].message_seq).await.unwrap().unwrap().deliveries.remove(0);
    assert_eq!((view.by.as_deref(), view.attempts, view.updated_at_ms), (Some("Оператор"), 2, 2_000));
    // Parked again while others are free: they wait once more.
    write(&store, attempt(all[1].id, Parked, 1)).await;
    assert_eq!(states(&store, &all).await, [Done, Parked, Waiting]);
    // In one batch: retried and done, and what comes after it is ready.
    let batch =
        vec![operation(all[1].id, Act::Retry), attempt_again(all[1].id, Done, 2), commit(vec![new("late", "a")])];
    let written = store.commit(batch).await.unwrap();
    assert_eq!(written[2].as_ref().unwrap()[0].deliveries[0].state, Ready);
    assert_eq!(states(&store, &all).await, [Done, Done, Ready]);
}

pub async fn skipping_lets_the_next_ones_go_up_to_the_next_parked(store: AnyStore) {
    let all = put(&store, &["a", "a", "a", "a"]).await;
    write(&store, attempt(all[2].id, Parked, 1)).await;
    write(&store, attempt(all[0].id, Parked, 1)).await;
    assert_eq!(states(&store, &all).await, [Parked, Waiting, Parked, Waiting]);
    write(&store, operation(all[0].id, Act::Skip)).await;
    assert_eq!(states(&store, &all).await, [Skipped, Ready, Parked, Waiting]);
    // A waiting one is skipped by itself.
    write(&store, operation_seen(all[3].id, Act::Skip, Waiting, 0)).await;
    assert_eq!(states(&store, &all).await, [Skipped, Ready, Parked, Skipped]);
    write(&store, operation(all[2].id, Act::Skip)).await;
    let view = store.message(all[2].message_seq).await.unwrap().unwrap().deliveries.remove(0);
    assert_eq!((view.state, view.by.as_deref(), view.updated_at_ms), (Skipped, Some("Оператор"), 3_000));
    let skipped = MessageFilter { state: Some(Skipped), ..MessageFilter::default() };
    assert_eq!(ids(&store, skipped.clone()).await, ["3", "2", "0"]);
    let of_system = |system: &str| MessageFilter { system: Some(system.into()), ..skipped.clone() };
    assert_eq!(ids(&store, of_system("billing")).await.len(), 3);
    assert!(ids(&store, of_system("crm")).await.is_empty());
    let depth = |state, count| Depth { system: "billing".into(), state, count };
    assert_eq!(store.depths().await.unwrap(), [depth(Ready, 1), depth(Skipped, 3)]);
}

pub async fn an_operation_must_fit(store: AnyStore) {
    let all = put(&store, &["a", "a", "b"]).await;
    let not_now = |state| Refusal::NotNow { state };
    assert_eq!(refused(&store, operation(77_777, Act::Skip)).await, not_now(None));
    assert_eq!(refused(&store, operation(all[2].id, Act::Retry)).await, not_now(Some(Ready)));
    write(&store, attempt(all[2].id, Done, 1)).await;
    assert_eq!(refused(&store, operation(all[2].id, Act::Skip)).await, not_now(Some(Done)));
    assert_eq!(refused(&store, operation_seen(all[2].id, Act::Skip, Done, 0)).await, not_now(Some(Done)));
    write(&store, attempt(all[1].id, Parked, 1)).await;
    write(&store, attempt(all[0].id, Parked, 1)).await;
    let behind = Refusal::Behind { delivery: all[0].id };
    assert_eq!(refused(&store, operation(all[1].id, Act::Retry)).await, behind);
    let edit = Act::Edit(Box::new(message("/demo/bank", "1", json!({}))));
    assert_eq!(refused(&store, operation(all[1].id, edit)).await, behind);
    let later = put(&store, &["a"]).await;
    let waiting = operation_seen(later[0].id, Act::Retry, Waiting, 0);
    assert_eq!(refused(&store, waiting).await, not_now(Some(Waiting)));
    // What is refused leaves nothing, the rest of its batch is written.
    let batch = vec![
        Commit { messages: vec![new("never", "c")], ..operation(all[2].id, Act::Retry) },
        operation(all[0].id, Act::Retry),
        operation(all[0].id, Act::Retry),
    ];
    let written = store.commit(batch).await.unwrap();
    assert_eq!(written, [Err(not_now(Some(Done))), Ok(vec![]), Err(not_now(Some(Ready)))]);
    assert!(store.lookup("/demo/bank", "never").await.unwrap().is_none());
}

/// One that is tried again by itself is made again at once; what came of its calls nobody has found out.
pub async fn a_ready_one_is_operated_on_as_it_was_seen(store: AnyStore) {
    let all = put(&store, &["a", "b", "c"]).await;
    for delivery in &all {
        let later = Attempted { next_at_ms: 9_000, error: Some(failed()), ..attempted(delivery.id, Ready, 1) };
        write(&store, Commit { attempted: Some(later), ..Commit::default() }).await;
    }
    let failing = DeliveryFilter { states: States::Failing, limit: 9, ..DeliveryFilter::default() };
    assert_eq!(store.deliveries(&failing).await.unwrap().len(), 3);
    assert!(store.deliveries(&DeliveryFilter { limit: 9, ..DeliveryFilter::default() }).await.unwrap().is_empty());
    // It was made again, or parked, since the person looked.
    for (state, seen) in [(Ready, 0), (Parked, 1)] {
        let old = operation_seen(all[0].id, Act::Skip, state, seen);
        assert_eq!(refused(&store, old).await, Refusal::NotNow { state: Some(Ready) });
    }
    write(&store, operation_seen(all[0].id, Act::Retry, Ready, 1)).await;
    let edit = Act::Edit(Box::new(message("/demo/bank", "1", json!({"amount": "2.00"}))));
    write(&store, operation_seen(all[1].id, edit, Ready, 1)).await;
    write(&store, operation_seen(all[2].id, Act::Skip, Ready, 1)).await;
    assert_eq!(states(&store, &all).await, [Ready, Ready, Skipped]);
    let ready = store.ready("billing", Shards::ALL, 0, 9).await.unwrap().deliveries;
    for delivery in &ready {
        let found = (delivery.version, delivery.attempts, delivery.tries, delivery.next_at_ms);
        assert_eq!((found, delivery.operated, delivery.judged), ((2, 1, 0, 0), false, 0));
    }
    assert_eq!(ready[1].message.data, json!({"amount": "2.00"}));
    // What an attempt that was under way comes to is not written.
    assert_eq!(refused(&store, attempt(all[0].id, Done, 2)).await, Refusal::Stale);
}

/// A parked one that is retried, and then skipped before it is made, lets those behind it go.
pub async fn skipping_a_ready_one_lets_go_what_waits_behind_it(store: AnyStore) {
    let all = put(&store, &["a", "a"]).await;
    write(&store, attempt(all[0].id, Parked, 1)).await;
    write(&store, operation(all[0].id, Act::Retry)).await;
    assert_eq!(states(&store, &all).await, [Ready, Waiting]);
    write(&store, operation_seen(all[0].id, Act::Skip, Ready, 2)).await;
    assert_eq!(states(&store, &all).await, [Skipped, Ready]);
}

pub async fn an_edit_is_for_its_delivery_only(store: AnyStore) {
    let both = admitted(
        message("/demo/bank", "1", json!({"amount": "1.00"})),
        vec![planned("billing", Some("a")), planned("crm", None)],
    );
    let accepted = write(&store, commit(vec![both])).await.remove(0);
    write(&store, attempt(accepted.deliveries[0].id, Parked, 1)).await;
    let edited = Message { time: None, ..message("/demo/bank", "1", json!({"amount": "2.00"})) };
    write(&store, operation(accepted.deliveries[0].id, Act::Edit(Box::new(edited.clone())))).await;
    assert_eq!(*store.ready("billing", Shards::ALL, 0, 9).await.unwrap().deliveries[0].message, edited);
    assert_eq!(
        store.ready("crm", Shards::ALL, 0, 9).await.unwrap().deliveries[0].message.data,
        json!({"amount": "1.00"})
    );
    let view = store.message(accepted.seq).await.unwrap().unwrap();
    assert_eq!(view.message.data, json!({"amount": "1.00"}));
    assert_eq!(view.deliveries[0].edited, Some(json!({"amount": "2.00"})));
    assert_eq!(view.deliveries[1].edited, None);
    write(&store, attempt_again(accepted.deliveries[0].id, Done, 2)).await;
    let view = store.message(accepted.seq).await.unwrap().unwrap();
    assert_eq!(view.deliveries[0].edited, Some(json!({"amount": "2.00"})));
}

/// A message to the adapter `maps` with `key`, which made it and stated `stated` for billing.
fn made(id: &str, key: &str, stated: &[&str]) -> NewMessage {
    let stated = stated.iter().map(|id| new(id, key)).collect();
    let made = Made { messages: stated, calls: vec![call(1, 0)] };
    let delivery = Planned { made: Some(made), ..planned("maps", Some(key)) };
    admitted(message("/demo/crm", id, json!({"n": id})), vec![delivery, planned("portal", None)])
}

pub async fn made_ones_are_done_unless_others_come_first(store: AnyStore) {
    let accepted = write(&store, commit(vec![made("1", "a", &["s-1", "s-2"])])).await.remove(0);
    let found: Vec<_> = accepted.deliveries.iter().map(|d| (d.system.as_str(), d.state, d.attempts)).collect();
    let expected = [("maps", Done, 1), ("billing", Ready, 0), ("billing", Ready, 0), ("portal", Ready, 0)];
    assert_eq!(found, expected);
    assert!(accepted.deliveries.is_sorted_by_key(|d| d.id));
    assert_eq!(store.calls(accepted.deliveries[0].id).await.unwrap(), [call(1, 0)]);
    let view = store.message(accepted.seq).await.unwrap().unwrap();
    assert_eq!(view.deliveries.iter().map(|d| d.system.as_str()).collect::<Vec<_>>(), ["maps", "portal"]);
    assert_eq!((view.deliveries[0].state, view.deliveries[0].updated_at_ms), (Done, 1_000));
    assert_eq!(ids(&store, MessageFilter::default()).await, ["s-2", "s-1", "1"]);
    // A stated message that is known is not stated twice.
    let again = write(&store, commit(vec![made("2", "a", &["s-2", "s-3"])])).await.remove(0);
    assert_eq!(again.deliveries.len(), 3);
    // An unfinished one of the same key comes first: nothing of what was made is written.
    let waits = admitted(message("/demo/crm", "3", json!({})), vec![planned("maps", Some("a"))]);
    let batch = vec![commit(vec![waits]), commit(vec![made("4", "a", &["s-4"]), made("5", "b", &["s-5"])])];
    let written = store.commit(batch).await.unwrap();
    let first = written[0].as_ref().unwrap()[0].deliveries[0].clone();
    let [behind, other] = &written[1].as_ref().unwrap()[..] else { panic!("two messages") };
    assert_eq!((behind.deliveries.len(), behind.deliveries[0].state, behind.deliveries[0].attempts), (2, Ready, 0));
    assert_eq!((other.deliveries.len(), other.deliveries[0].state), (3, Done));
    assert!(store.lookup("/demo/bank", "s-4").await.unwrap().is_none());
    assert!(store.calls(behind.deliveries[0].id).await.unwrap().is_empty());
    write(&store, attempt(first.id, Parked, 1)).await;
    let held = write(&store, commit(vec![made("6", "a", &["s-6"])])).await.remove(0);
    assert_eq!((held.deliveries.len(), held.deliveries[0].state), (2, Waiting));
    // Broken at admission: parked, made or not.
    let mut broken = made("7", "c", &["s-7"]);
    broken.deliveries[0].error = Some(failed());
    assert_eq!(write(&store, commit(vec![broken])).await.remove(0).deliveries[0].state, Parked);
    assert!(store.lookup("/demo/bank", "s-7").await.unwrap().is_none());
}
