//! The hub's log. Whatever `BUSBAR_LOG` says, libraries log no more than what went wrong: below that they write down what
//! they carry, and personal data must not be in a log.

use busbar_core::visible;
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// lapin warns of each connection that is lost, which `amqp/link.rs` says better. What closes a channel is told by whoever has it,
/// and to be told that there is no such queue is the answer to a question.
const DEFAULT: &str = "info,lapin=error,lapin::channel=off";
/// Prints messages that the broker returned, with their content, at every level.
const NEVER: &str = "lapin::returned_messages";

/// Starts it: lines of text, or JSON.
pub fn start(json: bool) {
    let level = EnvFilter::try_from_env("BUSBAR_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    subscriber(json, level, std::io::stderr().is_terminal(), std::io::stderr).init();
}

fn subscriber<W>(json: bool, level: EnvFilter, ansi: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A line of the log is one event, whatever an adapter, a file's name or a far end says.
    let fields = debug_fn(|writer, field, value| {
        let text = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", visible(&text)),
            name => write!(writer, "{name}={}", visible(&text)),
        }
    });
    let lines = match json {
        true => fmt::layer().json().with_writer(writer).boxed(),
        false => fmt::layer().fmt_fields(fields.delimited(" ")).with_ansi(ansi).with_writer(writer).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(level).with_filter(filter_fn(may_be_written)))
}

fn may_be_written(event: &Metadata<'_>) -> bool {
    let target = event.target();
    let own = target == "busbar" || target.starts_with("busbar_") || target.starts_with("busbar::");
    let most = if own { LevelFilter::TRACE } else { LevelFilter::from_level(Level::WARN) };
    *event.level() <= most && !target.starts_with(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::Arc;

    fn written(json: bool, log: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Arc::new(file.reopen().unwrap());
        tracing::subscriber::with_default(subscriber(json, EnvFilter::new("trace"), false, writer), log);
        let mut text = String::new();
        file.reopen().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn one_event_is_one_line_whatever_it_says() {
        let text = "none\n2026-11-29T10:00:00Z ERROR forged \u{1b}[2J\u{9b}1m \u{202e}txt.exe";
        let log = || tracing::info!(target: "busbar::adapter", system = text, reason = %text, "{text}");
        let plain = written(false, log);
        assert!(plain.ends_with('\n') && plain.lines().count() == 1, "{plain}");
        // Texts are quoted as Rust writes them, the others as JSON does.
        let codes = ["\\u000a2026-11-29", "\\n2026-11-29"].map(|code| plain.matches(code).count());
        assert_eq!(codes, [2, 1], "{plain}");
        assert!(!plain.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{plain}");
        assert_eq!(written(true, log).lines().count(), 1);
    }

    #[test]
    fn libraries_say_only_what_went_wrong() {
        for json in [false, true] {
            let text = written(json, || {
                tracing::error!(target: "lapin::returned_messages", "Pelageya");
                tracing::info!(target: "lapin::frames", "Pelageya");
                tracing::debug!(target: "hyper::proto", "Pelageya");
                tracing::warn!(target: "lapin::io_loop", "a connection was lost");
                tracing::trace!(target: "busbar_server::hub", "own");
            });
            assert!(!text.contains("Pelageya") && text.contains("was lost") && text.contains("own"), "{text}");
        }
    }
}
