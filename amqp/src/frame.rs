//! One frame, and its line in a trace.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Args, FrameName};

/// A frame that crossed one end of a link. Its `Display` is one line, such as
/// `ch1 basic.deliver tag=17 redelivered ctag="worker" key="jobs"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The channel; 0 for the connection itself.
    pub channel: u16,
    /// Its name.
    pub name: FrameName,
    /// Bytes of payload (of a protocol header: 8, all of it).
    pub size: u32,
    /// The arguments that matter.
    #[serde(default, skip_serializing_if = "Args::is_none")]
    pub args: Args,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ch{} {}", self.channel, self.name)?;
        if self.name == super::name::BODY {
            write!(f, " size={}", self.size)?;
        }
        write!(f, "{}", self.args)
    }
}
