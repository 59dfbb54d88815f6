//! Reset peer: both ends are reset so long after the first byte, or the end, of a stream.
//!
//! Nothing of the stream passes any more. A connection that says nothing is reset as well: so long
//! after the fault took effect on it, and if it was born under the fault, not before a client had time
//! for its first words.

use std::time::{Duration, Instant};

use super::effect::{Carry, Effect, Gate, OPEN};
use crate::wire::{CloseKind, Side};

/// What a client that has just connected gets to say something.
const FIRST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct ResetPeer {
    after: Duration,
    /// When it is reset though it says nothing.
    idle: Option<Instant>,
    /// When it said something.
    first: Option<Instant>,
}

impl ResetPeer {
    /// `fresh`: the connection is new.
    pub(super) fn new(after: Duration, fresh: bool) -> Self {
        let patience = if fresh { after.max(FIRST_WORDS) } else { after };
        Self { after, idle: Instant::now().checked_add(patience), first: None }
    }
}

impl Effect for ResetPeer {
    fn gate(&mut self, now: Instant, waiting: usize) -> Gate {
        if self.alarm().is_some_and(|at| at <= now) {
            Gate::Cut(Side::Both, CloseKind::Rst)
        } else if waiting > 0 {
            Gate::Drop(usize::MAX)
        } else {
            OPEN
        }
    }

    fn wrote(&mut self, now: Instant, _bytes: usize) {
        self.first.get_or_insert(now);
    }

    fn ending(&mut self, now: Instant) -> Gate {
        self.first.get_or_insert(now);
        match self.alarm() {
            Some(at) if at <= now => Gate::Cut(Side::Both, CloseKind::Rst),
            at => Gate::Wait(at),
        }
    }

    fn alarm(&self) -> Option<Instant> {
        match self.first {
            Some(first) => first.checked_add(self.after),
            None => self.idle,
        }
    }

    /// What it has swallowed is missing.
    fn parting(&self) -> Option<(Side, CloseKind)> {
        self.first.map(|_| (Side::Both, CloseKind::Rst))
    }

    fn carry(&self) -> Carry {
        Carry { first: self.first, ..Carry::default() }
    }

    fn resume(&mut self, carry: Carry) {
        self.first = carry.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Gate = Gate::Cut(Side::Both, CloseKind::Rst);

    #[test]
    fn it_waits_for_a_new_clients_first_words_and_not_for_an_old_ones() {
        let mut old = ResetPeer::new(Duration::ZERO, false);
        assert_eq!(old.gate(Instant::now(), 0), CUT);
        let mut new = ResetPeer::new(Duration::ZERO, true);
        let now = Instant::now();
        assert_eq!(new.gate(now, 0), OPEN);
        assert_eq!(new.gate(now + FIRST_WORDS, 0), CUT);
        assert_eq!(new.gate(now, 3), Gate::Drop(usize::MAX));
        new.wrote(now, 3);
        assert_eq!(new.gate(now, 0), CUT);
    }

    #[test]
    fn it_counts_from_the_first_byte() {
        let after = Duration::from_secs(5);
        let mut reset = ResetPeer::new(after, true);
        let first = Instant::now() + Duration::from_secs(4);
        reset.wrote(first, 1);
        reset.wrote(first + Duration::from_secs(1), 1);
        assert_eq!(reset.alarm(), Some(first + after));
        assert!(reset.parting().is_some());
        let mut changed = ResetPeer::new(Duration::from_secs(1), true);
        changed.resume(reset.carry());
        assert_eq!(changed.alarm(), Some(first + Duration::from_secs(1)));
    }
}
