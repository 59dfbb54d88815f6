//! Who gets the last descriptors of the process: dials before accepts.
//!
//! A connection takes two descriptors, one to accept it and one to reach the upstream. A link that took
//! every descriptor it can get for accepting could dial for none of its connections, and would serve
//! nobody. So a link reserves the socket for the dial before it accepts; where a dial has no socket all
//! the same, it waits for one, and until it has it no link of this process accepts.

use std::{
    io,
    net::SocketAddr,
    sync::LazyLock,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpSocket,
    sync::{Notify, watch},
    time::sleep_until,
};

use crate::address::is_exhausted;

/// Descriptors that others close are looked for this often.
const LOOK: Duration = Duration::from_millis(20);

/// How many dials wait for a descriptor.
static WAITING: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));
/// A connection has closed its sockets.
static FREED: Notify = Notify::const_new();

/// A socket for a dial to come.
pub(super) struct Reserved {
    socket: TcpSocket,
    is_v4: bool,
}

impl Reserved {
    /// One for that kind of address.
    pub(super) fn new(upstream: SocketAddr) -> io::Result<Self> {
        let socket = if upstream.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        Ok(Self { socket, is_v4: upstream.is_ipv4() })
    }
}

/// How many dials wait for a descriptor, and every change of that.
pub(super) fn waiting() -> watch::Receiver<usize> {
    WAITING.subscribe()
}

/// Tells the dials that wait that sockets were closed.
pub(super) fn freed() {
    FREED.notify_waiters();
}

/// The socket of a dial: the reserved one if it is of the right kind. Waits for a descriptor until then.
pub(super) async fn socket(
    upstream: SocketAddr,
    reserved: Option<Reserved>,
    until: Instant,
) -> io::Result<TcpSocket> {
    if let Some(Reserved { socket, is_v4 }) = reserved
        && is_v4 == upstream.is_ipv4()
    {
        return Ok(socket);
    }
    let mut waits = None;
    loop {
        // Before the attempt: what is closed after it is heard of.
        let freed = FREED.notified();
        match Reserved::new(upstream) {
            Err(error) if is_exhausted(&error) && Instant::now() < until => {
                waits.get_or_insert_with(Waits::new);
            }
            made => return made.map(|reserved| reserved.socket),
        }
        let look = until.min(Instant::now() + LOOK);
        tokio::select! {
            () = freed => {}
            () = sleep_until(look.into()) => {}
        }
    }
}

/// A dial waits for as long as this lives.
struct Waits;

impl Waits {
    fn new() -> Self {
        WAITING.send_modify(|waiting| *waiting += 1);
        Self
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        WAITING.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
    }
}
