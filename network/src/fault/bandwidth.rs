//! Bandwidth: a pace, kept by a clock of its own. Bytes leave when they would be through.
//!
//! Wake-ups are late, on a busy machine by much; while bytes wait, lost time is made up for, within
//! [`GRACE`], so that the pace over any longer time is exact. Idle time is not saved up.

use std::time::{Duration, Instant};

use super::effect::{Effect, Gate, OPEN};

/// How much is written at a time, in time: small enough to be smooth, large enough for the timer.
const SLICE: Duration = Duration::from_millis(5);
/// Lost time that is made up for.
const GRACE: Duration = Duration::from_secs(1);

pub(super) struct Bandwidth {
    bytes_per_second: u64,
    /// When the bytes written so far were through.
    through: Option<Instant>,
    /// From when on those at the head are on their way.
    from: Option<Instant>,
    /// Nothing waited when it was asked last.
    idle: bool,
}

impl Bandwidth {
    /// At 0 nothing passes.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, through: None, from: None, idle: true }
    }

    fn takes(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64)
    }
}

impl Effect for Bandwidth {
    fn gate(&mut self, now: Instant, waiting: usize) -> Gate {
        if waiting == 0 {
            self.idle = true;
            return OPEN;
        }
        if self.bytes_per_second == 0 {
            return Gate::Wait(None);
        }
        if std::mem::take(&mut self.idle) {
            self.from = None;
        }
        let earliest = now.checked_sub(GRACE).unwrap_or(now);
        let since = match (self.from, self.through) {
            (None, through) => through.map_or(now, |through| through.max(now)),
            (Some(from), _) => from.max(earliest),
        };
        self.from = Some(since);
        let slice = SLICE.as_secs_f64() * self.bytes_per_second as f64;
        let slice = (slice as usize).max(1).min(waiting);
        match since.checked_add(self.takes(slice)) {
            Some(due) if due <= now => Gate::Pass(slice),
            due => Gate::Wait(due),
        }
    }

    fn wrote(&mut self, now: Instant, bytes: usize) {
        if self.bytes_per_second > 0 {
            self.through = self.from.unwrap_or(now).checked_add(self.takes(bytes));
            self.from = self.through;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_when_they_are_through_and_idle_time_is_not_saved_up() {
        let (start, ms) = (Instant::now(), Duration::from_millis(1));
        let mut pace = Bandwidth::new(1000);
        for at in [start, start + 500 * ms] {
            assert_eq!(pace.gate(at, 0), OPEN);
            assert_eq!(pace.gate(at, 2), Gate::Wait(Some(at + 2 * ms)));
            assert_eq!(pace.gate(at + 2 * ms, 2), Gate::Pass(2));
            pace.wrote(at + 2 * ms, 2);
        }
    }

    #[test]
    fn keeps_its_pace_although_each_wake_up_is_late() {
        let start = Instant::now();
        let mut pace = Bandwidth::new(1_000_000);
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
