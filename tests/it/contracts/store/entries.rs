//! Entries of inputs that wait for a person.

use super::*;

fn bank(messages: Vec<NewMessage>, id: &str) -> Commit {
    Commit { intake: Some(intake(id)), on_differing: Some(OnDiffering::Keep), ..commit(messages) }
}

async fn with(store: &AnyStore, outcome: &str) -> Vec<Intake> {
    let filter = IntakeFilter { outcome: Some(outcome.into()), limit: 100, ..IntakeFilter::default() };
    store.intakes(&filter).await.unwrap().into_iter().map(|view| view.intake).collect()
}

fn decided(intake: &str, outcome: IntakeOutcome) -> Commit {
    let decided = Decided { intake: intake.into(), outcome, decider: operator() };
    Commit { decided: Some(decided), at_ms: 5_000, ..Commit::default() }
}

async fn refused(store: &AnyStore, commit: Commit) -> Refusal {
    store.commit(vec![commit]).await.unwrap().remove(0).unwrap_err()
}

pub async fn what_differs_is_an_entry_that_a_person_decides_about_once(store: AnyStore) {
    write(&store, bank(vec![new("1", "a"), new("2", "a")], "i-1")).await;
    let placed = NewMessage { place: Some("line 7".into()), ..differing("1") };
    write(&store, bank(vec![placed.clone(), new("2", "a"), new("3", "a")], "i-2")).await;
    let main = with(&store, "incomplete").await.remove(0);
    assert_eq!((main.id.as_str(), main.messages, main.duplicates, main.differing), ("i-2", 3, 2, 1));
    let entry = with(&store, "differing").await.remove(0);
    assert_eq!((entry.system.as_str(), entry.kind, entry.part_of.as_deref()), ("bank", IntakeKind::File, Some("i-2")));
    let error = entry.error.clone().unwrap();
    assert_eq!((error.code.as_str(), error.place.as_deref()), ("known-differs", Some("line 7")));
    assert_eq!(entry.event.as_ref().unwrap()["data"], json!({"amount": "2.00"}));
    // The same again, in a file of its own, within one and after one: one entry.
    write(&store, bank(vec![placed.clone(), placed.clone()], "i-3")).await;
    assert_eq!((with(&store, "differing").await.len(), with(&store, "incomplete").await.len()), (1, 2));
    // Something else under the same id is another entry.
    let third = admitted(message("/demo/bank", "1", json!({"amount": "3.00"})), vec![]);
    write(&store, bank(vec![third], "i-4")).await;
    assert_eq!(with(&store, "differing").await.len(), 2);
    // The decision and what follows from it are one commit, and there is one decision.
    let own = admitted(message("/demo/bank", "1~2", json!({"amount": "2.00"})), vec![planned("billing", Some("a"))]);
    let accept = Commit { messages: vec![own], ..decided(&entry.id, IntakeOutcome::Accepted) };
    assert!(!write(&store, accept.clone()).await[0].duplicate);
    assert_eq!(refused(&store, accept).await, Refusal::NotOpen);
    assert_eq!(refused(&store, decided(&entry.id, IntakeOutcome::Dismissed)).await, Refusal::NotOpen);
    assert_eq!(refused(&store, decided("i-2", IntakeOutcome::Dismissed)).await, Refusal::NotOpen);
    assert_eq!(refused(&store, decided("nobody", IntakeOutcome::Dismissed)).await, Refusal::NotOpen);
    assert_eq!(ids(&store, MessageFilter::default()).await, ["1~2", "3", "2", "1"]);
    let entry = store.intakes(&IntakeFilter { id: Some(entry.id), limit: 1, ..IntakeFilter::default() }).await.unwrap();
    assert_eq!((entry[0].intake.outcome, entry[0].intake.by.as_deref()), (IntakeOutcome::Accepted, Some("Оператор")));
    // It stays decided when it comes once more.
    write(&store, bank(vec![placed], "i-5")).await;
    assert_eq!(with(&store, "differing").await.len(), 1);
}

pub async fn what_was_left_out_is_written_once_and_can_only_be_dismissed(store: AnyStore) {
    let rejection =
        |place: &str| Rejection {
            code: "bad-sum".into(), reason: "нет суммы".into(), place: Some(place.into())
        };
    let feed = |id: &str, places: &[&str]| {
        let mut intake = Intake { kind: IntakeKind::Poll, ..intake(id) };
        let origin = Origin::input(&intake);
        let entries: Vec<_> = places.iter().map(|place| origin.left_out(&rejection(place), 900)).collect();
        intake.left_out = entries.len() as u64;
        Commit { intake: Some(intake), entries, ..commit(vec![]) }
    };
    store.commit(vec![feed("i-1", &["line 1", "line 2"]), feed("i-2", &["line 2", "line 3"])]).await.unwrap();
    let found = with(&store, "left-out").await;
    let place = |intake: &Intake| intake.error.clone().and_then(|error| error.place).unwrap_or_default();
    assert_eq!(found.iter().map(place).collect::<Vec<_>>(), ["line 3", "line 2", "line 1"]);
    assert_eq!(with(&store, "incomplete").await.len(), 2);
    assert_eq!(found[0].part_of.as_deref(), Some("i-2"));
    assert_eq!(refused(&store, decided(&found[0].id, IntakeOutcome::Accepted)).await, Refusal::NotOpen);
    write(&store, decided(&found[0].id, IntakeOutcome::Dismissed)).await;
    store.commit(vec![feed("i-3", &["line 3"])]).await.unwrap();
    assert_eq!(with(&store, "left-out").await.len(), 2);
    assert_eq!(with(&store, "dismissed").await[0].by.as_deref(), Some("Оператор"));
}

pub async fn what_a_delivery_states_differently_is_an_entry_of_its_system(store: AnyStore) {
    let delivery = write(&store, commit(vec![new("1", "a")])).await[0].deliveries[0].id;
    let done = attempt(delivery, DeliveryState::Done, 1);
    write(&store, Commit { messages: vec![differing("1")], on_differing: Some(OnDiffering::Keep), ..done }).await;
    let entry = with(&store, "differing").await.remove(0);
    assert_eq!((entry.kind, entry.system.as_str(), entry.name.as_str()), (IntakeKind::Delivery, "billing", "1"));
    let made = Made { messages: vec![differing("2")], calls: vec![] };
    let stating = Planned { made: Some(made), ..planned("crm", Some("b")) };
    write(&store, commit(vec![new("2", "a")])).await;
    write(&store, commit(vec![admitted(message("/demo/crm", "9", json!({})), vec![stating])])).await;
    let entry = with(&store, "differing").await.remove(0);
    assert_eq!((entry.kind, entry.system.as_str()), (IntakeKind::Delivery, "crm"));
}

pub async fn entries_of_a_large_file_are_parts_of_it(store: AnyStore) {
    write(&store, commit(vec![new("1", "a"), new("3", "a")])).await;
    let mut chunks = vec![vec![new("4", "a"), differing("3")], vec![differing("1"), new("2", "a")]];
    let main = intake("i-1");
    let entry = Origin::input(&main).left_out(&Rejection { code: "x".into(), reason: "y".into(), place: None }, 900);
    let head = Commit { intake: Some(Intake { left_out: 1, ..main }), entries: vec![entry], ..commit(vec![]) };
    let told = store.commit_stream(head, &mut || Ok(chunks.pop().unwrap_or_default())).await.unwrap().unwrap();
    assert_eq!((told.outcome, told.messages, told.differing, told.left_out), (IntakeOutcome::Incomplete, 4, 2, 1));
    let parts: Vec<_> = intakes(&store).await.into_iter().map(|view| view.intake.part_of).collect();
    let of_it = Some("i-1".to_string());
    assert_eq!(parts, [None, of_it.clone(), of_it.clone(), of_it]);
}
