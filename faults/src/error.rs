//! Why a fault is refused, or its lifting.

use std::{fmt::Display, time::Duration};

use crate::injection::{Edge, FaultId};

/// What can be wrong with an injection or a lifting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// A point names a frame that does not exist.
    #[error("no frame is called {given:?}; did you mean {nearest:?}? (\"*\" is any frame)")]
    UnknownFrame {
        /// The name as given.
        given: String,
        /// The known name nearest to it.
        nearest: &'static str,
    },
    /// A value is out of its range.
    #[error("{field} is {given}, and has to be {bounds}")]
    OutOfRange {
        /// Which value.
        field: &'static str,
        /// As given.
        given: String,
        /// What is allowed.
        bounds: &'static str,
    },
    /// A fault on frames without a point.
    #[error("{fault} acts on a frame: say which with a point")]
    PointRequired {
        /// The fault.
        fault: &'static str,
    },
    /// A fault on a whole frame with a point inside or after it.
    #[error("{fault} takes a frame as a whole: its point has the edge \"before\", not \"{given}\"")]
    Edge {
        /// The fault.
        fault: &'static str,
        /// The edge as given.
        given: Edge,
    },
    /// `times` without a point.
    #[error("times counts matches of a point, and there is none")]
    TimesWithoutPoint,
    /// A share or number of connections for a fault that comes before any connection.
    #[error("{fault} concerns the whole link: it takes no share and no number of connections")]
    Whole {
        /// The fault.
        fault: &'static str,
    },
    /// A point on a link that does not scan.
    #[error("the link {link:?} was started with scan(false): it knows no points")]
    NotScanning {
        /// The link's name.
        link: String,
    },
    /// No such fault was ever injected here.
    #[error("no fault {id} was injected into the link {link:?}")]
    Unknown {
        /// The id as given.
        id: FaultId,
        /// The link's name.
        link: String,
    },
    /// The fault is in force, but not every connection confirmed it in time.
    #[error("fault {id} is in force, but not every connection confirmed it within {after:?}")]
    Unconfirmed {
        /// The fault.
        id: FaultId,
        /// How long was waited.
        after: Duration,
    },
    /// The port could not be listened on again.
    #[error("the link {link:?} could not listen again on {addr}: {error}")]
    Listen {
        /// The link's name.
        link: String,
        /// Its address.
        addr: std::net::SocketAddr,
        /// What the operating system said.
        error: String,
    },
    /// The link is stopped.
    #[error("the link {link:?} is stopped")]
    Stopped {
        /// The link's name.
        link: String,
    },
}

impl FaultError {
    /// A value out of its range.
    pub fn range(field: &'static str, given: impl Display, bounds: &'static str) -> Self {
        Self::OutOfRange { field, given: given.to_string(), bounds }
    }
}
