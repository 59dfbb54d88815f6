//! What can fail under a run. Never the subject's fault.

use crate::backstage::BackstageError;
use crate::broker::BrokerError;
use crate::conductor::ConductError;
use crate::network::NetworkError;
use crate::subject::HostError;

/// The environment was unavailable, or failed under the run. Never the subject's fault.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Broker.
    #[error("failed to {0}")]
    Broker(#[from] BrokerError),
    /// The harness's own session.
    #[error(transparent)]
    AdminSession(#[from] BackstageError),
    /// The schedule.
    #[error(transparent)]
    Conduct(#[from] ConductError),
    /// The subject's host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What is between the link and the broker.
    #[error("failed to {0}")]
    Network(#[from] NetworkError),
    /// The link.
    #[error("failed to open the link to the broker: {0}")]
    Link(gauntlet_network::link::StartError),
    /// It was told to halt.
    #[error("interrupted")]
    Interrupted,
    /// What is around the subject did not answer in time.
    #[error(
        "the run had not ended after {bound}, its upper bound: the broker, or this machine, does not answer"
    )]
    Overran {
        /// The bound, in words.
        bound: String,
    },
    /// The run directory.
    #[error("failed to write {path}: {source}")]
    Output {
        /// File.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
