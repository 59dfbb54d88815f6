//! The question a direction of a connection asks each fault on it, and how the answers combine.

use std::time::{Duration, Instant};

use crate::wire::{CloseKind, Side};

/// Bytes a direction may hold back when no fault asks for more.
pub(crate) const ROOM: usize = 64 * 1024;

/// What may happen to the bytes at the head of a direction. Ordered: of several answers the
/// greatest rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// At most so many may pass now.
    Pass(usize),
    /// None until then; without an instant, until the table of faults changes.
    Wait(Option<Instant>),
    /// At most so many vanish, and the stream goes on behind them.
    Drop(usize),
    /// They vanish, and with them all that follows.
    Swallow,
    /// The stream ends here, in order, and with it the connection.
    Close,
    /// The connection is cut here.
    Cut(Side, CloseKind),
}

/// No objection.
pub(crate) const OPEN: Gate = Gate::Pass(usize::MAX);

impl Gate {
    /// What two faults say together.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (cut @ Self::Cut(..), _) | (_, cut @ Self::Cut(..)) => cut,
            (Self::Close, _) | (_, Self::Close) => Self::Close,
            (Self::Swallow, _) | (_, Self::Swallow) => Self::Swallow,
            (Self::Wait(a), Self::Wait(b)) => Self::Wait(a.zip(b).map(|(a, b)| a.max(b))),
            (wait @ Self::Wait(_), _) | (_, wait @ Self::Wait(_)) => wait,
            (Self::Drop(a), Self::Drop(b) | Self::Pass(b)) | (Self::Pass(a), Self::Drop(b)) => {
                Self::Drop(a.min(b))
            }
            (Self::Pass(a), Self::Pass(b)) => Self::Pass(a.min(b)),
        }
    }

    /// Whether it changes anything for `waiting` bytes.
    pub(crate) fn touches(self, waiting: usize) -> bool {
        match self {
            Self::Pass(n) => n < waiting,
            Self::Wait(_) | Self::Drop(_) | Self::Swallow => waiting > 0,
            Self::Close | Self::Cut(..) => true,
        }
    }
}

/// What an effect hands on to the one that takes its place when its fault is changed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Carry {
    /// Bytes that have passed.
    pub(crate) bytes: u64,
    /// When something first came.
    pub(crate) first: Option<Instant>,
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

    /// Whether the end of the stream is delayed as a chunk is.
    fn delays_end(&self) -> bool {
        true
    }

    /// What may happen now, with `waiting` bytes at the head (possibly none).
    fn gate(&mut self, _now: Instant, _waiting: usize) -> Gate {
        OPEN
    }

    /// So many bytes were written, or dropped by it or one behind it.
    fn wrote(&mut self, _now: Instant, _bytes: usize) {}

    /// Whether the end of the stream may pass now. One that waits for an instant waits for one to come.
    fn ending(&mut self, _now: Instant) -> Gate {
        OPEN
    }

    /// When it is to be asked again though nothing has happened.
    fn alarm(&self) -> Option<Instant> {
        None
    }

    /// What its lifting does to the connection.
    fn parting(&self) -> Option<(Side, CloseKind)> {
        None
    }

    /// What is to be handed on when its fault is changed.
    fn carry(&self) -> Carry {
        Carry::default()
    }

    /// Takes on what the one before it handed on.
    fn resume(&mut self, _carry: Carry) {}

    /// Whether the source is read from.
    fn reads(&self) -> bool {
        true
    }

    /// Bytes that may be held back while it lasts.
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
        let cut = Gate::Cut(Side::Both, CloseKind::Rst);
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
