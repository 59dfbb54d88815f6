//! Ignore: a new connection is accepted, and then nothing: it is neither dialed, nor read, nor closed.
//! When the fault is lifted the ignored connections are reset, so that their clients are free again.

use std::time::Instant;

use super::effect::{Effect, Gate, Undialed};

pub(super) struct Ignore;

impl Effect for Ignore {
    fn gate(&mut self, _now: Instant, _waiting: usize) -> Gate {
        Gate::Wait(None)
    }

    fn reads(&self) -> bool {
        false
    }

    fn undialed(&self) -> Option<Undialed> {
        Some(Undialed::Never)
    }
}
