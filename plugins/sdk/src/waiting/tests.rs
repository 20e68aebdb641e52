use std::collections::BTreeMap;

use super::*;
use crate::memory::MapStore;

const START_MS: u64 = 1_795_330_800_000;

/// All polls that are due now; who was asked about.
fn polled(store: &mut MapStore, cursor: &mut Option<Vec<u8>>, now_ms: u64, fate: impl Fn(&str) -> Fate) -> Vec<String> {
    let mut asked = Vec::new();
    for _ in 0..10_000 {
        let mut ask = |_: &mut MapStore, number: &str| {
            let fate = fate(number);
            if fate != Fate::Known {
                asked.push(number.to_owned());
            }
            Ok(fate)
        };
        let Ok(polled) = poll(store, cursor.as_deref(), now_ms, 3, &mut ask) else { return vec!["failed".into()] };
        *cursor = polled.cursor;
        if !polled.more {
            return asked;
        }
    }
    vec!["endless".into()]
}

#[test]
fn asked_ever_less_often_and_at_last_forgotten() {
    let mut store = MapStore::default();
    let mut cursor = None;
    add(&mut store, START_MS, "a").ok().unwrap();
    let mut hours = Vec::new();
    for hour in 0..200 {
        if !polled(&mut store, &mut cursor, START_MS + hour * HOUR_MS, |_| Fate::Waits).is_empty() {
            hours.push(hour);
        }
    }
    assert_eq!(hours, [2, 4, 8, 16, 24, 48, 72, 96, 120]);
    assert_eq!(store, MapStore::default());
}

#[test]
fn every_one_of_many_is_asked_about_once_in_a_round() {
    let mut store = MapStore::default();
    for number in 0..2_000 {
        add(&mut store, START_MS, &number.to_string()).ok().unwrap();
    }
    let mut cursor = None;
    assert!(polled(&mut store, &mut cursor, START_MS, |_| Fate::Waits).is_empty());
    // Of ten, one is paid, one had a callback.
    let fate = |number: &str| match number.as_bytes().last() {
        Some(b'1') => Fate::Over,
        Some(b'2') => Fate::Known,
        _ => Fate::Waits,
    };
    let mut asked = polled(&mut store, &mut cursor, START_MS + 2 * HOUR_MS, fate);
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), 1_800);
    assert_eq!(polled(&mut store, &mut cursor, START_MS + 3 * HOUR_MS, fate).len(), 0);
    assert_eq!(polled(&mut store, &mut cursor, START_MS + 4 * HOUR_MS, fate).len(), 1_600);
}

#[test]
fn one_poll_is_bounded() {
    let mut store = MapStore::default();
    for number in 0..500 {
        add(&mut store, START_MS, &number.to_string()).ok().unwrap();
    }
    let mut asked = 0;
    let mut ask = |_: &mut MapStore, _: &str| {
        asked += 1;
        Ok(Fate::Over)
    };
    let polled = poll(&mut store, Some(br#"{"hour":498705}"#), START_MS + 2 * HOUR_MS, 3, &mut ask).ok().unwrap();
    assert!(polled.more && (1..=ASKED_MAX).contains(&asked));
}

#[test]
fn after_a_week_without_polls_each_link_is_asked_about_once() {
    let mut store = MapStore::default();
    let mut cursor = None;
    polled(&mut store, &mut cursor, START_MS, |_| Fate::Waits);
    add(&mut store, START_MS, "a").ok().unwrap();
    assert_eq!(polled(&mut store, &mut cursor, START_MS + 70 * HOUR_MS, |_| Fate::Waits), ["a"]);
    assert_eq!(polled(&mut store, &mut cursor, START_MS + 168 * HOUR_MS, |_| Fate::Waits), ["a"]);
    assert_eq!(store, MapStore::default());
}

#[test]
fn a_gateway_that_fails_changes_nothing() {
    let mut store = MapStore::default();
    add(&mut store, START_MS, "a").ok().unwrap();
    let before: BTreeMap<_, _> = store.0.clone();
    let mut ask = |_: &mut MapStore, _: &str| Err(transient("down", None));
    let failed = poll(&mut store, Some(br#"{"hour":498705}"#), START_MS + 2 * HOUR_MS, 3, &mut ask);
    assert!(failed.is_err() && store.0 == before);
    assert!(poll(&mut store, Some(b"?"), START_MS, 3, &mut ask).is_err());
}

#[test]
fn too_many_in_an_hour_wait() {
    let mut store = MapStore::default();
    let long = "1".repeat(PART_BYTES_MAX - 1);
    add(&mut store, START_MS, &long).ok().unwrap();
    assert!(add(&mut store, START_MS, &long).is_err());
    assert!(add(&mut store, START_MS + HOUR_MS, &long).is_ok());
}
