//! Policies of the broker that undo what the hub declares. Whoever administers the broker can set them at any time, for all
//! queues at once, and AMQP tells nothing of them; so the management is asked, where the deployment names it.

use super::link::Live;
use super::management::{Governed, Management};
use super::topology::{DELIVERY_LIMIT, KeptQueue};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(15);
/// What is not known is asked for so soon again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The start waits no longer for the first look.
const FIRST_MAX: Duration = Duration::from_secs(10);

/// One thing that a policy undoes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Undone {
    queue: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_policy: Option<String>,
    key: &'static str,
    value: Value,
    /// Messages vanish by it, or leave the queue before they were taken.
    loses: bool,
    effect: &'static str,
    remedy: String,
}

/// What `governed` undoes of what the hub declares for `kept`. Where a queue's own argument wins it has no effect, and is not
/// told. Of quorum queues (tried on RabbitMQ 3.10 and 4.0): of limits the smaller one holds, of `overflow` the policy's,
/// of dead-lettering the queue's own; `max-age` is for streams, and a negative `delivery-limit` takes nothing away.
fn undone(kept: &KeptQueue, governed: &Governed) -> Vec<Undone> {
    let value = |key: &str| governed.definition.get(key);
    // Anything but this word is `drop-head` to a quorum queue.
    let overflow = value("overflow").map(|word| word == "reject-publish");
    let rejects = overflow.unwrap_or(kept.puts_aside);
    let back_max = value("delivery-limit").and_then(Value::as_i64);
    let limited = |most: i64| back_max.is_some_and(|limit| (0..most).contains(&limit));
    let too_full = if rejects { "a full queue takes no message" } else { "a full queue drops its oldest messages" };
    let mut found = Vec::new();
    let mut tell = |key: &'static str, holds: bool, loses: bool, effect: &'static str| {
        let Some(value) = value(key).filter(|_| holds) else { return };
        let names = [("policy", &governed.policy), ("operator policy", &governed.operator_policy)];
        let names = names.iter().filter_map(|(kind, name)| name.as_ref().map(|name| format!("{kind} `{name}`")));
        let names = names.collect::<Vec<_>>().join(" or the ");
        found.push(Undone {
            queue: kept.queue.clone(),
            policy: governed.policy.clone(),
            operator_policy: governed.operator_policy.clone(),
            key,
            value: value.clone(),
            loses,
            effect,
            remedy: format!("take `{key}` out of the {names}, or have its pattern leave `{}` out", kept.queue),
        });
    };
    tell("message-ttl", true, true, "messages leave the queue unread");
    tell("expires", true, true, "the queue vanishes with its messages when nobody uses it");
    tell("max-length", true, !rejects, too_full);
    tell("max-length-bytes", true, !rejects, too_full);
    let (limited, few) = (limited(kept.delivery_limit), limited(DELIVERY_LIMIT.into()));
    tell("delivery-limit", limited, few, "messages leave the queue when they came back that often");
    let is_loose = kept.puts_aside && overflow == Some(false);
    tell("overflow", is_loose, false, "what is put aside by the broker may be lost on the way (at-most-once)");
    tell(
        "dead-letter-routing-key",
        kept.puts_aside,
        false,
        "what is put aside by the broker loses its type as routing key",
    );
    found
}

/// What is known of the policies.
#[derive(Debug, Default)]
pub struct Policies(Mutex<KnownPolicies>);

#[derive(Debug, Default)]
struct KnownPolicies {
    asked: bool,
    /// Whether the last look found out all.
    whole: bool,
    /// By queue, as it was last told.
    found: BTreeMap<String, Vec<Undone>>,
}

impl KnownPolicies {
    fn all(&self) -> Vec<Undone> {
        self.found.values().flatten().cloned().collect()
    }
}

impl Policies {
    fn known(&self) -> MutexGuard<'_, KnownPolicies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether messages vanish by one.
    pub fn lose(&self) -> bool {
        self.known().found.values().flatten().any(|undone| undone.loses)
    }

    /// Without the reason where it is not known, which has a user's name in it: whoever asks may have no key.
    pub fn shown(&self) -> Value {
        let known = self.known();
        match known.all() {
            _ if !known.asked => json!("not asked"),
            all if all.is_empty() && !known.whole => json!("not known"),
            all => json!(all),
        }
    }

    /// What a look found, by queue. What was found before stays until its queue is known to be without.
    fn note(&self, found: Vec<(String, Vec<Undone>)>, whole: bool) {
        let mut known = self.known();
        let before = known.all();
        known.found.extend(found);
        (known.asked, known.whole) = (true, whole);
        let now = known.all();
        if now != before && now.is_empty() {
            tracing::info!("no policy of the broker undoes what the hub declares any more");
        } else if now != before {
            tracing::warn!(policies = %json!(now), "policies of the broker undo what the hub declares");
        }
    }
}

/// Asks for them now and then.
pub struct PolicyWatcher {
    policies: Arc<Policies>,
    management: Management,
    queues: Vec<KeptQueue>,
    /// The last look did not find out all.
    missed: bool,
    /// Why not, as it was said.
    said: Option<String>,
}

impl PolicyWatcher {
    pub fn new(policies: Arc<Policies>, management: Management, queues: Vec<KeptQueue>) -> Self {
        Self { policies, management, queues, missed: false, said: None }
    }

    /// The first look, before a message is taken.
    pub async fn begin(&mut self) {
        // Who is slower than that is asked again soon.
        let _ = timeout(FIRST_MAX, self.look()).await;
    }

    /// Looks at each connection and now and then, until `stop`.
    pub async fn run(mut self, mut live: watch::Receiver<Option<Arc<Live>>>, stop: CancellationToken) {
        let mut pause = LOOK_AGAIN;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = live.changed() => {}
                () = stop.cancelled() => return,
            }
            pause = tokio::select! {
                is_known = self.look() => if is_known { LOOK_EVERY } else { LOOK_AGAIN },
                () = stop.cancelled() => return,
            };
        }
    }

    /// Whether all is known.
    async fn look(&mut self) -> bool {
        let (mut found, mut failure) = (Vec::new(), None);
        for kept in &self.queues {
            match self.management.governed(&kept.queue).await {
                Ok(governed) => {
                    let undone = undone(kept, &governed);
                    metrics::gauge!("busbar_broker_policies", "queue" => kept.queue.clone()).set(undone.len() as f64);
                    found.push((kept.queue.clone(), undone));
                }
                // The others would be no better: the management is one.
                Err(why) => {
                    failure = Some(why);
                    break;
                }
            }
        }
        let is_known = failure.is_none();
        self.policies.note(found, is_known);
        self.say(failure);
        is_known
    }

    /// A queue's first seconds, or a broker's, need no line: said is what lasts until the next look.
    fn say(&mut self, failure: Option<String>) {
        let lasts = std::mem::replace(&mut self.missed, failure.is_some());
        match failure {
            None if self.said.take().is_some() => tracing::info!("the broker's policies are known again"),
            Some(why) if lasts && self.said.as_ref() != Some(&why) => {
                tracing::warn!(why, "the broker's policies are not known");
                self.said = Some(why);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(puts_aside: bool, definition: Value) -> Vec<(&'static str, bool)> {
        let delivery_limit = if puts_aside { 100_000 } else { i64::from(i32::MAX) };
        let kept = KeptQueue { queue: "q".into(), delivery_limit, puts_aside };
        let governed = Governed { policy: Some("p".into()), operator_policy: Some("o".into()), definition };
        let found = undone(&kept, &governed);
        assert!(
            found.iter().all(|undone| undone.remedy.contains("the policy `p` or the operator policy `o`")),
            "{found:?}"
        );
        found.into_iter().map(|undone| (undone.key, undone.loses)).collect()
    }

    #[test]
    fn what_has_an_effect_is_told_and_what_loses_messages_is_told_apart() {
        for (puts_aside, definition, expected) in [
            (true, json!({}), vec![]),
            (true, json!([]), vec![]),
            (true, json!({ "message-ttl": 0, "expires": 9 }), vec![("message-ttl", true), ("expires", true)]),
            // The queue's own `reject-publish` stays.
            (true, json!({ "max-length": 5 }), vec![("max-length", false)]),
            (false, json!({ "max-length-bytes": 5 }), vec![("max-length-bytes", true)]),
            (false, json!({ "max-length": 5, "overflow": "reject-publish" }), vec![("max-length", false)]),
            (
                true,
                json!({ "max-length": 5, "overflow": "drop-head" }),
                vec![("max-length", true), ("overflow", false)],
            ),
            (true, json!({ "overflow": "reject-publish-dlx" }), vec![("overflow", false)]),
            (true, json!({ "overflow": "reject-publish" }), vec![]),
            (false, json!({ "overflow": "drop-head" }), vec![]),
            (true, json!({ "delivery-limit": 99_999 }), vec![("delivery-limit", true)]),
            (true, json!({ "delivery-limit": 100_000 }), vec![]),
            (false, json!({ "delivery-limit": 100_000 }), vec![("delivery-limit", false)]),
            (true, json!({ "delivery-limit": -1, "max-age": "1h", "target-group-size": 3 }), vec![]),
            (true, json!({ "dead-letter-exchange": "x", "dead-letter-strategy": "at-most-once" }), vec![]),
            (true, json!({ "dead-letter-routing-key": "x" }), vec![("dead-letter-routing-key", false)]),
            (false, json!({ "dead-letter-routing-key": "x" }), vec![]),
        ] {
            assert_eq!(found(puts_aside, definition.clone()), expected, "{definition}");
        }
    }

    #[test]
    fn what_was_found_stays_until_it_is_known_to_be_gone() {
        let kept = KeptQueue { queue: "q".into(), delivery_limit: 1, puts_aside: true };
        let governed = Governed { definition: json!({ "expires": 9 }), ..Governed::default() };
        let policies = Policies::default();
        assert_eq!(policies.shown(), json!("not asked"));
        policies.note(Vec::new(), false);
        assert_eq!((policies.shown(), policies.lose()), (json!("not known"), false));
        policies.note(vec![("a".into(), Vec::new()), ("q".into(), undone(&kept, &governed))], true);
        policies.note(vec![("a".into(), Vec::new())], false);
        assert!(policies.lose() && policies.shown()[0]["key"] == "expires", "{}", policies.shown());
        policies.note(vec![("q".into(), Vec::new())], true);
        assert_eq!((policies.shown(), policies.lose()), (json!([]), false));
    }
}
