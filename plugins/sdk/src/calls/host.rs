use super::Hub;
use crate::messages::{self, AskError};
use crate::{Draft, HostSink, Message, Rejection, Sink};

/// The host. What was emitted is stated by [`HostHub::finish`].
pub struct HostHub(HostSink);

impl HostHub {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(HostSink::new())
    }

    pub fn finish(self) {
        self.0.finish();
    }
}

impl Sink for HostHub {
    fn emit(&mut self, draft: Draft) {
        self.0.emit(draft);
    }

    fn warn(&mut self, text: &str) {
        self.0.warn(text);
    }

    fn leave_out(&mut self, entry: Rejection) {
        self.0.leave_out(entry);
    }
}

impl Hub for HostHub {
    fn ask(&mut self, question: &Draft, deadline_ms: u32) -> Result<Message, String> {
        messages::ask(question, deadline_ms).map_err(|error| match error {
            AskError::Timeout => "no answer in time".to_owned(),
            AskError::NoAnswerer(text) | AskError::Failed(text) | AskError::Refused(text) => text,
        })
    }

    fn is_known(&mut self, id: &str) -> bool {
        messages::lookup(id).is_some()
    }
}
