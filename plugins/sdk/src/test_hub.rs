//! For tests.

use std::collections::VecDeque;

use serde_json::Value;

use crate::credentials::{Digest, Piece};
use crate::http::{HttpError, Request, Response};
use crate::hub::{Hub, Sink};
use crate::memory::{MapStore, Store};
use crate::messages::AskError;
use crate::{Draft, Message, Rejection};

/// A hub in memory: what it was told and asked, and what it answers.
#[derive(Debug)]
pub struct TestHub {
    /// 2026-11-22T10:00:00+03:00, if nothing else is said.
    pub now_ms: u64,
    pub store: MapStore,
    /// Messages that were stated earlier; see [`TestHub::commit`].
    pub known: Vec<Message>,
    pub drafts: Vec<Draft>,
    pub left_out: Vec<Rejection>,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
    pub requests: Vec<Request>,
    /// Which of the requests, by their order, may be sent again.
    pub idempotent: Vec<usize>,
    /// Of which requests it was said that nothing was done by them.
    pub undone: Vec<usize>,
    /// Answers to requests, in order; then there are none.
    pub answers: VecDeque<Result<Response, HttpError>>,
    pub is_answered: bool,
    pub asked: Vec<Draft>,
    /// The data of the answer to any question.
    pub reply: Result<String, AskError>,
    /// What was hashed, secrets as `<name>`.
    pub hashed: Vec<Vec<u8>>,
    /// How that is hashed: the tests of an adapter look at what is under a hash, its cases compare whole ones.
    pub hash: fn(&[u8]) -> Vec<u8>,
}

impl Default for TestHub {
    fn default() -> Self {
        Self {
            now_ms: 1_795_330_800_000,
            store: MapStore::default(),
            known: Vec::new(),
            drafts: Vec::new(),
            left_out: Vec::new(),
            warnings: Vec::new(),
            infos: Vec::new(),
            requests: Vec::new(),
            idempotent: Vec::new(),
            undone: Vec::new(),
            answers: VecDeque::new(),
            is_answered: false,
            asked: Vec::new(),
            reply: Err(AskError::NoAnswerer("nobody answers".to_owned())),
            hashed: Vec::new(),
            hash: <[u8]>::to_vec,
        }
    }
}

/// A message with only what every message has.
pub fn message(source: &str, id: &str, r#type: &str, data: impl Into<String>) -> Message {
    Message {
        id: id.to_owned(),
        source: source.to_owned(),
        type_: r#type.to_owned(),
        subject: None,
        time: None,
        partition_key: None,
        correlation_id: None,
        data: data.into(),
    }
}

/// Bytes under a hash, secrets as `<name>`.
pub fn plain(pieces: &[Piece]) -> Vec<u8> {
    let bytes = |piece: &Piece| match piece {
        Piece::Plain(bytes) => bytes.clone(),
        Piece::Secret(name) => format!("<{name}>").into_bytes(),
    };
    pieces.iter().flat_map(bytes).collect()
}

impl TestHub {
    /// Answers requests with these statuses and bodies; status 0 is no answer.
    pub fn answering(answers: &[(u16, &str)]) -> Self {
        let mut hub = Self::default();
        hub.answer(answers);
        hub
    }

    /// The same, from now on.
    pub fn answer(&mut self, answers: &[(u16, &str)]) {
        let answer = |(status, body): &(u16, &str)| match status {
            0 => Err(HttpError::NoAnswer("lost".to_owned())),
            _ => Ok(Response { status: *status, headers: Vec::new(), body: body.as_bytes().to_vec() }),
        };
        self.answers = answers.iter().map(answer).collect();
    }

    /// The data of what was emitted; null where it was not.
    pub fn data(&self, index: usize) -> Value {
        self.drafts.get(index).and_then(|draft| serde_json::from_str(&draft.data).ok()).unwrap_or_default()
    }

    /// Code and place of what makes the whole unfit, or else the one entry of it that is left out.
    pub fn refusal(mut self, result: Result<(), Rejection>) -> (String, String) {
        let left_out = || {
            assert_eq!(self.left_out.len(), 1, "{:?}", self.left_out);
            self.left_out.remove(0)
        };
        let rejection = result.err().unwrap_or_else(left_out);
        (rejection.code, rejection.place.unwrap_or_default())
    }

    /// What was emitted is known from now on, as after a call that succeeded.
    pub fn commit(&mut self) {
        let stated = |draft: &Draft| message("/test", &draft.id, &draft.type_, draft.data.as_str());
        self.known.extend(self.drafts.iter().map(stated));
    }

    fn hashed(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let hash = (self.hash)(&bytes);
        self.hashed.push(bytes);
        hash
    }
}

impl Sink for TestHub {
    fn emit(&mut self, draft: Draft) {
        self.drafts.push(draft);
    }

    fn warn(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }

    fn leave_out(&mut self, entry: Rejection) {
        self.left_out.push(entry);
    }
}

impl Store for TestHub {
    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.store.get(key)
    }

    fn set(&mut self, key: &str, value: Vec<u8>) {
        self.store.set(key, value);
    }

    fn delete(&mut self, key: &str) {
        self.store.delete(key);
    }
}

impl Hub for TestHub {
    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Zeros.
    fn random(&mut self, bytes: u32) -> Vec<u8> {
        (0..bytes).map(|_| 0).collect()
    }

    fn info(&mut self, text: &str) {
        self.infos.push(text.to_owned());
    }

    fn lookup(&self, id: &str) -> Option<Message> {
        self.known.iter().find(|message| message.id == id).cloned()
    }

    fn ask(&mut self, question: &Draft, _deadline_ms: u32) -> Result<Message, AskError> {
        self.asked.push(question.clone());
        self.reply.clone().map(|data| message("/test", "answer", "answer.v1", data))
    }

    fn send(&mut self, request: &Request) -> Result<Response, HttpError> {
        self.requests.push(request.clone());
        let answer = self.answers.pop_front().unwrap_or_else(|| Err(HttpError::NoAnswer("no more".to_owned())));
        self.is_answered = answer.is_ok();
        answer
    }

    fn send_idempotent(&mut self, request: &Request) -> Result<Response, HttpError> {
        self.idempotent.push(self.requests.len());
        self.send(request)
    }

    fn nothing_done(&mut self) {
        assert!(std::mem::take(&mut self.is_answered), "it would be said of another answer");
        self.undone.push(self.requests.len() - 1);
    }

    fn hash(&mut self, _digest: Digest, pieces: &[Piece]) -> Result<Vec<u8>, String> {
        Ok(self.hashed(plain(pieces)))
    }

    fn verify_hash(&mut self, digest: Digest, pieces: &[Piece], expected: &[u8]) -> Result<bool, String> {
        Ok(self.hash(digest, pieces)? == expected)
    }

    fn verify_hmac_sha256(&mut self, _credential: &str, data: &[u8], signature: &[u8]) -> Result<bool, String> {
        Ok(self.hashed(data.to_vec()) == signature)
    }
}
