//! The thread the connection lives on.
//!
//! One OS thread with a single-threaded runtime per running consumer: sockets, heartbeats,
//! supervision and acknowledgements run there, so that a handler that blocks the caller's runtime
//! stops none of them. Joined when the run ends.

use std::{io, thread, time::Duration};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// A running engine. [`Engine::stop`] is the path; `Drop` only tells the thread to end.
#[must_use]
pub(crate) struct Engine {
    handle: Handle,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Engine {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread =
            thread::Builder::new().name("gauntlet-engine".to_owned()).spawn(move || {
                runtime.block_on(stopped.cancelled());
                // Nothing is left but a name resolution that hangs: do not wait for it.
                runtime.shutdown_timeout(Duration::from_millis(100));
            })?;
        Ok(Self { handle, stop, thread: Some(thread) })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// End the thread and wait for it.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the engine thread panicked");
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
