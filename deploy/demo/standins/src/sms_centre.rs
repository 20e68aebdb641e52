//! The SMS centre's stand-in: an SMPP 3.4 server that takes messages and tells that each was delivered.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const RESPONSE: u32 = 0x8000_0000;
const BIND_TRANSCEIVER: u32 = 9;
const SUBMIT_SM: u32 = 4;
const DELIVER_SM: u32 = 5;
const UNBIND: u32 = 6;
const ENQUIRE_LINK: u32 = 0x15;
const ESME_RINVPASWD: u32 = 0x0e;
const UCS2: u8 = 8;
/// Delivered so long after it was taken.
const WAY: Duration = Duration::from_millis(200);

/// One part of a message, as it was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    pub id: String,
    pub from: String,
    pub to: String,
    /// Without the header of a long message's part.
    pub text: String,
}

/// The running stand-in. Dropping it ends its connections.
#[derive(Debug)]
pub struct SmsCentre {
    taken: Arc<Mutex<Vec<Taken>>>,
    stop: CancellationToken,
}

impl SmsCentre {
    /// What it took by now.
    pub fn taken(&self) -> Vec<Taken> {
        crate::lock(&self.taken).clone()
    }
}

impl Drop for SmsCentre {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts it for whoever has the password.
pub async fn start(addr: SocketAddr, password: &str) -> io::Result<SmsCentre> {
    let listener = TcpListener::bind(addr).await?;
    let (taken, stop) = (Arc::<Mutex<Vec<Taken>>>::default(), CancellationToken::new());
    let centre = SmsCentre { taken: taken.clone(), stop: stop.clone() };
    let password = password.to_owned();
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = stream else { continue };
            let (taken, password, stop) = (taken.clone(), password.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    _ = talk(stream, &password, &taken) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    });
    Ok(centre)
}

struct Pdu {
    command: u32,
    sequence: u32,
    body: Vec<u8>,
}

async fn talk(stream: TcpStream, password: &str, taken: &Mutex<Vec<Taken>>) -> io::Result<()> {
    let (mut read, mut write) = stream.into_split();
    let (send, mut sending) = mpsc::channel::<Vec<u8>>(1000);
    let writer = tokio::spawn(async move {
        while let Some(bytes) = sending.recv().await {
            write.write_all(&bytes).await?;
        }
        Ok::<_, io::Error>(())
    });
    let mut receipts = 0;
    while let Ok(pdu) = next(&mut read).await {
        let (status, body) = match pdu.command {
            BIND_TRANSCEIVER if strings(&pdu.body, 2).get(1).map(String::as_str) != Some(password) => {
                (ESME_RINVPASWD, Vec::new())
            }
            BIND_TRANSCEIVER => (0, b"centre\0".to_vec()),
            SUBMIT_SM => {
                let id = take(&pdu.body, taken);
                receipts += 1;
                let (sequence, receipt, send) = (receipts, receipt(&id), send.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(WAY).await;
                    let _ = send.send(bytes(DELIVER_SM, 0, sequence, &receipt)).await;
                });
                (0, format!("{id}\0").into_bytes())
            }
            UNBIND | ENQUIRE_LINK => (0, Vec::new()),
            _ => continue,
        };
        if send.send(bytes(pdu.command | RESPONSE, status, pdu.sequence, &body)).await.is_err() {
            break;
        }
    }
    drop(send);
    let _ = writer.await;
    Ok(())
}

async fn next(read: &mut OwnedReadHalf) -> io::Result<Pdu> {
    let length = read.read_u32().await?;
    let (command, _status, sequence) = (read.read_u32().await?, read.read_u32().await?, read.read_u32().await?);
    let mut body = vec![0; usize::try_from(length).unwrap_or_default().saturating_sub(16).min(1 << 16)];
    read.read_exact(&mut body).await?;
    Ok(Pdu { command, sequence, body })
}

fn bytes(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 16).unwrap_or(u32::MAX);
    let head = [length, command, status, sequence].map(u32::to_be_bytes).concat();
    [head, body.to_vec()].concat()
}

/// So many texts, each ended by a zero.
fn strings(body: &[u8], count: usize) -> Vec<String> {
    body.split(|byte| *byte == 0).take(count).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

/// The mandatory fields of submit_sm (SMPP 3.4, section 4.4.1) in turn.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let text = String::from_utf8_lossy(self.0.get(..end).unwrap_or_default()).into_owned();
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        text
    }

    fn byte(&mut self) -> u8 {
        let byte = self.0.first().copied().unwrap_or_default();
        self.0 = self.0.get(1..).unwrap_or_default();
        byte
    }
}

/// Keeps a message and gives its id.
fn take(body: &[u8], taken: &Mutex<Vec<Taken>>) -> String {
    let mut fields = Fields(body);
    fields.text(); // service_type
    let mut party = || {
        fields.byte();
        fields.byte();
        fields.text()
    };
    let (from, to) = (party(), party());
    let esm_class = fields.byte();
    fields.byte(); // protocol_id
    fields.byte(); // priority_flag
    fields.text(); // schedule_delivery_time
    fields.text(); // validity_period
    fields.byte(); // registered_delivery
    fields.byte(); // replace_if_present_flag
    let coding = fields.byte();
    fields.byte(); // sm_default_msg_id
    let length = usize::from(fields.byte());
    let message = fields.0.get(..length).unwrap_or_default();
    // A part of a long message has a header before its text (3GPP TS 23.040, section 9.2.3.24).
    let header = if esm_class & 0x40 == 0 { 0 } else { usize::from(message.first().copied().unwrap_or_default()) + 1 };
    let message = message.get(header..).unwrap_or_default();
    let text = if coding == UCS2 {
        let units: Vec<u16> = message.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(message).into_owned()
    };
    let mut all = crate::lock(taken);
    let id = format!("{}", 7001 + all.len());
    all.push(Taken { id: id.clone(), from, to, text });
    id
}

/// deliver_sm with the receipt of a delivered message, in the text that SMPP 3.4 suggests (appendix B).
fn receipt(id: &str) -> Vec<u8> {
    let text =
        format!("id:{id} sub:001 dlvrd:001 submit date:2611221430 done date:2611221430 stat:DELIVRD err:000 text:");
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    let mut body = vec![0, 1, 1, b'7', 0, 5, 0, 0, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, length];
    body.extend_from_slice(text.as_bytes());
    body
}
