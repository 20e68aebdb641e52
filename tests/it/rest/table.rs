//! Each operation against each right: the table of `host/docs/rights.md` is what the hub does.

use crate::hub::{Answer, Hub};
use busbar_server::config::model::Right;
use busbar_server::rest::key_digest;
use busbar_server::rest::rights::{Guarded, endpoints};

/// A hub with a key for each right alone, and one that has none. Whoever may say something may say anything.
fn hub() -> Hub {
    let key = |right: &str, more: &str| {
        format!("[[http.keys]]\nname = \"only {right}\"\nsha256 = \"{}\"\n{more}\n", key_digest(&named(right)))
    };
    let of = |right: Right| {
        let patterns = match right {
            Right::Publish => "sources = [\"*\"]\ntypes = [\"*\"]",
            Right::Ask => "sources = [\"*\"]\nquestions = [\"*\"]",
            _ => "",
        };
        key(right.as_str(), &format!("rights = [\"{}\"]\n{patterns}", right.as_str()))
    };
    Hub::start(&format!("{}{}", Right::ALL.map(of).concat(), key("nothing", "rights = []")))
}

fn named(right: &str) -> String {
    format!("key with {right} alone")
}

async fn asked(hub: &Hub, endpoint: &Guarded, key: Option<&str>) -> Answer {
    let places = [("{id}", "1"), ("{seq}", "1"), ("{type}", "payment.received.v1"), ("{system}", "nobody")];
    let path = places.iter().fold(endpoint.path.clone(), |path, (place, value)| path.replace(place, value));
    assert!(!path.contains('{'), "no value for a place in {path}");
    let method = endpoint.method.parse().unwrap();
    let mut request = hub.client.request(method, format!("{}{path}", hub.url));
    if endpoint.method != "GET" {
        request = request.header("content-type", "application/json").body("{}");
    }
    hub.send(match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    })
    .await
}

#[tokio::test]
async fn every_operation_asks_for_the_right_that_the_table_says_and_for_no_other() {
    let hub = hub();
    let (endpoints, rights) = (endpoints(), Right::ALL.map(Right::as_str));
    assert!(endpoints.len() >= 21, "{} operations", endpoints.len());
    let mut wrong = Vec::new();
    for endpoint in &endpoints {
        let stranger = endpoint.rights.is_some().then_some(401);
        let nothing = named("nothing");
        let mut rows = vec![
            ("no key".to_string(), asked(&hub, endpoint, None).await, stranger),
            ("an unknown key".to_string(), asked(&hub, endpoint, Some("nobody's")).await, stranger),
            ("a key without rights".to_string(), asked(&hub, endpoint, Some(&nothing)).await, endpoint.refusal("")),
        ];
        for right in rights {
            rows.push((right.to_string(), asked(&hub, endpoint, Some(&named(right))).await, endpoint.refusal(right)));
        }
        for (who, answer, wanted) in rows {
            let found = answer.status;
            let right = match wanted {
                Some(status) => found == status,
                // Whatever the request deserves; the address and the method are there.
                None => ![401, 403, 405].contains(&found) && (found < 500 || endpoint.path == "/readyz"),
            };
            if !right {
                wrong.push(format!("{} {} with {who}: {found}, wanted {wanted:?}", endpoint.method, endpoint.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // One who may change something may also look at it only with the right to.
    assert!(endpoints.iter().any(|e| e.refusal("operate").is_some() && e.refusal("read").is_none()));
}
