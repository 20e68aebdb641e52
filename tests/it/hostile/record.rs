//! The record of calls through the runtime: what was sent once is not sent again. The rule itself is in
//! `busbar_core::record`.

use super::{attempting, caller, caller_with, code, grants, limits, private};
use crate::hub::{Standin, wait_for};
use async_trait::async_trait;
use busbar_core::ports::Run;
use busbar_core::{Call, Code, Failure, Message, Problem};
use busbar_server::config::model::Instances;
use busbar_server::egress::{HttpFailure, HttpRequest, HttpResponse};
use busbar_server::hub::HubEffects;
use busbar_server::wasm::{AskFailure, Effects, deliver};
use secrecy::SecretString;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_the_deadline_cuts_is_never_repeated_blindly() {
    let slow = Standin::slow(|_, _| (200, String::new(), Duration::from_secs(2))).await;
    let caller = caller("post", &slow.url, private(&slow.url), limits());
    let run = deliver(&caller, attempting(1, Vec::new())).await;
    wait_for("the request", async || (slow.count("POST", "/") == 1).then_some(())).await;
    // It was sent and nobody knows what became of it: that is what the record must say.
    assert_eq!(run.calls.len(), 1, "the call is not in the record: {run:?}");
    let failure = run.result.unwrap_err();
    let next = busbar_core::outcome::decide(&busbar_core::Policy::default(), 1, &failure, 0.5, false);
    assert_eq!(next, busbar_core::Next::GiveUp, "{failure:?}");
    assert!(matches!(failure, Failure::UnknownOutcome(_)), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_post_is_answered_from_the_record() {
    let gate = [503, 500, 200];
    let billing =
        Standin::start(move |seen, before| if seen.method == "GET" { (gate[before], "") } else { (201, "done") }).await;
    let caller = caller("post-then-gate", &billing.url, private(&billing.url), limits());
    let first = deliver(&caller, attempting(1, Vec::new())).await;
    assert_eq!(code(&first), "transient");
    let mut record = first.calls.clone();
    let second = deliver(&caller, attempting(2, record.clone())).await;
    assert_eq!(code(&second), "adapter-trap");
    record.extend(second.calls.clone());
    let third = deliver(&caller, attempting(3, record)).await;
    assert!(third.result.is_ok(), "{:?}", third.result);
    let outcomes = |run: &Run<()>| run.calls.iter().map(|c| c.outcome.as_str().to_string()).collect::<Vec<_>>();
    assert_eq!(
        [outcomes(&first), outcomes(&second), outcomes(&third)],
        [["ok", "ok"], ["recorded", "ok"], ["recorded", "ok"]]
    );
    assert_eq!((billing.count("POST", "/post"), billing.count("GET", "/gate")), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_that_nothing_was_done_is_no_answer() {
    let moody = Standin::start(|_, before| (200, if before < 2 { "not now" } else { "done" })).await;
    let caller = caller("post-not-now", &moody.url, private(&moody.url), limits());
    let mut record = Vec::new();
    for attempt in 1..=4 {
        let run = deliver(&caller, attempting(attempt, record.clone())).await;
        assert_eq!(run.result.is_ok(), attempt > 2, "{run:?}");
        record.extend(run.calls);
    }
    // Twice in vain, once for good; the fourth attempt is answered from the record.
    assert_eq!(moody.count("POST", "/"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_without_an_answer_is_withheld_from_later_attempts() {
    let slow = Standin::slow(|_, _| (200, String::new(), Duration::from_secs(2))).await;
    let plain = caller("post", &slow.url, private(&slow.url), limits());
    let mut record = deliver(&plain, attempting(1, Vec::new())).await.calls;
    // The adapter is told, and judges: this one has no way to ask.
    for attempt in 2..4 {
        let run = deliver(&plain, attempting(attempt, record.clone())).await;
        assert_eq!(code(&run), "unknown-outcome");
        assert_eq!(run.calls.iter().map(|c| c.outcome.as_str()).collect::<Vec<_>>(), ["withheld"]);
        record.extend(run.calls);
    }
    assert_eq!(slow.count("POST", "/"), 1);
    // What the far end executes once is sent again; the deadline that cuts it leaves nothing unknown.
    let keyed = caller("post-idempotent", &slow.url, private(&slow.url), limits());
    for attempt in 1..3 {
        assert_eq!(code(&deliver(&keyed, attempting(attempt, record.clone())).await), "adapter-timeout");
    }
    wait_for("three requests", async || (slow.count("POST", "/") == 3).then_some(())).await;
}

/// Effects whose store says no; what was to be written ahead is kept.
struct Refusing(HubEffects, Mutex<Vec<(i64, Call)>>, bool);

#[async_trait]
impl Effects for Refusing {
    async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        self.0.http(request).await
    }
    async fn ahead(&self, delivery: i64, call: &Call) -> Result<(), Problem> {
        self.1.lock().unwrap().push((delivery, call.clone()));
        if self.2 { Err(Problem::new(Code::StoreUnavailable, "as the test says")) } else { Ok(()) }
    }
    async fn ask(&self, question: Message, deadline_ms: u64) -> Result<Message, AskFailure> {
        self.0.ask(question, deadline_ms).await
    }
    async fn lookup(&self, source: &str, id: &str) -> Result<Option<Message>, Problem> {
        self.0.lookup(source, id).await
    }
    async fn state(&self, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        self.0.state(key).await
    }
    fn secret(&self, credential: &str) -> Result<SecretString, String> {
        self.0.secret(credential)
    }
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }
    fn random(&self, bytes: usize) -> Vec<u8> {
        self.0.random(bytes)
    }
    fn log(&self, level: tracing::Level, text: &str) {
        self.0.log(level, text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_request_of_a_delivery_is_written_ahead_or_not_sent() {
    let billing = Standin::start(|_, _| (201, "done")).await;
    for (behaviour, refuses, wanted) in [
        ("post", false, Ok(1)),
        ("post", true, Err("store-unavailable")),
        // These need no writing ahead: sending them again does no harm.
        ("post-idempotent", true, Ok(0)),
        ("http", true, Ok(0)),
    ] {
        let mut kept = None;
        let caller =
            caller_with(behaviour, &billing.url, private(&billing.url), limits(), Instances::Fresh, |effects| {
                let effects = Arc::new(Refusing(effects, Mutex::default(), refuses));
                kept = Some(effects.clone());
                effects
            });
        let before = billing.seen().len();
        let run = deliver(&caller, attempting(1, Vec::new())).await;
        let ahead = kept.unwrap().1.lock().unwrap().clone();
        match wanted {
            Ok(count) => {
                assert!(run.result.is_ok(), "{behaviour}: {run:?}");
                assert_eq!((ahead.len(), billing.seen().len()), (count, before + 1), "{behaviour}");
                for (delivery, call) in ahead {
                    assert_eq!((delivery, call.outcome.as_str(), &call.answer), (1, "no-answer", &None));
                    assert_eq!(call.request, run.calls[0].request);
                }
            }
            Err(wanted) => {
                assert_eq!(code(&run), wanted);
                assert_eq!(run.calls[0].outcome, "not-sent".into());
                assert_eq!(billing.seen().len(), before, "{behaviour} was sent");
            }
        }
    }
    // A call that is no delivery has nobody to be written to.
    assert!(super::received("post", &billing.url, private(&billing.url)).await.result.is_ok());
    let _ = grants();
}
