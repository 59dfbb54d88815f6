//! The question a direction of a connection asks each fault on it, and how the answers combine.

use std::time::{Duration, Instant};

use crate::wire::{CutHow, Side};

/// Octets a direction may hold back when no fault asks for more.
pub(crate) const ROOM: usize = 64 * 1024;

/// What may happen to the octets at the head of a direction. Ordered: of several answers the
/// greatest rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// At most so many may pass now.
    Pass(usize),
    /// None until then; without an instant, until the table of faults changes.
    Wait(Option<Instant>),
    /// They vanish.
    Swallow,
    /// The connection is cut here.
    Cut(Side, CutHow),
}

/// No objection.
pub(crate) const OPEN: Gate = Gate::Pass(usize::MAX);

impl Gate {
    /// What two faults say together.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (cut @ Self::Cut(..), _) | (_, cut @ Self::Cut(..)) => cut,
            (Self::Swallow, _) | (_, Self::Swallow) => Self::Swallow,
            (Self::Wait(a), Self::Wait(b)) => Self::Wait(a.zip(b).map(|(a, b)| a.max(b))),
            (wait @ Self::Wait(_), _) | (_, wait @ Self::Wait(_)) => wait,
            (Self::Pass(a), Self::Pass(b)) => Self::Pass(a.min(b)),
        }
    }

    /// Whether it changes anything for `waiting` octets.
    pub(crate) fn touches(self, waiting: usize) -> bool {
        match self {
            Self::Pass(n) => n < waiting,
            Self::Wait(_) | Self::Swallow => waiting > 0,
            Self::Cut(..) => true,
        }
    }
}

/// One fault on one direction of one connection. Each answer defaults to no objection.
pub(crate) trait Effect: Send {
    /// Whether it delays chunks from their arrival on.
    fn delays(&self) -> bool {
        false
    }

    /// By how much a chunk that arrives now is delayed.
    fn delay(&mut self) -> Duration {
        Duration::ZERO
    }

    /// What may happen now, with `waiting` octets at the head (possibly none).
    fn gate(&mut self, _now: Instant, _waiting: usize) -> Gate {
        OPEN
    }

    /// So many octets were written.
    fn wrote(&mut self, _now: Instant, _octets: usize) {}

    /// Whether the end of the stream may pass now.
    fn ending(&mut self, _now: Instant) -> Gate {
        OPEN
    }

    /// Whether the source is read from.
    fn reads(&self) -> bool {
        true
    }

    /// Octets that may be held back while it lasts.
    fn room(&self) -> usize {
        ROOM
    }

    /// Whether a connection without an upstream is left without one.
    fn undialed(&self) -> Option<Undialed> {
        None
    }
}

/// What becomes of a connection that was born while no upstream may be dialed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undialed {
    /// It is dialed when the fault is lifted.
    Later,
    /// Never.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_answer_rules() {
        let cut = Gate::Cut(Side::Both, CutHow::Rst);
        let soon = Instant::now();
        let late = soon + Duration::from_secs(1);
        assert_eq!(OPEN.and(Gate::Pass(3)), Gate::Pass(3));
        assert_eq!(Gate::Pass(3).and(Gate::Wait(Some(soon))), Gate::Wait(Some(soon)));
        assert_eq!(Gate::Wait(Some(late)).and(Gate::Wait(Some(soon))), Gate::Wait(Some(late)));
        assert_eq!(Gate::Wait(None).and(Gate::Wait(Some(soon))), Gate::Wait(None));
        assert_eq!(Gate::Swallow.and(Gate::Wait(None)), Gate::Swallow);
        assert_eq!(Gate::Swallow.and(cut), cut);
    }
}
