use std::collections::BTreeMap;

use super::*;
use crate::memory::MapStore;
use crate::test_hub::{TestHub, message};

const LINKS: Links = Links { days: 3, name: "link", payment_id: |number| format!("paid-{number}") };

/// Hours after a link was made.
fn at(hub: &mut TestHub, hours: u64) -> &mut TestHub {
    hub.now_ms = TestHub::default().now_ms + hours * HOUR_MS;
    hub
}

/// All polls that are due now; who was asked about.
fn polled(hub: &mut TestHub, cursor: &mut Option<Vec<u8>>, fate: impl Fn(&str) -> Fate) -> Vec<String> {
    let mut asked = Vec::new();
    for _ in 0..10_000 {
        let mut ask = |_: &mut TestHub, number: &str| {
            asked.push(number.to_owned());
            Ok(fate(number))
        };
        let Ok(polled) = poll(hub, cursor.as_deref(), &LINKS, &mut ask) else { return vec!["failed".into()] };
        *cursor = polled.cursor;
        if !polled.more {
            return asked;
        }
    }
    vec!["endless".into()]
}

#[test]
fn asked_ever_less_often_and_at_last_forgotten() {
    let mut hub = TestHub::default();
    let mut cursor = None;
    add(&mut hub, "a").ok().unwrap();
    let mut hours = Vec::new();
    for hour in 0..200 {
        if !polled(at(&mut hub, hour), &mut cursor, |_| Fate::Waits).is_empty() {
            hours.push(hour);
        }
    }
    assert_eq!(hours, [2, 4, 8, 16, 24, 48, 72, 96, 120]);
    assert_eq!(hub.store, MapStore::default());
}

#[test]
fn every_one_of_many_is_asked_about_once_in_a_round() {
    let mut hub = TestHub::default();
    for number in 0..2_000 {
        add(&mut hub, &number.to_string()).ok().unwrap();
    }
    let mut cursor = None;
    assert!(polled(&mut hub, &mut cursor, |_| Fate::Waits).is_empty());
    // Of ten, one is paid, one had a callback.
    let called = (0..2_000).map(|number| number.to_string()).filter(|number| number.ends_with('2'));
    hub.known.extend(called.map(|number| message("/test", &format!("paid-{number}"), "payment.received.v1", "{}")));
    let fate = |number: &str| match number.as_bytes().last() {
        Some(b'1') => Fate::Over,
        _ => Fate::Waits,
    };
    let mut asked = polled(at(&mut hub, 2), &mut cursor, fate);
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), 1_800);
    assert_eq!(polled(at(&mut hub, 3), &mut cursor, fate).len(), 0);
    assert_eq!(polled(at(&mut hub, 4), &mut cursor, fate).len(), 1_600);
}

#[test]
fn one_poll_is_bounded() {
    let mut hub = TestHub::default();
    for number in 0..500 {
        add(&mut hub, &number.to_string()).ok().unwrap();
    }
    let mut asked = 0;
    let mut ask = |_: &mut TestHub, _: &str| {
        asked += 1;
        Ok(Fate::Over)
    };
    let polled = poll(at(&mut hub, 2), Some(br#"{"hour":498705}"#), &LINKS, &mut ask).ok().unwrap();
    assert!(polled.more && (1..=ASKED_MAX).contains(&asked));
}

#[test]
fn after_a_week_without_polls_each_link_is_asked_about_once() {
    let mut hub = TestHub::default();
    let mut cursor = None;
    polled(&mut hub, &mut cursor, |_| Fate::Waits);
    add(&mut hub, "a").ok().unwrap();
    assert_eq!(polled(at(&mut hub, 70), &mut cursor, |_| Fate::Waits), ["a"]);
    assert_eq!(polled(at(&mut hub, 168), &mut cursor, |_| Fate::Waits), ["a"]);
    assert_eq!(hub.store, MapStore::default());
}

#[test]
fn a_gateway_that_fails_changes_nothing() {
    let mut hub = TestHub::default();
    add(&mut hub, "a").ok().unwrap();
    let before: BTreeMap<_, _> = hub.store.0.clone();
    let mut ask = |_: &mut TestHub, _: &str| Err(transient("down", None));
    let failed = poll(at(&mut hub, 2), Some(br#"{"hour":498705}"#), &LINKS, &mut ask);
    assert!(failed.is_err() && hub.store.0 == before);
    assert!(poll(&mut hub, Some(b"?"), &LINKS, &mut ask).is_err());
}

#[test]
fn too_many_in_an_hour_wait() {
    let mut hub = TestHub::default();
    let long = "1".repeat(PART_BYTES_MAX - 1);
    add(&mut hub, &long).ok().unwrap();
    assert!(add(&mut hub, &long).is_err());
    assert!(add(at(&mut hub, 1), &long).is_ok());
}
