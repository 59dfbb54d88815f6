//! The faults as one table: their names, what they act on, their fields with units and bounds.

use crate::error::FaultError;
use crate::fault::Fault;
use crate::injection::LONGEST;
use crate::wire::{CloseKind, Direction, Side};

/// What a fault acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The bytes of connections, while it lasts.
    Stream,
    /// Connections, once.
    Cut,
    /// New connections.
    Listener,
    /// Frames at a point.
    Frame,
}

/// One row of the [`CATALOGUE`].
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The fault's name, as in files.
    pub name: &'static str,
    /// What it acts on.
    pub kind: Kind,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Its fields: name, and meaning with unit and bounds.
    pub fields: &'static [(&'static str, &'static str)],
}

const WAY: (&str, &str) = ("way", "to_broker or to_client; both without");
const SIDE: (&str, &str) = ("side", "client, broker or both (default)");
const HOW: (&str, &str) = ("how", "fin or rst (default)");

macro_rules! catalogue {
    ($($name:literal $kind:ident $summary:literal [$($field:expr),*];)*) => {
        &[$(About { name: $name, kind: Kind::$kind, summary: $summary, fields: &[$($field),*] }),*]
    };
}

/// Every fault, in the order of the enum.
#[rustfmt::skip]
pub const CATALOGUE: &[About] = catalogue! {
    "latency" Stream "each chunk leaves later, in order; throughput is not limited"
        [WAY, ("delay", "up to 1h"), ("jitter", "more or less, uniform; up to 1h")];
    "bandwidth" Stream "a pace for each connection and way"
        [WAY, ("bytes_per_second", "from 1")];
    "slice" Stream "small writes with pauses"
        [WAY, ("size", "bytes, from 1"), ("variation", "bytes, below size"), ("pause", "up to 1h")];
    "limit" Stream "a cut after exactly so many bytes of a connection and way"
        [WAY, ("bytes", "counted from the injection"), HOW];
    "slow_close" Stream "the end of a stream passes later"
        [("delay", "up to 1h")];
    "rst" Cut "a real RST on live connections, idle or not"
        [SIDE];
    "fin" Cut "an orderly end of live connections"
        [SIDE];
    "blackhole" Stream "connections stay open and nothing passes, no FIN and no RST either"
        [WAY, ("resume", "true: what was sent is delivered on lifting; false: it is lost")];
    "stall" Stream "nothing is read; back-pressure; no loss"
        [WAY];
    "refuse" Listener "new connections are refused; the port stays reserved"
        [];
    "ignore" Listener "new connections are accepted, and then nothing"
        [];
    "accept_then_close" Listener "new connections are accepted and closed at once"
        [HOW];
    "limit_connections" Listener "new connections beyond so many open ones are reset"
        [("max", "from 0")];
    "drop" Frame "a frame vanishes"
        [];
    "hold" Frame "the stream waits at a frame"
        [("delay", "up to 1h")];
    "corrupt" Frame "one byte of a frame is changed"
        [("byte", "which, from 0, its header included"), ("xor", "1 to 255")];
    "truncate" Frame "a frame loses its end"
        [("keep", "bytes that pass, its header included")];
    "toxic" Stream "a toxic of Toxiproxy, by its own name and attributes"
        [WAY, ("toxic", "its type and attributes, as in {type = \"timeout\", timeout = 500}")];
};

impl Fault {
    /// Its row of the [`CATALOGUE`].
    pub fn about(&self) -> &'static About {
        let row = match self {
            Self::Latency { .. } => 0,
            Self::Bandwidth { .. } => 1,
            Self::Slice { .. } => 2,
            Self::Limit { .. } => 3,
            Self::SlowClose { .. } => 4,
            Self::Rst { .. } => 5,
            Self::Fin { .. } => 6,
            Self::Blackhole { .. } => 7,
            Self::Stall { .. } => 8,
            Self::Refuse => 9,
            Self::Ignore => 10,
            Self::AcceptThenClose { .. } => 11,
            Self::LimitConnections { .. } => 12,
            Self::Drop => 13,
            Self::Hold { .. } => 14,
            Self::Corrupt { .. } => 15,
            Self::Truncate { .. } => 16,
            Self::Toxic { .. } => 17,
        };
        &CATALOGUE[row]
    }

    /// Its name, as in files.
    pub fn name(&self) -> &'static str {
        self.about().name
    }

    /// What it acts on.
    pub fn kind(&self) -> Kind {
        self.about().kind
    }

    /// Refuses values out of range.
    pub fn check(&self) -> Result<(), FaultError> {
        let durations = match self {
            Self::Latency { delay, jitter, .. } => vec![("delay", delay), ("jitter", jitter)],
            Self::Slice { pause, .. } => vec![("pause", pause)],
            Self::SlowClose { delay } | Self::Hold { delay } => vec![("delay", delay)],
            _ => Vec::new(),
        };
        if let Some((name, given)) = durations.into_iter().find(|(_, given)| **given > LONGEST) {
            return Err(FaultError::range(name, humantime::format_duration(*given), "1h at most"));
        }
        match self {
            Self::Bandwidth { bytes_per_second: 0, .. } => Err(FaultError::range(
                "bytes_per_second",
                0,
                "from 1 (a pause without loss is \"stall\")",
            )),
            Self::Slice { size: 0, .. } => Err(FaultError::range("size", 0, "from 1")),
            Self::Slice { size, variation, .. } if variation >= size => {
                Err(FaultError::range("variation", variation, "below size"))
            }
            Self::Corrupt { xor: 0, .. } => {
                Err(FaultError::range("xor", 0, "from 1, or nothing would change"))
            }
            Self::Toxic { toxic, .. } => toxic.check(),
            _ => Ok(()),
        }
    }

    /// The way it is limited to.
    pub fn way(&self) -> Option<Direction> {
        match self {
            Self::Latency { way, .. }
            | Self::Bandwidth { way, .. }
            | Self::Slice { way, .. }
            | Self::Limit { way, .. }
            | Self::Blackhole { way, .. }
            | Self::Stall { way }
            | Self::Toxic { way, .. } => *way,
            _ => None,
        }
    }

    /// To which ends a cut is done, and how; none for other faults.
    pub fn cut(&self) -> Option<(Side, CloseKind)> {
        match *self {
            Self::Rst { side } => Some((side, CloseKind::Rst)),
            Self::Fin { side } => Some((side, CloseKind::Fin)),
            _ => None,
        }
    }

    /// Whether it acts once on the connections there are, rather than for as long as it lasts.
    pub fn single(&self) -> bool {
        self.kind() == Kind::Cut
    }
}
