//! Asterisk's stand-in: the manager interface (AMI) with login by MD5 challenge, calls that are answered, and callers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

const CHALLENGE: &str = "840415273";

/// A block of `Key: Value`; of keys that come again the last.
pub type Block = BTreeMap<String, String>;

/// The running stand-in. Dropping it ends its connections.
#[derive(Debug)]
pub struct Asterisk {
    originated: Arc<Mutex<Vec<Block>>>,
    events: broadcast::Sender<String>,
    stop: CancellationToken,
}

impl Asterisk {
    /// The calls it was told to make.
    pub fn originated(&self) -> Vec<Block> {
        crate::lock(&self.originated).clone()
    }

    /// Sends an event to whoever is logged in.
    pub fn tell(&self, lines: &[(&str, &str)]) {
        let _ = self.events.send(block(lines));
    }
}

impl Drop for Asterisk {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts it for the user with this secret.
pub async fn start(addr: SocketAddr, user: &str, secret: &str) -> io::Result<Asterisk> {
    let listener = TcpListener::bind(addr).await?;
    let (events, _) = broadcast::channel(256);
    let asterisk = Asterisk { originated: Arc::default(), events: events.clone(), stop: CancellationToken::new() };
    let (originated, stop) = (asterisk.originated.clone(), asterisk.stop.clone());
    let login = (user.to_owned(), hex_md5(&format!("{CHALLENGE}{secret}")));
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = stream else { continue };
            let (originated, events, login, stop) = (originated.clone(), events.clone(), login.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    _ = talk(stream, &login, &originated, &events) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    });
    Ok(asterisk)
}

async fn talk(
    stream: TcpStream,
    login: &(String, String),
    originated: &Mutex<Vec<Block>>,
    events: &broadcast::Sender<String>,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"Asterisk Call Manager/7.0.3\r\n").await?;
    let mut news = events.subscribe();
    let (mut action, mut logged_in) = (Block::new(), false);
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            event = news.recv(), if logged_in => {
                if let Ok(event) = event {
                    write.write_all(event.as_bytes()).await?;
                }
                continue;
            }
        };
        let Some(line) = line else { return Ok(()) };
        if let Some((key, value)) = line.split_once(':') {
            action.insert(key.trim().to_lowercase(), value.trim().to_owned());
            continue;
        }
        let action = std::mem::take(&mut action);
        let of = |key: &str| action.get(key).map(String::as_str).unwrap_or_default();
        let id = of("actionid");
        let answer = match of("action").to_lowercase().as_str() {
            "challenge" => block(&[("Response", "Success"), ("Challenge", CHALLENGE), ("ActionID", id)]),
            "login" if (of("username"), of("key")) == (login.0.as_str(), login.1.as_str()) => {
                logged_in = true;
                let welcome =
                    block(&[("Response", "Success"), ("ActionID", id), ("Message", "Authentication accepted")]);
                welcome + &block(&[("Event", "FullyBooted"), ("Status", "Fully Booted")])
            }
            "login" => block(&[("Response", "Error"), ("ActionID", id), ("Message", "Authentication failed")]),
            "ping" => block(&[("Response", "Success"), ("ActionID", id), ("Ping", "Pong")]),
            "originate" => answered(id, originated, action.clone()),
            _ => block(&[("Response", "Success"), ("ActionID", id)]),
        };
        write.write_all(answer.as_bytes()).await?;
    }
}

/// The call is made, answered, and ended by whoever was called.
fn answered(id: &str, originated: &Mutex<Vec<Block>>, action: Block) -> String {
    let mut all = crate::lock(originated);
    let unique = format!("1795350000.{}", all.len() + 1);
    let channel = format!("{}-0000000{}", action.get("channel").cloned().unwrap_or_default(), all.len() + 1);
    all.push(action);
    let queued = [("Response", "Success"), ("ActionID", id), ("Message", "Originate successfully queued")];
    let up = [
        ("Event", "OriginateResponse"),
        ("ActionID", id),
        ("Response", "Success"),
        ("Channel", channel.as_str()),
        ("Reason", "4"),
        ("Uniqueid", unique.as_str()),
    ];
    let over = [
        ("Event", "Hangup"),
        ("Channel", channel.as_str()),
        ("ChannelState", "6"),
        ("Uniqueid", unique.as_str()),
        ("Linkedid", unique.as_str()),
        ("Cause", "16"),
        ("Cause-txt", "Normal Clearing"),
    ];
    block(&queued) + &block(&up) + &block(&over)
}

fn block(lines: &[(&str, &str)]) -> String {
    let lines: String = lines.iter().map(|(key, value)| format!("{key}: {value}\r\n")).collect();
    lines + "\r\n"
}

fn hex_md5(text: &str) -> String {
    use md5::Digest;
    md5::Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
