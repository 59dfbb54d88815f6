//! The part of RabbitMQ's management HTTP API that tools and test suites use, for a [`Broker`] that runs: statuses,
//! bodies and errors as RabbitMQ 4.0 gives them, for what this broker has.
//!
//! A request is read whole ([`server`]), its resource found in a table ([`route`]), its user and their rights checked
//! ([`access`]), and answered in one step of the core: an answer is never half before a change and half after it. There
//! is no user interface, and nothing counts rates.

mod access;
mod answer;
mod bindings;
mod connections;
mod exchanges;
mod json;
mod list;
mod messages;
mod node;
mod policies;
mod queues;
mod request;
mod route;
mod server;
mod users;
mod vhosts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::server::{Broker, ServerError};

/// How much of anybody's time a connection gets.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the head of a request; also how long a connection may be idle.
    pub head: Duration,
    /// For the body of a request.
    pub body: Duration,
    /// For a connection: then it is closed after the answer it waits for.
    pub life: Duration,
    /// Connections at a time; others wait.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            life: Duration::from_secs(60),
            connections: 256,
        }
    }
}

/// The management API of a broker.
///
/// Dropping it without [`Management::stop`] ends its tasks too, at their next step. It does not stop the broker.
#[derive(Debug)]
pub struct Management {
    addr: SocketAddr,
    tasks: TaskTracker,
    over: CancellationToken,
}

impl Management {
    /// Listens on `addr`, port 0 being any, and is ready when this returns.
    pub async fn start(broker: Arc<Broker>, addr: SocketAddr) -> Result<Management, ServerError> {
        Management::start_with(broker, addr, Limits::default()).await
    }

    /// The same with other limits.
    pub async fn start_with(
        broker: Arc<Broker>,
        addr: SocketAddr,
        limits: Limits,
    ) -> Result<Management, ServerError> {
        let failed = |source| ServerError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let (tasks, over) = (TaskTracker::new(), CancellationToken::new());
        let served = server::Served { broker, addr, limits };
        tasks.spawn(server::accept(listener, served.into(), tasks.clone(), over.clone()));
        Ok(Management { addr, tasks, over })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes everything and ends its tasks.
    pub async fn stop(&self) {
        self.over.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Management {
    fn drop(&mut self) {
        self.over.cancel();
    }
}
