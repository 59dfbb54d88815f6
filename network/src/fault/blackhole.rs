//! Blackhole: nothing passes, and nobody is told.
//!
//! With `resume` what is sent is kept, up to [`KEPT`] and then by back-pressure, and delivered on
//! lifting. Without, it is swallowed, and a connection that lost something (or was born meanwhile)
//! stays dead after lifting: its octets go on vanishing until one end closes, which then resets
//! both. If an end closed during the blackhole, the survivor is reset on lifting.

use std::time::Instant;

use super::effect::{Effect, Gate, Undialed};

/// Octets kept for each connection and way, to be delivered on lifting.
const KEPT: usize = 1024 * 1024;

pub(super) struct Blackhole {
    pub(super) resume: bool,
}

impl Blackhole {
    fn answer(&self) -> Gate {
        if self.resume { Gate::Wait(None) } else { Gate::Swallow }
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
        Some(if self.resume { Undialed::Later } else { Undialed::Never })
    }
}
