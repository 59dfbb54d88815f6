//! Blackhole: nothing passes, and nobody is told.
//!
//! With `resume` this is a pulled cable: what is sent is kept, up to [`KEPT`] and then by back-pressure,
//! and delivered on lifting, as TCP would by sending it again. Without, the flow is forgotten, as a NAT
//! or a firewall forgets it: what is sent is swallowed, and a connection that lost something stays dead
//! after lifting. Its bytes go on vanishing until one end closes, which then resets both. If an end
//! closed during the blackhole, the survivor is reset on lifting.
//!
//! A connection that is made during the blackhole has no flow that could be forgotten: TCP asks again
//! until it is answered. It is dialed on lifting, and what its client sent is delivered then.

use std::time::Instant;

use super::effect::{Effect, Gate, Undialed};

/// Bytes kept for each connection and way, to be delivered on lifting.
const KEPT: usize = 1024 * 1024;

pub(super) struct Blackhole {
    pub(super) resume: bool,
    /// The connection was made under it.
    pub(super) fresh: bool,
}

impl Blackhole {
    fn answer(&self) -> Gate {
        if self.resume || self.fresh { Gate::Wait(None) } else { Gate::Swallow }
    }
}

impl Effect for Blackhole {
    fn gate(&mut self, _now: Instant, _waiting: usize) -> Gate {
        self.answer()
    }

    fn ending(&mut self, _now: Instant) -> Gate {
        self.answer()
    }

    fn room(&self) -> usize {
        KEPT
    }

    fn undialed(&self) -> Option<Undialed> {
        Some(Undialed::Later)
    }
}
