//! A Toxiproxy server over this crate's links: the HTTP API of Toxiproxy 2.12 and its semantics, so that
//! its clients in any language can drive it, and more toxics than it has.
//!
//! In reading order: the server and its connections ([`mod@server`]), which handler answers what
//! ([`mod@route`]), what goes back ([`mod@answer`]), JSON as Toxiproxy reads and writes it
//! ([`mod@json`]), the table of toxics ([`mod@catalogue`]) and what one becomes on a link ([`mod@fault`]),
//! one toxic ([`mod@toxic`]), one proxy ([`mod@proxy`]) and what it logs ([`mod@journal`]), where it listens ([`mod@listen`]), all of them
//! ([`mod@collection`]), and what is counted ([`mod@metrics`]).
//!
//! Each proxy is a [`Link`](crate::Link), each toxic a [`Fault`](crate::Fault) on it. Where Toxiproxy
//! crashes, hangs or loses bytes, this does not: `docs/toxiproxy.md` has the table of differences.

mod server;

mod route;

mod answer;

mod json;

pub mod catalogue;

mod fault;

mod toxic;

mod proxy;

mod journal;

mod listen;

mod collection;

mod metrics;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use catalogue::TOXICS;

use self::{collection::Collection, metrics::Metrics};
use crate::seed::Seed;

/// The version of Toxiproxy it answers for.
pub const VERSION: &str = "2.12.0";

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The root of all chance: toxicity, jitter, sizes.
    pub seed: Seed,
    /// Whether `/metrics` has the bytes of each proxy.
    pub proxy_metrics: bool,
    /// Whether `/metrics` has this process.
    pub runtime_metrics: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: Seed::random(), proxy_metrics: false, runtime_metrics: false }
    }
}

/// A server that could not be started, or a file it could not take proxies from.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address of the API cannot be listened on.
    #[error("the API could not listen on {addr}: {source}")]
    Listen {
        /// As asked for.
        addr: String,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("the file of proxies {path:?} could not be read: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was read, and not all of it could be done.
    #[error("of the file of proxies {path:?} {done} could be made: {why}")]
    Config {
        /// Which.
        path: PathBuf,
        /// How many proxies were made.
        done: usize,
        /// Why not more.
        why: String,
    },
}

/// A running Toxiproxy server. Dropping it ends it without waiting; [`Server::stop`] waits.
pub struct Server {
    addr: SocketAddr,
    collection: Arc<Collection>,
    /// Until it is open.
    listener: Option<TcpListener>,
    tasks: TaskTracker,
    over: CancellationToken,
}

impl Server {
    /// Listens on `addr` (a host and port; port 0 is any), and answers when this returns.
    pub async fn start(addr: &str, options: Options) -> Result<Self, ServerError> {
        let mut server = Self::bind(addr, options).await?;
        server.open();
        Ok(server)
    }

    /// Listens on `addr`, and answers nobody before [`Server::open`]: time to make proxies that are there
    /// from the first request on.
    pub async fn bind(addr: &str, options: Options) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Listen { addr: addr.to_owned(), source };
        let listener = listen::bind(addr).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let metrics = Metrics::new(options.proxy_metrics, options.runtime_metrics);
        let collection = Arc::new(Collection::new(options.seed, metrics));
        let (tasks, over) = (TaskTracker::new(), CancellationToken::new());
        Ok(Self { addr: bound, collection, listener: Some(listener), tasks, over })
    }

    /// Answers from now on.
    pub fn open(&mut self) {
        let Some(listener) = self.listener.take() else { return };
        let (collection, tasks) = (Arc::clone(&self.collection), self.tasks.clone());
        let served = Arc::new(server::Served { collection, tasks });
        self.tasks.spawn(server::accept(listener, served, self.over.clone()));
    }

    /// Where the API listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Makes the proxies of a file: what `POST /populate` takes. How many there were.
    pub async fn populate_from(&self, path: &Path) -> Result<usize, ServerError> {
        let config = match tokio::fs::read(path).await {
            Ok(config) => config,
            Err(source) => return Err(ServerError::Unreadable { path: path.to_owned(), source }),
        };
        let populated = self.collection.populate(&config).await;
        match populated.error {
            None => Ok(populated.proxies.len()),
            Some(error) => Err(ServerError::Config {
                path: path.to_owned(),
                done: populated.proxies.len(),
                why: error.message,
            }),
        }
    }

    /// Ends every proxy and the API, and waits until that is done.
    pub async fn stop(&self) {
        self.over.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.collection.clear().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.cancel();
    }
}
