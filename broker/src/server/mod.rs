//! A socket around a [`Core`]: one task accepts, one task a connection, one task for time. They run on the caller's
//! runtime, are owned by the [`Broker`], and are over when [`Broker::stop`] returns.

mod door;

mod peer;

mod shared;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::core::{Config, Core};
use crate::look::events::Event;
use door::Listener;
use shared::Shared;

/// How long [`Broker::stop`] waits for peers to take what was sent to them.
const GOODBYE: Duration = Duration::from_millis(500);

/// Why a broker is unavailable.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not this machine's.
    #[error("failed to listen on {addr}: {source}")]
    Listen {
        /// What was asked for.
        addr: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

/// A broker that listens.
///
/// Dropping it without [`Broker::stop`] ends its tasks too, at their next step.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    over: CancellationToken,
    addr: SocketAddr,
}

impl Broker {
    /// Listens, and is ready when this returns. Must be called within a tokio runtime.
    pub fn start(mut config: Config) -> Result<Broker, ServerError> {
        let asked = config.addr;
        let listen = |source| ServerError::Listen { addr: asked, source };
        let (door, addr) = Listener::open(asked).map_err(listen)?;
        config.addr = addr;
        if config.epoch.is_zero() {
            config.epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        }
        let shared = Arc::new(Shared::new(Core::new(config)));
        let tasks = TaskTracker::new();
        let over = CancellationToken::new();
        tasks.spawn(shared::keep_time(shared.clone(), over.clone()));
        tasks.spawn(door::receive(door, shared.clone(), tasks.clone(), over.clone()));
        Ok(Broker { shared, tasks, over, addr })
    }

    /// Where it listens, or does not while it is down.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A URL for its user `guest` and a virtual host.
    pub fn url(&self, vhost: &str) -> String {
        let mut name = String::new();
        for byte in vhost.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    name.push(char::from(byte));
                }
                other => name.push_str(&format!("%{other:02X}")),
            }
        }
        format!("amqp://guest:guest@{}/{name}", self.addr)
    }

    /// Does something to the node: faults, administration, a look. What follows from it is under way when this returns.
    pub fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        self.shared.with(act)
    }

    /// Waits until `holds`, looking again whenever something has happened. The wait has no bound of its own.
    pub async fn until(&self, mut holds: impl FnMut(&Core) -> bool) {
        loop {
            let touched = self.shared.touched.notified();
            tokio::pin!(touched);
            // From here on nothing is missed.
            touched.as_mut().enable();
            if self.shared.peek(&mut holds) {
                return;
            }
            touched.await;
        }
    }

    /// Waits for events, after [`Core::listen`], and takes them; and how many were lost because nobody took them.
    pub async fn next_events(&self) -> (Vec<(Duration, Event)>, u64) {
        self.until(Core::has_events).await;
        self.shared.with(Core::take_events)
    }

    /// Dies: connections are reset, the port refuses. Has happened when this returns.
    pub async fn crash(&self) {
        self.with(Core::crash);
        self.shared.door_is(false).await;
    }

    /// Stops as RabbitMQ does, telling its clients; the port refuses. Has happened when this returns.
    pub async fn shutdown(&self) {
        self.with(Core::shutdown);
        self.shared.door_is(false).await;
    }

    /// Comes up again, on the same port, with what was durable.
    pub async fn up(&self) {
        self.with(Core::up);
        self.shared.door_is(true).await;
    }

    /// Waits until it is down, by call or trigger, and the port refuses.
    pub async fn went_down(&self) {
        self.shared.door_is(false).await;
    }

    /// Tells its clients, closes everything, and ends its tasks.
    pub async fn stop(&self) {
        self.with(Core::shutdown);
        self.tasks.close();
        self.shared.stop();
        // Peers that do not read are not waited for.
        let _ = tokio::time::timeout(GOODBYE, self.shared.peers_gone()).await;
        self.over.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.over.cancel();
    }
}
