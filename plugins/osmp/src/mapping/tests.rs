use busbar_sdk::TestHub;

use super::*;

/// A hub that answers as it is told.
fn answering(answer: Result<&str, AskError>) -> TestHub {
    TestHub { reply: answer.map(str::to_owned), ..TestHub::default() }
}

fn found() -> TestHub {
    answering(Ok(r#"{"account":"4957835959","found":true}"#))
}

const PAY: &str = "command=pay&txn_id=1234567&txn_date=20090815120133&account=4957835959&sum=10.45";

fn send(query: &str, hub: &mut TestHub) -> String {
    let request =
        HookRequest { method: "GET".into(), path: "/".into(), query: query.into(), headers: vec![], body: vec![] };
    let response = handle(&Settings::default(), &request, hub);
    hub.commit();
    assert_eq!(response.status, 200);
    String::from_utf8(response.body).unwrap()
}

fn result(xml: &str) -> &str {
    xml.split("<result>").nth(1).and_then(|rest| rest.split('<').next()).unwrap()
}

#[test]
fn a_repeat_gets_the_same_reply_and_states_nothing_new() {
    let mut hub = found();
    let first = send(PAY, &mut hub);
    assert_eq!(result(&first), "0");
    let again = send(&PAY.replace("sum=10.45", "sum=10.45&txn_date=20090815120133"), &mut hub);
    assert_eq!(first, again);
    assert_eq!((hub.drafts.len(), hub.asked.len()), (1, 1));
}

#[test]
fn repeats_at_the_same_moment_give_the_same_message_and_reply() {
    let (mut one, mut other) = (found(), found());
    assert_eq!(send(PAY, &mut one), send(PAY, &mut other));
    assert_eq!(one.drafts[0].id, other.drafts[0].id);
    assert_eq!(one.drafts[0].data, other.drafts[0].data);
}

#[test]
fn the_same_id_for_another_payment_is_refused() {
    let mut hub = found();
    send(PAY, &mut hub);
    for other in [PAY.replace("10.45", "10.46"), PAY.replace("4957835959", "4957835950")] {
        assert_eq!(result(&send(&other, &mut hub)), "300");
    }
    assert_eq!(hub.drafts.len(), 1);
}

#[test]
fn without_an_answer_the_network_asks_again_later() {
    for error in [AskError::Timeout, AskError::Failed("down".into()), AskError::NoAnswerer("no route".into())] {
        let mut hub = answering(Err(error));
        assert_eq!(result(&send(PAY, &mut hub)), "1");
        assert_eq!(hub.drafts.len(), 0);
    }
    assert_eq!(result(&send(PAY, &mut answering(Ok("{}")))), "1");
}

#[test]
fn only_a_payable_account_is_paid() {
    let mut hub = answering(Ok(r#"{"account":"1","found":false}"#));
    assert_eq!(result(&send(PAY, &mut hub)), "4");
    let mut closed = answering(Ok(r#"{"account":"1","found":true,"payable":false}"#));
    assert_eq!(result(&send(PAY, &mut closed)), "7");
    assert_eq!(hub.drafts.len() + closed.drafts.len(), 0);
}

#[test]
fn limits_are_checked_before_anybody_is_asked() {
    let mut hub = found();
    assert_eq!(result(&send(&PAY.replace("10.45", "1000000.01"), &mut hub)), "242");
    assert!(hub.asked.is_empty());
    let settings = Settings { min_sum: "50".into(), ..Settings::default() };
    assert_eq!(within_limits(&settings, 4999), Err(Problem::SumTooSmall));
    assert_eq!(within_limits(&settings, 5000), Ok(()));
}

#[test]
fn receipts_fit_eighteen_digits() {
    for txn_id in ["1", "99999999999999999999", "0"] {
        let receipt = receipt(txn_id);
        assert!(receipt.len() <= 18 && receipt.bytes().all(|byte| byte.is_ascii_digit()), "{receipt}");
    }
    assert_ne!(receipt("1"), receipt("01"));
}

#[test]
fn one_payment_and_another() {
    // Alike but for the network's number: two. With parameters in another order, by POST or a minute later: one.
    for (other, stated) in [
        (PAY.replace("1234567", "1234568"), 2),
        (PAY.replace("20090815120133", "20090815120233"), 1),
        (format!("{PAY}&terminal=7"), 1),
        ("sum=10.45&account=4957835959&txn_date=20090815120133&txn_id=1234567&command=pay".to_owned(), 1),
    ] {
        let mut hub = found();
        send(PAY, &mut hub);
        assert_eq!(result(&send(&other, &mut hub)), "0", "{other}");
        assert_eq!(hub.drafts.len(), stated, "{other}");
    }
}
