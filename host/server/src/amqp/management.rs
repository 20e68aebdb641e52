//! What RabbitMQ's management says of a queue: AMQP tells nothing of policies (RabbitMQ, HTTP API, `/api/queues/{vhost}/{name}`).

use crate::egress::{Egress, HttpRequest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use busbar_core::{Code, Problem};
use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

/// An answer has a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const ANSWER_MAX_MS: u64 = 5_000;

/// The management of a broker, and who asks it.
pub struct Management {
    egress: Egress,
    base: Url,
    user: String,
    authorization: SecretString,
    vhost: String,
}

/// What policies say of one queue, merged by the broker.
#[derive(Debug, Default, PartialEq)]
pub struct Governed {
    pub policy: Option<String>,
    pub operator_policy: Option<String>,
    pub definition: Value,
}

#[derive(Deserialize)]
struct QueueAnswer {
    policy: Option<String>,
    operator_policy: Option<String>,
    effective_policy_definition: Option<Value>,
}

impl Management {
    /// `url` of the management; user, password and virtual host are the broker's, unless `url` names a user.
    ///
    /// # Errors
    /// `internal` for a URL that `busbar check` lets through and is none, or when TLS cannot be set up.
    pub fn new(url: &SecretString, broker: &SecretString) -> Result<Self, Problem> {
        let failed = |e: String| Problem::new(Code::Internal, format!("amqp.management: {e}"));
        let mut base = Url::parse(url.expose_secret()).map_err(|e| failed(e.to_string()))?;
        let AMQPUri { authority, vhost, .. } = login(&mut base, broker.expose_secret()).map_err(failed)?;
        let (user, password) = (authority.userinfo.username, authority.userinfo.password);
        let authorization = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))).into();
        // The operator wrote this very address down: it may be a private one.
        let private = base.host_str().map(str::to_string).into_iter().collect();
        let egress = Egress::new(private, ANSWER_BYTES_MAX, ANSWER_BYTES_MAX)?;
        Ok(Self { egress, base, user, authorization, vhost })
    }

    /// What policies say of `queue`.
    ///
    /// # Errors
    /// Why that is not known, and what to do.
    pub async fn governed(&self, queue: &str) -> Result<Governed, String> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "queues", &self.vhost, queue]);
        }
        url.set_query(Some("columns=policy,operator_policy,effective_policy_definition"));
        let request = HttpRequest {
            method: "GET".into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            authorization: None,
            timeout_ms: ANSWER_MAX_MS,
        };
        let authorization = ("authorization".into(), self.authorization.expose_secret().to_string());
        let answer = self.egress.send(request, Some(authorization)).await;
        let answer = answer.map_err(|failure| format!("the management cannot be reached: {}", failure.text()))?;
        match answer.status {
            200 => read(queue, &answer.body),
            401 | 403 => Err(format!(
                "the management refuses the user `{}` ({}): it needs the tag `management` or `monitoring` and rights in the virtual host \
                 `{}`, as by `rabbitmqctl set_user_tags {} management`",
                self.user, answer.status, self.vhost, self.user
            )),
            404 => Err(format!(
                "the management knows no queue `{queue}` in the virtual host `{}`: is it another broker's?",
                self.vhost
            )),
            status => Err(format!("the management answers {status}")),
        }
    }
}

/// The broker's URL with the user that asks. One that `base` names is taken out of it: both are encoded alike.
fn login(base: &mut Url, broker: &str) -> Result<AMQPUri, String> {
    let mut broker = Url::parse(broker).map_err(|e| e.to_string())?;
    if !base.username().is_empty() {
        let set = broker.set_username(base.username()).and_then(|()| broker.set_password(base.password()));
        let set = set.and_then(|()| base.set_username("")).and_then(|()| base.set_password(None));
        set.map_err(|()| "a URL without a host".to_string())?;
    }
    broker.as_str().parse()
}

/// A queue's policies come with its statistics, some seconds after it is made.
fn read(queue: &str, body: &[u8]) -> Result<Governed, String> {
    let answer: QueueAnswer =
        serde_json::from_slice(body).map_err(|e| format!("the management's answer is no queue: {e}"))?;
    let named = |name: Option<String>| name.filter(|name| !name.is_empty());
    let none_yet = || {
        format!("the management has no statistics of `{queue}`: they come within seconds, unless they are switched off")
    };
    Ok(Governed {
        policy: named(answer.policy),
        operator_policy: named(answer.operator_policy),
        definition: answer.effective_policy_definition.ok_or_else(none_yet)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_s_user_asks_unless_the_url_names_one() -> Result<(), String> {
        for (management, user, password, rest) in [
            ("https://one.example:15671/rabbit/", "hub", "p@ss", "https://one.example:15671/rabbit/"),
            ("http://look%20er:s%3Aecret@one.example:15672", "look er", "s:ecret", "http://one.example:15672/"),
        ] {
            let mut base = Url::parse(management).map_err(|e| e.to_string())?;
            let login = login(&mut base, "amqps://hub:p%40ss@broker.example/%2fhub?heartbeat=5")?;
            let userinfo = login.authority.userinfo;
            assert_eq!((userinfo.username.as_str(), userinfo.password.as_str()), (user, password));
            assert_eq!((login.vhost.as_str(), base.as_str()), ("/hub", rest));
        }
        Ok(())
    }

    #[test]
    fn an_answer_without_statistics_is_no_answer() {
        let answer = br#"{"effective_policy_definition":{"expires":5},"operator_policy":"","policy":"p"}"#;
        let (policy, definition) = (Some("p".to_string()), serde_json::json!({ "expires": 5 }));
        assert_eq!(read("q", answer), Ok(Governed { policy, operator_policy: None, definition }));
        let nothing = read("q", br#"{"name":"q"}"#);
        assert!(nothing.is_err_and(|why| why.contains("no statistics of `q`")));
    }
}
