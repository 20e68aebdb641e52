//! A runtime of its own for the store. A transaction is a dozen short steps, and between them it would wait behind
//! whatever adapters have to do; all writes of a hub wait for it.

use std::future::Future;
use tokio::runtime::{Builder, Handle, Runtime};

/// One thread that the store's steps are taken on.
pub struct WriterThread(Option<Runtime>);

impl WriterThread {
    /// # Errors
    /// When the machine has no thread left.
    pub fn start() -> std::io::Result<Self> {
        Builder::new_multi_thread().worker_threads(1).thread_name("store").enable_all().build().map(Some).map(Self)
    }

    /// Does this on the thread. `None` when that panicked, or the process ends.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let handle = self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone());
        handle.spawn(work).await.ok()
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        // A runtime must not be waited for inside of another.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
