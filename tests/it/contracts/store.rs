//! The contract of `Store`: one list of cases over the store in memory, SQLite and PostgreSQL.

mod cases;
mod desk;
mod engine;
mod entries;
mod keys;
mod power;
mod restore;
mod retain;
mod search;
mod sql;
mod twin;
mod vfs;

use busbar_core::fakes::MemoryStore;
use busbar_core::ports::{Claim, Claimed, Store};
use busbar_core::*;
use busbar_server::store::SqlStore;
use serde_json::{Value, json};
use std::sync::Arc;

type AnyStore = Arc<dyn Store>;

/// A SQLite store and the folder that it goes away with.
async fn sqlite() -> (tempfile::TempDir, AnyStore) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("data/busbar.db").display());
    (folder, Arc::new(SqlStore::open(&url).await.unwrap()))
}

async fn postgres() -> AnyStore {
    let url = tokio::task::spawn_blocking(crate::servers::database).await.unwrap();
    Arc::new(SqlStore::open(&url).await.unwrap())
}

macro_rules! contract {
    ($($part:ident::$case:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() { super::$part::$case(super::Arc::new(super::MemoryStore::default())).await })*
        }
        mod in_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() { let (_folder, store) = super::sqlite().await; super::$part::$case(store).await })*
        }
        mod in_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() { super::$part::$case(super::postgres().await).await })*
        }
    };
}

contract! {
    cases::nothing_is_an_empty_answer
    cases::repeats_are_known_within_a_batch_and_later
    cases::a_reused_id_leaves_its_commit_out_and_the_others_in
    cases::differing_content_is_kept_or_refused_as_asked
    cases::ids_grow_in_the_order_of_commits
    cases::ready_is_in_order_and_paged
    cases::an_attempt_changes_its_delivery
    keys::a_parked_delivery_holds_its_key
    keys::a_retried_one_goes_first_and_lets_the_others_go
    keys::skipping_lets_the_next_ones_go_up_to_the_next_parked
    keys::an_operation_must_fit
    keys::a_ready_one_is_operated_on_as_it_was_seen
    keys::skipping_a_ready_one_lets_go_what_waits_behind_it
    keys::an_edit_is_for_its_delivery_only
    keys::made_ones_are_done_unless_others_come_first
    engine::an_attempt_that_was_overtaken_is_stale
    engine::calls_of_a_started_attempt_are_there_and_overwritten
    engine::an_intake_is_written_once
    engine::a_refusal_that_comes_again_is_counted
    entries::what_differs_is_an_entry_that_a_person_decides_about_once
    entries::what_was_left_out_is_written_once_and_can_only_be_dismissed
    entries::what_a_delivery_states_differently_is_an_entry_of_its_system
    entries::entries_of_a_large_file_are_parts_of_it
    engine::ready_is_of_the_hubs_shards
    engine::deliveries_by_each_condition
    engine::hubs_share_the_shards
    cases::calls_belong_to_a_delivery_or_an_intake
    cases::state_is_set_overwritten_and_deleted
    cases::state_is_measured_by_system
    cases::a_stream_is_written_whole
    cases::a_stream_with_a_problem_leaves_nothing
    cases::a_stream_counts_repeats_and_keeps_the_first
    cases::unusual_text_comes_back
    cases::large_values_come_back
    cases::concurrent_commits_take_each_id_once
    desk::odd_text_is_found
    search::a_text_is_looked_for_step_by_step
    search::messages_by_each_condition
    search::messages_by_several_conditions
    search::messages_page_by_page
    search::a_message_with_deliveries_and_calls
    search::intakes_by_condition_and_outcome
    search::depths_follow_the_deliveries
}

fn message(source: &str, id: &str, data: Value) -> Message {
    Message {
        id: id.into(),
        source: source.into(),
        r#type: "payment.received.v1".into(),
        subject: Some("ЛС-100".into()),
        time: Some("2025-03-01T10:00:00+05:00".into()),
        dataschema: None,
        traceparent: None,
        partitionkey: None,
        correlationid: None,
        causationid: None,
        extensions: [("region".to_string(), "66".to_string())].into(),
        data: data.into(),
    }
}

fn planned(system: &str, key: Option<&str>) -> Planned {
    Planned { system: system.into(), key: key.map(Into::into), ..Planned::default() }
}

/// As admission makes it.
fn admitted(message: Message, deliveries: Vec<Planned>) -> NewMessage {
    let digest = format!("{} {}", message.r#type, message.data.text());
    let marks = digest.into();
    NewMessage { message: Arc::new(message), marks, deliveries, place: None, stated_by: None, journal: Journal::Full }
}

/// A small message from `/demo/bank` that goes to billing with `key`.
fn new(id: &str, key: &str) -> NewMessage {
    admitted(message("/demo/bank", id, json!({"amount": "1.00"})), vec![planned("billing", Some(key))])
}

fn differing(id: &str) -> NewMessage {
    admitted(message("/demo/bank", id, json!({"amount": "2.00"})), vec![planned("billing", None)])
}

fn commit(messages: Vec<NewMessage>) -> Commit {
    Commit { messages, at_ms: 1_000, ..Commit::default() }
}

fn intake(id: &str) -> Intake {
    Intake::new(id.into(), IntakeKind::File, "bank", "выписка.txt", 900)
}

/// Attempt number `attempts` of a delivery that counts one less.
fn attempted(delivery: i64, state: DeliveryState, attempts: u32) -> Attempted {
    let expected = attempts.saturating_sub(1);
    Attempted { delivery, expected, state, attempts, tries: attempts, next_at_ms: 0, error: None, at_ms: 2_000 }
}

fn attempt(delivery: i64, state: DeliveryState, attempts: u32) -> Commit {
    Commit { attempted: Some(attempted(delivery, state, attempts)), ..Commit::default() }
}

/// The same after a person has decided about it once.
fn attempt_again(delivery: i64, state: DeliveryState, attempts: u32) -> Commit {
    let again = Attempted { expected: attempts, ..attempted(delivery, state, attempts) };
    Commit { attempted: Some(again), ..Commit::default() }
}

/// Of a delivery that was attempted once and parked.
fn operation(delivery: i64, act: Act) -> Commit {
    operation_seen(delivery, act, DeliveryState::Parked, 1)
}

fn operation_seen(delivery: i64, act: Act, state: DeliveryState, seen: u32) -> Commit {
    let (system, decider) = ("billing".into(), operator());
    let operation = Operation { delivery, system, shard: 0, act, state, seen, decider };
    Commit { operation: Some(operation), at_ms: 3_000, ..Commit::default() }
}

/// Deliveries of a system in a state, as `key: id`.
async fn held(store: &AnyStore, system: &str, state: DeliveryState) -> Vec<(Option<String>, i64)> {
    let filter = DeliveryFilter {
        system: Some(system.into()),
        states: States::One(state),
        limit: 1_000,
        ..DeliveryFilter::default()
    };
    store.deliveries(&filter).await.unwrap().into_iter().map(|(_, view)| (view.key, view.id)).collect()
}

fn call(attempt: u32, ordinal: u32) -> Call {
    Call {
        attempt,
        ordinal,
        kind: CallKind::Http,
        request: json!({"method": "POST", "url": "http://127.0.0.1/платежи"}),
        answer: (ordinal > 0).then(|| json!({"status": 200})),
        outcome: "ok".into(),
        started_at_ms: 1_500,
        duration_us: u64::from(attempt) * 10,
    }
}

fn failed() -> ErrorRecord {
    ErrorRecord {
        code: "rejected".into(),
        detail: "нет такого «счёта»".into(),
        place: Some("/data/account".into()),
        by_adapter: true,
        answer: None,
    }
}

fn operator() -> Decider {
    Decider { by: "Оператор".into(), comment: Some("Звонили: «да»".into()) }
}

/// Commits one and expects it to be written.
async fn write(store: &AnyStore, commit: Commit) -> Vec<Accepted> {
    store.commit(vec![commit]).await.unwrap().remove(0).unwrap()
}

async fn all(store: &AnyStore, filter: MessageFilter) -> Vec<MessageView> {
    store.messages(&MessageFilter { limit: 1_000, ..filter }).await.unwrap()
}

async fn ids(store: &AnyStore, filter: MessageFilter) -> Vec<String> {
    all(store, filter).await.into_iter().map(|view| view.message.id).collect()
}

async fn intakes(store: &AnyStore) -> Vec<IntakeView> {
    store.intakes(&IntakeFilter { limit: 100, ..IntakeFilter::default() }).await.unwrap()
}
