//! Lapin's runtime, replaced: every task it spawns is tracked, every timer runs on the engine.
//!
//! lapin detaches its tasks and its "lapin-io-loop" thread. Through this kit both are owned: each
//! clone of the kit, and each task, holds a token of one [`TaskTracker`]; the io loop holds a clone
//! until it ends. When the tracker is empty, nothing of that connection is left.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_rs::{
    traits::{Executor, Reactor, RuntimeKit},
    util::{Task, TaskImpl},
};
use futures_util::{Stream, stream};
use tokio::{runtime::Handle, task::JoinHandle, time::Sleep};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{clock::after, wire::Wire};

/// The runtime of one connection.
#[derive(Debug, Clone)]
pub(crate) struct LapinRuntime {
    handle: Handle,
    tracker: TaskTracker,
    /// Held, never read: see the top of this file.
    _held: TaskTrackerToken,
    /// Drops every task that is still there.
    reap: CancellationToken,
}

impl LapinRuntime {
    pub(crate) fn new(handle: Handle, tracker: &TaskTracker, reap: CancellationToken) -> Self {
        Self { handle, tracker: tracker.clone(), _held: tracker.token(), reap }
    }
}

/// A task of lapin's.
#[derive(Debug)]
pub(crate) struct Tracked<T>(JoinHandle<Option<T>>);

impl<T: Send + 'static> TaskImpl for Tracked<T> {}

impl<T: Send + 'static> Future for Tracked<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(Some(value)) => Poll::Ready(value),
            // Reaped: whoever waits is being reaped too.
            _ => Poll::Pending,
        }
    }
}

impl RuntimeKit for LapinRuntime {}

impl Executor for LapinRuntime {
    type Task<T: Send + 'static> = Tracked<T>;

    fn block_on<T, F: Future<Output = T>>(&self, f: F) -> T {
        self.handle.block_on(f)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        f: F,
    ) -> Task<Tracked<T>> {
        let reap = self.reap.clone();
        let task = async move { reap.run_until_cancelled_owned(f).await };
        Tracked(self.tracker.spawn_on(task, &self.handle)).into()
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        f: F,
    ) -> Task<Tracked<T>> {
        Tracked(self.tracker.spawn_blocking_on(move || Some(f()), &self.handle)).into()
    }
}

impl Reactor for LapinRuntime {
    type TcpStream = Wire;
    type Sleep = Sleep;

    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static>
    {
        Err::<Wire, _>(io::Error::other("sockets are dialled by the consumer itself"))
    }

    fn sleep(&self, dur: Duration) -> Sleep {
        let _in_engine = self.handle.enter();
        tokio::time::sleep_until(after(dur))
    }

    fn interval(&self, dur: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        let _in_engine = self.handle.enter();
        stream::unfold(tokio::time::interval(dur), async |mut interval| {
            Some((interval.tick().await.into_std(), interval))
        })
    }

    fn tcp_connect_addr(
        &self,
        _addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Wire>> + Send + 'static {
        std::future::ready(Err(io::Error::other("sockets are dialled by the consumer itself")))
    }
}
