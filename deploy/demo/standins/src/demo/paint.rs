//! Plain text that is pleasant on a terminal. `anstream` drops the colours when standard output is no
//! terminal or `NO_COLOR` is set.

use anstyle::{AnsiColor, Style};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

pub fn title(text: &str) {
    anstream::println!("\n{TITLE}{text}{TITLE:#}");
}

pub fn good(text: &str) {
    anstream::println!("{GOOD}{text}{GOOD:#}");
}

pub fn bad(text: &str) {
    anstream::println!("{BAD}{text}{BAD:#}");
}

/// What ends the program goes to standard error.
pub fn fatal(text: &str) {
    anstream::eprintln!("\n{BAD}{text}{BAD:#}");
}

/// `label` in its column, then the text.
pub fn row(label: &str, text: &str) {
    anstream::println!("  {FAINT}{label:<9}{FAINT:#} {text}");
}

/// A further line under a row.
pub fn more(text: &str) {
    row("", text);
}

/// An address to look further.
pub fn look(text: &str) {
    anstream::println!("  {FAINT}look      {text}{FAINT:#}");
}

/// One line that is rewritten on a terminal, and else repeated every few seconds.
pub struct Progress {
    live: bool,
    last: Option<Instant>,
}

impl Progress {
    pub fn new() -> Self {
        Self { live: std::io::stdout().is_terminal(), last: None }
    }

    pub fn show(&mut self, text: &str) {
        const EVERY: Duration = Duration::from_secs(5);
        if self.live {
            print!("\r\x1b[2K{text}");
            let _ = std::io::stdout().flush();
        } else if self.last.is_none_or(|last| last.elapsed() >= EVERY) {
            println!("{text}");
            self.last = Some(Instant::now());
        }
    }

    pub fn end(&self) {
        if self.live {
            print!("\r\x1b[2K");
            let _ = std::io::stdout().flush();
        }
    }
}
