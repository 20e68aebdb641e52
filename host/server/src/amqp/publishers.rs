//! Who publishes to the hub, and where answers may go.

use super::publish::DIRECT_REPLY;
use super::topology::Topology;
use crate::config::model::{AmqpConfig, KnownBy};
use busbar_core::ports::Received;
use busbar_core::{Code, Problem, Stater, covers};
use std::collections::HashMap;

/// A publisher of this name is whoever may write to the exchange.
const ANYBODY: &str = "*";

/// Those that `amqp.publishers` names.
#[derive(Default)]
pub struct Allowed {
    by_exchange: HashMap<String, Stater>,
    by_user: HashMap<String, Stater>,
    anybody: Option<Stater>,
    reply_queues: Vec<String>,
}

impl Allowed {
    pub fn new(config: &AmqpConfig, topology: &Topology, deployment: &str) -> Self {
        let mut allowed = Self { reply_queues: config.reply_queues.clone(), ..Self::default() };
        for publisher in &config.publishers {
            let stater = publisher.stater(deployment);
            match publisher.known_by {
                KnownBy::Exchange => {
                    allowed.by_exchange.insert(topology.incoming_of(&publisher.name), stater);
                }
                KnownBy::UserId if publisher.name == ANYBODY => allowed.anybody = Some(stater),
                KnownBy::UserId => {
                    allowed.by_user.insert(publisher.name.clone(), stater);
                }
            }
        }
        allowed
    }

    /// Who published this.
    ///
    /// # Errors
    /// `unknown-publisher`.
    pub fn stater(&self, received: &Received) -> Result<&Stater, Problem> {
        if let Some(stater) = self.by_exchange.get(&received.exchange) {
            return Ok(stater);
        }
        let known = received.user.as_ref().and_then(|user| self.by_user.get(user)).or(self.anybody.as_ref());
        known.ok_or_else(|| {
            let text = match &received.user {
                Some(user) => format!("the user `{user}` is none of [[amqp.publishers]]"),
                None => "the message has no user-id, and came over no publisher's own exchange".to_string(),
            };
            Problem::new(Code::UnknownPublisher, text)
        })
    }

    /// The queue that an answer goes to.
    ///
    /// # Errors
    /// `reply-refused`: it is another's, for all that the hub knows.
    pub fn reply_queue<'a>(&self, reply_to: &'a str) -> Result<&'a str, Problem> {
        let direct =
            reply_to == DIRECT_REPLY || reply_to.strip_prefix(DIRECT_REPLY).is_some_and(|r| r.starts_with('.'));
        if direct || self.reply_queues.iter().any(|pattern| covers(pattern, reply_to)) {
            return Ok(reply_to);
        }
        Err(Problem::new(Code::ReplyRefused, format!("no answers go to the queue `{reply_to}`")).at("reply_to"))
    }
}
