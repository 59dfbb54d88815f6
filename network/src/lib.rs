//! Gauntlet: network.
