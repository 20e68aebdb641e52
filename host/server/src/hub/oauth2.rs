//! Tokens of an authorization server (OAuth 2.0, RFC 6749): got, kept in memory and renewed by the hub. Neither adapters
//! nor the journal see them.

use crate::config::credentials::{ClientAuthentication, OAuth2};
use crate::egress::{Egress, HttpFailure, HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use busbar_core::Problem;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use url::form_urlencoded::{Serializer, byte_serialize};

const ANSWER_BYTES_MAX: usize = 256 << 10;
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// A token is renewed so long before its end, or after nine tenths of its time, whichever leaves more of it.
const MARGIN: Duration = Duration::from_secs(30);

/// One credential's tokens.
pub struct Tokens {
    name: String,
    client: OAuth2,
    egress: Egress,
    // Held while a token is asked for: whoever needs one meanwhile waits for the same.
    state: Mutex<TokenState>,
}

#[derive(Default)]
struct TokenState {
    token: Option<Token>,
    /// The newest, where the server replaces them.
    refresh: Option<SecretString>,
}

#[derive(Clone)]
struct Token {
    text: SecretString,
    /// Absent where the server does not say: until it is refused.
    until: Option<Instant>,
}

impl Tokens {
    /// # Errors
    /// As [`Egress::new`].
    pub fn new(name: &str, client: OAuth2) -> Result<Self, Problem> {
        let state = TokenState { token: None, refresh: client.refresh_token.clone() };
        // The operator wrote this very address down: it may be a private one, for these requests alone.
        let host = url::Url::parse(&client.config.token_url).ok().and_then(|url| url.host_str().map(str::to_string));
        let egress = Egress::new(host.into_iter().collect(), ANSWER_BYTES_MAX, ANSWER_BYTES_MAX)?;
        Ok(Self { name: name.to_string(), client, egress, state: Mutex::new(state) })
    }

    /// Sends a request with a token, and once more with a new one where one that was kept is refused: by 401 nothing was
    /// done.
    ///
    /// # Errors
    /// As [`Egress::send`]; `unreachable` where no token was given, so that the request was not sent.
    pub async fn send(&self, egress: &Egress, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let (token, is_new) = self.token(None, request.timeout_ms).await?;
        let answer = egress.send(request.clone(), Some(header(&token))).await?;
        if answer.status != 401 || is_new {
            return Ok(answer);
        }
        let (token, _) = self.token(Some(&token), request.timeout_ms).await?;
        egress.send(request, Some(header(&token))).await
    }

    /// A token that works, for all that is known, and whether it was asked for just now.
    async fn token(
        &self,
        refused: Option<&SecretString>,
        timeout_ms: u64,
    ) -> Result<(SecretString, bool), HttpFailure> {
        let mut state = self.state.lock().await;
        let works = |token: &&Token| {
            let is_refused = refused.is_some_and(|text| text.expose_secret() == token.text.expose_secret());
            !is_refused && token.until.is_none_or(|until| Instant::now() < until)
        };
        if let Some(token) = state.token.as_ref().filter(works) {
            return Ok((token.text.clone(), false));
        }
        state.token = None;
        let asked = Instant::now();
        let answer = self.egress.send(self.request(state.refresh.as_ref(), timeout_ms), self.client_header()).await;
        let answer = answer.map_err(|failure| self.none(&failure.text()))?;
        let given = Granted::read(&answer).map_err(|why| self.none(&why))?;
        if let Some(refresh) = given.refresh {
            self.keep(refresh.clone()).await;
            state.refresh = Some(refresh);
        }
        let lifetime = given.lifetime.map(|whole| whole.saturating_sub(MARGIN).max(whole / 10 * 9));
        state.token = Some(Token { text: given.token.clone(), until: lifetime.and_then(|l| asked.checked_add(l)) });
        Ok((given.token, true))
    }

    fn none(&self, why: &str) -> HttpFailure {
        HttpFailure::Unreachable(format!("no token for credential `{}`: {why}", self.name))
    }

    fn request(&self, refresh: Option<&SecretString>, timeout_ms: u64) -> HttpRequest {
        let OAuth2 { config, client_id, client_secret, .. } = &self.client;
        let mut form = Serializer::new(String::new());
        match refresh {
            Some(refresh) => {
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", refresh.expose_secret())
            }
            None => form.append_pair("grant_type", "client_credentials"),
        };
        if !config.scopes.is_empty() {
            form.append_pair("scope", &config.scopes.join(" "));
        }
        if config.client_authentication == ClientAuthentication::Form {
            form.append_pair("client_id", client_id.expose_secret());
            form.append_pair("client_secret", client_secret.expose_secret());
        }
        let header = |name: &str, value: &str| (name.to_string(), value.to_string());
        HttpRequest {
            method: "POST".into(),
            url: config.token_url.clone(),
            headers: vec![
                header("accept", "application/json"),
                header("content-type", "application/x-www-form-urlencoded"),
            ],
            body: form.finish().into_bytes(),
            authorization: None,
            timeout_ms,
        }
    }

    /// RFC 6749, section 2.3.1: both are form-encoded before they are joined.
    fn client_header(&self) -> Option<(String, String)> {
        let OAuth2 { config, client_id, client_secret, .. } = &self.client;
        if config.client_authentication != ClientAuthentication::Basic {
            return None;
        }
        let encoded = |secret: &SecretString| byte_serialize(secret.expose_secret().as_bytes()).collect::<String>();
        let both = BASE64_STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(client_secret)));
        Some(("authorization".into(), format!("Basic {both}")))
    }

    /// RFC 6749, section 6: the old one is to be discarded. It is written before the new token is used.
    async fn keep(&self, refresh: SecretString) {
        let Some(file) = self.client.refresh_file.clone() else {
            tracing::warn!(
                credential = self.name,
                "a new refresh token came, and is lost at the next start: keep it in a file"
            );
            return;
        };
        let written = tokio::task::spawn_blocking(move || write(&file, &refresh)).await;
        let written = written.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        if let Err(error) = written {
            tracing::error!(%error, credential = self.name, "a new refresh token could not be written, and is lost at the next start");
        }
    }
}

fn header(token: &SecretString) -> (String, String) {
    ("authorization".into(), format!("Bearer {}", token.expose_secret()))
}

fn write(file: &PathBuf, refresh: &SecretString) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    // Only its owner may read it.
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(refresh.expose_secret().as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|e| e.error)?;
    std::fs::File::open(folder)?.sync_all()
}

/// RFC 6749, section 5.1.
#[derive(Debug)]
struct Granted {
    token: SecretString,
    lifetime: Option<Duration>,
    refresh: Option<SecretString>,
}

impl Granted {
    /// What the server gives; or why not, without a word of its own but the code of section 5.2.
    fn read(answer: &HttpResponse) -> Result<Self, String> {
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let text = |name: &str| body.as_ref().and_then(|body| body.get(name)?.as_str());
        if answer.status != 200 {
            let is_word = |word: &&str| word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let code = text("error").filter(is_word).map(|code| format!(" ({code})")).unwrap_or_default();
            return Err(format!("the server answered {}{code}", answer.status));
        }
        // Section 7.1: a token of a kind that is not known must not be used.
        if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err("it is no bearer token".into());
        }
        let is_token = |text: &&str| {
            (1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let token = text("access_token").filter(is_token).ok_or("the answer has no `access_token`")?;
        let seconds = body.as_ref().and_then(|body| {
            // Some servers write the number as a text.
            let given = body.get("expires_in")?;
            given.as_u64().or_else(|| given.as_str()?.parse().ok())
        });
        Ok(Self {
            token: token.into(),
            lifetime: seconds.map(Duration::from_secs),
            refresh: text("refresh_token").filter(is_token).map(SecretString::from),
        })
    }
}
