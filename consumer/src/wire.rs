//! The byte stream under a connection: knows when something was last heard, and can be cut.
//!
//! Cutting is what lapin cannot do: `close()` waits for a peer that may be dead (lapin#400). A cut
//! makes the next read and write fail, which ends lapin's io loop and drops the socket.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_io::{AsyncRead, AsyncWrite};
use lapin::AsyncTcpStream;
use tokio::{net::TcpStream, time::Instant};
use tokio_util::{
    compat::Compat,
    sync::{CancellationToken, WaitForCancellationFutureOwned},
};

use crate::filter::{Filter, Notice};

const SCRATCH: usize = 16 * 1024;

/// A plain or TLS socket, as lapin's helpers make it.
pub(crate) type Socket = AsyncTcpStream<Compat<TcpStream>>;

/// What is known of the wire from outside.
#[derive(Debug)]
pub(crate) struct Pulse {
    born: Instant,
    heard_ms: AtomicU64,
    ended: CancellationToken,
    released: CancellationToken,
    reason: OnceLock<String>,
}

impl Pulse {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            heard_ms: AtomicU64::new(0),
            ended: CancellationToken::new(),
            released: CancellationToken::new(),
            reason: OnceLock::new(),
        })
    }

    /// How long nothing was heard.
    pub(crate) fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(heard)
    }

    /// Cancelled when the wire failed, was closed by the peer, or was dropped.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Cancelled when the socket was dropped.
    pub(crate) fn released(&self) -> &CancellationToken {
        &self.released
    }

    /// Why it ended.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    fn heard(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(now, Ordering::Relaxed);
    }

    fn end(&self, reason: impl FnOnce() -> String) {
        self.reason.get_or_init(reason);
        self.ended.cancel();
    }
}

/// The stream given to lapin.
pub(crate) struct Wire {
    socket: Socket,
    pulse: Arc<Pulse>,
    scratch: Box<[u8]>,
    filter: Filter,
    /// Filtered, not yet read by lapin: from `taken` on.
    ready: Vec<u8>,
    taken: usize,
    notify: Notify,
    // One each: a cut must wake the reader and the writer.
    cut_read: Pin<Box<WaitForCancellationFutureOwned>>,
    cut_write: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Called with each notice, before lapin reads what it is about.
pub(crate) type Notify = Box<dyn Fn(Notice) + Send>;

fn was_cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "connection dropped by the consumer")
}

impl Wire {
    pub(crate) fn new(
        socket: Socket,
        pulse: Arc<Pulse>,
        cut: &CancellationToken,
        frame_max: u32,
        notify: Notify,
    ) -> Self {
        pulse.heard();
        Self {
            socket,
            pulse,
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            filter: Filter::new(frame_max),
            ready: Vec::with_capacity(SCRATCH),
            taken: 0,
            notify,
            cut_read: Box::pin(cut.clone().cancelled_owned()),
            cut_write: Box::pin(cut.clone().cancelled_owned()),
        }
    }

    fn written<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result
            && error.kind() != io::ErrorKind::WouldBlock
        {
            self.pulse.end(|| error.to_string());
        }
        result
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.cut_read.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(was_cut()));
        }
        let this = &mut *self;
        loop {
            let ready = &this.ready[this.taken..];
            if !ready.is_empty() || buf.is_empty() {
                let length = ready.len().min(buf.len());
                buf[..length].copy_from_slice(&ready[..length]);
                this.taken += length;
                return Poll::Ready(Ok(length));
            }
            this.ready.clear();
            this.ready.shrink_to(4 * SCRATCH);
            this.taken = 0;
            match ready!(Pin::new(&mut this.socket).poll_read(cx, &mut this.scratch)) {
                Ok(0) => {
                    this.pulse.end(|| "closed by the peer".to_owned());
                    this.filter.flush(&mut this.ready);
                    if this.ready.is_empty() {
                        return Poll::Ready(Ok(0));
                    }
                }
                Ok(read) => {
                    this.pulse.heard();
                    let bytes = &this.scratch[..read];
                    for notice in this.filter.push(bytes, &mut this.ready) {
                        (this.notify)(notice);
                    }
                }
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        this.pulse.end(|| error.to_string());
                    }
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.cut_write.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(was_cut()));
        }
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.written(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut_write.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(was_cut()));
        }
        let result = Pin::new(&mut self.socket).poll_flush(cx);
        self.written(result)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS writes a goodbye, which a dead peer never takes.
        if self.cut_write.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.pulse.end(|| "socket released".to_owned());
        self.pulse.released.cancel();
    }
}
