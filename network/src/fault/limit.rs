//! Limit: exactly so many bytes pass, then both ends are cut.

use std::time::Instant;

use super::effect::{Carry, Effect, Gate};
use crate::wire::{CloseKind, Side};

pub(super) struct Limit {
    bytes: u64,
    how: CloseKind,
    passed: u64,
}

impl Limit {
    pub(super) fn new(bytes: u64, how: CloseKind) -> Self {
        Self { bytes, how, passed: 0 }
    }
}

impl Effect for Limit {
    fn gate(&mut self, _now: Instant, waiting: usize) -> Gate {
        let left = self.bytes.saturating_sub(self.passed);
        match usize::try_from(left).unwrap_or(usize::MAX) {
            // None at all, or fewer than have passed: an idle connection has not come to its limit.
            0 if waiting == 0 && (self.bytes == 0 || self.passed > self.bytes) => Gate::Pass(0),
            0 if self.how == CloseKind::Fin => Gate::Close,
            0 => Gate::Cut(Side::Both, self.how),
            left => Gate::Pass(left),
        }
    }

    fn wrote(&mut self, _now: Instant, bytes: usize) {
        self.passed += bytes as u64;
    }

    fn carry(&self) -> Carry {
        Carry { bytes: self.passed, ..Carry::default() }
    }

    fn resume(&mut self, carry: Carry) {
        self.passed = carry.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_counts_when_the_limit_changes() {
        let now = Instant::now();
        let mut limit = Limit::new(10, CloseKind::Fin);
        assert_eq!(limit.gate(now, 50), Gate::Pass(10));
        limit.wrote(now, 4);
        let mut wider = Limit::new(20, CloseKind::Fin);
        wider.resume(limit.carry());
        assert_eq!(wider.gate(now, 50), Gate::Pass(16));
        limit.wrote(now, 6);
        assert_eq!(limit.gate(now, 0), Gate::Close);
    }

    #[test]
    fn a_limit_of_none_waits_for_the_first_byte() {
        let mut none = Limit::new(0, CloseKind::Rst);
        assert_eq!(none.gate(Instant::now(), 0), Gate::Pass(0));
        assert_eq!(none.gate(Instant::now(), 1), Gate::Cut(Side::Both, CloseKind::Rst));
    }
}
