//! What commands print.

use std::io::{ErrorKind, Write};

/// What a shell says of a program that SIGPIPE ended; Rust's own programs ignore that signal.
const READER_GONE: i32 = 128 + 13;

/// Prints a text. A reader that is gone ends the command quietly, another failure says so.
pub fn write(text: std::fmt::Arguments<'_>) {
    if let Err(error) = std::io::stdout().write_fmt(text) {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(READER_GONE);
        }
        eprintln!("error: standard output: {error}");
        std::process::exit(1);
    }
}
