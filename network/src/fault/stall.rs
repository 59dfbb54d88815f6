//! Stall: nothing is read, so that the sender feels back-pressure; nothing is lost, and all goes on
//! when it is lifted.

use std::time::Instant;

use super::effect::{Effect, Gate};

pub(super) struct Stall;

impl Effect for Stall {
    fn gate(&mut self, _now: Instant, _waiting: usize) -> Gate {
        Gate::Wait(None)
    }

    fn ending(&mut self, _now: Instant) -> Gate {
        Gate::Wait(None)
    }

    fn reads(&self) -> bool {
        false
    }
}
