//! One end of a connection: a socket, or the memory of one.

use std::{
    future::Future,
    io,
    net::{Shutdown, SocketAddr},
    pin::pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use socket2::{SockRef, Socket};
use tokio::{io::Interest, net::TcpStream};

/// How long an end that was sent FIN is listened to, so that no unread byte turns it into RST.
const LEAVING: Duration = Duration::from_secs(10);

pub(super) struct Open {
    pub(super) stream: TcpStream,
    /// FIN was sent to it.
    pub(super) shut: bool,
    /// It was cut with FIN: what it still says is read and thrown away, until then.
    pub(super) leaving: Option<Instant>,
    /// A write to it failed: it is gone, but bytes it sent before may be left to read.
    pub(super) broken: bool,
    /// A descriptor of its own, for a readiness of its own; made when it is first needed.
    watch: Option<TcpStream>,
}

impl Open {
    /// Ready when it is known to be gone although what it sent is not being read: a reader would hear
    /// of a reset only behind all of that. With the error, unless that was heard before.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Error>> {
        if self.broken {
            return Poll::Ready(None);
        }
        if self.watch.is_none() {
            let socket = SockRef::from(&self.stream).try_clone();
            self.watch = socket.and_then(|socket| TcpStream::from_std(socket.into())).ok();
        }
        // Without one (no descriptor is left) a reset is heard when there is room again.
        let Some(watch) = &self.watch else { return Poll::Pending };
        loop {
            let Ok(()) = ready!(watch.poll_write_ready(cx)) else { return Poll::Pending };
            let state = pin!(watch.ready(Interest::WRITABLE)).poll(cx);
            if let Ok(Some(error)) = watch.take_error() {
                return Poll::Ready(Some(error));
            }
            match state {
                Poll::Ready(Ok(state)) if !state.is_write_closed() => {}
                // Both ways were ended in order: no reset is to come.
                _ => return Poll::Pending,
            }
            // Written by nobody, it is ready for ever, unless it is said not to be.
            let _ =
                watch.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    }
}

pub(super) enum Peer {
    /// Not reached yet.
    Absent,
    Open(Open),
    Gone,
}

impl Peer {
    /// A socket that was [`prompt`] before.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self::Open(Open { stream, shut: false, leaving: None, broken: false, watch: None })
    }

    pub(super) fn open(&mut self) -> Option<&mut Open> {
        match self {
            Self::Open(open) => Some(open),
            Self::Absent | Self::Gone => None,
        }
    }

    /// An end that takes bytes.
    pub(super) fn writable(&mut self) -> Option<&mut Open> {
        self.open().filter(|open| !open.shut && !open.broken)
    }

    /// Both of its directions are open.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Self::Open(Open { shut: false, leaving: None, broken: false, .. }))
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Sends RST: closes with a linger of zero. Whether there was anyone to send it to.
    pub(super) fn reset(&mut self) -> bool {
        match std::mem::replace(self, Self::Gone) {
            Self::Open(open) => {
                SockRef::from(&open.stream).set_linger(Some(Duration::ZERO)).is_ok()
            }
            Self::Absent | Self::Gone => false,
        }
    }

    /// Sends FIN; the other way goes on. Whether it was sent now.
    pub(super) fn finish(&mut self) -> bool {
        let Some(open) = self.writable() else { return false };
        open.shut = true;
        SockRef::from(&open.stream).shutdown(Shutdown::Write).is_ok()
    }

    /// Sends FIN and leaves. Whether it was sent now.
    pub(super) fn leave(&mut self, now: Instant) -> bool {
        let sent = self.finish();
        match self.open() {
            Some(open) if open.leaving.is_none() => open.leaving = Some(now + LEAVING),
            Some(_) => {}
            None => *self = Self::Gone,
        }
        sent
    }
}

/// Has a socket send at once whatever it is given. One that is accepted has this from its listener; one
/// that refuses it works still.
pub(super) fn prompt(socket: &Socket, addr: SocketAddr) {
    // Without it a frame could wait for an acknowledgement.
    let _ = socket.set_tcp_nodelay(true);
    // Within one machine there is no congestion to be controlled, and where the system's choice paces what
    // is sent (BBR does), it costs a third of the throughput. Reno is always there, and does the least.
    #[cfg(target_os = "linux")]
    if addr.ip().is_loopback() {
        let _ = socket.set_tcp_congestion(b"reno");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = addr;
}

/// Whether an error means that the peer reset the connection.
pub(super) fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}
