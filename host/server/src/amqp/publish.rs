//! Publishing with confirms and `mandatory`. One publisher per hub gathers what waits and has it
//! confirmed together.

use super::attributes::fields;
use super::fit;
use super::frames::down;
use super::link::{Doubt, Live, PUBLISHERS, is_live};
use busbar_core::ports::Outgoing;
use busbar_core::{Code, Payload, Problem};
use futures::FutureExt;
use futures::future::maybe_done;
use futures::poll;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, ErrorKind, PublisherConfirm};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

const BATCH_MAX: usize = 256;
/// Header of a copy with the id that its return is matched by.
const PUBLISHED: &str = "busbar-published";
pub(super) const DIRECT_REPLY: &str = "amq.rabbitmq.reply-to";
const QUEUE_MAX: usize = 512;
/// All that stands in properties beside the headers: short strings of 255 bytes each.
const SHORT_BYTES_MAX: usize = 2_048;
/// AMQP 0-9-1, section 1.2, constants.
const PRECONDITION_FAILED: u16 = 406;

const NOT_CONFIRMED: &str = "no confirm in time (amqp.confirm-timeout-ms)";

pub type PublishJob = (Outgoing, oneshot::Sender<Result<(), Problem>>);

/// The publishers of a hub. Messages with the same key go to the same one, and stay in order.
pub struct Publishers {
    queues: Vec<mpsc::Sender<PublishJob>>,
}

impl Publishers {
    pub fn start(live: &watch::Receiver<Option<Arc<Live>>>, doubt: &Arc<Doubt>, timeout: Duration) -> Self {
        let start = |_| {
            let (queue, jobs) = mpsc::channel(QUEUE_MAX);
            let publisher = Publisher { live: live.clone(), own: None, doubt: doubt.clone(), timeout };
            tokio::spawn(publisher.run(jobs));
            queue
        };
        Self { queues: (0..PUBLISHERS).map(start).collect() }
    }

    /// Hands a message over; the result comes after its confirm.
    pub async fn publish(&self, outgoing: Outgoing) -> oneshot::Receiver<Result<(), Problem>> {
        let (answer, result) = oneshot::channel();
        let place = self.place(&outgoing);
        if let Some(queue) = self.queues.get(place) {
            // A closed queue drops the answer, which says that the hub is stopping.
            let _ = queue.send((outgoing, answer)).await;
        }
        result
    }

    fn place(&self, outgoing: &Outgoing) -> usize {
        let attribute = |name: &str| outgoing.payload.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        let key = attribute("partitionkey").or_else(|| attribute("subject"));
        let mut hash = std::hash::DefaultHasher::new();
        key.hash(&mut hash);
        usize::try_from(hash.finish() % PUBLISHERS as u64).unwrap_or(0)
    }
}

struct Publisher {
    live: watch::Receiver<Option<Arc<Live>>>,
    /// Its channel, and the number of the connection that has it.
    own: Option<(u64, Channel)>,
    doubt: Arc<Doubt>,
    timeout: Duration,
}

impl Publisher {
    /// Publishes until nobody can hand over any more.
    async fn run(mut self, mut jobs: mpsc::Receiver<PublishJob>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while jobs.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let (outgoing, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
            let results = self.publish_apart(outgoing).await;
            for (result, answer) in results.into_iter().zip(answers) {
                metrics::counter!("busbar_published_total", "outcome" => result.as_ref().err().map_or("ok", |p| p.code.as_str())).increment(1);
                let _ = answer.send(result);
            }
        }
    }

    /// Publishes a batch on a channel of this publisher's own. One that the broker refuses closes the channel, and with it all
    /// that comes after: those are published once more, one by one, so that it is known which one it was.
    async fn publish_apart(&mut self, batch: Vec<Outgoing>) -> Vec<Result<(), Problem>> {
        let mut results = self.publish(&batch).await;
        let closed = self.own.as_ref().is_some_and(|(_, channel)| !channel.status().connected());
        if batch.len() < 2 || !closed || is_live(&self.live).is_none() {
            return results;
        }
        for (result, outgoing) in results.iter_mut().zip(batch).filter(|(result, _)| result.is_err()) {
            *result = self.publish(&[outgoing]).await.pop().unwrap_or(Ok(()));
        }
        results
    }

    /// Publishes a batch once the broker reads, and gives the connection up where the confirms do not come.
    async fn publish(&mut self, batch: &[Outgoing]) -> Vec<Result<(), Problem>> {
        let opened = self.open().await;
        let (live, channel) = match opened {
            Ok(opened) => opened,
            Err(problem) => return vec![Err(problem); batch.len()],
        };
        live.reads().await;
        let results = publish(&channel, live.room(), batch, live.overdue(self.timeout)).await;
        if results.iter().any(Result::is_ok) {
            self.doubt.confirmed();
        } else if results.iter().any(|result| result.as_ref().is_err_and(|problem| problem.detail == NOT_CONFIRMED)) {
            live.give_up();
        }
        results
    }

    /// The connection that works now, and this publisher's channel on it.
    async fn open(&mut self) -> Result<(Arc<Live>, Channel), Problem> {
        let live = is_live(&self.live).ok_or_else(|| down("no connection to the broker"))?;
        let works = |(number, channel): &&(u64, Channel)| *number == live.number && channel.status().connected();
        let channel = match self.own.as_ref().filter(works) {
            Some((_, channel)) => channel.clone(),
            None => live.confirmed().await?,
        };
        self.own = Some((live.number, channel.clone()));
        Ok((live, channel))
    }
}

/// Publishes a batch; a message is a success only after its confirm, and only when it was not returned.
/// Unroutable messages are confirmed too, and lapin hands a return to whichever confirm comes next, so
/// returns are matched by `message_id` over the whole batch. `overdue` ends when the broker has had time enough.
pub async fn publish(
    channel: &Channel,
    room: usize,
    batch: &[Outgoing],
    overdue: impl Future<Output = ()>,
) -> Vec<Result<(), Problem>> {
    // A broker that reads nothing holds up handing over as well as the confirm.
    let overdue = overdue.shared();
    let ids: Vec<_> = batch.iter().map(published_as).collect();
    let mut handed_over = Vec::with_capacity(batch.len());
    for (outgoing, id) in batch.iter().zip(&ids) {
        let mut sent = Box::pin(maybe_done(hand_over(channel, room, outgoing, id)));
        // The first poll puts it in its place among the frames; to wait for each would be a write of the socket and two
        // switches of threads a message.
        let _ = poll!(sent.as_mut());
        handed_over.push(sent);
    }
    let mut confirms = Vec::with_capacity(batch.len());
    for mut sent in handed_over {
        tokio::select! {
            biased;
            () = sent.as_mut() => {}
            () = overdue.clone() => {}
        }
        let (confirm, overdue) = (sent.as_mut().take_output(), overdue.clone());
        confirms.push(async move {
            let confirm = match confirm {
                Some(Ok(confirm)) => confirm,
                Some(Err(refused)) => return Err(refused),
                None => return Err(down(NOT_CONFIRMED)),
            };
            tokio::select! {
                biased;
                confirmed = confirm => confirmed.map_err(|e| refusal(&e)),
                () = overdue => Err(down(NOT_CONFIRMED)),
            }
        });
    }
    let mut returned: HashMap<String, String> = HashMap::new();
    let mut results = Vec::with_capacity(ids.len());
    for confirm in confirms {
        results.push(match confirm.await {
            Ok(confirmation) => {
                let acked = confirmation.is_ack();
                let requested = confirmation != Confirmation::NotRequested;
                if let Some(message) = confirmation.take_message() {
                    returned.insert(published_id(&message.properties), message.reply_text.to_string());
                }
                if acked && requested { Ok(()) } else { Err(down("the broker did not take the message")) }
            }
            Err(problem) => Err(problem),
        });
    }
    for (result, (id, outgoing)) in results.iter_mut().zip(ids.iter().zip(batch)) {
        if let Some(reason) = returned.get(id) {
            let text = format!("routing key `{}`: {reason}", outgoing.routing_key);
            *result = Err(Problem::new(Code::Unroutable, text));
        }
    }
    results
}

/// What the broker says by closing the channel (AMQP 0-9-1, `precondition-failed`) it says of the message.
fn refusal(error: &lapin::Error) -> Problem {
    match error.kind() {
        ErrorKind::ProtocolError(refused) if refused.get_id() == PRECONDITION_FAILED => {
            Problem::new(Code::BrokerRefused, refused.get_message().to_string())
        }
        _ => down(&error.to_string()),
    }
}

async fn hand_over(channel: &Channel, room: usize, outgoing: &Outgoing, id: &str) -> Result<PublisherConfirm, Problem> {
    let Outgoing { exchange, routing_key, payload, .. } = outgoing;
    // A broker's own replying queue is none that it finds: RabbitMQ 3.10 delivers such an answer and returns it as well.
    let direct = exchange.is_empty() && routing_key.starts_with(DIRECT_REPLY);
    let options = BasicPublishOptions { mandatory: !direct, ..BasicPublishOptions::default() };
    let properties = fit(properties(outgoing, id), outgoing, room)?;
    let sent = channel.basic_publish(exchange.as_str().into(), short(routing_key), options, &payload.body, properties);
    sent.await.map_err(|e| refusal(&e))
}

/// A copy is cut to what fits; a message of the hub's own must stay as it is.
fn fit(properties: BasicProperties, outgoing: &Outgoing, room: usize) -> Result<BasicProperties, Problem> {
    if outgoing.original.0.is_some() {
        return Ok(fit::cut(properties, room));
    }
    // Nearly all are far below: only what may be too large is written out to be measured.
    let about: usize = outgoing.payload.attributes.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    if about + SHORT_BYTES_MAX < room {
        return Ok(properties);
    }
    let bytes = fit::bytes(&properties);
    if bytes <= room {
        return Ok(properties);
    }
    let text = format!("its properties have {bytes} bytes, and the broker's frame_max leaves {room}");
    Err(Problem::new(Code::BrokerRefused, text))
}

/// The id of a publish, the same each time a message is published: whoever gets it again can tell. Two of one batch with the
/// same id have the same way, so that a return of one is one of both.
fn published_as(outgoing: &Outgoing) -> String {
    let attribute = |name: &str| outgoing.payload.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    match (attribute("source"), attribute("id")) {
        (Some(source), Some(id)) if outgoing.original.0.is_none() => {
            let parts = [outgoing.exchange.as_str(), &outgoing.routing_key, source, id];
            let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part).chain_update([0]));
            let half = hash.finalize().as_slice().first_chunk().copied().unwrap_or_default();
            format!("{:032x}", u128::from_be_bytes(half))
        }
        _ => crate::ids::new_id(),
    }
}

fn properties(outgoing: &Outgoing, id: &str) -> BasicProperties {
    if let Some(original) = outgoing.original.0.as_ref().and_then(|original| original.downcast_ref()) {
        return copied(original, &outgoing.payload, id);
    }
    let mut properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(short(id))
        .with_content_type(short(outgoing.payload.content_type.as_deref().unwrap_or("application/json")))
        .with_headers(fields(&outgoing.payload));
    if let Some(reply_to) = &outgoing.reply_to {
        properties = properties.with_reply_to(short(reply_to));
    }
    if let Some(correlation_id) = &outgoing.correlation_id {
        properties = properties.with_correlation_id(short(correlation_id));
    }
    properties
}

type With = fn(BasicProperties, ShortString) -> BasicProperties;

/// The properties and headers of a message that is put aside, as its sender wrote them, and those of `payload` added.
/// What would make the broker do something with the copy stands under a name of its own.
fn copied(original: &BasicProperties, payload: &Payload, id: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in original.headers().iter().flat_map(FieldTable::inner) {
        match name.as_str() {
            // The broker would send copies where these say.
            "CC" | "BCC" => headers.insert(format!("busbar-{name}").into(), value.clone()),
            "x-delivery-count" => &mut headers,
            _ => headers.insert(name.clone(), value.clone()),
        };
    }
    let kept = [
        (PUBLISHED, &Some(short(id))),
        // The broker refuses another's name, and throws away what has expired.
        ("busbar-user-id", original.user_id()),
        ("busbar-expiration", original.expiration()),
        ("busbar-reply-to", original.reply_to()),
    ];
    for (name, value) in kept.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        headers.insert(name.into(), AMQPValue::LongString(value.as_str().into()));
    }
    for (name, value) in fields(payload).inner() {
        headers.insert(name.clone(), value.clone());
    }
    let mut properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
    let texts: [(&Option<ShortString>, With); 6] = [
        (original.message_id(), BasicProperties::with_message_id),
        (original.correlation_id(), BasicProperties::with_correlation_id),
        (original.content_type(), BasicProperties::with_content_type),
        (original.content_encoding(), BasicProperties::with_content_encoding),
        (original.kind(), BasicProperties::with_type),
        (original.app_id(), BasicProperties::with_app_id),
    ];
    for (text, with) in texts {
        if let Some(text) = text {
            properties = with(properties, text.clone());
        }
    }
    if let Some(timestamp) = original.timestamp() {
        properties = properties.with_timestamp(*timestamp);
    }
    match original.priority() {
        Some(priority) => properties.with_priority(*priority),
        None => properties,
    }
}

/// The id of a publish: of a copy it stands beside the sender's own.
fn published_id(properties: &BasicProperties) -> String {
    let header = properties.headers().as_ref().and_then(|headers| headers.inner().get(PUBLISHED));
    match header {
        Some(AMQPValue::LongString(id)) => id.to_string(),
        _ => properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// AMQP short strings hold 255 bytes; what is longer is cut at a character.
fn short(text: &str) -> ShortString {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().into()
}
