//! Bandwidth: a pace, kept by a clock of its own that runs ahead of the octets written.
//!
//! Wake-ups are late, on a busy machine by much; while octets wait, lost time is made up for, within
//! [`GRACE`], so that the pace over any longer time is exact. Idle time is not saved up.

use std::time::{Duration, Instant};

use super::effect::{Effect, Gate};

/// How much is written at a time, in time: small enough to be smooth, large enough for the timer.
const SLICE: Duration = Duration::from_millis(5);
/// Lost time that is made up for.
const GRACE: Duration = Duration::from_secs(1);

pub(super) struct Bandwidth {
    pub(super) bytes_per_second: u64,
    /// When the octets written so far would be through.
    pub(super) through: Option<Instant>,
    /// Nothing waited when it was asked last.
    pub(super) idle: bool,
}

impl Effect for Bandwidth {
    fn gate(&mut self, now: Instant, waiting: usize) -> Gate {
        self.idle |= waiting == 0;
        if let Some(through) = self.through
            && through > now
        {
            return Gate::Wait(Some(through));
        }
        let slice = SLICE.as_secs_f64() * self.bytes_per_second as f64;
        Gate::Pass((slice as usize).max(1))
    }

    fn wrote(&mut self, now: Instant, octets: usize) {
        let late = if std::mem::take(&mut self.idle) { Duration::ZERO } else { GRACE };
        let earliest = now.checked_sub(late).unwrap_or(now);
        let from = self.through.map_or(now, |through| through.max(earliest));
        let took = Duration::from_secs_f64(octets as f64 / self.bytes_per_second as f64);
        self.through = from.checked_add(took).or(self.through);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_pace_although_each_wake_up_is_late() {
        let start = Instant::now();
        let mut pace = Bandwidth { bytes_per_second: 1_000_000, through: None, idle: true };
        let (mut now, mut written) = (start, 0);
        while now < start + Duration::from_secs(1) {
            match pace.gate(now, usize::MAX) {
                Gate::Pass(n) => {
                    pace.wrote(now, n);
                    written += n;
                }
                Gate::Wait(Some(until)) => now = until + Duration::from_millis(30),
                other => panic!("{other:?}"),
            }
        }
        assert!((965_000..=1_010_000).contains(&written), "{written}");
    }
}
