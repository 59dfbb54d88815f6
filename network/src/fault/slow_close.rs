//! Slow close: the end of a stream passes later, its bytes at once.

use std::time::{Duration, Instant};

use super::effect::{Effect, Gate, OPEN};

pub(super) struct SlowClose {
    pub(super) delay: Duration,
    pub(super) until: Option<Instant>,
}

impl Effect for SlowClose {
    fn ending(&mut self, now: Instant) -> Gate {
        let until = *self.until.get_or_insert(now + self.delay);
        if until > now { Gate::Wait(Some(until)) } else { OPEN }
    }

    fn alarm(&self) -> Option<Instant> {
        self.until
    }
}
