//! Gauntlet: scenarios.
