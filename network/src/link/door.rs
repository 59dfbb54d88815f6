//! The listening socket: open, or refusing with its port kept.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

use super::peer::prompt;

/// Connections the operating system keeps for us until they are accepted; it may have a bound of its own.
const BACKLOG: i32 = 4096;

pub(super) enum Listener {
    Open(TcpListener),
    /// Bound and not listening: the operating system refuses, and nobody else can have the port.
    Refusing(Socket),
    /// Between the two, or after a failure to listen again.
    Broken,
}

impl Listener {
    /// Listens on `addr`; port 0 is any free one. Returns the address with its port.
    pub(super) fn open(addr: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        // Linux gives a port it chose itself back when listening stops, and keeps one that was asked
        // for. So let it choose, and ask for that one before the choice is let go of.
        let chosen = bind(addr)?;
        let addr = local(&chosen)?;
        let socket = bind(addr)?;
        drop(chosen);
        let door = listen(socket)?;
        Ok((door, addr))
    }

    /// Refuses from now on: those waiting to be accepted are reset.
    pub(super) fn refuse(&mut self) -> io::Result<()> {
        if let Self::Open(listener) = std::mem::replace(self, Self::Broken) {
            *self = Self::Refusing(stop_listening(listener)?);
        }
        Ok(())
    }

    /// Listens again, on the same port.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        match std::mem::replace(self, Self::Broken) {
            Self::Refusing(socket) => {
                socket.set_reuse_address(true)?;
                *self = listen(socket)?;
            }
            door => *self = door,
        }
        Ok(())
    }
}

fn bind(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if addr.ip().is_unspecified() && addr.is_ipv6() {
        // Every address is both kinds, whatever this machine's default.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    prompt(&socket, addr);
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn local(socket: &Socket) -> io::Result<SocketAddr> {
    let addr = socket.local_addr()?;
    addr.as_socket().ok_or_else(|| io::Error::other("a TCP socket without an address"))
}

fn listen(socket: Socket) -> io::Result<Listener> {
    socket.listen(BACKLOG)?;
    Ok(Listener::Open(TcpListener::from_std(socket.into())?))
}

/// On Linux the same socket stops listening and stays bound. Without address reuse while it does,
/// so that not even a socket with that option gets the port.
#[cfg(target_os = "linux")]
fn stop_listening(listener: TcpListener) -> io::Result<Socket> {
    let listener = listener.into_std()?;
    SockRef::from(&listener).shutdown(std::net::Shutdown::Both)?;
    let socket = Socket::from(listener);
    socket.set_reuse_address(false)?;
    Ok(socket)
}

/// Elsewhere another socket takes the port as soon as the listener let go of it.
#[cfg(not(target_os = "linux"))]
fn stop_listening(listener: TcpListener) -> io::Result<Socket> {
    let listener = listener.into_std()?;
    let addr = local(&SockRef::from(&listener))?;
    drop(listener);
    bind(addr)
}
