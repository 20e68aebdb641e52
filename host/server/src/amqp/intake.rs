//! Takes messages from `busbar.in`: acknowledged only after they are committed; what is refused goes
//! to `busbar.dead` with its reason; questions are answered to `reply_to`.

use super::publishers::Allowed;
use super::topology::Topology;
use crate::cloudevents;
use crate::hub::{Hub, Pending, reused_problem};
use busbar_core::ports::{Confirms, Outgoing, Received, Tag, Transport};
use busbar_core::{Code, IntakeKind, Journal, Message, NewMessage, Payload, Problem, Refusal, Stater};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const BATCH_MAX: usize = 256;
/// Messages that one task prepares: small enough that several cores share a batch.
const PREPARED_TOGETHER: usize = 8;
/// Batches being committed while the next is taken.
const BATCHES_AT_ONCE: usize = 8;
const QUESTIONS_AT_ONCE: usize = 64;
const QUESTION_DEADLINE_MS: u64 = 30_000;
/// Until a message is put aside once more that could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until `stop`, and then until what was taken is settled.
pub async fn run(
    hub: Arc<Hub>,
    transport: Arc<dyn Transport>,
    topology: Topology,
    allowed: Allowed,
    stop: CancellationToken,
) {
    let intake = Arc::new(BrokerIntake { hub, transport, dead: topology.dead(), allowed, stop: stop.clone() });
    let batches = Arc::new(Semaphore::new(BATCHES_AT_ONCE));
    let questions = Arc::new(Semaphore::new(QUESTIONS_AT_ONCE));
    let mut running = JoinSet::new();
    while !stop.is_cancelled() {
        let received = tokio::select! {
            received = intake.transport.receive(BATCH_MAX) => received,
            () = stop.cancelled() => break,
        };
        let Ok(received) = received else { break };
        let mut messages = Vec::with_capacity(received.len());
        for one in received {
            if one.reply_to.is_some()
                && let Ok(question) = Message::from_payload(&one.payload)
                && intake.is_question(&question)
            {
                let Ok(permit) = questions.clone().acquire_owned().await else { return };
                let intake = intake.clone();
                running.spawn(async move {
                    intake.answer(one, question).await;
                    drop(permit);
                });
            } else {
                messages.push(one);
            }
        }
        let Ok(permit) = batches.clone().acquire_owned().await else { return };
        let prepared = intake.prepare(messages).await;
        // Handed over here, one after another: the order of commits is the order of arrival.
        let (taken, confirms) = intake.submit(prepared).await;
        let intake = intake.clone();
        running.spawn(async move {
            intake.settle(taken, confirms).await;
            drop(permit);
        });
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
}

struct BrokerIntake {
    hub: Arc<Hub>,
    transport: Arc<dyn Transport>,
    dead: String,
    allowed: Allowed,
    stop: CancellationToken,
}

/// A message that was looked at.
enum Prepared {
    Refused(Problem),
    Commit(Box<NewMessage>),
    /// Not to be written, should all of this be published.
    Relay(Box<NewMessage>, Vec<Outgoing>),
}

/// A message on its way.
enum Taken {
    Refused(Problem),
    Committing {
        id: String,
        pending: Pending,
    },
    /// So many messages to be confirmed.
    Relaying(Box<NewMessage>, usize),
    /// The hub is stopping: it stays with the broker.
    Left,
}

impl BrokerIntake {
    fn is_question(&self, message: &Message) -> bool {
        self.hub.rules.catalog.answer_type(&message.r#type).is_some()
    }

    async fn prepare(self: &Arc<Self>, messages: Vec<Received>) -> Vec<(Received, Prepared)> {
        if messages.len() <= PREPARED_TOGETHER {
            return self.prepare_some(messages).await;
        }
        let mut parts = Vec::new();
        let mut rest = messages.into_iter().peekable();
        while rest.peek().is_some() {
            let part: Vec<_> = rest.by_ref().take(PREPARED_TOGETHER).collect();
            let intake = self.clone();
            parts.push(tokio::spawn(async move { intake.prepare_some(part).await }));
        }
        let mut prepared = Vec::with_capacity(BATCH_MAX);
        for part in parts {
            // Messages of a part that panicked stay with the broker and come again.
            prepared.extend(part.await.unwrap_or_default());
        }
        prepared
    }

    async fn prepare_some(&self, messages: Vec<Received>) -> Vec<(Received, Prepared)> {
        let mut prepared = Vec::with_capacity(messages.len());
        for received in messages {
            let one = self.prepare_one(&received).await.unwrap_or_else(Prepared::Refused);
            prepared.push((received, one));
        }
        prepared
    }

    async fn prepare_one(&self, received: &Received) -> Result<Prepared, Problem> {
        if let Some(fault) = &received.fault {
            return Err(fault.clone());
        }
        let stater = self.allowed.stater(received)?;
        let mut new = self.hub.admit(stater, Message::from_payload(&received.payload)?)?;
        if new.journal == Journal::None {
            // While the broker takes nothing it is written down, and those behind it need not wait.
            if self.transport.trouble().is_none()
                && let Some(outgoing) = self.hub.attempter.relayed(&new).await
            {
                return Ok(Prepared::Relay(Box::new(new), outgoing));
            }
            new.journal = Journal::Envelope;
        }
        self.hub.attempter.make_ahead(&mut new).await;
        Ok(Prepared::Commit(Box::new(new)))
    }

    async fn submit(&self, prepared: Vec<(Received, Prepared)>) -> (Vec<(Received, Taken)>, Option<Confirms>) {
        let (mut ids, mut commits, mut outgoing) = (Vec::new(), Vec::new(), Vec::new());
        let mut taken = Vec::with_capacity(prepared.len());
        for (received, one) in prepared {
            let one = match one {
                Prepared::Refused(problem) => Taken::Refused(problem),
                Prepared::Commit(new) => {
                    ids.push((taken.len(), new.message.id.clone()));
                    commits.push(self.hub.plain(vec![*new]));
                    Taken::Left
                }
                Prepared::Relay(new, published) => {
                    let count = published.len();
                    outgoing.extend(published);
                    Taken::Relaying(new, count)
                }
            };
            taken.push((received, one));
        }
        // When the hub is stopping they stay with the broker.
        let pending = self.hub.committer.submit_all(commits, true).await.unwrap_or_default();
        for ((at, id), pending) in ids.into_iter().zip(pending) {
            if let Some(slot) = taken.get_mut(at) {
                slot.1 = Taken::Committing { id, pending };
            }
        }
        let confirms = if outgoing.is_empty() { None } else { Some(self.transport.hand_over(outgoing).await) };
        (taken, confirms)
    }

    async fn settle(&self, taken: Vec<(Received, Taken)>, confirms: Option<Confirms>) {
        let confirmed = match confirms {
            Some(confirms) => confirms.await,
            None => Vec::new(),
        };
        let mut confirmed = confirmed.into_iter();
        let mut tags = Vec::with_capacity(taken.len());
        for (received, one) in taken {
            let result = match one {
                Taken::Left => continue,
                Taken::Refused(problem) => Err(problem),
                Taken::Relaying(new, count) => {
                    let relayed = confirmed.by_ref().take(count).filter(Result::is_ok).count() == count;
                    if relayed { Ok(true) } else { self.keep(*new).await }
                }
                Taken::Committing { id, pending } => committed(&id, pending).await,
            };
            let settled = match result {
                Ok(settled) => settled,
                Err(problem) => self.refuse(&received, &problem).await,
            };
            if settled {
                tags.push(received.tag);
            }
        }
        self.ack(&tags).await;
    }

    /// Writes a message that could not be relayed at once: it is delivered as any other.
    async fn keep(&self, new: NewMessage) -> Result<bool, Problem> {
        let id = new.message.id.clone();
        let commit = self.hub.plain(vec![NewMessage { journal: Journal::Envelope, ..new }]);
        match self.hub.committer.submit_all(vec![commit], true).await.map(|mut pending| pending.pop()) {
            Ok(Some(pending)) => committed(&id, pending).await,
            _ => Ok(false),
        }
    }

    async fn ack(&self, tags: &[Tag]) {
        if let Err(problem) = self.transport.ack(tags).await {
            tracing::debug!(%problem, "acknowledgement failed; the messages come again and are known");
        }
    }

    /// Puts the message aside with its reason. `false` when that failed: it stays unacknowledged.
    async fn refuse(&self, received: &Received, problem: &Problem) -> bool {
        tracing::warn!(%problem, routing_key = received.routing_key, "a message was refused");
        let mut payload = received.payload.clone();
        if received.original.0.is_some() {
            payload.attributes.clear(); // They are in the original, as they were written.
        }
        let mut note = |name: &str, value: &str| payload.attributes.push((name.to_string(), value.to_string()));
        note("busbarerror", problem.code.as_str());
        note("busbardetail", &problem.detail);
        note("busbarplace", problem.place.as_deref().unwrap_or_default());
        let outgoing = Outgoing {
            exchange: self.dead.clone(),
            routing_key: received.routing_key.clone(),
            payload,
            original: received.original.clone(),
            correlation_id: received.correlation_id.clone(),
            ..Outgoing::default()
        };
        while let Some(Err(failure)) = self.transport.publish(vec![outgoing.clone()]).await.pop() {
            // The message would wait for the other connection to end, by which it came.
            if self.stop.is_cancelled() || !matches!(failure.code, Code::BrokerUnavailable | Code::Unroutable) {
                return false;
            }
            tokio::time::sleep(AGAIN).await;
        }
        match self.allowed.stater(received) {
            Ok(stater) => {
                self.hub.refuse_stated(IntakeKind::Amqp, &stater.by, &received.routing_key, problem).await;
                self.reply(received, problem_payload(problem)).await;
            }
            Err(_) => self.hub.refuse(IntakeKind::Amqp, "amqp", &received.routing_key, problem).await,
        }
        true
    }

    async fn answer(&self, received: Received, question: Message) {
        let stater = match self.may_ask(&received, &question) {
            Ok(stater) => stater,
            Err(problem) => {
                if self.refuse(&received, &problem).await {
                    self.ack(&[received.tag]).await;
                }
                return;
            }
        };
        let answer = match self.hub.questions.ask(question, &stater.by, QUESTION_DEADLINE_MS).await {
            Ok(answer) => cloudevents::payload(&answer),
            Err(problem) => problem_payload(&problem),
        };
        self.reply(&received, answer).await;
        self.ack(&[received.tag]).await;
    }

    fn may_ask(&self, received: &Received, question: &Message) -> Result<&Stater, Problem> {
        let stater = self.allowed.stater(received)?;
        stater.may_ask(question)?;
        received.reply_to.as_deref().map(|queue| self.allowed.reply_queue(queue)).transpose()?;
        Ok(stater)
    }

    /// Answers where an answer may go.
    async fn reply(&self, received: &Received, payload: Payload) {
        let Some(reply_to) = &received.reply_to else { return };
        let Ok(queue) = self.allowed.reply_queue(reply_to) else { return };
        let outgoing = Outgoing {
            exchange: String::new(),
            routing_key: queue.to_string(),
            payload,
            correlation_id: received.correlation_id.clone(),
            ..Outgoing::default()
        };
        for result in self.transport.publish(vec![outgoing]).await {
            if let Err(problem) = result {
                tracing::info!(%problem, "nobody waits for an answer any more");
            }
        }
    }
}

/// Whether the message is durable; when not, it stays with the broker.
async fn committed(id: &String, pending: Pending) -> Result<bool, Problem> {
    match pending.wait().await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(Refusal::IdReused { .. })) => Err(reused_problem(Some(id))),
        Ok(Err(_)) | Err(_) => Ok(false),
    }
}

fn problem_payload(problem: &Problem) -> Payload {
    let body = serde_json::json!({
        "type": format!("urn:busbar:error:{}", problem.code.as_str()),
        "title": problem.code.meaning(),
        "detail": problem.detail,
        "code": problem.code.as_str(),
        "remedy": problem.code.remedy(),
    });
    Payload {
        attributes: Vec::new(),
        content_type: Some("application/problem+json".into()),
        body: body.to_string().into_bytes(),
    }
}
