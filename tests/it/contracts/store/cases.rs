//! Writing: what is taken, what is known, what is left out.

use super::*;
use std::collections::HashMap;

pub async fn nothing_is_an_empty_answer(store: AnyStore) {
    assert!(store.commit(vec![]).await.unwrap().is_empty());
    assert_eq!(store.commit(vec![Commit::default()]).await.unwrap(), vec![Ok(vec![])]);
    assert!(store.ready("billing", Shards::ALL, 0, 10).await.unwrap().deliveries.is_empty());
    assert!(store.deliveries(&DeliveryFilter { limit: 10, ..DeliveryFilter::default() }).await.unwrap().is_empty());
    assert!(store.calls(1).await.unwrap().is_empty());
    assert!(store.state("billing", "cursor").await.unwrap().is_none());
    assert!(store.lookup("/demo/bank", "1").await.unwrap().is_none());
    assert!(store.message(1).await.unwrap().is_none());
    assert!(all(&store, MessageFilter::default()).await.is_empty());
    assert!(intakes(&store).await.is_empty());
    assert!(store.depths().await.unwrap().is_empty());
    let unknown = attempted(77, DeliveryState::Done, 1);
    let unknown = Commit { attempted: Some(unknown), ..commit(vec![]) };
    assert_eq!(store.commit(vec![unknown]).await.unwrap(), [Err(Refusal::Stale)]);
    assert!(store.depths().await.unwrap().is_empty());
}

pub async fn repeats_are_known_within_a_batch_and_later(store: AnyStore) {
    let batch = vec![commit(vec![new("1", "a"), new("2", "a"), new("1", "a")]), commit(vec![new("2", "a")])];
    let written = store.commit(batch).await.unwrap();
    let first = written[0].as_ref().unwrap();
    assert_eq!(first.iter().map(|a| a.duplicate).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(first[2], Accepted { seq: first[0].seq, duplicate: true, differs: false, deliveries: vec![] });
    let second = written[1].as_ref().unwrap();
    assert_eq!(second[0], Accepted { seq: first[1].seq, duplicate: true, differs: false, deliveries: vec![] });
    let later = write(&store, commit(vec![new("2", "a"), new("3", "a")])).await;
    assert!(later[0].duplicate && later[0].seq == first[1].seq && !later[1].duplicate);
    // The id alone is not what deduplicates.
    let other = admitted(message("/demo/other", "1", json!({})), vec![]);
    assert!(!write(&store, commit(vec![other])).await[0].duplicate);
    assert_eq!(ids(&store, MessageFilter::default()).await, ["1", "3", "2", "1"]);
    assert_eq!(store.lookup("/demo/bank", "2").await.unwrap().unwrap().0, first[1].seq);
}

pub async fn a_reused_id_leaves_its_commit_out_and_the_others_in(store: AnyStore) {
    write(&store, commit(vec![new("1", "a")])).await;
    let set = StateWrite { system: "bank".into(), key: "k".into(), value: Some(vec![1]) };
    let bad = Commit {
        intake: Some(intake("i-bad")),
        state: vec![set],
        calls: vec![call(1, 0)],
        ..commit(vec![new("2", "a"), differing("1")])
    };
    let batch = vec![commit(vec![new("3", "a")]), bad, commit(vec![new("4", "a"), new("2", "b")])];
    let written = store.commit(batch).await.unwrap();
    assert_eq!(written[1], Err(Refusal::IdReused { index: 1 }));
    assert!(written[0].is_ok() && written[2].as_ref().unwrap().iter().all(|a| !a.duplicate));
    assert_eq!(ids(&store, MessageFilter::default()).await, ["2", "4", "3", "1"]);
    assert!(intakes(&store).await.is_empty());
    assert!(store.state("bank", "k").await.unwrap().is_none());
    // A commit of the same batch counts as known.
    let batch = vec![commit(vec![new("5", "a")]), commit(vec![differing("5")])];
    assert_eq!(store.commit(batch).await.unwrap()[1], Err(Refusal::IdReused { index: 0 }));
}

pub async fn differing_content_is_kept_or_refused_as_asked(store: AnyStore) {
    let first = write(&store, commit(vec![new("1", "a")])).await[0].seq;
    let refuse = Commit { on_differing: Some(OnDiffering::Refuse), ..commit(vec![differing("1")]) };
    let keep =
        Commit { on_differing: Some(OnDiffering::Keep), intake: Some(intake("i")), ..commit(vec![differing("1")]) };
    let written = store.commit(vec![refuse, keep]).await.unwrap();
    assert_eq!(written[0], Err(Refusal::IdReused { index: 0 }));
    let kept = Accepted { seq: first, duplicate: true, differs: true, deliveries: vec![] };
    assert_eq!(written[1], Ok(vec![kept]));
    assert_eq!(store.lookup("/demo/bank", "1").await.unwrap().unwrap().1.data, json!({"amount": "1.00"}));
    let settled = intakes(&store).await.remove(0).intake;
    assert_eq!((settled.messages, settled.duplicates, settled.differing), (1, 1, 1));
    // Within one commit the first one stands too.
    let twice = write(&store, commit(vec![new("2", "a"), differing("2")])).await;
    assert!(!twice[0].duplicate && twice[1].duplicate && twice[1].differs);
}

pub async fn ids_grow_in_the_order_of_commits(store: AnyStore) {
    let two = |id: &str| {
        admitted(message("/demo/bank", id, json!({})), vec![planned("billing", Some("k")), planned("crm", None)])
    };
    let mut last = 0;
    for round in 0..5 {
        let batch = vec![
            commit(vec![two(&format!("{round}-1")), two(&format!("{round}-2"))]),
            commit(vec![two(&format!("{round}-1")), two(&format!("{round}-3"))]),
        ];
        for written in store.commit(batch).await.unwrap() {
            for accepted in written.unwrap().into_iter().filter(|a| !a.duplicate) {
                assert!(accepted.seq > last);
                last = accepted.seq;
                assert_eq!(accepted.deliveries.len(), 2);
                for delivery in accepted.deliveries {
                    assert!(delivery.id > last && delivery.message_seq == accepted.seq);
                    last = delivery.id;
                }
            }
        }
    }
}

pub async fn ready_is_in_order_and_paged(store: AnyStore) {
    let many = (0..50).map(|n| {
        let system = if n % 2 == 0 { "billing" } else { "crm" };
        admitted(message("/demo/bank", &n.to_string(), json!({"n": n})), vec![planned(system, Some("k"))])
    });
    let accepted = write(&store, commit(many.collect())).await;
    let billing: Vec<_> = accepted.into_iter().flat_map(|a| a.deliveries).filter(|d| d.system == "billing").collect();
    assert_eq!(store.ready("billing", Shards::ALL, 0, 1_000).await.unwrap().deliveries, billing);
    let mut paged = Vec::new();
    let mut after = 0;
    loop {
        let page = store.ready("billing", Shards::ALL, after, 7).await.unwrap().deliveries;
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 7);
        after = last.id;
        paged.extend(page);
    }
    assert_eq!(paged, billing);
    assert!(store.ready("billing", Shards::ALL, 0, 0).await.unwrap().deliveries.is_empty());
    assert!(store.ready("nobody", Shards::ALL, 0, 10).await.unwrap().deliveries.is_empty());
}

pub async fn an_attempt_changes_its_delivery(store: AnyStore) {
    let accepted = write(&store, commit(vec![new("1", "a"), new("2", "b"), new("3", "c")])).await;
    let id = |n: usize| accepted[n].deliveries[0].id;
    let again = Attempted { next_at_ms: 9_000, error: Some(failed()), ..attempted(id(0), DeliveryState::Ready, 1) };
    let batch = [
        again,
        attempted(id(1), DeliveryState::Done, 1),
        Attempted { expected: 0, ..attempted(id(2), DeliveryState::Dead, 12) },
    ];
    let batch = batch.map(|a| Commit { attempted: Some(a), ..Commit::default() });
    store.commit(batch.to_vec()).await.unwrap();
    let ready = store.ready("billing", Shards::ALL, 0, 10).await.unwrap().deliveries;
    assert_eq!(ready.len(), 1);
    assert_eq!((ready[0].id, ready[0].attempts, ready[0].next_at_ms), (id(0), 1, 9_000));
    let view = store.message(accepted[0].seq).await.unwrap().unwrap().deliveries.remove(0);
    assert_eq!((view.state, view.updated_at_ms, view.error), (DeliveryState::Ready, 2_000, Some(failed())));
    let view = store.message(accepted[2].seq).await.unwrap().unwrap().deliveries.remove(0);
    assert_eq!((view.state, view.attempts, view.error), (DeliveryState::Dead, 12, None));
    // Two attempts of one delivery in a batch; success clears the error.
    let twice = [attempt(id(0), DeliveryState::Ready, 2), attempt(id(0), DeliveryState::Done, 3)];
    store.commit(twice.to_vec()).await.unwrap();
    let view = store.message(accepted[0].seq).await.unwrap().unwrap().deliveries.remove(0);
    assert_eq!((view.state, view.attempts, view.error), (DeliveryState::Done, 3, None));
    assert!(store.ready("billing", Shards::ALL, 0, 10).await.unwrap().deliveries.is_empty());
}

pub async fn calls_belong_to_a_delivery_or_an_intake(store: AnyStore) {
    let accepted = write(&store, commit(vec![new("1", "a"), new("2", "b")])).await;
    let id = |n: usize| accepted[n].deliveries[0].id;
    let attempt = |delivery, number, calls| Commit {
        attempted: Some(attempted(delivery, DeliveryState::Ready, number)),
        calls,
        ..Commit::default()
    };
    let hook =
        Commit { intake: Some(intake("i-1")), calls: vec![call(1, 0), call(1, 1)], ..commit(vec![new("3", "a")]) };
    let batch = vec![
        attempt(id(0), 1, vec![call(1, 0), call(1, 1), call(1, 2)]),
        attempt(id(1), 1, vec![call(1, 0)]),
        hook,
        // Nobody's: there is nothing to show them with.
        Commit { calls: vec![call(9, 9)], ..Commit::default() },
    ];
    store.commit(batch).await.unwrap();
    write(&store, attempt(id(0), 2, vec![call(2, 0), call(2, 1)])).await;
    let expected = [call(1, 0), call(1, 1), call(1, 2), call(2, 0), call(2, 1)];
    assert_eq!(store.calls(id(0)).await.unwrap(), expected);
    assert_eq!(store.calls(id(1)).await.unwrap(), [call(1, 0)]);
    assert_eq!(intakes(&store).await[0].calls, [call(1, 0), call(1, 1)]);
}

pub async fn state_is_set_overwritten_and_deleted(store: AnyStore) {
    let set = |system: &str, key: &str, value: Option<&[u8]>| StateWrite {
        system: system.into(),
        key: key.into(),
        value: value.map(<[u8]>::to_vec),
    };
    let first = vec![set("bank", "a", Some(b"1")), set("bank", "a", Some(b"2")), set("bank", "b", Some(b""))];
    let second = vec![set("crm", "a", Some(&[0, 255, 10])), set("bank", "c", Some(b"x")), set("bank", "c", None)];
    let of = |state| Commit { state, ..Commit::default() };
    store.commit(vec![of(first), of(second)]).await.unwrap();
    assert_eq!(store.state("bank", "a").await.unwrap().as_deref(), Some(b"2".as_slice()));
    assert_eq!(store.state("bank", "b").await.unwrap().as_deref(), Some(b"".as_slice()));
    assert_eq!(store.state("bank", "c").await.unwrap(), None);
    assert_eq!(store.state("crm", "a").await.unwrap(), Some(vec![0, 255, 10]));
    let third = vec![set("bank", "a", None), set("bank", "b", Some(b"3")), set("bank", "never", None)];
    let back = vec![set("bank", "c", None), set("bank", "c", Some(b"again"))];
    store.commit(vec![of(third), of(back)]).await.unwrap();
    assert_eq!(store.state("bank", "a").await.unwrap(), None);
    assert_eq!(store.state("bank", "b").await.unwrap().as_deref(), Some(b"3".as_slice()));
    assert_eq!(store.state("bank", "c").await.unwrap().as_deref(), Some(b"again".as_slice()));
    assert_eq!(store.state("crm", "a").await.unwrap(), Some(vec![0, 255, 10]));
}

pub async fn state_is_measured_by_system(store: AnyStore) {
    let size = async |system: &str| {
        let size = store.state_size(system).await.unwrap();
        (size.keys, size.bytes)
    };
    assert_eq!(size("bank").await, (0, 0));
    let set =
        |system: &str, key: &str, value: Option<Vec<u8>>| StateWrite { system: system.into(), key: key.into(), value };
    let state = vec![
        set("bank", "a", Some(vec![1; 300])),
        set("bank", "ключ", Some(vec![2; 60_000])),
        set("crm", "a", Some(vec![3; 30])),
    ];
    store.commit(vec![Commit { state, ..Commit::default() }]).await.unwrap();
    assert_eq!((size("bank").await, size("crm").await), ((2, 60_309), (1, 31)));
    let state = vec![set("bank", "ключ", None), set("crm", "a", Some(vec![3; 3]))];
    store.commit(vec![Commit { state, ..Commit::default() }]).await.unwrap();
    assert_eq!((size("bank").await, size("crm").await), ((1, 301), (1, 4)));
}

/// Chunks of 500 messages, `count` in all, ids from `first`; the chunk with index `broken` fails.
fn chunks(first: usize, count: usize, broken: Option<usize>) -> impl FnMut() -> Result<Vec<NewMessage>, Problem> {
    let mut from = 0;
    move || {
        if broken == Some(from / 500) {
            return Err(Problem::new(Code::Rejected, "the total does not match").at("line 7"));
        }
        let until = count.min(from + 500);
        let chunk = (from..until).map(|n| NewMessage {
            place: Some(format!("line {n}")),
            ..new(&(first + n).to_string(), &format!("k{}", n % 100))
        });
        from = until;
        Ok(chunk.collect())
    }
}

pub async fn a_stream_is_written_whole(store: AnyStore) {
    let set = StateWrite { system: "bank".into(), key: "last".into(), value: Some(b"20000".to_vec()) };
    let head = Commit {
        intake: Some(intake("i-1")),
        state: vec![set],
        calls: vec![call(1, 0)],
        ..commit(vec![new("head", "a")])
    };
    let settled = store.commit_stream(head, &mut chunks(0, 20_000, None)).await.unwrap().unwrap();
    assert_eq!((settled.messages, settled.duplicates, settled.differing), (20_001, 0, 0));
    assert_eq!(settled.outcome, IntakeOutcome::Accepted);
    assert_eq!(intakes(&store).await, [IntakeView { intake: settled, calls: vec![call(1, 0)] }]);
    let depth = Depth { system: "billing".into(), state: DeliveryState::Ready, count: 20_001 };
    assert_eq!(store.depths().await.unwrap(), [depth]);
    let ready = store.ready("billing", Shards::ALL, 0, 30_000).await.unwrap().deliveries;
    let order: Vec<_> = ready.iter().skip(1).map(|d| d.message.id.parse::<usize>().unwrap()).collect();
    assert_eq!(order, (0..20_000).collect::<Vec<_>>());
    let newest = &store.messages(&MessageFilter { limit: 1, ..MessageFilter::default() }).await.unwrap()[0];
    assert_eq!((newest.place.as_deref(), newest.intake.as_deref()), (Some("line 19999"), Some("i-1")));
    assert_eq!(store.state("bank", "last").await.unwrap(), Some(b"20000".to_vec()));
    assert!(store.commit_stream(commit(vec![]), &mut || Ok(vec![])).await.unwrap().is_none());
}

pub async fn a_stream_with_a_problem_leaves_nothing(store: AnyStore) {
    write(&store, commit(vec![new("before", "a")])).await;
    let set = StateWrite { system: "bank".into(), key: "last".into(), value: Some(vec![1]) };
    let head = Commit { intake: Some(intake("i-1")), state: vec![set], calls: vec![call(1, 0)], ..commit(vec![]) };
    let problem = store.commit_stream(head.clone(), &mut chunks(0, 5_000, Some(2))).await.unwrap_err();
    assert_eq!((problem.code, problem.place.as_deref()), (Code::Rejected, Some("line 7")));
    assert_eq!(ids(&store, MessageFilter::default()).await, ["before"]);
    assert!(intakes(&store).await.is_empty() && store.state("bank", "last").await.unwrap().is_none());
    assert_eq!(store.depths().await.unwrap()[0].count, 1);
    // Neither as a known id: the mended file is new.
    let settled = store.commit_stream(head, &mut chunks(0, 1_200, None)).await.unwrap().unwrap();
    assert_eq!((settled.messages, settled.duplicates), (1_200, 0));
}

pub async fn a_stream_counts_repeats_and_keeps_the_first(store: AnyStore) {
    let head = |id: &str| Commit { intake: Some(intake(id)), ..commit(vec![]) };
    store.commit_stream(head("i-1"), &mut chunks(0, 1_200, None)).await.unwrap();
    let again = store.commit_stream(head("i-2"), &mut chunks(0, 1_200, None)).await.unwrap().unwrap();
    assert_eq!((again.messages, again.duplicates, again.outcome), (1_200, 1_200, IntakeOutcome::Repeated));
    let partly = store.commit_stream(head("i-3"), &mut chunks(600, 1_200, None)).await.unwrap().unwrap();
    assert_eq!((partly.messages, partly.duplicates, partly.outcome), (1_200, 600, IntakeOutcome::Accepted));
    // Refuse is for publishers; a stream always keeps the first. Known within the stream as well.
    let refuse = Commit { on_differing: Some(OnDiffering::Refuse), ..head("i-4") };
    let mut chunks = vec![vec![], vec![differing("x")], vec![new("x", "a"), differing("7")]];
    let mixed = store.commit_stream(refuse, &mut || Ok(chunks.pop().unwrap_or_default())).await.unwrap().unwrap();
    assert_eq!((mixed.messages, mixed.duplicates, mixed.differing), (3, 2, 2));
    assert_eq!(store.lookup("/demo/bank", "x").await.unwrap().unwrap().1.data, json!({"amount": "1.00"}));
    let inputs = intakes(&store).await.into_iter().map(|v| v.intake).filter(|intake| intake.part_of.is_none());
    assert_eq!(inputs.map(|intake| intake.id).collect::<Vec<_>>(), ["i-4", "i-3", "i-2", "i-1"]);
}

pub async fn unusual_text_comes_back(store: AnyStore) {
    for (n, odd) in ODD.iter().enumerate() {
        let data = json!({(*odd): [odd, {"text": odd}], "n": 0.1, "big": u64::MAX, "e": 1e300});
        let mut new = admitted(message("/demo/bank", &format!("№ {n}"), data), vec![planned("billing", Some(odd))]);
        new.place = Some(odd.to_string());
        let error = ErrorRecord {
            code: odd.to_string(),
            detail: odd.to_string(),
            place: Some(odd.to_string()),
            by_adapter: true,
            answer: Some(odd.to_string()),
        };
        new.deliveries[0].error = Some(error.clone());
        let expected = new.message.clone();
        let set = StateWrite { system: "bank".into(), key: odd.to_string(), value: Some(odd.as_bytes().to_vec()) };
        let noted = Intake { name: odd.to_string(), error: Some(error.clone()), ..intake(&format!("i-{n}")) };
        let asked = Call { request: json!({(*odd): odd}), outcome: odd.to_string().into(), ..call(1, 0) };
        let whole = Commit { intake: Some(noted), state: vec![set], calls: vec![asked.clone()], ..commit(vec![new]) };
        let seq = write(&store, whole).await[0].seq;
        let view = store.message(seq).await.unwrap().unwrap();
        assert_eq!((&view.message, view.place.as_deref()), (&*expected, Some(*odd)));
        assert_eq!((view.deliveries[0].key.as_deref(), &view.deliveries[0].error), (Some(*odd), &Some(error)));
        assert_eq!(store.lookup("/demo/bank", &format!("№ {n}")).await.unwrap().unwrap().0, seq);
        assert_eq!(store.state("bank", odd).await.unwrap(), Some(odd.as_bytes().to_vec()));
        let parked = held(&store, "billing", DeliveryState::Parked).await;
        assert!(parked.iter().any(|(key, _)| key.as_deref() == Some(odd)));
        let by_code = DeliveryFilter {
            code: Some(odd.to_string()),
            key: Some(odd.to_string()),
            limit: 9,
            ..DeliveryFilter::default()
        };
        assert_eq!(store.deliveries(&by_code).await.unwrap().len(), 1);
        let groups = store.failures(&FailureFilter::default()).await.unwrap();
        let group = groups.iter().find(|group| group.cause.answer.as_deref() == Some(*odd)).unwrap();
        let by_cause = DeliveryFilter { cause: Some(group.cause.id()), limit: 9, ..DeliveryFilter::default() };
        assert_eq!(store.deliveries(&by_cause).await.unwrap().len(), 1);
        let noted = &intakes(&store).await[0];
        assert_eq!((noted.intake.name.as_str(), &noted.calls), (*odd, &vec![asked]));
        let asked_for = MessageFilter { subject: Some(odd.to_string()), ..MessageFilter::default() };
        assert!(all(&store, asked_for).await.is_empty() || odd.is_empty());
    }
}

const ODD: &[&str] = &[
    "",
    "\0",
    "a\0b\0",
    "\u{1a}0\u{1a}",
    "ООО «Свет — тепло»",
    "'; DROP TABLE messages; --",
    "\"\\u0000\\\"",
    "$1 ? :x @y %s",
    "line\r\nline\ttab\u{7f}\u{85}\u{2028}\u{feff}",
    "😀 e\u{301} \u{10ffff} \u{fffd}",
    "{\"json\": [null]}",
];

pub async fn large_values_come_back(store: AnyStore) {
    let big = "ё".repeat(3 << 20);
    let large = |n: i32| admitted(message("/demo/bank", &n.to_string(), json!({"text": big, "n": n})), vec![]);
    let set = StateWrite { system: "bank".into(), key: "big".into(), value: Some(vec![7; 5 << 20]) };
    let accepted = write(&store, Commit { state: vec![set], ..commit((0..4).map(large).collect()) }).await;
    let found = store.message(accepted[3].seq).await.unwrap().unwrap();
    assert_eq!(found.message.data, json!({"text": big, "n": 3}));
    assert_eq!(store.state("bank", "big").await.unwrap(), Some(vec![7; 5 << 20]));
    assert_eq!(all(&store, MessageFilter::default()).await.len(), 4);
}

pub async fn concurrent_commits_take_each_id_once(store: AnyStore) {
    let tasks = (0..32).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut accepted = Vec::new();
            for round in 0..50 {
                // Every id is offered by four tasks, in different rounds.
                let id = format!("{}-{}", task / 4, (round + task * 7) % 50);
                accepted.push((id.clone(), write(&store, commit(vec![new(&id, &id)])).await.remove(0)));
            }
            accepted
        })
    });
    let mut found: HashMap<String, Vec<Accepted>> = HashMap::new();
    for task in tasks.collect::<Vec<_>>() {
        for (id, accepted) in task.await.unwrap() {
            found.entry(id).or_default().push(accepted);
        }
    }
    assert_eq!(found.len(), 400);
    for (id, accepted) in found {
        assert_eq!(accepted.iter().filter(|a| !a.duplicate).count(), 1, "{id}");
        assert!(accepted.len() == 4 && accepted.iter().all(|a| a.seq == accepted[0].seq), "{id}");
    }
    assert_eq!(store.ready("billing", Shards::ALL, 0, 1_000).await.unwrap().deliveries.len(), 400);
}
