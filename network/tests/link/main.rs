//! The link, measured: each fault does what it claims, on real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "what was measured is worth reading with --nocapture")]

/// A link between a client and an upstream of the test's own, and what its taps heard.
mod rig;

/// Without faults: bytes, half-close, resets, errors, upstreams, stopping.
mod plain;

/// Latency, bandwidth, slices, limits, slow close.
mod shaping;

/// RST and FIN, at once and at points of the protocol.
mod cuts;

/// Blackholes and stalls, lifted and not.
mod silence;

/// Clients that the faults are not meant for.
mod strangers;

/// Refusing, ignoring, closing, limiting: what happens to new connections.
mod door;

/// Frames dropped, held, corrupted, truncated.
mod frames;

/// What is refused, read back, counted; shares, numbers, durations.
mod injections;

/// The toxics of Toxiproxy, and changing a fault in force.
mod toxics;

/// What taps hear, and in which order.
mod taps;
