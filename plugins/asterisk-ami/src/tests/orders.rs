//! Customers who are called.

use busbar_sdk::exchange::session::Protocol;
use busbar_sdk::memory::MapStore;
use busbar_sdk::{Failure, TestHub};
use serde_json::{Value, json};

use super::{Pbx, key, requested, settings, text};
use crate::session::Ami;

#[test]
fn a_customer_is_called() {
    let mut pbx = Pbx::ready(json!({}));
    let step = pbx.order(7, &requested("N-1", json!({})), false).unwrap();
    let key = key(&step);
    assert_eq!(
        text(&step),
        format!(
            "Action: Originate\r\nActionID: {key}\r\nChannel: PJSIP/89005550117@operator\r\nChannelId: {key}\r\nContext: busbar-say\r\n\
             Exten: s\r\nPriority: 1\r\nCallerID: 74955550100\r\nTimeout: 30000\r\nAsync: true\r\nVariable: BUSBAR_ID={key}\r\n\
             Variable: BUSBAR_TEXT=Света \\(нет\\)\\, до 18:00\r\n\r\n"
        )
    );
    assert!(step.ready && step.settled.is_empty());
    let step = pbx.get(&format!("Response: Success\nActionID: {key}\nMessage: Originate successfully queued\n\n"));
    assert!(matches!(step.settled[..], [busbar_sdk::Settled { delivery: 7, outcome: Ok(()) }]));
    pbx.get(&format!("Event: OriginateResponse\nActionID: {key}\nResponse: Success\nReason: 4\nUniqueid: {key}\n\n"));
    let [(kind, data)] = &pbx.said()[..] else { panic!() };
    assert_eq!(kind, "notification.delivered.v1");
    assert_eq!(
        data,
        &json!({ "id": "N-1", "channel": "call", "account": "500100200300", "providerId": key,
            "deliveredAt": "2026-11-20T14:10:12+03:00" })
    );
    // Its place is free when it is over.
    assert!(!pbx.order(8, &requested("N-2", json!({})), false).unwrap().ready);
    assert!(pbx.get(&format!("Event: Hangup\nUniqueid: {key}\nCause: 16\n\n")).ready);
    assert_eq!(pbx.said(), []);
}

#[test]
fn a_customer_does_not_answer() {
    for (hangup, reason, code) in [
        (Some("19"), "3", "no-answer"),
        (Some("17"), "5", "busy"),
        (Some("1"), "0", "unknown-recipient"),
        (Some("21"), "5", "rejected"),
        (Some("34"), "8", "undeliverable"),
        (Some("0"), "3", "no-answer"),
        (None, "1", "no-answer"),
        (None, "5", "busy"),
        (None, "0", "undeliverable"),
    ] {
        let mut pbx = Pbx::ready(json!({}));
        let key = key(&pbx.order(7, &requested("N-1", json!({})), false).unwrap());
        pbx.get(&format!("Response: Success\nActionID: {key}\n\n"));
        if let Some(cause) = hangup {
            pbx.get(&format!("Event: Hangup\nUniqueid: {key}\nCause: {cause}\n\n"));
        }
        pbx.get(&format!(
            "Event: OriginateResponse\nActionID: {key}\nResponse: Failure\nReason: {reason}\nUniqueid: <null>\n\n"
        ));
        let said = pbx.said();
        assert_eq!((said.len(), said[0].1["reason"]["code"].as_str()), (1, Some(code)), "{hangup:?} {reason}");
        assert!(!pbx.far.store.0.keys().any(|key| key.starts_with("order")));
    }
}

#[test]
fn the_dialplan_confirms() {
    for (events, expected) in [
        (
            "Event: UserEvent\nUserEvent: BusbarNotification\nNotification: KEY\nResult: delivered\n\nEvent: Hangup\nUniqueid: KEY\n\n",
            None,
        ),
        (
            "Event: UserEvent\nUserEvent: BusbarNotification\nNotification: KEY\nResult: failed\nReason: a machine\n\n",
            Some("the dialplan says: failed a machine"),
        ),
        ("Event: Hangup\nUniqueid: KEY\n\n", Some("answered, and hung up before the dialplan confirmed it")),
    ] {
        let notify = json!({ "channel": "Local/{number}@out", "application": "Playback", "data": "hello", "delivered-when": "confirmed" });
        let mut pbx = Pbx::ready(json!({ "notify": notify }));
        let key = key(&pbx.order(7, &requested("N-1", json!({})), false).unwrap());
        pbx.get(&format!("Response: Success\nActionID: {key}\n\n"));
        let answered =
            format!("Event: OriginateResponse\nActionID: {key}\nResponse: Success\nReason: 4\nUniqueid: {key}\n\n");
        pbx.get(&answered);
        assert_eq!(pbx.said(), []);
        pbx.get(&events.replace("KEY", &key));
        let said = pbx.said();
        assert_eq!((said.len(), said[0].1["reason"]["text"].as_str()), (1, expected));
        // The same when it was over before it was told that it was answered.
        if let Some(text) = expected.filter(|text| text.starts_with("answered")) {
            pbx.order(8, &requested("N-1", json!({})), false).unwrap();
            pbx.get(&events.replace("KEY", &key));
            pbx.get(&answered);
            assert_eq!(pbx.said()[0].1["reason"]["text"], text);
        }
    }
}

#[test]
fn a_stopped_hub_calls_nobody_twice() {
    let order = requested("N-1", json!({}));
    let mut pbx = Pbx::ready(json!({}));
    let key = key(&pbx.order(7, &order, false).unwrap());
    let sent = pbx.far.store.clone();
    let again = |store: &MapStore| {
        let mut pbx = Pbx::new(json!({}), store.clone());
        pbx.log_in();
        pbx
    };
    // Written before it was sent, and nothing is known.
    assert!(matches!(again(&sent).order(7, &order, true), Err(Failure::UnknownOutcome(_))));
    // Never written: never sent.
    assert!(text(&again(&MapStore::default()).order(7, &order, true).unwrap()).contains(&key));
    pbx.get(&format!("Response: Success\nActionID: {key}\n\n"));
    let accepted = pbx.far.store.clone();
    assert_eq!(again(&accepted).order(7, &order, true).unwrap().settled.len(), 1);
    // It ended, and was stated, before the delivery was done.
    pbx.get(&format!("Event: OriginateResponse\nActionID: {key}\nResponse: Failure\nReason: 5\n\n"));
    assert_eq!(pbx.order(7, &order, true).unwrap().settled.len(), 1);
    // What is gone from the list has ended unheard.
    let mut pbx = again(&accepted);
    pbx.get("Response: Success\nActionID: bb-channels\nEventList: start\n\nEvent: CoreShowChannel\nUniqueid: 1.2\n\n");
    assert!(pbx.get("Event: CoreShowChannelsComplete\nActionID: bb-channels\n\n").timer_ms == Some(1));
    pbx.later(0);
    assert_eq!(pbx.said()[0].1["reason"]["code"], "unknown");
    let mut pbx = again(&accepted);
    pbx.get(&format!("Event: CoreShowChannel\nUniqueid: {key}\n\nEvent: CoreShowChannelsComplete\n\n"));
    pbx.later(0);
    assert_eq!(pbx.said(), []);
    pbx.later(3600);
    assert_eq!(pbx.said().len(), 1);
}

#[test]
fn what_is_refused() {
    let mut pbx = Pbx::ready(json!({}));
    let mut code = |more: Value| match pbx.order(7, &requested("N-1", more), false) {
        Err(Failure::Rejected(rejection)) => rejection.code,
        Err(Failure::Transient(delay)) => format!("{:?}", delay.retry_after_ms.unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(json!({ "channel": "sms" })), "unsupported-channel");
    assert_eq!(code(json!({ "recipient": { "customer": "C-1" } })), "no-phone");
    assert_eq!(code(json!({ "text": "Ж".repeat(500) })), "text-too-long");
    assert_eq!(code(json!({ "notBeforeAt": "2026-11-20T14:11:12+03:00" })), "60000");
    assert_eq!(code(json!({ "notBeforeAt": "soon" })), "bad-validity");
    let late = pbx.order(7, &requested("N-1", json!({ "validUntilAt": "2026-11-20T14:10:12+03:00" })), false).unwrap();
    assert_eq!((late.settled.len(), pbx.said()[0].1["reason"]["code"].as_str()), (1, Some("expired")));
    let step = pbx.order(9, &requested("N-2", json!({ "text": "a\r\nAction: Logoff" })), false).unwrap();
    assert!(text(&step).contains("BUSBAR_TEXT=a  Action: Logoff\r\n"));
    let refused = format!("Response: Error\nActionID: {}\nMessage: Permission denied\n\n", key(&step));
    assert!(matches!(pbx.get(&refused).settled[0].outcome, Err(Failure::Unauthorized(_))));
    let step = pbx.order(9, &requested("N-2", json!({})), false).unwrap();
    let refused = format!("Response: Error\nActionID: {}\nMessage: Originate failed\n\n", key(&step));
    assert!(matches!(&pbx.get(&refused).settled[0].outcome, Err(Failure::Rejected(found)) if found.code == "refused"));
    for wrong in [json!({ "channel": "PJSIP/1" }), json!({ "channel": "PJSIP/{number}" })] {
        let settings = serde_json::from_value(settings(json!({ "notify": wrong }))).unwrap();
        assert!(Ami::new(settings, &mut TestHub::default()).is_err());
    }
    let mut pbx = Pbx::new(json!({ "notify": {} }), MapStore::default());
    assert!(pbx.order(1, &requested("N-1", json!({})), false).is_err());
}

#[test]
fn deliveries_wait_and_end() {
    let mut pbx = Pbx::ready(json!({}));
    for delivery in 1..=3 {
        pbx.order(delivery, &requested(&format!("N-{delivery}"), json!({})), false).unwrap();
    }
    let mut left: Vec<_> = pbx.ami.disconnected().into_iter().map(|end| (end.delivery, end.outcome)).collect();
    left.sort_by_key(|(delivery, _)| *delivery);
    assert!(matches!(
        left[..],
        [(1, Err(Failure::UnknownOutcome(_))), (2, Err(Failure::UnknownOutcome(_))), (3, Err(Failure::Transient(_)))]
    ));
    assert!(pbx.ami.disconnected().is_empty());
    let mut pbx = Pbx::ready(json!({}));
    pbx.order(1, &requested("N-1", json!({})), false).unwrap();
    pbx.get("Event: x\n\n");
    assert!(text(&pbx.later(30)).contains("Action: Ping"));
    assert!(pbx.ami.disconnected().is_empty());
}
