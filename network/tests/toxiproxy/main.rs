//! The Toxiproxy server, as its clients see it: over HTTP and through its proxies.
//!
//! What is Toxiproxy's own is asked of the real one too, when `TOXIPROXY_BIN` names its server: the same
//! table, the same answers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

/// A server, its HTTP API, and an upstream that echoes.
mod rig;

/// Requests and their answers, to the octet.
mod api;

/// What each of Toxiproxy's toxics does.
mod toxics;

/// Where ours does better: the table of differences in `docs/toxiproxy.md`.
mod differences;

/// What a change costs.
mod cost;

/// The toxics only ours has, durations and counts.
mod more;
