//! Mistakes in `[http.tls]`, all told before a hub starts.

use super::authority::{Authority, DAY, LONG};
use crate::hub::{Hub, binary};
use serde_json::Value;
use std::process::Command;

/// What `busbar check` finds: the line in `busbar.toml` from that of `[http.tls]` on, the kind, and the message with its remedy.
fn found(tls: &str, prepare: impl FnOnce(&Authority)) -> Vec<(String, String, String)> {
    let hub = Hub::unstarted(&format!("[http.tls]\n{tls}"));
    let authority = Authority::new(hub.path("pki"), "the authority");
    authority.sign_hub("hub", LONG);
    prepare(&authority);
    let checked = Command::new(binary()).args(["--json", "check"]).arg(hub.folder.path()).output().unwrap();
    let findings: Vec<Value> = serde_json::from_slice(&checked.stdout).unwrap_or_else(|e| panic!("{e}: {checked:?}"));
    let text = std::fs::read_to_string(hub.path("busbar.toml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let told = |finding: &Value| {
        let word = |name: &str| finding[name].as_str().unwrap().to_string();
        let line = lines[finding["line"].as_u64().unwrap() as usize - 1].split(" =").next().unwrap().to_string();
        (line, word("kind"), format!("{} | {}", word("message"), word("remedy")))
    };
    assert_eq!(checked.status.success(), findings.iter().all(|f| f["severity"] == "warning"), "{findings:?}");
    findings.iter().map(told).collect()
}

#[track_caller]
fn assert_found(tls: &str, prepare: impl FnOnce(&Authority), wanted: &[(&str, &str, &str)]) {
    let mut left = found(tls, prepare);
    for (line, kind, part) in wanted {
        let fits = |(l, k, text): &(String, String, String)| l == line && k == kind && text.contains(part);
        let at = left.iter().position(fits).unwrap_or_else(|| panic!("no {kind} at {line} with `{part}`: {left:?}"));
        left.remove(at);
    }
    assert!(left.is_empty(), "and {left:?}");
}

const PAIR: &str = "certificate = \"pki/hub.pem\"\nkey = { file = \"pki/hub.key\" }\n";

#[test]
fn a_right_pair_is_no_mistake() {
    assert_found(PAIR, |_| (), &[]);
    let all = format!("{PAIR}client-ca = \"pki/ca.pem\"\nclient-crl = \"pki/crl.pem\"\n");
    assert_found(&all, Authority::list, &[]);
}

#[test]
fn every_file_that_is_wrong_is_told_at_once_at_its_line() {
    let tls = "certificate = \"pki/nothing.pem\"\nkey = { file = \"pki/ca.pem\" }\nclient-ca = \"pki/empty.pem\"\nclient-crl = \"pki/hub.pem\"\n";
    let empty = |authority: &Authority| std::fs::write(authority.path("empty.pem"), "").unwrap();
    let wanted = [
        ("certificate", "bad-certificate", "pki/nothing.pem: No such file"),
        ("key", "bad-certificate", "the private key:"),
        ("client-ca", "bad-certificate", "pki/empty.pem: no certificate in it | write it in PEM form"),
        ("client-crl", "bad-certificate", "pki/hub.pem: no revocation list in it"),
    ];
    assert_found(tls, empty, &wanted);
    assert_found(
        "certificate = \"pki/hub.pem\"\nkey = { file = \"pki/nothing.key\" }\n",
        |_| (),
        &[("key", "missing-secret", "pki/nothing.key: No such file")],
    );
}

#[test]
fn what_does_not_fit_or_is_not_valid_now_is_told() {
    let other = "certificate = \"pki/hub.pem\"\nkey = { file = \"pki/ca.key\" }\n";
    assert_found(other, |_| (), &[("key", "bad-certificate", "is not that of the first certificate in")]);
    let old = |authority: &Authority| authority.sign_hub("hub", (-2 * DAY, -DAY));
    assert_found(PAIR, old, &[("certificate", "bad-certificate", "`CN=hub` has expired at 20")]);
    let early = |authority: &Authority| authority.sign_hub("hub", (DAY, 2 * DAY));
    assert_found(PAIR, early, &[("certificate", "bad-certificate", "`CN=hub` is not valid before 20")]);
    let leaf = format!("{PAIR}client-ca = \"pki/hub.pem\"\n");
    assert_found(&leaf, |_| (), &[("client-ca", "bad-certificate", "`CN=hub` is no authority")]);
    let first_version = |authority: &Authority| {
        let config = std::fs::read_to_string(authority.path("ca.cnf")).unwrap();
        let older = config.replace("crlnumber = crlnumber\ncrl_extensions = list\n", "");
        std::fs::write(authority.path("ca.cnf"), older).unwrap();
        authority.list();
    };
    let list = format!("{PAIR}client-ca = \"pki/ca.pem\"\nclient-crl = \"pki/crl.pem\"\n");
    assert_found(&list, first_version, &[("client-crl", "bad-certificate", "have it made as version 2")]);
    let pipe = |authority: &Authority| {
        assert!(Command::new("mkfifo").arg(authority.path("pipe.pem")).status().unwrap().success());
    };
    let piped = "certificate = \"pki/pipe.pem\"\nkey = { file = \"pki/hub.key\" }\n";
    assert_found(piped, pipe, &[("certificate", "bad-certificate", "pipe.pem: no file")]);
}

#[test]
fn words_that_do_not_go_together_are_told() {
    let wanted = [
        ("client-certificates", "missing-key", "without `client-ca`"),
        ("client-crl", "missing-key", "without `client-ca`"),
        ("certificate", "missing-key", "no client is asked for a certificate"),
        ("clientca", "unknown-key", "did you mean `client-ca`?"),
    ];
    let tls = format!(
        "{PAIR}client-certificates = \"required\"\nclient-crl = \"pki/crl.pem\"\nclientca = \"x\"\n{}",
        "[[http.keys]]\nname = \"a\"\ncertificate = \"dns:a.example\"\nrights = [\"read\"]\n"
    );
    assert_found(&tls, Authority::list, &wanted);
    let entry = |name: &str, known: &str| format!("[[http.keys]]\nname = \"{name}\"\n{known}\nrights = [\"read\"]\n");
    let entries = [
        entry("a", "certificate = \"dns:a.example\""),
        entry("b", "certificate = \"dns:A.example\""),
        entry("c", "certificate = \"dns:*.example\""),
        entry("d", "certificate = \"ip:10.0.0.1\""),
        entry("e", ""),
        entry("f", &format!("sha256 = \"{}\"\ncertificate = \"cn:f\"", "0".repeat(64))),
    ];
    let tls = format!("{PAIR}client-ca = \"pki/two.pem\"\n{}", entries.concat());
    let two = |authority: &Authority| {
        let second = Authority::new(authority.path("second"), "a second one");
        let both = [authority.read("ca.pem"), second.read("ca.pem")].concat();
        std::fs::write(authority.path("two.pem"), both).unwrap();
    };
    let wanted = [
        ("name", "duplicate-key", "key `b` is there twice"),
        ("certificate", "wrong-value", "`*.example` is no name of one host"),
        ("certificate", "wrong-value", "ip:10.0.0.1"),
        ("[[http.keys]]", "missing-key", "nobody is known by this entry"),
        ("certificate", "wrong-value", "`sha256` or by `certificate`"),
        ("certificate", "common-name", "the common name `f`"),
    ];
    assert_found(&tls, two, &wanted);
    assert_found("certificate = \"pki/hub.pem\"\n", |_| (), &[("[http.tls]", "missing-key", "`key` is missing here")]);
}
