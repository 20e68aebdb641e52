//! Decoding a file: its messages go to a spool first, and into the store all or none.

use super::{Hub, entries};
use crate::folder::Standing;
use busbar_core::ports::{Emitted, InputFile};
use busbar_core::{
    Code, Commit, Intake, IntakeKind, IntakeOutcome, Journal, Message, NewMessage, Planned, Problem, Rules,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

const CHUNK: usize = 500;

/// What became of a file.
#[derive(Clone, Debug)]
pub struct FileResult {
    pub intake: Intake,
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct SpoolLine {
    event: serde_json::Value,
    digest: String,
    deliveries: Vec<Planned>,
    place: Option<String>,
    journal: Journal,
}

impl Hub {
    /// Decodes `file` with the system's adapter and writes all of its messages or none.
    ///
    /// # Errors
    /// Only when the hub itself cannot go on now (`store-unavailable`, `file-unreadable`), or the file was changed while it
    /// was read; it must be tried again. What is wrong with the file is in the result.
    pub async fn decode_file(&self, system: &str, name: &str, file: &Standing) -> Result<FileResult, Problem> {
        let unreadable = |e: std::io::Error| Problem::new(Code::FileUnreadable, e.to_string());
        let bytes = file.bytes();
        std::fs::create_dir_all(&self.spool).map_err(unreadable)?;
        let spool = Spool::new(&self.spool, self.rules.clone()).map_err(unreadable)?;
        let sink = spool.clone();
        let input = InputFile {
            name: name.to_string(),
            size_bytes: bytes,
            reader: Box::new(file.reader().map_err(unreadable)?),
        };
        let run = self.adapters.decode(system, input, Box::new(move |emitted| sink.write(emitted))).await;
        // What was read of a file that was written to meanwhile is neither right nor wrong.
        file.still().map_err(unreadable)?;
        let mut intake = self.new_intake(IntakeKind::File, system, name);
        let mut head = Commit { calls: run.calls, state: run.state, at_ms: intake.at_ms, ..Commit::default() };
        if let Err(failure) = run.result {
            let problem = failure.problem();
            // That the hub could not read, ask or write just now says nothing about the file.
            if matches!(problem.code, Code::FileUnreadable | Code::StoreUnavailable | Code::BrokerUnavailable) {
                return Err(problem);
            }
            metrics::counter!("busbar_refused_total", "kind" => "file", "code" => problem.code.as_str()).increment(1);
            intake.outcome = IntakeOutcome::Refused;
            intake.error = Some(problem.record());
            head.intake = Some(intake.clone());
            self.committer.commit(head).await?.ok();
            return Ok(FileResult { intake, bytes });
        }
        head.entries = entries::left_out(&mut intake, run.left_out);
        head.intake = Some(intake.clone());
        let mut reader = spool.read().map_err(unreadable)?;
        let written = self.committer.commit_stream(head, &mut || chunk(&mut reader)).await?.unwrap_or(intake);
        entries::count(written.left_out, written.differing);
        Ok(FileResult { intake: written, bytes })
    }
}

/// A file without a name that holds the messages of a file as lines of JSON, so that memory stays flat.
#[derive(Clone)]
struct Spool {
    file: Arc<Mutex<BufWriter<File>>>,
    rules: Arc<Rules>,
}

impl Spool {
    fn new(folder: &Path, rules: Arc<Rules>) -> std::io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 16, tempfile::tempfile_in(folder)?);
        Ok(Self { file: Arc::new(Mutex::new(file)), rules })
    }

    fn write(&self, emitted: Vec<Emitted>) -> Result<(), Problem> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |e: &dyn std::fmt::Display| Problem::new(Code::FileUnreadable, format!("spool: {e}"));
        for Emitted { message, place } in emitted {
            let new = self.rules.admit_valid(message, place)?;
            let digest = new.digest().to_string();
            let NewMessage { message, deliveries, place, journal, .. } = new;
            let line = SpoolLine { event: message.to_structured(), digest, deliveries, place, journal };
            serde_json::to_writer(&mut *file, &line).map_err(|e| failed(&e))?;
            file.write_all(b"\n").map_err(|e| failed(&e))?;
        }
        Ok(())
    }

    fn read(&self) -> std::io::Result<impl BufRead + Send + use<>> {
        let mut writer = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writer.flush()?;
        let mut file = writer.get_ref().try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(BufReader::with_capacity(1 << 16, file.take(u64::MAX)))
    }
}

fn chunk(reader: &mut impl BufRead) -> Result<Vec<NewMessage>, Problem> {
    let mut chunk = Vec::new();
    let mut text = Vec::new();
    while chunk.len() < CHUNK {
        text.clear();
        let read = reader
            .read_until(b'\n', &mut text)
            .map_err(|e| Problem::new(Code::FileUnreadable, format!("spool: {e}")))?;
        if read == 0 {
            break;
        }
        let line: SpoolLine =
            serde_json::from_slice(&text).map_err(|e| Problem::new(Code::FileUnreadable, format!("spool: {e}")))?;
        let message = Arc::new(Message::from_structured(line.event)?);
        let SpoolLine { digest, deliveries, place, journal, .. } = line;
        let marks = digest.into();
        chunk.push(NewMessage { message, marks, deliveries, place, stated_by: None, journal });
    }
    Ok(chunk)
}
