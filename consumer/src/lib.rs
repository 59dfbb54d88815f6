//! Gauntlet: consumer.
