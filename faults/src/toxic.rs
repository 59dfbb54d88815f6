//! The toxics of Toxiproxy as faults: its attributes, in its units, with its meaning to the letter.
//! Where a value would crash or hang Toxiproxy, what is sane happens in its place.

use serde::{Deserialize, Serialize};

use crate::error::FaultError;

/// One toxic of Toxiproxy 2.12. Numbers are as its API has them; negative times are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Toxic {
    /// Each chunk leaves later; the end of the stream does not.
    Latency {
        /// Milliseconds.
        latency: i64,
        /// Milliseconds more or less.
        #[serde(default)]
        jitter: i64,
    },
    /// A pace. 0: nothing passes, and nothing is lost.
    Bandwidth {
        /// Thousands of bytes a second.
        rate: i64,
    },
    /// The end of the stream passes later.
    SlowClose {
        /// Milliseconds.
        delay: i64,
    },
    /// Bytes vanish; after so long without any, the connection is closed, and also on lifting.
    Timeout {
        /// Milliseconds; 0 is never.
        timeout: i64,
    },
    /// The connection is reset.
    ResetPeer {
        /// Milliseconds after the first byte; on an idle connection, from when it took effect.
        timeout: i64,
    },
    /// Small writes.
    Slicer {
        /// Bytes; 0 does not slice.
        average_size: i64,
        /// Bytes more or less.
        #[serde(default)]
        size_variation: i64,
        /// Microseconds after each.
        #[serde(default)]
        delay: i64,
    },
    /// The connection is closed after so many bytes.
    LimitData {
        /// Bytes.
        bytes: i64,
    },
    /// Nothing.
    Noop,
}

impl Toxic {
    /// Refuses what Toxiproxy dies of.
    pub fn check(&self) -> Result<(), FaultError> {
        match *self {
            Self::Bandwidth { rate } if rate < 0 => {
                Err(FaultError::range("rate", rate, "from 0 (0 is a pause without loss)"))
            }
            Self::Slicer { average_size, .. } if average_size < 0 => {
                Err(FaultError::range("average_size", average_size, "from 0 (0 does not slice)"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kills_toxiproxy_is_refused() {
        assert!(Toxic::Bandwidth { rate: -1 }.check().is_err());
        assert!(Toxic::Bandwidth { rate: 0 }.check().is_ok());
        let slicer = |average_size| Toxic::Slicer { average_size, size_variation: 0, delay: 0 };
        assert!(slicer(-1).check().is_err());
        assert!(slicer(0).check().is_ok());
    }
}
