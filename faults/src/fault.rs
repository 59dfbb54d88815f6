//! The faults as one enum. What each does, and within which bounds, is in the table of [`crate::catalogue`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration;
use crate::toxic::Toxic;
use crate::wire::{CloseKind, Direction, Side};

/// One thing that goes wrong on a link. `way: None` means both ways.
///
/// What each does, and within which bounds, is in the [`CATALOGUE`](crate::CATALOGUE).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Each chunk leaves at its arrival + `delay` ± a uniform share of `jitter`, in order. Up to an
    /// hour. Throughput is not limited until 16 MiB are on the way.
    Latency {
        /// Which way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        way: Option<Direction>,
        /// How long.
        #[serde(with = "duration")]
        delay: Duration,
        /// More or less.
        #[serde(default, with = "duration")]
        jitter: Duration,
    },
    /// At most so many bytes a second, for each connection and way.
    Bandwidth {
        /// Which way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        way: Option<Direction>,
        /// From 1.
        bytes_per_second: u64,
    },
    /// Every write is `size` ± `variation` bytes, with a `pause` after it.
    Slice {
        /// Which way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        way: Option<Direction>,
        /// From 1.
        size: u32,
        /// Below `size`.
        #[serde(default)]
        variation: u32,
        /// Up to an hour.
        #[serde(default, with = "duration")]
        pause: Duration,
    },
    /// Both ends are cut after exactly so many bytes, counted for each connection and way from the
    /// injection on.
    Limit {
        /// Which way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        way: Option<Direction>,
        /// After how many bytes.
        bytes: u64,
        /// How.
        #[serde(default)]
        how: CloseKind,
    },
    /// The end of a stream (FIN) passes so much later.
    SlowClose {
        /// Up to an hour.
        #[serde(with = "duration")]
        delay: Duration,
    },
    /// A real RST to the ends of live connections, idle or not.
    Rst {
        /// To which ends.
        #[serde(default)]
        side: Side,
    },
    /// An orderly end of live connections.
    Fin {
        /// To which ends.
        #[serde(default)]
        side: Side,
    },
    /// Connections stay open and nothing passes: no byte, no FIN, no RST.
    Blackhole {
        /// Which way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        way: Option<Direction>,
        /// Whether what was sent meanwhile is delivered on lifting, as TCP delivers it when a cable is back;
        /// without, the flow is forgotten, and connections that lost something stay dead.
        #[serde(default = "yes")]
        resume: bool,
    },
    /// Nothing is read, so that back-pressure builds up; nothing is lost.
    Stall {
        /// Which way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        way: Option<Direction>,
    },
    /// New connections are refused by the operating system, and the port stays ours.
    Refuse,
    /// New connections are accepted, and then nothing.
    Ignore,
    /// New connections are accepted and closed at once.
    AcceptThenClose {
        /// How.
        #[serde(default)]
        how: CloseKind,
    },
    /// New connections beyond so many open ones are reset.
    LimitConnections {
        /// How many may be open.
        max: u32,
    },
    /// The frame at the point vanishes; the stream goes on after it.
    Drop,
    /// The stream waits at the point for so long.
    Hold {
        /// Up to an hour.
        #[serde(with = "duration")]
        delay: Duration,
    },
    /// One byte of the frame at the point is changed.
    Corrupt {
        /// Which byte, counted from 0 and from the frame's header.
        byte: u32,
        /// What it is XORed with; not 0.
        xor: u8,
    },
    /// Only the first bytes of the frame at the point pass; the stream goes on after it.
    Truncate {
        /// How many pass, its header's 7 included.
        keep: u32,
    },
    /// What a toxic of Toxiproxy does.
    Toxic {
        /// Which way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        way: Option<Direction>,
        /// Which.
        toxic: Toxic,
    },
}

/// For serde: what is so unless it is said otherwise.
fn yes() -> bool {
    true
}
