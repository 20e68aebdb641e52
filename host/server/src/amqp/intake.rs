//! Takes messages from `busbar.in`: acknowledged only after they are committed; what is refused goes
//! to `busbar.dead` with its reason; questions are answered to `reply_to`.

use super::topology::Topology;
use crate::cloudevents;
use crate::hub::{Hub, reused_problem};
use busbar_core::ports::{Outgoing, Received, Tag, Transport};
use busbar_core::{Code, IntakeKind, Message, Payload, Problem};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const BATCH_MAX: usize = 256;
/// Batches being committed while the next is taken.
const BATCHES_AT_ONCE: usize = 4;
const QUESTIONS_AT_ONCE: usize = 64;
const QUESTION_DEADLINE_MS: u64 = 30_000;
const STORE_RETRY: Duration = Duration::from_millis(250);

/// Runs until `stop`.
pub async fn run(hub: Arc<Hub>, transport: Arc<dyn Transport>, topology: Topology, stop: CancellationToken) {
    let intake = Arc::new(Intake { hub, transport, dead: topology.dead(), stop: stop.clone() });
    let batches = Arc::new(Semaphore::new(BATCHES_AT_ONCE));
    let questions = Arc::new(Semaphore::new(QUESTIONS_AT_ONCE));
    while !stop.is_cancelled() {
        let received = tokio::select! {
            received = intake.transport.receive(BATCH_MAX) => received,
            () = stop.cancelled() => break,
        };
        let Ok(received) = received else { break };
        let mut messages = Vec::with_capacity(received.len());
        for one in received {
            match Message::from_payload(&one.payload) {
                Ok(message) if one.reply_to.is_some() && intake.is_question(&message) => {
                    let Ok(permit) = questions.clone().acquire_owned().await else { return };
                    let intake = intake.clone();
                    tokio::spawn(async move {
                        intake.answer(one, message).await;
                        drop(permit);
                    });
                }
                parsed => messages.push((one, parsed)),
            }
        }
        let Ok(permit) = batches.clone().acquire_owned().await else { return };
        // Handed over here, one after another: the order of commits is the order of arrival.
        let pending = intake.submit(messages).await;
        let intake = intake.clone();
        tokio::spawn(async move {
            intake.settle(pending).await;
            drop(permit);
        });
    }
}

struct Intake {
    hub: Arc<Hub>,
    transport: Arc<dyn Transport>,
    dead: String,
    stop: CancellationToken,
}

type Pending = (Received, Result<(Message, crate::hub::Pending), Problem>);

impl Intake {
    fn is_question(&self, message: &Message) -> bool {
        self.hub.rules.catalog.answer_type(&message.r#type).is_some()
    }

    async fn submit(&self, messages: Vec<(Received, Result<Message, Problem>)>) -> Vec<Pending> {
        let mut pending = Vec::with_capacity(messages.len());
        for (received, parsed) in messages {
            let submitted = match parsed {
                Ok(message) => self.submit_one(message).await,
                Err(problem) => Err(problem),
            };
            pending.push((received, submitted));
        }
        pending
    }

    async fn submit_one(&self, message: Message) -> Result<(Message, crate::hub::Pending), Problem> {
        let admitted = self.hub.rules.admit(message.clone(), None)?;
        let pending = self.hub.committer.submit(self.hub.plain(vec![admitted])).await?;
        Ok((message, pending))
    }

    async fn settle(&self, pending: Vec<Pending>) {
        let mut tags = Vec::with_capacity(pending.len());
        for (received, submitted) in pending {
            let problem = match submitted {
                Ok((message, pending)) => self.committed(message, pending).await,
                Err(problem) => Some(problem),
            };
            let settled = match problem {
                None => true,
                Some(problem) if problem.code == Code::StoreUnavailable => false,
                Some(problem) => self.refuse(&received, &problem).await,
            };
            if settled {
                tags.push(received.tag);
            }
        }
        self.ack(&tags).await;
    }

    /// `None` when the message is durable; waits while the store is away, which holds up the broker.
    async fn committed(&self, message: Message, pending: crate::hub::Pending) -> Option<Problem> {
        let mut result = pending.wait().await;
        loop {
            match result {
                Ok(Ok(_)) => return None,
                Ok(Err(_)) => return Some(reused_problem(Some(&message.id))),
                Err(problem) if self.stop.is_cancelled() => return Some(problem),
                Err(problem) => tracing::warn!(%problem, "a message waits for the store"),
            }
            tokio::time::sleep(STORE_RETRY).await;
            result = match self.submit_one(message.clone()).await {
                Ok((_, pending)) => pending.wait().await,
                Err(problem) => return Some(problem),
            };
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
        let mut note = |name: &str, value: &str| payload.attributes.push((name.to_string(), value.to_string()));
        note("busbarerror", problem.code.as_str());
        note("busbardetail", &problem.detail);
        note("busbarplace", problem.place.as_deref().unwrap_or_default());
        let outgoing = Outgoing {
            exchange: self.dead.clone(),
            routing_key: received.routing_key.clone(),
            payload,
            reply_to: None,
            correlation_id: received.correlation_id.clone(),
        };
        if self.transport.publish(vec![outgoing]).await.iter().any(Result::is_err) {
            return false;
        }
        self.hub.refuse(IntakeKind::Amqp, "amqp", &received.routing_key, problem).await;
        if let Some(reply_to) = &received.reply_to {
            self.reply(reply_to, received.correlation_id.clone(), problem_payload(problem)).await;
        }
        true
    }

    async fn answer(&self, received: Received, question: Message) {
        let answer = match self.hub.questions.ask(question, QUESTION_DEADLINE_MS).await {
            Ok(answer) => cloudevents::payload(&answer),
            Err(problem) => problem_payload(&problem),
        };
        if let Some(reply_to) = &received.reply_to {
            self.reply(reply_to, received.correlation_id.clone(), answer).await;
        }
        self.ack(&[received.tag]).await;
    }

    async fn reply(&self, reply_to: &str, correlation_id: Option<String>, payload: Payload) {
        let outgoing = Outgoing {
            exchange: String::new(),
            routing_key: reply_to.to_string(),
            payload,
            reply_to: None,
            correlation_id,
        };
        for result in self.transport.publish(vec![outgoing]).await {
            if let Err(problem) = result {
                tracing::info!(%problem, "nobody waits for an answer any more");
            }
        }
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
