//! How a fault is asked for: the fault, and where, for whom and for how long. All that can be refused
//! is refused here, before anything is touched.

use std::{fmt, time::Duration};

use gauntlet_amqp::FrameName;
use serde::{Deserialize, Serialize};

use crate::catalogue::Kind;
use crate::duration;
use crate::error::FaultError;
use crate::fault::Fault;
use crate::wire::Direction;

/// The longest delay a fault may ask for.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// A fault's id: unique on its link, in the order of injection, from 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct FaultId(pub u64);

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A fault with its conditions. Made from a [`Fault`], narrowed by the methods below.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// What goes wrong.
    pub fault: Fault,
    /// Where in the protocol it takes effect; at once without. Faults on connections then concern
    /// the connection on which the point was met, faults on the listener the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Point>,
    /// The share of connections it concerns, from 0 to 1, drawn from the link's seed.
    #[serde(default = "whole")]
    pub share: f64,
    /// Lifted by itself after so long: from the injection, or from when the point was met.
    /// With `rst` and `fin`: connections born meanwhile are cut too.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::option")]
    pub lasts: Option<Duration>,
    /// Only the next so many new connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// With a point: how many matches it takes, from the `nth` on. 1 without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

fn whole() -> f64 {
    1.0
}

impl From<Fault> for Injection {
    fn from(fault: Fault) -> Self {
        Self { fault, at: None, share: whole(), lasts: None, connections: None, times: None }
    }
}

impl Injection {
    /// Takes effect at `point`.
    #[must_use]
    pub fn at(self, point: Point) -> Self {
        Self { at: Some(point), ..self }
    }

    /// Is lifted by itself after `duration`.
    #[must_use]
    pub fn lasting(self, duration: Duration) -> Self {
        Self { lasts: Some(duration), ..self }
    }

    /// Concerns this share of the connections.
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        Self { share, ..self }
    }

    /// Concerns only the next `n` new connections.
    #[must_use]
    pub fn next_connections(self, n: u32) -> Self {
        Self { connections: Some(n), ..self }
    }

    /// Takes this many matches of its point.
    #[must_use]
    pub fn times(self, n: u32) -> Self {
        Self { times: Some(n), ..self }
    }

    /// Checks it; the name its point looks for, if it names one.
    pub fn named(&self) -> Result<Option<FrameName>, FaultError> {
        self.check()?;
        match &self.at {
            Some(point) => point.name(),
            None => Ok(None),
        }
    }

    /// Refuses what makes no sense, quoting it.
    pub fn check(&self) -> Result<(), FaultError> {
        self.fault.check()?;
        if !(0.0..=1.0).contains(&self.share) {
            return Err(FaultError::range("share", self.share, "from 0 to 1"));
        }
        for (name, count) in [("connections", self.connections), ("times", self.times)] {
            if count == Some(0) {
                return Err(FaultError::range(name, 0, "from 1"));
            }
        }
        if self.lasts == Some(Duration::ZERO) {
            return Err(FaultError::range("lasts", "0s", "above 0"));
        }
        let (fault, kind) = (self.fault.name(), self.fault.kind());
        if kind == Kind::Listener
            && self.fault == Fault::Refuse
            && (self.share < 1.0 || self.connections.is_some())
        {
            return Err(FaultError::Whole { fault });
        }
        match &self.at {
            None if kind == Kind::Frame => Err(FaultError::PointRequired { fault }),
            None if self.times.is_some() => Err(FaultError::TimesWithoutPoint),
            None => Ok(()),
            Some(point) => {
                point.check(fault, kind == Kind::Frame && !matches!(self.fault, Fault::Hold { .. }))
            }
        }
    }
}

/// A place in the stream: an edge of the nth frame of a name going one way.
///
/// Frames are counted over the whole link from the injection on. A frame that had begun to leave
/// before the injection is not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Which way.
    pub way: Direction,
    /// The frame's name, such as `basic.deliver`, `header`, `body`, `heartbeat`; `*` for any.
    pub frame: String,
    /// Which one, from 1.
    #[serde(default = "first")]
    pub nth: u32,
    /// Where in it.
    #[serde(default)]
    pub edge: Edge,
}

fn first() -> u32 {
    1
}

impl Point {
    /// The first `frame` going `way`, before it.
    pub fn new(way: Direction, frame: impl Into<String>) -> Self {
        Self { way, frame: frame.into(), nth: 1, edge: Edge::Before }
    }

    /// The `nth` such frame.
    #[must_use]
    pub fn nth(self, nth: u32) -> Self {
        Self { nth, ..self }
    }

    /// At this edge of it.
    #[must_use]
    pub fn edge(self, edge: Edge) -> Self {
        Self { edge, ..self }
    }

    /// The name to look for; `None` for any.
    pub fn name(&self) -> Result<Option<FrameName>, FaultError> {
        if self.frame == "*" {
            return Ok(None);
        }
        FrameName::parse(&self.frame).map(Some).ok_or_else(|| FaultError::UnknownFrame {
            given: self.frame.clone(),
            nearest: FrameName::nearest(&self.frame),
        })
    }

    fn check(&self, fault: &'static str, whole_frame: bool) -> Result<(), FaultError> {
        self.name()?;
        if self.nth == 0 {
            return Err(FaultError::range("nth", 0, "from 1"));
        }
        if whole_frame && self.edge != Edge::Before {
            return Err(FaultError::Edge { fault, given: self.edge });
        }
        Ok(())
    }
}

/// A place in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// Before its first byte.
    #[default]
    Before,
    /// After so many of its bytes, the 7 of its header included. At or beyond its length: after it.
    Inside(u32),
    /// After its last byte.
    After,
}

impl Edge {
    /// Bytes of a frame of `total` that come before this edge.
    pub fn offset(self, total: u64) -> u64 {
        match self {
            Self::Before => 0,
            Self::Inside(bytes) => u64::from(bytes).min(total),
            Self::After => total,
        }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before => f.write_str("before"),
            Self::Inside(bytes) => write!(f, "{bytes} bytes into"),
            Self::After => f.write_str("after"),
        }
    }
}

/// A fault in force, read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Active {
    /// Its id.
    pub id: FaultId,
    /// As it was asked for.
    pub injection: Injection,
    /// How often it fired.
    pub fired: u64,
    /// Bytes that felt it: delayed, paced, or lost.
    pub bytes: u64,
}
