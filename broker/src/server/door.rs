//! The listening socket: open, or refusing with its port kept, as the node is up or down.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::peer;
use super::shared::Shared;

/// Connections the operating system keeps for us until they are accepted.
const BACKLOG: i32 = 1024;

/// After a failure to accept.
const BREATH: Duration = Duration::from_millis(10);

/// A socket that listens, or that only keeps its port.
#[derive(Debug)]
pub(super) enum Listener {
    Open(TcpListener),
    /// The operating system refuses, and nobody else can have the port.
    Shut(Socket),
    /// Between the two, or after a failure to listen again.
    Broken,
}

impl Listener {
    /// Listens on `addr`; port 0 is any free one. Returns the address with its port.
    pub fn open(addr: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        // A port that Linux chose is let go of when listening stops; one that was asked for is kept.
        let chosen = bind(addr)?;
        let local = chosen.local_addr()?.as_socket();
        let local = local.ok_or_else(|| io::Error::other("a TCP socket without an address"))?;
        let socket = bind(local)?;
        drop(chosen);
        Ok((listen(socket)?, local))
    }

    /// Opens or shuts it. Whether it is open now.
    fn set(&mut self, open: bool) -> io::Result<bool> {
        *self = match (std::mem::replace(self, Listener::Broken), open) {
            (Listener::Open(listener), false) => Listener::Shut(shut(listener)?),
            (Listener::Shut(socket), true) => {
                socket.set_reuse_address(true)?;
                listen(socket)?
            }
            (same, _) => same,
        };
        Ok(matches!(self, Listener::Open(_)))
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Listener::Open(listener) => listener.accept().await,
            Listener::Shut(_) | Listener::Broken => std::future::pending().await,
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn listen(socket: Socket) -> io::Result<Listener> {
    socket.listen(BACKLOG)?;
    Ok(Listener::Open(TcpListener::from_std(socket.into())?))
}

/// On Linux a socket can stop to listen and stay bound; those waiting in it are reset.
#[cfg(target_os = "linux")]
fn shut(listener: TcpListener) -> io::Result<Socket> {
    let listener = listener.into_std()?;
    SockRef::from(&listener).shutdown(std::net::Shutdown::Both)?;
    let socket = Socket::from(listener);
    socket.set_reuse_address(false)?;
    Ok(socket)
}

/// Elsewhere another one is bound in its place, and for a moment nobody has the port.
#[cfg(not(target_os = "linux"))]
fn shut(listener: TcpListener) -> io::Result<Socket> {
    let addr = listener.local_addr()?;
    drop(listener);
    bind(addr)
}

/// Accepts while the node is up.
pub(super) async fn receive(
    mut door: Listener,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    over: CancellationToken,
) {
    loop {
        match door.set(!shared.is_down()) {
            Ok(open) => shared.door(open),
            Err(error) => tracing::error!(%error, "the broker cannot listen on its port again"),
        }
        tokio::select! {
            accepted = door.accept() => match accepted {
                Ok((stream, addr)) => {
                    // Small frames must not wait for each other.
                    let _ = stream.set_nodelay(true);
                    if let Some((id, waker)) = shared.opened(addr) {
                        let over = over.clone();
                        tasks.spawn(peer::serve(stream, id, waker, shared.clone(), over));
                    }
                }
                // A peer that is gone already, or a lack of descriptors that others will end: not at once.
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    tokio::time::sleep_until(Instant::now() + BREATH).await;
                }
            },
            () = shared.changed.notified() => {}
            () = over.cancelled() => return,
        }
    }
}
