//! Why a suite could not be run at all.

use std::path::PathBuf;

use crate::broker::BrokerError;
use crate::network::NetworkError;

/// A suite that could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// No broker.
    #[error("failed to {0}")]
    Broker(#[from] BrokerError),
    /// No network.
    #[error("failed to {0}")]
    Network(#[from] NetworkError),
    /// The directory for the runs is unavailable.
    #[error("cannot write to the output directory {path}: {source}; choose another with --out")]
    Out {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
