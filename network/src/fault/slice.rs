//! Slice: writes of `size` ± `variation` bytes with a pause after each.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand_pcg::Pcg64;

use super::effect::{Effect, Gate};

pub(super) struct Slice {
    pub(super) size: u32,
    pub(super) variation: u32,
    pub(super) pause: Duration,
    pub(super) chance: Pcg64,
    /// The size drawn for the next slice; 0: none yet.
    pub(super) left: usize,
    pub(super) paused: Option<Instant>,
}

impl Effect for Slice {
    fn gate(&mut self, now: Instant, _waiting: usize) -> Gate {
        if let Some(until) = self.paused
            && until > now
        {
            return Gate::Wait(Some(until));
        }
        if self.left == 0 {
            let (low, high) =
                (self.size - self.variation, self.size.saturating_add(self.variation));
            self.left = self.chance.random_range(low..=high) as usize;
        }
        Gate::Pass(self.left)
    }

    /// A write that ends short of its slice is a slice of its own.
    fn wrote(&mut self, now: Instant, _bytes: usize) {
        self.left = 0;
        self.paused = now.checked_add(self.pause);
    }
}
