//! How a connection reaches the upstream, and why it may not.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::net::TcpStream;

use super::{
    super::{
        descriptors::{self, Reserved},
        notes::Notes,
        peer::{Peer, prompt},
    },
    Connection,
};
use crate::{address, event::What, fault::effect::Undialed, wire::Side};

/// How much later than its own bound a dial is given up from outside.
const GRACE: Duration = Duration::from_millis(20);

/// An attempt under way.
pub(super) type Dial = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send>>;

impl Connection {
    /// Dials the upstream, unless a fault is in the way.
    pub(super) fn reach(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.broker.is_absent() || self.stillborn {
            return false;
        }
        if self.dial.is_none() {
            let acting = self.to_broker.acting.iter().chain(&self.to_client.acting);
            let blocks = acting.filter_map(|a| Some((Arc::clone(&a.entry), a.effect.undialed()?)));
            if let Some((entry, undialed)) = blocks.max_by_key(|(_, u)| *u == Undialed::Never) {
                self.stillborn = undialed == Undialed::Never;
                self.to_broker.lost |= self.stillborn;
                self.to_client.lost |= self.stillborn;
                let shared = Arc::clone(&self.shared);
                let mut notes = Notes { shared: &shared, conn: self.id, fired: &mut self.fired };
                notes.fire_once(&entry, None);
                if self.stillborn {
                    self.reserved = None;
                }
                return self.stillborn;
            }
            self.dial = Some(self.attempt());
        }
        let Some(dial) = &mut self.dial else { return false };
        let Poll::Ready((upstream, dialed)) = dial.as_mut().poll(cx) else { return false };
        self.dial = None;
        match dialed {
            Ok(stream) => {
                self.broker = Peer::new(stream);
                if self.shared.upstream_name.is_some() {
                    self.shared.set_upstream(upstream);
                }
                self.record(What::Dialed { upstream });
            }
            Err(error) => {
                self.record(What::DialFailed { upstream, error: error.to_string() });
                self.cut(Side::Both, self.shared.undialed);
            }
        }
        true
    }
}

impl Connection {
    fn attempt(&mut self) -> Dial {
        let (upstream, deadline) = (self.shared.upstream(), self.shared.dial_deadline);
        let (name, reserved) = (self.shared.upstream_name.clone(), self.reserved.take());
        Box::pin(async move {
            let mut last = upstream;
            let until = Instant::now() + deadline;
            let attempt = async {
                match name {
                    Some(name) => dial_name(&name, &mut last, reserved, until).await,
                    None => dial(upstream, reserved, until).await,
                }
            };
            // One that waits for a descriptor ends by itself, and says so.
            let dialed = tokio::time::timeout_at((until + GRACE).into(), attempt).await;
            let late =
                || io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {deadline:?}"));
            (last, dialed.unwrap_or_else(|_| Err(late())))
        })
    }
}

/// Looks a host and port up and connects to the first of its addresses that answers; `last` is the one
/// tried last.
async fn dial_name(
    name: &str,
    last: &mut SocketAddr,
    mut reserved: Option<Reserved>,
    until: Instant,
) -> io::Result<TcpStream> {
    let (host, port) = address::split(name).map_err(io::Error::other)?;
    let port = address::port(port).map_err(io::Error::other)?;
    let host = if host.is_empty() { "localhost" } else { host };
    if address::literal(host, port).is_none() {
        // Looking up takes a descriptor, too.
        reserved = None;
    }
    let mut failed = None;
    for addr in address::lookup(host, port).await.map_err(io::Error::other)? {
        *last = addr;
        match dial(addr, reserved.take(), until).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("{name:?} has no address"))
    }))
}

/// Connects. If it is given up meanwhile, an upstream that has accepted already gets RST.
async fn dial(
    upstream: SocketAddr,
    reserved: Option<Reserved>,
    until: Instant,
) -> io::Result<TcpStream> {
    let socket = descriptors::socket(upstream, reserved, until).await?;
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    prompt(&SockRef::from(&socket), upstream);
    let stream = socket.connect(upstream).await?;
    SockRef::from(&stream).set_linger(None)?;
    Ok(stream)
}
