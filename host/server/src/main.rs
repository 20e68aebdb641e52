//! `busbar`, the integration hub.

use std::process::ExitCode;

/// With the C library's, threads that free what others allocated wait for its locks: here that is every message.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A guest holds a worker for up to a tick of its epoch. By default a busy worker looks for network events
    // after 61 such turns only, and every request would wait for that.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().event_interval(4).global_queue_interval(4).build();
    match runtime {
        Ok(runtime) => runtime.block_on(busbar_server::cli::main()),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
