//! Reading what was written: filters, pages, counts.

use super::*;

/// Six messages of three types, sources and subjects, with deliveries in every state.
async fn fill(store: &AnyStore) -> Vec<Accepted> {
    let rows = [
        ("1", "payment.received.v1", "/demo/bank", Some("A"), vec![("billing", DeliveryState::Done)]),
        ("2", "payment.received.v1", "/demo/osmp", Some("B"), vec![("billing", DeliveryState::Ready)]),
        ("3", "invoice.issued.v1", "/demo/crm", Some("A"), vec![("billing", DeliveryState::Parked)]),
        (
            "4",
            "invoice.issued.v1",
            "/demo/crm",
            None,
            vec![("crm", DeliveryState::Dead), ("portal", DeliveryState::Done)],
        ),
        ("1", "statement.imported.v1", "/demo/crm", Some("B"), vec![]),
        (
            "6",
            "payment.received.v1",
            "/demo/bank",
            Some("A"),
            vec![("portal", DeliveryState::Parked), ("portal", DeliveryState::Parked)],
        ),
    ];
    let mut accepted = Vec::new();
    for (id, kind, source, subject, deliveries) in rows {
        let message = Message {
            r#type: kind.into(),
            subject: subject.map(Into::into),
            time: None,
            ..message(source, id, json!({"id": id}))
        };
        let planned = deliveries.iter().map(|(system, _)| planned(system, subject)).collect();
        let written = write(store, commit(vec![admitted(message, planned)])).await.remove(0);
        let states = written
            .deliveries
            .iter()
            .zip(&deliveries)
            .map(|(d, (_, state))| Commit { attempted: Some(attempted(d.id, *state, 1)), ..Commit::default() });
        store.commit(states.collect()).await.unwrap();
        accepted.push(written);
    }
    accepted
}

pub async fn messages_by_each_condition(store: AnyStore) {
    let accepted = fill(&store).await;
    let text = |text: &str| Some(text.to_string());
    let any = MessageFilter::default;
    let cases = [
        (any(), vec!["6", "1", "4", "3", "2", "1"]),
        (MessageFilter { r#type: text("payment.received.v1"), ..any() }, vec!["6", "2", "1"]),
        (MessageFilter { r#type: text("unknown.v1"), ..any() }, vec![]),
        (MessageFilter { source: text("/demo/crm"), ..any() }, vec!["1", "4", "3"]),
        (MessageFilter { subject: text("A"), ..any() }, vec!["6", "3", "1"]),
        (MessageFilter { subject: text(""), ..any() }, vec!["4"]),
        (MessageFilter { id: text("1"), ..any() }, vec!["1", "1"]),
        (MessageFilter { id: text("1' OR '1'='1"), ..any() }, vec![]),
        (MessageFilter { system: text("billing"), ..any() }, vec!["3", "2", "1"]),
        (MessageFilter { system: text("portal"), ..any() }, vec!["6", "4"]),
        (MessageFilter { state: Some(DeliveryState::Done), ..any() }, vec!["4", "1"]),
        (MessageFilter { state: Some(DeliveryState::Ready), ..any() }, vec!["2"]),
        (MessageFilter { state: Some(DeliveryState::Parked), ..any() }, vec!["6", "3"]),
        (MessageFilter { state: Some(DeliveryState::Dead), ..any() }, vec!["4"]),
        (MessageFilter { before: Some(accepted[2].seq), ..any() }, vec!["2", "1"]),
        (MessageFilter { before: Some(0), ..any() }, vec![]),
    ];
    for (filter, expected) in cases {
        assert_eq!(ids(&store, filter.clone()).await, expected, "{filter:?}");
    }
}

pub async fn messages_by_several_conditions(store: AnyStore) {
    let accepted = fill(&store).await;
    let text = |text: &str| Some(text.to_string());
    let base = MessageFilter { subject: text("A"), source: text("/demo/bank"), ..MessageFilter::default() };
    assert_eq!(ids(&store, base.clone()).await, ["6", "1"]);
    let done = MessageFilter { system: text("billing"), state: Some(DeliveryState::Done), ..base.clone() };
    assert_eq!(ids(&store, done.clone()).await, ["1"]);
    // System and state are of one delivery, not of two.
    let apart = MessageFilter { system: text("crm"), state: Some(DeliveryState::Done), ..MessageFilter::default() };
    assert!(ids(&store, apart).await.is_empty());
    let whole = MessageFilter {
        id: text("1"),
        r#type: text("payment.received.v1"),
        before: Some(accepted[1].seq),
        ..done.clone()
    };
    assert_eq!(ids(&store, whole.clone()).await, ["1"]);
    assert!(ids(&store, MessageFilter { before: Some(accepted[0].seq), ..whole }).await.is_empty());
    let parked = MessageFilter { state: Some(DeliveryState::Parked), ..base };
    assert_eq!(ids(&store, parked).await, ["6"]);
}

pub async fn messages_page_by_page(store: AnyStore) {
    let many = (0..95).map(|n| new(&n.to_string(), "k")).collect();
    write(&store, commit(many)).await;
    for system in [None, Some("billing".to_string())] {
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let filter = MessageFilter { system: system.clone(), before, limit: 10, ..MessageFilter::default() };
            let page = store.messages(&filter).await.unwrap();
            let Some(last) = page.last() else { break };
            assert!(page.len() == 10 || seen.len() == 90);
            assert!(page.iter().all(|view| view.deliveries.len() == 1));
            before = Some(last.seq);
            seen.extend(page.into_iter().map(|view| view.message.id.parse::<i32>().unwrap()));
        }
        assert_eq!(seen, (0..95).rev().collect::<Vec<_>>());
    }
}

pub async fn a_message_with_deliveries_and_calls(store: AnyStore) {
    let sent = Message {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        partitionkey: Some("p".into()),
        correlationid: Some("c".into()),
        causationid: Some("d".into()),
        dataschema: Some("https://busbar.example/schemas/payment.received/v1.json".into()),
        ..message("/demo/bank", "1", json!({"z": 1, "a": [null, true, {"b": "ё"}], "amount": "10.50"}))
    };
    let deliveries = vec![planned("portal", Some("k")), planned("billing", None)];
    let new = NewMessage { place: Some("line 3".into()), ..admitted(sent.clone(), deliveries) };
    let accepted = write(&store, Commit { intake: Some(intake("i-1")), ..commit(vec![new]) }).await.remove(0);
    let id = accepted.deliveries[0].id;
    let attempt = Commit {
        attempted: Some(Attempted { error: Some(failed()), expected: 0, ..attempted(id, DeliveryState::Parked, 3) }),
        calls: vec![call(3, 0), call(3, 1)],
        ..Commit::default()
    };
    write(&store, attempt).await;
    let view = store.message(accepted.seq).await.unwrap().unwrap();
    assert_eq!((view.seq, &view.message, view.received_at_ms), (accepted.seq, &sent, 1_000));
    assert_eq!((view.place.as_deref(), view.intake.as_deref()), (Some("line 3"), Some("i-1")));
    let parked = DeliveryView {
        id,
        r#type: sent.r#type.clone(),
        system: "portal".into(),
        key: Some("k".into()),
        state: DeliveryState::Parked,
        attempts: 3,
        next_at_ms: 0,
        updated_at_ms: 2_000,
        error: Some(failed()),
        edited: None,
        by: None,
        version: 1,
        calls: vec![call(3, 0), call(3, 1)],
    };
    assert_eq!(view.deliveries[0], parked);
    assert_eq!((view.deliveries[1].system.as_str(), view.deliveries[1].updated_at_ms), ("billing", 1_000));
    // A list shows no calls.
    let listed = all(&store, MessageFilter::default()).await.remove(0);
    assert_eq!(listed.deliveries[0], DeliveryView { calls: vec![], ..parked });
    assert_eq!(listed.deliveries[1], view.deliveries[1]);
    // The order of an object's fields is part of what came in.
    let kept = store.lookup("/demo/bank", "1").await.unwrap().unwrap().1;
    assert_eq!(kept.data.to_string(), sent.data.to_string());
    assert!(store.message(id).await.unwrap().is_none());
}

pub async fn intakes_by_condition_and_outcome(store: AnyStore) {
    let refused = Intake {
        outcome: IntakeOutcome::Refused,
        error: Some(failed()),
        kind: IntakeKind::Rest,
        system: "crm".into(),
        ..intake("i-3")
    };
    let with = |intake, messages| Commit { intake: Some(intake), ..commit(messages) };
    let batch = vec![
        with(intake("i-1"), vec![new("1", "a"), new("2", "a")]),
        with(intake("i-2"), vec![new("1", "a"), new("2", "a")]),
        with(refused.clone(), vec![]),
        with(intake("i-4"), vec![]),
        with(intake("i-5"), vec![new("2", "a"), new("3", "a")]),
    ];
    store.commit(batch).await.unwrap();
    let text = |text: &str| Some(text.to_string());
    let any = || IntakeFilter { limit: 10, ..IntakeFilter::default() };
    let cases = [
        (any(), vec!["i-5", "i-4", "i-3", "i-2", "i-1"]),
        (IntakeFilter { limit: 2, ..any() }, vec!["i-5", "i-4"]),
        (IntakeFilter { id: text("i-3"), ..any() }, vec!["i-3"]),
        (IntakeFilter { system: text("bank"), ..any() }, vec!["i-5", "i-4", "i-2", "i-1"]),
        (IntakeFilter { outcome: text("repeated"), ..any() }, vec!["i-2"]),
        (IntakeFilter { outcome: text("accepted"), system: text("bank"), limit: 2, ..any() }, vec!["i-5", "i-4"]),
        (IntakeFilter { outcome: text("refused"), id: text("i-1"), ..any() }, vec![]),
    ];
    for (filter, expected) in cases {
        let found = store.intakes(&filter).await.unwrap();
        assert_eq!(found.iter().map(|v| v.intake.id.as_str()).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let found = intakes(&store).await;
    assert_eq!(found[2].intake, refused);
    assert_eq!((found[0].intake.messages, found[0].intake.duplicates), (2, 1));
}

pub async fn depths_follow_the_deliveries(store: AnyStore) {
    let accepted = fill(&store).await;
    let depth = |system: &str, state, count| Depth { system: system.into(), state, count };
    use DeliveryState::*;
    let expected = [
        depth("billing", Done, 1),
        depth("billing", Parked, 1),
        depth("billing", Ready, 1),
        depth("crm", Dead, 1),
        depth("portal", Done, 1),
        depth("portal", Parked, 1),
        depth("portal", Waiting, 1),
    ];
    assert_eq!(store.depths().await.unwrap(), expected);
    // What is done is done; what is parked or dead is not attempted until a person says so.
    let ids = accepted.iter().flat_map(|a| &a.deliveries).map(|d| d.id).collect::<Vec<_>>();
    let failed = DeliveryFilter { limit: 100, ..DeliveryFilter::default() };
    let failed = store.deliveries(&failed).await.unwrap().into_iter();
    store.commit(failed.map(|(_, d)| operation_seen(d.id, Act::Retry, d.state, d.version)).collect()).await.unwrap();
    store.commit(ids.iter().map(|id| attempt_again(*id, Done, 2)).collect()).await.unwrap();
    store.commit(ids.iter().map(|id| attempt(*id, Done, 2)).collect()).await.unwrap();
    store.commit(ids.iter().map(|id| attempt(*id, Done, 1)).collect()).await.unwrap();
    let expected = [depth("billing", Done, 3), depth("crm", Done, 1), depth("portal", Done, 3)];
    assert_eq!(store.depths().await.unwrap(), expected);
}

/// So many at once, and then from there on: what was not looked through is not said to be looked through.
pub async fn a_text_is_looked_for_step_by_step(store: AnyStore) {
    let most = MessageFilter::SCANNED_MAX;
    let stated = |n: usize| {
        admitted(message("/demo/bank", &format!("t-{n}"), json!({"note": if n == 0 { "№ «1»" } else { "" }})), vec![])
    };
    for first in (0..=most).step_by(1_000) {
        write(&store, commit((first..(first + 1_000).min(most + 1)).map(stated).collect())).await;
    }
    let filter = MessageFilter { limit: 10, ..MessageFilter::default() };
    let first = store.search(&filter, "№ «1»").await.unwrap();
    assert_eq!((first.messages.len(), first.next.is_some()), (0, true));
    let rest = store.search(&MessageFilter { before: first.next, ..filter.clone() }, "№ «1»").await.unwrap();
    assert_eq!((rest.messages.len(), rest.next), (1, None));
    // A full page goes on behind its last one.
    let page = store.search(&filter, "note").await.unwrap();
    assert_eq!((page.messages.len(), page.next), (10, page.messages.last().map(|view| view.seq)));
}
