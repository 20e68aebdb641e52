//! TCP connections of the real program: what is acknowledged is in the journal, what is delivered is settled once,
//! whatever ends first.

use crate::hub::{Hub, READER, TOKEN, payment, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The far end's side of one connection, in lines.
struct Line {
    read: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Line {
    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let (read, write) = stream.into_split();
        Self { read: BufReader::new(read).lines(), write }
    }

    /// What the hub says next; empty when it closed the connection.
    async fn heard(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(15), self.read.next_line()).await.expect("silence");
        line.ok().flatten().unwrap_or_default()
    }

    async fn say(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.unwrap();
    }

    /// Lets it log in; says for the which time this session connects.
    async fn welcome(&mut self) -> String {
        let login = self.heard().await;
        let count = login.strip_prefix(&format!("LOGIN {TOKEN} ")).unwrap_or_else(|| panic!("{login}")).to_string();
        self.say("WELCOME\n").await;
        count
    }
}

struct Far(TcpListener);

impl Far {
    async fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    async fn accept(&self) -> Line {
        let accepted = tokio::time::timeout(Duration::from_secs(15), self.0.accept()).await;
        Line::over(accepted.expect("nobody connects").unwrap().0)
    }
}

fn system(connection: &str) -> String {
    format!(
        r#"
[systems.line]
adapter = "hostile"
connection = {connection}
credentials = {{ token = {{ file = "secrets/token" }}, other = {{ file = "secrets/token" }} }}
[systems.line.limits]
deadline-ms = 1500
[systems.line.policy]
attempts = 5
backoff-first-ms = 50
backoff-max-ms = 200
breaker-first-ms = 100
breaker-max-ms = 100
[systems.line.grants]
credentials = ["token"]
emit = ["payment.received.v1"]
state = true
[[routes]]
types = ["payment.received.v1"]
to = ["line"]
when = 'source == "/test/cash"'
"#
    )
}

fn connecting(far: &Far) -> String {
    system(&format!(r#"{{ connect = ["{}"], ready-timeout-ms = 300 }}"#, far.address()))
}

async fn stated(hub: &Hub) -> BTreeSet<String> {
    let found = hub.messages("source=/test/line").await;
    found.iter().map(|m| m["id"].as_str().unwrap().to_string()).collect()
}

async fn shown(hub: &Hub) -> Value {
    let systems = hub.get(READER, "/v1/systems").await.body;
    systems.as_array().unwrap().iter().find(|s| s["name"] == "line").unwrap()["connection"].clone()
}

/// Until the delivery of message `id` has ended so, and how often it was tried.
async fn ended(hub: &Hub, taken: &Value, state: &str) -> Value {
    hub.settled(&taken["seq"], &[state]).await["deliveries"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_over_a_connection_survives_kill_9() {
    let far = Far::listen().await;
    let mut hub = Hub::start(&connecting(&far));
    let mut acknowledged = BTreeSet::new();
    let mut said = BTreeSet::new();
    for round in 0..4 {
        let mut line = far.accept().await;
        assert_eq!(line.welcome().await, "1");
        let mut text = String::new();
        for n in 0..120 {
            let id = format!("p-{}", round * 90 + n); // A quarter comes again each time.
            text.push_str(&format!("PAY {id} 500100200300 1.{:02}\n", (round * 90 + n) % 100));
            said.insert(id);
        }
        // In pieces that cut lines anywhere.
        for piece in text.as_bytes().chunks(997) {
            line.write.write_all(piece).await.unwrap();
        }
        for _ in 0..35 * round {
            acknowledged.insert(line.heard().await.strip_prefix("ACK ").unwrap().to_string());
        }
        hub.restart();
        let there = stated(&hub).await;
        assert!(acknowledged.is_subset(&there), "{:?} are lost", acknowledged.difference(&there));
    }
    assert!(acknowledged.len() > 100);
    // Nothing twice: what came again was known by its id.
    let all = hub.messages("source=/test/line").await;
    assert_eq!(all.len(), stated(&hub).await.len());
    assert!(stated(&hub).await.is_subset(&said));
    let intakes = hub.intakes("system=line").await;
    assert!(intakes.iter().all(|i| i["kind"] == "connection" && i["outcome"] != "refused"), "{intakes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_ends_as_the_far_end_says() {
    let far = Far::listen().await;
    let hub = Hub::start(&connecting(&far));
    let mut line = far.accept().await;
    line.welcome().await;
    let done = hub.publish(&payment("d-1", "1", "1.00")).await;
    assert_eq!(line.heard().await, "PUT d-1 1");
    line.say("DO").await;
    let refused = hub.publish(&payment("r-1", "2", "1.00")).await;
    assert_eq!(line.heard().await, "PUT r-1 2");
    line.say("NE d-").await;
    line.say("1\nREFUSED r-1\n").await;
    let delivery = ended(&hub, &done, "done").await;
    let call = &delivery["calls"][0];
    assert_eq!((&call["kind"], &call["request"]["body"]), (&json!("connection"), &json!("PUT d-1 1\n")), "{delivery}");
    assert_eq!(call["answer"], json!({ "settled": "ok" }));
    assert_eq!(ended(&hub, &refused, "parked").await["error"]["code"], "refused");
    // Refused by the adapter itself: nothing is sent.
    let nobody = hub.publish(&payment("n-1", "000000000000", "1.00")).await;
    assert_eq!(ended(&hub, &nobody, "parked").await["error"]["place"], "/data/account");
    // Not now: tried again.
    let busy = hub.publish(&payment("b-1", "3", "1.00")).await;
    assert_eq!(line.heard().await, "PUT b-1 3");
    line.say("BUSY b-1\n").await;
    assert_eq!(line.heard().await, "PUT b-1 3");
    line.say("DONE b-1\n").await;
    assert_eq!(ended(&hub, &busy, "done").await["attempts"], 2);
    // Whoever may not read personal data does not see what was sent.
    let masked = hub.get(READER, &format!("/v1/messages/{}", done["seq"].as_str().unwrap())).await.body.to_string();
    assert!(!masked.contains("PUT d-1"), "{masked}");
    assert_eq!(shown(&hub).await["state"], "ready");
    let metrics = hub.client.get(format!("{}/metrics", hub.url)).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("busbar_connection_ready{system=\"line\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_without_an_answer_is_parked_and_one_that_was_not_sent_goes_again() {
    let far = Far::listen().await;
    let hub = Hub::start(&connecting(&far));
    let mut line = far.accept().await;
    assert_eq!(line.welcome().await, "1");
    let lost = hub.publish(&payment("x-1", "1", "1.00")).await;
    assert_eq!(line.heard().await, "PUT x-1 1");
    let unsent = hub.publish(&payment("t-1", "2", "1.00")).await;
    assert_eq!(line.heard().await, "PUT t-1 2");
    drop(line);
    assert_eq!(ended(&hub, &lost, "parked").await["error"]["code"], "unknown-outcome");
    // The same session: it counts its connections.
    let mut line = far.accept().await;
    assert_eq!(line.welcome().await, "2");
    assert_eq!(line.heard().await, "PUT t-1 2");
    line.say("DONE t-1\n").await;
    assert_eq!(ended(&hub, &unsent, "done").await["error"], Value::Null);
    // A person has found out that it did not arrive: it is sent as if for the first time.
    let parked = ended(&hub, &lost, "parked").await["id"].clone();
    let retry = format!("{}/v1/deliveries/{}/retry", hub.url, parked.as_str().unwrap());
    let retried = hub.send(hub.client.post(retry).bearer_auth(crate::hub::OPERATOR)).await;
    assert_eq!(retried.status, 204, "{retried:?}");
    assert_eq!(line.heard().await, "PUT x-1 1");
    line.say("DONE x-1\n").await;
    ended(&hub, &lost, "done").await;
    // An answer that takes too long is none; what comes late changes nothing.
    let slow = hub.publish(&payment("x-2", "3", "1.00")).await;
    assert_eq!(line.heard().await, "PUT x-2 3");
    assert_eq!(ended(&hub, &slow, "parked").await["error"]["code"], "unknown-outcome");
    line.say("DONE x-2\nDO settle\n").await;
    let next = hub.publish(&payment("x-3", "4", "1.00")).await;
    assert_eq!(line.heard().await, "PUT x-3 4");
    line.say("DONE x-3\n").await;
    ended(&hub, &next, "done").await;
    assert_eq!(ended(&hub, &slow, "parked").await["attempts"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_the_adapter_knows_that_it_may_have_sent_a_message() {
    let far = Far::listen().await;
    let mut hub = Hub::start(&connecting(&far));
    let mut line = far.accept().await;
    line.welcome().await;
    let taken = hub.publish(&payment("k-1", "1", "1.00")).await;
    assert_eq!(line.heard().await, "PUT k-1 1");
    hub.restart();
    let mut line = far.accept().await;
    assert_eq!(line.welcome().await, "1");
    assert_eq!(line.heard().await, "AGAIN k-1 1");
    line.say("DONE k-1\n").await;
    ended(&hub, &taken, "done").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_far_end_is_away_no_delivery_loses_attempts() {
    let far = Far::listen().await;
    let hub = Hub::start(&connecting(&far));
    let waiting = hub.publish(&payment("w-1", "1", "1.00")).await;
    wait_for("the breaker", async || {
        let systems = hub.get(READER, "/v1/systems").await.body;
        systems.as_array()?.iter().any(|s| s["name"] == "line" && s["down-since-ms"].is_i64()).then_some(())
    })
    .await;
    // Connected is not logged in: still nothing is given to it.
    let mut line = far.accept().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shown(&hub).await["state"], "connected");
    line.welcome().await;
    assert_eq!(line.heard().await, "PUT w-1 1");
    line.say("DONE w-1\n").await;
    ended(&hub, &waiting, "done").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_on_a_connection_is_written_down_and_the_next_one_works() {
    let far = Far::listen().await;
    let hub = Hub::start(&connecting(&far));
    // What is said; the code; whether the session goes on.
    let wrong = [
        ("PAY q-1 5 1.00\nGARBAGE\n", "bad-line", true),
        ("DO trap\n", "adapter-trap", false),
        ("DO loop\n", "adapter-timeout", false),
        ("DO alloc\n", "adapter-limit", false),
        ("DO flood\n", "adapter-limit", false),
        ("DO secret\n", "missing-grant", false),
        ("PAY q-2 5 nonsense\n", "invalid-emit", false),
    ];
    let mut count = 0;
    for (text, code, goes_on) in wrong {
        let mut line = far.accept().await;
        count += 1;
        assert_eq!(line.welcome().await, count.to_string(), "before {text}");
        line.say(text).await;
        assert_eq!(line.heard().await, "", "{text}"); // Closed, and nothing was acknowledged.
        let newest =
            wait_for(code, async || hub.intakes("system=line").await.into_iter().find(|i| i["error"]["code"] == code));
        let newest = newest.await;
        assert_eq!((&newest["outcome"], &newest["kind"]), (&json!("refused"), &json!("connection")));
        if code == "bad-line" {
            assert_eq!(newest["error"]["place"], "byte 23");
        }
        if !goes_on {
            count = 0;
        }
    }
    assert!(stated(&hub).await.is_empty());
    let mut line = far.accept().await;
    line.welcome().await;
    line.say("PAY q-3 5 1.00\nQUIET 50\n").await;
    assert_eq!((line.heard().await, line.heard().await), ("ACK q-3".into(), "PING".into()));
    line.say("BYE\n").await;
    assert_eq!(line.heard().await, "");
    assert!(!hub.log().contains(TOKEN));
    assert!(!hub.get(crate::hub::OFFICER, "/v1/intakes?system=line").await.body.to_string().contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_far_end_may_connect_to_the_hub_if_it_is_known() {
    let port = crate::servers::free_port();
    let open = format!(r#"{{ listen = "127.0.0.1:{port}", from = ["127.0.0.1"], connections-max = 2 }}"#);
    let hub = Hub::start(&system(&open));
    let connect = async || Line::over(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    let (mut one, mut two) = (connect().await, connect().await);
    // Each has a session of its own.
    assert_eq!((one.welcome().await, two.welcome().await), ("1".into(), "1".into()));
    one.say("PAY l-1 5 1.00\n").await;
    two.say("PAY l-2 5 2.00\n").await;
    assert_eq!((one.heard().await, two.heard().await), ("ACK l-1".into(), "ACK l-2".into()));
    // A third waits until there is room.
    let mut three = connect().await;
    let early = tokio::time::timeout(Duration::from_millis(500), three.read.next_line()).await;
    assert!(early.is_err(), "{early:?}");
    drop(one);
    three.welcome().await;
    drop(two);
    let taken = hub.publish(&payment("l-9", "1", "1.00")).await;
    assert_eq!(three.heard().await, "PUT l-9 1");
    three.say("DONE l-9\n").await;
    ended(&hub, &taken, "done").await;
    drop(hub);
    let closed = format!(r#"{{ listen = "127.0.0.1:{port}", from = ["10.1.2.3"] }}"#);
    let hub = Hub::start(&system(&closed));
    assert_eq!(connect().await.heard().await, "");
    assert!(hub.log().contains("turned away"), "{}", hub.log());
}

/// A certificate of `name` with its key, signed by itself, and good as its own authority.
fn certificate(hub: &std::path::Path, file: &str, name: &str) {
    let mut openssl = std::process::Command::new("openssl");
    openssl.current_dir(hub).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]);
    openssl.args(["-days", "30", "-subj", "/CN=test", "-addext", &format!("subjectAltName=DNS:{name}")]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.args(["-keyout", &format!("{file}.key"), "-out", &format!("{file}.pem")]);
    let made = openssl.output().expect("openssl is not installed: apt-get install openssl");
    assert!(made.status.success(), "{made:?}");
}

/// Both ends are this hub's: each takes the other's login for the garbage it is, so it came through.
#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_both_ends_are_verified() {
    let port = crate::servers::free_port();
    let end = |name: &str, connection: &str| {
        system(connection).replace("systems.line", &format!("systems.{name}")).replace(
            "[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"line\"]\nwhen = 'source == \"/test/cash\"'\n",
            "",
        )
    };
    let door = |ca: &str| {
        format!(
            r#"{{ listen = "127.0.0.1:{port}", tls = {{ ca = "{ca}", certificate = "door.pem", key = {{ file = "door.key" }} }} }}"#
        )
    };
    let caller = |name: &str| {
        format!(
            r#"{{ connect = ["127.0.0.1:{port}"], tls = {{ ca = "door.pem", server-name = "{name}", certificate = "caller.pem", key = {{ file = "caller.key" }} }} }}"#
        )
    };
    let cases = [
        (door("caller.pem"), caller("door.example"), true),
        (door("caller.pem"), caller("other.example"), false),
        (door("door.pem"), caller("door.example"), false),
    ];
    for (door, caller, good) in cases {
        let hub = Hub::prepared(&format!("{}{}", end("door", &door), end("caller", &caller)), |folder| {
            certificate(folder, "door", "door.example");
            certificate(folder, "caller", "caller.example");
        });
        if good {
            for system in ["door", "caller"] {
                let refused = async || hub.intakes(&format!("system={system}")).await.into_iter().next();
                let refused = wait_for("a refused login", refused).await;
                assert_eq!(refused["error"]["code"], "bad-line", "{refused}");
            }
        } else {
            wait_for("a failed handshake", async || hub.log().contains("certificate").then_some(())).await;
            assert!(hub.intakes("system=door").await.is_empty() && hub.intakes("system=caller").await.is_empty());
        }
    }
}

/// Two hubs on one store, with this system.
async fn two_hubs(systems: &str) -> [Hub; 2] {
    let store = tokio::task::spawn_blocking(crate::servers::database).await.unwrap();
    let toml = format!("[store]\nurl = \"{store}\"\n{systems}");
    // One after the other: the first one makes the tables.
    [Hub::start(&toml), Hub::start(&toml)]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_hubs_delivers_its_share_over_a_connection_of_its_own() {
    let far = Far::listen().await;
    let hubs = two_hubs(&connecting(&far)).await;
    let (mut one, mut two) = (far.accept().await, far.accept().await);
    one.welcome().await;
    two.welcome().await;
    let mut taken = Vec::new();
    for n in 0..60 {
        taken.push(hubs[0].publish(&payment(&format!("s-{n}"), &n.to_string(), "1.00")).await);
    }
    // Each far end says done to whatever it gets, until all is done.
    let serve = async |line: &mut Line| {
        let mut heard = Vec::new();
        while let Ok(Ok(Some(put))) = tokio::time::timeout(Duration::from_secs(5), line.read.next_line()).await {
            let id = put.split(' ').nth(1).unwrap().to_string();
            line.say(&format!("DONE {id}\n")).await;
            heard.push(id);
        }
        heard
    };
    let (first, second) = tokio::join!(serve(&mut one), serve(&mut two));
    assert!(!first.is_empty() && !second.is_empty(), "{} and {}", first.len(), second.len());
    let all: BTreeSet<_> = first.iter().chain(&second).collect();
    assert_eq!((all.len(), first.len() + second.len()), (60, 60));
    for taken in &taken {
        ended(&hubs[0], taken, "done").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hubs_one_listens_to_scada_and_the_other_takes_over() {
    let far = Far::listen().await;
    let scada = format!(
        "[systems.scada]\nadapter = \"iec104\"\nconnection = {{ connect = [\"{}\"] }}\n[systems.scada.grants]\nemit = [\"outage.changed.v1\"]\nstate = true\nclock = true\n",
        far.address()
    );
    let mut hubs = two_hubs(&scada).await;
    let first = far.0.accept().await.unwrap();
    // A listener that only gets must not be there twice: nobody else connects, whoever has the shard in the end.
    let mut last = first;
    while let Ok(next) = tokio::time::timeout(Duration::from_secs(4), far.0.accept()).await {
        last = next.unwrap();
    }
    let states = async |hub: &Hub| hub.get(READER, "/v1/systems").await.body[0]["connection"]["state"].clone();
    let both = [states(&hubs[0]).await, states(&hubs[1]).await];
    assert!(both.contains(&json!("elsewhere")) && both.contains(&json!("connected")), "{both:?}");
    let connected = usize::from(both[1] == "connected");
    hubs[connected].kill();
    drop(last);
    // Its leases run out after some seconds.
    tokio::time::timeout(Duration::from_secs(20), far.0.accept()).await.expect("nobody took over").unwrap();
}
