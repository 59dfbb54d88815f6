//! What stands between the link in front of the subject and the broker: nothing, or a Toxiproxy.
//!
//! In reading order: which ([`mod@spec`]), which faults it plays ([`mod@toxic`]), how it is driven ([`toxiproxy`], the
//! only file that knows its client), and one in a container ([`container`]).
//!
//! The link stays in front in any case: it hears what passes, and plays what Toxiproxy cannot. What its far end then
//! says is what Toxiproxy was given, and not yet what the broker has: the fate of an ack is decided by what
//! the broker did afterwards, as everywhere.

pub mod spec;
pub mod toxic;

mod container;
#[cfg_attr(not(feature = "toxiproxy"), path = "absent.rs")]
mod toxiproxy;

use std::net::SocketAddr;
use std::sync::Arc;

pub use spec::NetworkSpec;
use toxic::Toxic;

use crate::broker::{Broker, RunId, is_of_the_dead, owned};

/// A network that is unavailable, or does not do what it is asked. Every message completes "failed to ...".
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The words given mean nothing.
    #[error("understand the network '{input}': {why}")]
    Spec {
        /// What was given.
        input: String,
        /// What would be right.
        why: String,
    },
    /// It and the broker do not go together.
    #[error("put {network} before the broker: {why}")]
    Unreachable {
        /// Which.
        network: String,
        /// And the next step.
        why: String,
    },
    /// Its container.
    #[error("{0}")]
    Container(#[from] crate::broker::BrokerError),
    /// Toxiproxy did not do what it was told.
    #[error("{what} (Toxiproxy at {api}): {why}")]
    Toxiproxy {
        /// What was asked.
        what: String,
        /// Where.
        api: SocketAddr,
        /// What it said, or what was found when reading back.
        why: String,
    },
}

/// A network that runs, for all scenarios of a suite.
pub enum Network {
    /// The link alone.
    Embedded,
    /// A Toxiproxy behind it.
    Toxiproxy(Arc<Beyond>),
}

/// A Toxiproxy and, where it is ours, its container.
pub struct Beyond {
    api: toxiproxy::Toxiproxy,
    container: Option<container::Container>,
}

/// One scenario's way through a Toxiproxy.
#[derive(Clone)]
pub struct Path {
    beyond: Arc<Beyond>,
    name: String,
    addr: SocketAddr,
}

impl Network {
    /// Has it ready. `paths` scenarios at a time will ask for a way through it.
    pub async fn start(
        spec: &NetworkSpec,
        run: &RunId,
        paths: usize,
    ) -> Result<Network, NetworkError> {
        let beyond = match spec {
            NetworkSpec::Embedded => return Ok(Network::Embedded),
            NetworkSpec::Toxiproxy { image, tag } => {
                let container = container::Container::start(image, tag, run, paths).await?;
                let api = toxiproxy::Toxiproxy::reach(container.api()).await?;
                Beyond { api, container: Some(container) }
            }
            NetworkSpec::External(api) => {
                let api = toxiproxy::Toxiproxy::reach(*api).await?;
                sweep(&api).await;
                Beyond { api, container: None }
            }
        };
        Ok(Network::Toxiproxy(Arc::new(beyond)))
    }

    /// What it is, in words, when it is more than the link.
    pub fn in_words(&self) -> Option<String> {
        match self {
            Network::Embedded => None,
            Network::Toxiproxy(beyond) => {
                let kind = if beyond.container.is_some() { "container" } else { "external" };
                Some(format!("Toxiproxy {} ({kind})", beyond.api.version()))
            }
        }
    }

    /// A way through it to a broker, for one scenario; nothing where there is the link alone.
    pub async fn path(&self, name: &str, broker: &Broker) -> Result<Option<Path>, NetworkError> {
        match self {
            Network::Embedded => Ok(None),
            Network::Toxiproxy(beyond) => {
                let upstream = beyond.upstream(broker)?;
                let listen = match &beyond.container {
                    Some(container) => container.lend()?,
                    None => beyond.api.listen(),
                };
                // One that is not ours outlives this process.
                let name = if beyond.container.is_none() { &owned(name) } else { name };
                let bound = beyond.api.create(name, listen, upstream).await;
                if let (Err(_), Some(container)) = (&bound, &beyond.container) {
                    container.give_back(listen.port());
                }
                let bound = bound?;
                let addr = match &beyond.container {
                    Some(container) => container.outside(bound.port()),
                    None => SocketAddr::new(beyond.api.addr().ip(), bound.port()),
                };
                Ok(Some(Path { beyond: beyond.clone(), name: name.to_owned(), addr }))
            }
        }
    }

    /// Removes what is ours.
    pub async fn stop(&self) -> Result<(), NetworkError> {
        match self {
            Network::Toxiproxy(beyond) => match &beyond.container {
                Some(container) => Ok(container.stop().await?),
                None => Ok(()),
            },
            Network::Embedded => Ok(()),
        }
    }
}

/// Removes the proxies of runs that were killed on this machine.
async fn sweep(api: &toxiproxy::Toxiproxy) {
    let proxies = match api.names().await {
        Ok(proxies) => proxies,
        Err(error) => return tracing::warn!(%error, "cannot look for what dead runs left"),
    };
    for proxy in proxies.iter().filter(|proxy| is_of_the_dead(proxy)) {
        match api.delete(proxy).await {
            Ok(_) => tracing::info!(proxy, "removed a proxy that a dead run had left"),
            Err(error) => tracing::warn!(%error, "cannot remove what a dead run left"),
        }
    }
}

impl Beyond {
    /// Where it finds the broker.
    fn upstream(&self, broker: &Broker) -> Result<SocketAddr, NetworkError> {
        if self.container.is_none() {
            return Ok(broker.addr());
        }
        broker.inside().ok_or_else(|| NetworkError::Unreachable {
            network: "a Toxiproxy in a container".into(),
            why: format!(
                "it cannot reach a broker that is {}; use --broker container, or start a Toxiproxy on this machine and name it: --network http://127.0.0.1:8474",
                broker.kind()
            ),
        })
    }
}

impl Path {
    /// Where it listens, seen from this machine.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The broker is somewhere else now.
    pub async fn follow(&self, broker: &Broker) -> Result<(), NetworkError> {
        let upstream = self.beyond.upstream(broker)?;
        self.beyond.api.set_upstream(&self.name, upstream).await
    }

    /// Puts a toxic in force; returns its name there once it was read back.
    pub async fn add(&self, toxic: &Toxic) -> Result<String, NetworkError> {
        self.beyond.api.add(&self.name, toxic).await
    }

    /// Takes it out of force; it is gone when it was read back.
    pub async fn remove(&self, toxic: &str) -> Result<(), NetworkError> {
        self.beyond.api.remove(&self.name, toxic).await
    }

    /// Removes the way through.
    pub async fn close(&self) -> Result<(), NetworkError> {
        let listened = self.beyond.api.delete(&self.name).await?;
        if let (Some(container), Some(listened)) = (&self.beyond.container, listened) {
            container.give_back(listened.port());
        }
        Ok(())
    }
}
