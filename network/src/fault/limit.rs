//! Limit: exactly so many octets pass, then both ends are cut.

use std::time::Instant;

use super::effect::{Effect, Gate};
use crate::wire::{CutHow, Side};

pub(super) struct Limit {
    pub(super) left: u64,
    pub(super) how: CutHow,
}

impl Effect for Limit {
    fn gate(&mut self, _now: Instant, _waiting: usize) -> Gate {
        match usize::try_from(self.left).unwrap_or(usize::MAX) {
            0 => Gate::Cut(Side::Both, self.how),
            left => Gate::Pass(left),
        }
    }

    fn wrote(&mut self, _now: Instant, octets: usize) {
        self.left = self.left.saturating_sub(octets as u64);
    }
}
