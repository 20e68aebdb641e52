//! Adapters that misbehave: each in a way of its own, called through the runtime as the hub does.
//! Their neighbours in a running hub are in `neighbours`, the compiled code on disk in `cache`, components made by hand in
//! `components`, and what adds up in `floods`.

mod cache;
mod components;
mod floods;
mod neighbours;
mod quota;
mod record;
mod warm;

use crate::hub::{LOADED, RUNTIME, Standin, root};
use busbar_core::fakes::MemoryStore;
use busbar_core::ports::{Attempting, HookRequest, HookResponse, InputFile, Run};
use busbar_core::{Call, Message, Rules};
use busbar_server::config::credentials::Credential;
use busbar_server::config::model::{Grants, Instances, Limits};
use busbar_server::egress::Egress;
use busbar_server::hub::{Asker, HubEffects, Quota, SystemClock, SystemSecrets};
use busbar_server::wasm::{Caller, Effects, Loaded, Runtime, SystemSpec, decode, deliver, encode, receive};
use secrecy::SecretString;
use serde_json::json;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let catalog = busbar_server::deployment::catalog(&root().join("schemas")).unwrap();
    Arc::new(Rules::new(catalog, Vec::new()))
});

fn limits() -> Limits {
    Limits { deadline_ms: 400, file_deadline_ms: 400, ..Limits::default() }
}

/// Everything but network, so that what is refused is refused for the reason under test.
fn grants() -> Grants {
    Grants {
        credentials: vec!["token".into()],
        emit: vec!["payment.received.v1".into()],
        ask: vec!["account.lookup.v1".into()],
        lookup: true,
        state: true,
        clock: true,
        random: true,
        ..Grants::default()
    }
}

pub fn caller(behaviour: &str, url: &str, grants: Grants, limits: Limits) -> Caller {
    caller_with(behaviour, url, grants, limits, Instances::Fresh, |effects| Arc::new(effects))
}

/// The same with instances and effects as a test needs them.
fn caller_with(
    behaviour: &str,
    url: &str,
    grants: Grants,
    limits: Limits,
    instances: Instances,
    wrap: impl FnOnce(HubEffects) -> Arc<dyn Effects>,
) -> Caller {
    let loaded = LOADED.get("hostile").unwrap().clone();
    caller_of((RUNTIME.clone(), loaded), behaviour, url, grants, limits, instances, wrap)
}

/// The same with a component of the test's own.
fn caller_of(
    (runtime, loaded): (Arc<Runtime>, Arc<Loaded>),
    behaviour: &str,
    url: &str,
    grants: Grants,
    limits: Limits,
    instances: Instances,
    wrap: impl FnOnce(HubEffects) -> Arc<dyn Effects>,
) -> Caller {
    crate::hub::client(); // The egress needs the TLS provider that comes with it.
    let egress = Egress::new(grants.private_addresses.clone(), limits.body_bytes, limits.header_bytes).unwrap();
    let secrets = [("token", "known"), ("other", "not for it")];
    let secrets = secrets.map(|(name, value)| (name.to_string(), Credential::Secret(SecretString::from(value))));
    let store = Arc::new(MemoryStore::default());
    let effects = HubEffects {
        quota: Quota::new("hostile", store.clone(), &limits),
        system: "hostile".into(),
        secrets: SystemSecrets::new(&secrets.into()).unwrap(),
        egress,
        store,
        clock: Arc::new(SystemClock),
        // Nobody answers.
        asker: Asker::new().0,
        ahead: None,
    };
    let system = SystemSpec {
        name: "hostile".into(),
        source: "/test/hostile".into(),
        config: json!({ "behaviour": behaviour, "url": url }).to_string(),
        grants,
        limits,
        instances,
        rules: RULES.clone(),
    };
    Caller::new(runtime, loaded, Arc::new(system), wrap(effects))
}

fn message() -> Arc<Message> {
    Arc::new(Message::from_structured(crate::hub::payment("m1", "500100200300", "10.00")).unwrap())
}

fn attempting(attempt: u32, recorded: Vec<Call>) -> Attempting {
    Attempting { delivery: 1, attempt, message: message(), recorded }
}

fn hook() -> HookRequest {
    HookRequest { method: "POST".into(), path: "/".into(), ..HookRequest::default() }
}

/// The stable code of a failed run; nothing of a failed run may be left to write.
#[track_caller]
fn code<T: std::fmt::Debug>(run: &Run<T>) -> String {
    let failure = run.result.as_ref().unwrap_err();
    assert!(run.emitted.is_empty() && run.state.is_empty(), "{run:?}");
    failure.problem().record().code
}

async fn received(behaviour: &str, url: &str, grants: Grants) -> Run<HookResponse> {
    receive(&caller(behaviour, url, grants, limits()), hook()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_excess_ends_the_call_with_its_own_code() {
    let cases = [
        ("loop", "adapter-timeout", "limits.deadline-ms"),
        ("state-read", "adapter-timeout", "limits.deadline-ms"),
        ("alloc", "adapter-limit", "limits.memory-bytes"),
        ("huge-response", "adapter-limit", "limits."),
        ("log", "adapter-limit", "limits.log-bytes"),
        ("log-empty", "adapter-limit", "limits.log-bytes"),
        // The stack of a Rust guest lies before its data.
        ("stack", "adapter-trap", "out of bounds"),
        ("trap", "adapter-trap", "unreachable"),
        ("http-flood", "adapter-limit", "limits.calls"),
        ("emit-flood", "adapter-limit", "limits.messages"),
        ("emit-batch", "adapter-limit", "limits.messages"),
        ("emit-large", "adapter-limit", "limits.body-bytes"),
        ("state-flood", "adapter-limit", "limits.state-writes"),
        ("state-rewrite", "adapter-limit", "limits.state-writes"),
        ("state-large", "adapter-limit", "limits.state-value-bytes"),
        ("state-key", "adapter-limit", "state"),
        ("random-large", "adapter-limit", "random"),
        ("read", "missing-grant", "decoded"),
        ("write", "missing-grant", "encoded"),
        ("state-reserved", "missing-grant", "busbar:"),
        ("emit-ungranted", "missing-grant", "statement.imported.v1"),
        ("emit-invalid", "invalid-emit", "amount"),
        ("emit-broken", "invalid-emit", "hostile-0"),
        ("emit-then-invalid", "invalid-emit", "hostile-1"),
        ("emit-then-fail", "transient", "after stating"),
        ("credential-ungranted", "missing-grant", "grants.credentials"),
        ("hash-ungranted", "missing-grant", "grants.credentials"),
    ];
    let mut wrong = Vec::new();
    for (behaviour, wanted, named) in cases {
        let began = Instant::now();
        // A slow machine must not reach the deadline before the bound that is meant.
        let patient = Limits { deadline_ms: 4_000, ..limits() };
        let limits = if wanted == "adapter-timeout" { limits() } else { patient };
        let run = receive(&caller(behaviour, "", grants(), limits), hook()).await;
        let (code, took, calls) = (code(&run), began.elapsed(), run.calls.len());
        let detail = run.result.as_ref().unwrap_err().problem().detail;
        if code != wanted || !detail.contains(named) || took > Duration::from_secs(5) || calls > 200 {
            wrong.push(format!(
                "{behaviour}: {code} ({detail}) after {took:?} with {calls} calls; wanted {wanted} ({named})"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ambient() {
    let no = Grants::default;
    for behaviour in ["emit-one", "state-one", "clock", "random", "lookup", "ask", "credential-granted"] {
        let run = received(behaviour, "", no()).await;
        assert_eq!(code(&run), "missing-grant", "{behaviour}: {:?}", run.result);
    }
    for behaviour in ["emit-one", "state-one", "clock", "random", "lookup", "credential-granted", "ok"] {
        let run = received(behaviour, "", grants()).await;
        assert!(run.result.is_ok(), "{behaviour}: {:?}", run.result);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_is_limited() {
    for behaviour in ["loop", "alloc", "trap"] {
        let wanted = code(&received(behaviour, "", grants()).await);
        let caller = caller(behaviour, "", grants(), limits());
        assert_eq!(code(&deliver(&caller, attempting(1, Vec::new())).await), wanted);
        let input = InputFile { name: "f".into(), size_bytes: 0, reader: Box::new(std::io::empty()) };
        let run = decode(&caller, input, Box::new(|_| Ok(()))).await;
        assert_eq!(code(&run), wanted);
        let question = Message::clone(&message());
        assert_eq!(code(&busbar_server::wasm::answer(&caller, question).await), wanted);
        assert_eq!(code(&busbar_server::wasm::poll(&caller, None).await), wanted);
        assert_eq!(code(&encode(&caller, &[message()], Box::new(std::io::sink())).await), wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_limits_of_its_own() {
    let limits = Limits { file_messages: 1000, file_deadline_ms: 20_000, ..limits() };
    let caller = caller("emit-flood", "", grants(), limits);
    let input = InputFile { name: "f".into(), size_bytes: 0, reader: Box::new(std::io::empty()) };
    let run = decode(&caller, input, Box::new(|_| Ok(()))).await;
    assert_eq!(code(&run), "adapter-limit");
    assert!(run.result.unwrap_err().problem().detail.contains("limits.file-messages"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_has_limits_of_its_own() {
    for (behaviour, wanted, named) in
        [("write-flood", "adapter-limit", "limits.file-bytes"), ("emit-one", "missing-grant", "encoded")]
    {
        let limits = Limits { file_bytes: 8 << 20, file_deadline_ms: 20_000, ..limits() };
        let caller = caller(behaviour, "", grants(), limits);
        let run = encode(&caller, &[message()], Box::new(std::io::sink())).await;
        assert_eq!(code(&run), wanted);
        assert!(run.result.unwrap_err().problem().detail.contains(named));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_granted_is_called() {
    let neighbour = Standin::start(|_, _| (200, "secret")).await;
    let named = neighbour.url.replace("127.0.0.1", "localhost");
    let mapped = neighbour.url.replace("127.0.0.1", "[::ffff:127.0.0.1]");
    let origin = |url: &str| Grants { http: vec![url.to_string()], ..grants() };
    let other = Grants { http: vec!["http://127.0.0.1:1".into()], ..private(&neighbour.url) };
    let user = Grants { http: vec!["http://granted.example".into()], ..private(&neighbour.url) };
    let none = [
        ("http", neighbour.url.clone(), Grants { http: Vec::new(), ..private(&neighbour.url) }),
        ("http", neighbour.url.clone(), other),
        // Granted, but the name or address leads into the host's own network.
        ("http", neighbour.url.clone(), origin(&neighbour.url)),
        ("http", named.clone(), origin(&named)),
        ("http", mapped.clone(), origin(&mapped)),
        ("http", "http://0x7f000001:1/".into(), origin("http://127.0.0.1:1")),
        ("http", "http://169.254.169.254/latest".into(), origin("http://169.254.169.254")),
        // The origin before the `@` is only a user's name.
        ("http", format!("http://granted.example@{}/", &neighbour.url[7..]), user),
        ("http-credential", neighbour.url.clone(), private(&neighbour.url)),
        ("parameters-ungranted", neighbour.url.clone(), private(&neighbour.url)),
    ];
    for (behaviour, url, grants) in none {
        let run = received(behaviour, &url, grants).await;
        assert_eq!(code(&run), "denied", "{url}: {:?}", run.result);
        assert_eq!(run.calls.last().map(|c| c.outcome.as_str()), Some("denied"), "{url}");
    }
    assert!(neighbour.seen().is_empty(), "{:?}", neighbour.seen());
    let run = received("http", &neighbour.url, private(&neighbour.url)).await;
    assert_eq!(run.result.unwrap().body, b"secret");
    assert_eq!(neighbour.count("GET", "/"), 1);
}

/// Protocols that want a secret among the parameters or in a hash get it from the host; the record has its name.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_added_by_the_host_and_written_nowhere() {
    let gateway = Standin::start(|_, _| (200, "ok")).await;
    for behaviour in ["query-parameters", "form-parameters"] {
        let run = received(behaviour, &gateway.url, private(&gateway.url)).await;
        assert_eq!(run.result.unwrap().body, b"ok");
        let record = serde_json::to_string(&run.calls).unwrap();
        assert!(record.contains(r#"{"parameters":{"psw":"token"}}"#) && !record.contains("known"), "{record}");
    }
    let sent: Vec<_> = gateway.seen().into_iter().map(|seen| (seen.query, seen.body)).collect();
    assert_eq!(sent, [("a=1&psw=known".into(), String::new()), (String::new(), "a=1&psw=known".into())]);
    // Of `a1known`, by md5sum and sha256sum.
    for (behaviour, digest) in [
        ("hash-md5", "478b5f8ff930b117ccf1cd8b0c9f8346"),
        ("hash-sha256", "8b9fdfcef17138a15c2608553ec8cc46db6bd3eb1658b62dc864229265338eca"),
    ] {
        let run = received(behaviour, "", grants()).await;
        let hex: String = run.result.unwrap().body.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, digest);
    }
}

fn private(url: &str) -> Grants {
    Grants { http: vec![url.to_string()], private_addresses: vec!["127.0.0.1".into()], ..grants() }
}
