//! One connection, on a runtime of its own: dropping it takes the socket, the timers and the tasks of
//! lapin with it, at once and whatever state they are in.
//!
//! Without that a handshake cut off by its deadline would leave lapin's thread reading for ever, and
//! its heartbeat timer would outlive every connection by half a heartbeat. It knows nothing of mutants.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::runtime::default_runtime;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;

/// An open connection.
pub(super) struct Line {
    /// lapin's.
    pub(super) connection: Connection,
    // After the connection: what its drop still asks for needs the runtime.
    runtime: Own,
}

/// A runtime that can be dropped anywhere.
struct Own(Option<Runtime>);

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Line {
    /// Dials and shakes hands, within `limit` if there is one.
    pub(super) async fn dial(url: &str, limit: Option<Duration>) -> Result<Line, lapin::Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("mutant-line")
            .enable_all()
            .build()?;
        let kit = {
            let _on = runtime.enter();
            default_runtime()?
        };
        let runtime = Own(Some(runtime));
        let properties = ConnectionProperties::default();
        let connect = Box::pin(Connection::connect_with_runtime(url, properties, kit));
        let connection = match limit {
            Some(limit) => within(limit, connect).await?,
            None => connect.await?,
        };
        Ok(Line { connection, runtime })
    }

    /// Whether lapin takes it for open.
    pub(super) fn connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Waits until the connection fails, or is closed by the broker.
    pub(super) async fn lost(&self) {
        let mut events = Box::pin(self.connection.events_listener());
        let mut alive = self.connected();
        while alive {
            // A channel's error comes here too, and leaves the connection connected.
            alive = match events.next().await {
                Some(Event::Error(_)) => self.connected(),
                other => other.is_some(),
            };
        }
    }

    /// The runtime everything of it runs on; it has one thread.
    pub(super) fn runtime(&self) -> &Handle {
        self.runtime.0.as_ref().expect("the runtime is there until the drop").handle()
    }

    /// Closes it in order, if it is open, within a limit.
    pub(super) async fn close(&self, limit: Duration) {
        if self.connected() {
            // An answer that does not come changes nothing: the drop cuts. The loss is polled first: it
            // must know the connection from before the close.
            tokio::select! {
                biased;
                () = self.lost() => {}
                _ = within(limit, self.connection.close(200, "done".into())) => {}
            }
        }
    }
}

/// One step, with a deadline.
pub(super) async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, lapin::Error> {
    timeout(limit, step)
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}
