//! Which addresses no adapter reaches, as the special-purpose registries of IANA have them (RFC 6890 and its updates):
//! <https://www.iana.org/assignments/iana-ipv4-special-registry> and `iana-ipv6-special-registry` beside it. What another library
//! has of them is `judges::addresses`.
//! The first and the last address of each range are refused, and those beside it are not. Nothing is sent.

use busbar_server::egress::forbidden;
use std::net::IpAddr;

const REFUSED: [(&str, &str); 41] = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.31.196.0", "192.31.196.255"),
    ("192.52.193.0", "192.52.193.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("192.175.48.0", "192.175.48.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    // Multicast and 240.0.0.0/4, which begins where that ends.
    ("224.0.0.0", "255.255.255.255"),
    // ::, ::1 and addresses of IPv4 in the deprecated form of RFC 4291, section 2.5.5.1.
    ("::", "::ffff:ffff"),
    ("::127.0.0.1", "::8.8.8.8"),
    ("::ffff:10.0.0.0", "::ffff:10.255.255.255"),
    ("::ffff:198.18.0.0", "::ffff:198.19.255.255"),
    // The translated form of RFC 2765, section 2.1.
    ("::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"),
    ("64:ff9b::7f00:1", "64:ff9b::7f00:1"),
    ("64:ff9b::c0a8:0", "64:ff9b::c0a8:ffff"),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    ("100::", "100::ffff:ffff:ffff:ffff"),
    ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff"),
    // 2001::/23, with Teredo, benchmarking, ORCHID and the others in it.
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"),
    ("2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002:7f00:1::", "2002:808:808::"),
    ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

const TAKEN: [&str; 33] = [
    "1.0.0.0",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "203.0.114.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2001:200::",
    "2001:db7:ffff::",
    "2001:db9::",
    "2003::",
    "2606:4700:4700::1111",
    "2a00:1450:4010::8b",
    "3ffe:ffff::",
];

#[test]
fn special_addresses_are_refused_and_those_beside_them_taken() {
    let ip = |text: &str| -> IpAddr { text.parse().unwrap_or_else(|e| panic!("{text}: {e}")) };
    let through = REFUSED.iter().flat_map(|(first, last)| [first, last]).filter(|text| forbidden(ip(text)).is_none());
    let held: Vec<_> = TAKEN.iter().filter_map(|text| forbidden(ip(text)).map(|kind| (text, kind))).collect();
    assert_eq!((through.collect::<Vec<_>>(), held), (vec![], vec![]));
}

/// Nothing is allocated outside of 2000::/3 but what IANA lists as special: what comes from there is no server's address.
#[test]
fn of_ipv6_only_global_unicast_is_taken() {
    for text in ["1::1", "4000::1", "5eff::1", "8000::1", "fbff::1", "0:1::1"] {
        assert!(forbidden(text.parse().unwrap()).is_some(), "{text}");
    }
}
