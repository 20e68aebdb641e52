//! The genuine recordings: what Asterisk sent after a login, as it came and cut at bytes. Most begin in the middle of a connection, so a greeting and a
//! login are put before them. The samples are not part of the project; without them the test says so and passes.

#![allow(clippy::unwrap_used)]

use asterisk_ami::session::Ami;
use busbar_sdk::exchange::session::Protocol;
use busbar_sdk::{Draft, Failure, TestHub};
use serde_json::{Value, json};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/contact_centre/asterisk_ami/");
/// 2014-10-28T18:36:40+03:00.
const NOW: u64 = 1_414_510_600_000;
const LOGGED_IN: &str = "Asterisk Call Manager/1.3\n\nResponse: Success\nMessage: Authentication accepted\n\n";

/// What Asterisk sent, with the login before it where there is none.
fn sent(name: &str) -> Option<String> {
    let Ok(text) = std::fs::read_to_string(format!("{SAMPLES}{name}.yaml")) else {
        println!("skipped: no sample {name}");
        return None;
    };
    let (banner, text) = match text.split_once('\n') {
        Some((banner, rest)) if banner.starts_with("Asterisk") => (format!("{banner}\n"), rest.to_owned()),
        _ => (LOGGED_IN.to_owned(), text),
    };
    let is_ours = |block: &&str| !block.trim_start().to_lowercase().starts_with("action:");
    // The output of a command ends within its block.
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty()).filter(is_ours);
    let blocks: String = blocks.map(|block| format!("{}\n\n", block.trim_start_matches('\n'))).collect();
    Some((banner + &blocks).replace('\n', "\r\n"))
}

type Said = (Vec<(String, Value)>, Result<(), Failure>);

/// The statements, and how it ended.
fn said(login: &str, parts: &[&[u8]]) -> Said {
    let mut far = TestHub { now_ms: NOW, ..TestHub::default() };
    let settings = json!({ "login": login, "calls": { "outbound": ["default"] } });
    let mut ami = Ami::new(serde_json::from_value(settings).unwrap(), &mut far).unwrap();
    ami.connected(&mut far).unwrap();
    let mut run = || {
        for part in parts {
            let mut step = ami.bytes(part, &mut far)?;
            while step.timer_ms == Some(1) {
                step = ami.timer(&mut far)?;
            }
        }
        Ok(())
    };
    let ended = run();
    let data = |draft: &Draft| serde_json::from_str(&draft.data).unwrap();
    (far.drafts.iter().map(|draft| (draft.type_.clone(), data(draft))).collect(), ended)
}

fn at_every(name: &str, login: &str, step: usize) -> Option<Said> {
    let trace = sent(name)?;
    let trace = trace.as_bytes();
    let whole = said(login, &[trace]);
    let show = |said: &Said| format!("{said:?}");
    for cut in (0..trace.len()).step_by(step) {
        let (one, other) = trace.split_at(cut);
        assert_eq!(show(&said(login, &[one, other])), show(&whole), "{name}, {cut}");
    }
    let single: Vec<&[u8]> = trace.chunks(1).collect();
    assert_eq!(show(&said(login, &single)), show(&whole), "{name}, byte by byte");
    Some(whole)
}

#[test]
fn all_of_them() {
    // Nothing of a call.
    for name in [
        "asyncagi_channel_does_not_exist",
        "asyncagi_get_var",
        "command_core_show_version",
        "login_ok",
        "logoff",
        "originate_sync",
        "ping",
        "pjsip_show_endpoint",
        "queue_add",
        "sip_notify",
    ] {
        let Some((said, ended)) = at_every(name, "plain", 1) else { return };
        assert!(said.is_empty() && ended.is_ok(), "{name}: {said:?} {ended:?}");
    }
    let (said, ended) = at_every("login_md5", "md5", 1).unwrap();
    assert!(said.is_empty() && ended.is_ok());
    for login in ["plain", "md5"] {
        let (_, ended) = at_every("login_failed", login, 1).unwrap();
        assert!(matches!(ended, Err(Failure::Unauthorized(text)) if text.contains("Authentication failed")));
    }
}

#[test]
fn their_calls() {
    // An employee dials *12, which the exchange answers and hangs up.
    let Some((said, _)) = at_every("agent_not_in_pause", "plain", 7) else { return };
    let (id, at) = ("1413823936.3729", "2014-10-28T18:36:40+03:00");
    let started = json!({ "id": id, "direction": "outbound", "caller": "2001", "startedAt": at });
    let ended = json!({ "id": id, "direction": "outbound", "caller": "2001", "startedAt": at, "endedAt": at, "waitSeconds": 0,
        "outcome": "self-service" });
    assert_eq!(said, [("call.started.v1".to_owned(), started), ("call.ended.v1".to_owned(), ended)]);
    // Both halves of a Local channel, each connected to a telephone.
    let (said, _) = at_every("originate_with_events", "plain", 997).unwrap();
    let told = said.iter().map(|(kind, data)| format!("{kind} {} {}", data["id"], data["outcome"]));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "call.started.v1 \"1414510600.0\" null",
            "call.started.v1 \"1414510600.1\" null",
            "call.ended.v1 \"1414510600.1\" \"answered\"",
            "call.ended.v1 \"1414510600.0\" \"answered\"",
        ]
    );
}
