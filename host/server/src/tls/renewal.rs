//! Certificates that are renewed while the hub runs.

use super::listener::{ListenerTls, TlsFaults};
use super::{ListenerFiles, now_s};
use rustls::ServerConfig;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What the listener shows and asks for just now.
#[derive(Debug)]
pub struct Certificates {
    files: ListenerFiles,
    look_every: Duration,
    current: RwLock<Arc<ListenerTls>>,
    /// Of the files when they were looked at first.
    first: [u8; 32],
}

/// What was found at the last looks.
struct FilesSeen {
    taken: [u8; 32],
    /// Wrong at the last look: it may be that somebody was writing them just then.
    wrong: Option<[u8; 32]>,
    /// The log was told that they are wrong.
    told: Option<[u8; 32]>,
}

impl Certificates {
    /// # Errors
    /// Every mistake in the files.
    pub fn load(files: ListenerFiles, look_every: Duration) -> Result<Self, TlsFaults> {
        let read = files.read();
        let first = read.digest();
        let current = RwLock::new(Arc::new(files.judge(read, now_s())?));
        Ok(Self { files, look_every, current, first })
    }

    fn current(&self) -> Arc<ListenerTls> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For the next handshake.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.current().server.clone()
    }

    /// How long the hub's own certificate is good for, in seconds; less than zero when it has expired.
    pub fn left_s(&self) -> i64 {
        self.current().not_after_s.saturating_sub(now_s())
    }

    /// Looks at the files again and again, and takes what is new when all of it is right.
    pub async fn keep_looking(self: Arc<Self>, stop: CancellationToken) {
        let mut seen = FilesSeen { taken: self.first, wrong: None, told: None };
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.look_every) => {}
                () = stop.cancelled() => return,
            }
            let this = self.clone();
            // A disk may be slow, or away.
            match tokio::task::spawn_blocking(move || this.look(seen)).await {
                Ok(now) => seen = now,
                Err(error) => {
                    tracing::error!(%error, "the certificate is not looked at any more");
                    return;
                }
            }
        }
    }

    fn look(&self, seen: FilesSeen) -> FilesSeen {
        let read = self.files.read();
        let digest = read.digest();
        if digest == seen.taken {
            return FilesSeen { wrong: None, told: None, ..seen };
        }
        // What is wrong now may be right later: a certificate is valid from some time on.
        match self.files.judge(read, now_s()) {
            Ok(new) => {
                let days = new.not_after_s.saturating_sub(now_s()) / 86_400;
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                tracing::info!(days, "the certificate files have changed; new connections get what is in them");
                FilesSeen { taken: digest, wrong: None, told: None }
            }
            Err(faults) if seen.wrong == Some(digest) && seen.told != Some(digest) => {
                let why: Vec<_> = faults.iter().map(|(file, fault)| format!("{}: {fault}", file.as_str())).collect();
                let why = why.join("; ");
                tracing::warn!(why, "the certificate files have changed and are wrong; the old ones stay in use");
                FilesSeen { told: Some(digest), ..seen }
            }
            Err(_) => FilesSeen { wrong: Some(digest), ..seen },
        }
    }
}
