//! `busbar`, the integration hub.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    busbar_server::cli::main().await
}
