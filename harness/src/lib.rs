//! Gauntlet: harness.
