use crate::{Draft, Emitter, Rejection, Warnings, messages};

/// Where a decoder states its messages and warns: the host, or a test's memory.
pub trait Sink {
    fn emit(&mut self, draft: Draft);
    fn warn(&mut self, text: &str);
    /// Leaves out one of several independent entries, and says which and why: it becomes an intake of its own.
    fn leave_out(&mut self, entry: Rejection);
}

/// The host. Call [`HostSink::finish`] when the whole file was good. Warns as often as helps anybody.
pub struct HostSink(Emitter<fn(&[Draft])>, Warnings);

impl HostSink {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Emitter::host(), Warnings::default())
    }

    pub fn finish(self) {
        self.0.finish();
    }
}

impl Sink for HostSink {
    fn emit(&mut self, draft: Draft) {
        self.0.push(draft);
    }

    fn warn(&mut self, text: &str) {
        self.1.write(text);
    }

    fn leave_out(&mut self, entry: Rejection) {
        messages::leave_out(&entry);
    }
}

/// Keeps everything; for tests.
#[derive(Debug, Default)]
pub struct Seen {
    pub drafts: Vec<Draft>,
    pub warnings: Vec<String>,
    pub left_out: Vec<Rejection>,
}

impl Sink for Seen {
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
