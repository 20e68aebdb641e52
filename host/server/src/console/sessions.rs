//! Who is signed in. In memory alone: a restart ends all sessions, and with them those of keys that are gone or changed.

use crate::rest::KeyHolder;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// However much it is used.
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
const UNUSED_MAX: Duration = Duration::from_secs(60 * 60);
/// Of one key; one more ends the one that was unused longest. So a key's holder shuts out nobody else.
const OF_A_KEY_MAX: usize = 64;

/// Somebody with a session.
#[derive(Clone)]
pub struct SignedIn {
    pub holder: KeyHolder,
    /// What each of their forms carries, so that another site cannot make one.
    pub token: Arc<str>,
}

struct OpenSession {
    signed: SignedIn,
    since: Instant,
    used: Instant,
}

impl OpenSession {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= LONGEST || now.duration_since(self.used) >= UNUSED_MAX
    }
}

/// By the digest of the cookie's value, so that how long a look takes says nothing about the values there are.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], OpenSession>>);

fn digest(cookie: &str) -> [u8; 32] {
    Sha256::digest(cookie.as_bytes()).into()
}

/// 256 random bits as text.
fn secret() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

impl Sessions {
    /// Begins one and returns its cookie's value.
    pub fn begin(&self, holder: KeyHolder, now: Instant) -> String {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| !session.is_over(now));
        let own = open.iter().filter(|(_, session)| session.signed.holder.name() == holder.name());
        let own: Vec<_> = own.map(|(digest, session)| (session.used, *digest)).collect();
        if own.len() >= OF_A_KEY_MAX
            && let Some((_, oldest)) = own.iter().min()
        {
            open.remove(oldest);
        }
        let cookie = secret();
        let signed = SignedIn { holder, token: secret().into() };
        open.insert(digest(&cookie), OpenSession { signed, since: now, used: now });
        cookie
    }

    /// Whose session it is, which counts as use of it.
    pub fn of(&self, cookie: &str, now: Instant) -> Option<SignedIn> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = digest(cookie);
        let session = open.get_mut(&digest)?;
        if session.is_over(now) {
            open.remove(&digest);
            return None;
        }
        session.used = now;
        Some(session.signed.clone())
    }

    pub fn end(&self, cookie: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(cookie));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{KeyConfig, Right};
    use crate::rest::{Keys, key_digest};

    fn begin(sessions: &Sessions, name: &str, now: Instant) -> String {
        let config = KeyConfig {
            name: name.into(),
            sha256: Some(key_digest(name)),
            certificate: None,
            rights: vec![Right::Read],
            sources: vec![],
            types: vec![],
            questions: vec![],
        };
        let holder = Keys::new(&[config], "test").holder(name);
        holder.map(|holder| sessions.begin(holder, now)).unwrap_or_default()
    }

    #[test]
    fn a_session_ends_after_an_hour_without_use_and_after_twelve_with() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let minutes = |count: u64| now + Duration::from_secs(count * 60);
        let (unused, used) = (begin(&sessions, "a", now), begin(&sessions, "a", now));
        assert!(sessions.of(&unused, minutes(59)).is_some());
        assert!(sessions.of(&unused, minutes(59 + 59)).is_some(), "the hour begins anew with each use");
        assert!(sessions.of(&unused, minutes(59 + 59 + 60)).is_none());
        assert!(sessions.of(&unused, minutes(0)).is_none(), "what is over stays over");
        let half_hours = (0..24).map(|half| minutes(half * 30));
        assert!(half_hours.into_iter().all(|at| sessions.of(&used, at).is_some()));
        assert!(sessions.of(&used, minutes(12 * 60)).is_none());
    }

    #[test]
    fn of_one_key_there_are_so_many_and_others_keep_theirs() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let other = begin(&sessions, "b", now);
        let of_a: Vec<_> = (0..100).map(|n| begin(&sessions, "a", now + Duration::from_millis(n))).collect();
        let at = now + Duration::from_secs(1);
        let alive: Vec<_> = of_a.iter().filter(|cookie| sessions.of(cookie, at).is_some()).collect();
        assert_eq!((alive.len(), alive.last().copied()), (OF_A_KEY_MAX, of_a.last()));
        assert!(sessions.of(&other, at).is_some());
        sessions.end(&other);
        assert!(sessions.of(&other, at).is_none() && sessions.of("guessed", at).is_none());
    }

    #[test]
    fn no_two_secrets_are_alike_and_each_has_256_bits() {
        let secrets: std::collections::HashSet<_> = (0..1000).map(|_| secret()).collect();
        assert_eq!(secrets.len(), 1000);
        assert!(secrets.iter().all(|s| BASE64_URL_SAFE_NO_PAD.decode(s).is_ok_and(|bytes| bytes.len() == 32)));
    }
}
