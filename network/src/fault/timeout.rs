//! Timeout: bytes vanish, and after so long without any the connection is closed.
//!
//! An end of the stream passes. Lifting it closes the connection too: what vanished is missing.

use std::time::{Duration, Instant};

use super::effect::{Effect, Gate, OPEN};
use crate::wire::{CloseKind, Side};

pub(super) struct Timeout {
    /// Never without.
    pub(super) after: Option<Duration>,
    pub(super) quiet_since: Instant,
}

impl Effect for Timeout {
    fn gate(&mut self, now: Instant, waiting: usize) -> Gate {
        if waiting > 0 {
            Gate::Drop(usize::MAX)
        } else if self.alarm().is_some_and(|at| at <= now) {
            Gate::Cut(Side::Both, CloseKind::Fin)
        } else {
            OPEN
        }
    }

    fn wrote(&mut self, now: Instant, _bytes: usize) {
        self.quiet_since = now;
    }

    fn alarm(&self) -> Option<Instant> {
        self.quiet_since.checked_add(self.after?)
    }

    fn parting(&self) -> Option<(Side, CloseKind)> {
        Some((Side::Both, CloseKind::Fin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_put_the_end_off() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut timeout = Timeout { after: Some(second), quiet_since: start };
        assert_eq!(timeout.gate(start, 0), OPEN);
        assert_eq!(timeout.gate(start + second / 2, 7), Gate::Drop(usize::MAX));
        timeout.wrote(start + second / 2, 7);
        assert_eq!(timeout.gate(start + second, 0), OPEN);
        let end = start + second / 2 + second;
        assert_eq!(timeout.alarm(), Some(end));
        assert_eq!(timeout.gate(end, 0), Gate::Cut(Side::Both, CloseKind::Fin));
        timeout.after = None;
        assert_eq!((timeout.alarm(), timeout.gate(end, 0)), (None, OPEN));
    }
}
