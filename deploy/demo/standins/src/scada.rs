//! SCADA's stand-in: a controlled station of IEC 60870-5-104 with single points, for one controlling station at a time.
//! It confirms STARTDT, answers tests and interrogations, and tells at once when a switch moves (M_SP_TB_1, cause 3).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use time::{OffsetDateTime, UtcOffset};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

const STARTDT_ACT: u8 = 0x07;
const STARTDT_CON: u8 = 0x0b;
const TESTFR_ACT: u8 = 0x43;
const TESTFR_CON: u8 = 0x83;
const M_SP_NA_1: u8 = 1;
const M_SP_TB_1: u8 = 30;
const C_IC_NA_1: u8 = 100;

type Points = Arc<Mutex<BTreeMap<u32, bool>>>;

/// The running stand-in. Dropping it ends its connection.
#[derive(Debug)]
pub struct Scada {
    points: Points,
    moved: broadcast::Sender<(u32, bool)>,
    stop: CancellationToken,
}

impl Scada {
    /// Moves a switch: on is closed.
    pub fn switch(&self, object: u32, on: bool) {
        crate::lock(&self.points).insert(object, on);
        // Nobody may be connected: the next interrogation tells.
        let _ = self.moved.send((object, on));
    }

    /// Whether somebody is connected.
    pub fn is_connected(&self) -> bool {
        self.moved.receiver_count() > 0
    }
}

impl Drop for Scada {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts it with these points, all on.
pub async fn start(addr: SocketAddr, station: u16, objects: &[u32]) -> io::Result<Scada> {
    let listener = TcpListener::bind(addr).await?;
    let points: Points = Arc::new(Mutex::new(objects.iter().map(|object| (*object, true)).collect()));
    let (moved, _) = broadcast::channel(64);
    let stop = CancellationToken::new();
    let scada = Scada { points: points.clone(), moved: moved.clone(), stop: stop.clone() };
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = stream else { continue };
            let mut line = Line { stream, station, sent: 0, received: 0, points: points.clone() };
            tokio::select! {
                _ = line.talk(moved.clone()) => {}
                () = stop.cancelled() => return,
            }
        }
    });
    Ok(scada)
}

struct Line {
    stream: TcpStream,
    station: u16,
    /// V(S) and V(R).
    sent: u16,
    received: u16,
    points: Points,
}

impl Line {
    async fn talk(&mut self, moved: broadcast::Sender<(u32, bool)>) -> io::Result<()> {
        let mut news: Option<broadcast::Receiver<(u32, bool)>> = None;
        loop {
            let mut head = [0u8; 2];
            tokio::select! {
                read = self.stream.read_exact(&mut head) => drop(read?),
                told = next(&mut news) => {
                    let Some((object, on)) = told else { continue };
                    self.tell(M_SP_TB_1, 3, object, &[&[u8::from(on)][..], &now()].concat()).await?;
                    continue;
                }
            }
            let mut frame = vec![0; usize::from(head[1])];
            self.stream.read_exact(&mut frame).await?;
            match frame.first().copied().unwrap_or_default() {
                STARTDT_ACT => {
                    news = Some(moved.subscribe());
                    self.stream.write_all(&[0x68, 4, STARTDT_CON, 0, 0, 0]).await?;
                }
                TESTFR_ACT => self.stream.write_all(&[0x68, 4, TESTFR_CON, 0, 0, 0]).await?,
                control if control & 1 == 0 => {
                    self.received = (self.received + 1) & 0x7fff;
                    if frame.get(4) == Some(&C_IC_NA_1) {
                        self.interrogated().await?;
                    }
                }
                _ => {}
            }
        }
    }

    async fn interrogated(&mut self) -> io::Result<()> {
        let points: Vec<_> = crate::lock(&self.points).clone().into_iter().collect();
        self.tell(C_IC_NA_1, 7, 0, &[20]).await?;
        for (object, on) in points {
            self.tell(M_SP_NA_1, 20, object, &[u8::from(on)]).await?;
        }
        self.tell(C_IC_NA_1, 10, 0, &[20]).await
    }

    /// One ASDU with one object, in an I frame.
    async fn tell(&mut self, kind: u8, cause: u8, object: u32, element: &[u8]) -> io::Result<()> {
        let [station_low, station_high] = self.station.to_le_bytes();
        let [a, b, c, _] = object.to_le_bytes();
        let asdu = [&[kind, 1, cause, 0, station_low, station_high, a, b, c], element].concat();
        let length = u8::try_from(asdu.len() + 4).unwrap_or(u8::MAX);
        let (sent, received) = ((self.sent << 1).to_le_bytes(), (self.received << 1).to_le_bytes());
        self.sent = (self.sent + 1) & 0x7fff;
        self.stream.write_all(&[&[0x68, length], &sent[..], &received, &asdu].concat()).await
    }
}

async fn next(news: &mut Option<broadcast::Receiver<(u32, bool)>>) -> Option<(u32, bool)> {
    match news {
        Some(news) => news.recv().await.ok(),
        None => std::future::pending().await,
    }
}

/// CP56Time2a of now, in Moscow's time (IEC 60870-5-4, 6.8).
fn now() -> [u8; 7] {
    let zone = UtcOffset::from_hms(3, 0, 0).unwrap_or(UtcOffset::UTC);
    let now = OffsetDateTime::now_utc().to_offset(zone);
    let [low, high] = (u16::from(now.second()) * 1000 + now.millisecond()).to_le_bytes();
    let year = u8::try_from(now.year() % 100).unwrap_or_default();
    [low, high, now.minute(), now.hour(), now.day(), u8::from(now.month()), year]
}
