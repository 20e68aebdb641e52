//! What one call of a session does.

use std::rc::Rc;

use busbar_sdk::{Draft, Rejection, Sink, Step};

use crate::memory::{Counted, WRITES_MAX};
use crate::pdu;
use crate::settings::Settings;

/// The host takes 1000 messages in a call.
const DRAFTS_MAX: usize = 500;
/// Writes that one PDU needs at most: a notification is forgotten, with the ids of 20 parts, and another begun.
const WRITES_OF_ONE: usize = 26;
/// Warnings of one call; the host ends a call that logs without end.
const WARNINGS_MAX: usize = 20;

pub struct Call<'a> {
    pub now_ms: u64,
    pub settings: Rc<Settings>,
    pub store: Counted<'a>,
    pub step: Step,
    sink: &'a mut dyn Sink,
    drafts: usize,
    warnings: usize,
}

impl<'a> Call<'a> {
    pub fn new(now_ms: u64, settings: Rc<Settings>, sink: &'a mut dyn Sink, store: Counted<'a>) -> Self {
        Self { now_ms, settings, store, step: Step::idle(false, None), sink, drafts: 0, warnings: 0 }
    }

    pub fn emit(&mut self, draft: Draft) {
        self.drafts += 1;
        self.sink.emit(draft);
    }

    pub fn warn(&mut self, text: &str) {
        self.warnings += 1;
        if self.warnings <= WARNINGS_MAX {
            self.sink.warn(text);
        }
    }

    pub fn leave_out(&mut self, entry: Rejection) {
        self.sink.leave_out(entry);
    }

    /// The rest waits for the next call.
    pub fn is_full(&self) -> bool {
        self.drafts >= DRAFTS_MAX || self.store.writes + WRITES_OF_ONE > WRITES_MAX
    }

    pub fn send(&mut self, command: u32, status: u32, sequence: u32, body: &[u8]) {
        self.step.send(&pdu::encode(command, status, sequence, body));
    }

    /// Answers deliver_sm or data_sm; their answers have an id, which is empty.
    pub fn answer(&mut self, command: u32, status: u32, sequence: u32) {
        self.send(command | pdu::RESPONSE, status, sequence, &[0]);
    }
}
