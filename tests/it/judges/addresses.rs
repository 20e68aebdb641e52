//! Which addresses no adapter reaches, as ipaddr.js (npm) has the special-purpose registries of IANA.

use crate::hub::root;
use crate::peers;
use busbar_server::egress::forbidden;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

const RANDOM: &str = "20000";

/// The IPv4 address that a form of IPv6 leads to, where ipaddr.js says only that it is such a form.
fn led_to(kind: &str, ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = ip else { return None };
    let [.., a, b] = v6.segments();
    let last = Ipv4Addr::from((u32::from(a) << 16) | u32::from(b));
    (v6.to_ipv4_mapped().is_some() || (kind == "rfc6052" && v6.segments()[2] == 0)).then_some(last)
}

/// What is allocated of IPv6 (RFC 4291, section 2.4): of the rest ipaddr.js says `unicast`, and nothing is there.
fn is_allocated(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => v6.segments()[0] >> 13 == 1,
    }
}

#[test]
fn what_another_library_calls_special_is_refused_and_all_else_taken() {
    let modules = peers::folder().map(|folder| folder.join("node_modules")).filter(|m| m.join("ipaddr.js").exists());
    let Some(modules) = modules else {
        println!("NOT CHECKED: addresses; BUSBAR_PEERS names no folder with npm's ipaddr.js");
        return;
    };
    let script = root().join("tests/fixtures/judges/addresses.js");
    let seed = std::env::var("BUSBAR_SEED").unwrap_or_else(|_| rand::random::<u32>().to_string());
    let output = Command::new("node").arg(script).args([&*seed, RANDOM]).env("NODE_PATH", modules).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).unwrap();
    let (mut wrong, mut kinds, mut count) = (Vec::new(), std::collections::BTreeSet::new(), 0);
    for line in told.lines() {
        let (text, kind) = line.split_once(' ').unwrap();
        let ip: IpAddr = text.parse().unwrap();
        let special = match led_to(kind, ip) {
            // What it leads to was told as an address of its own.
            Some(v4) => forbidden(v4.into()).is_some(),
            None => kind != "unicast" || !is_allocated(ip),
        };
        if forbidden(ip).is_some() != special {
            wrong.push(format!("{text}: {kind} there, {:?} here", forbidden(ip)));
        }
        kinds.insert(kind.to_string());
        count += 1;
    }
    println!("{count} addresses of {} kinds, seed {seed}", kinds.len());
    assert!(kinds.len() > 15 && count > 60_000, "{kinds:?}");
    assert_eq!(wrong, Vec::<String>::new());
}
