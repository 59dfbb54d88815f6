//! Latency: each chunk leaves at its arrival + delay ± jitter, never before the one ahead of it.
//!
//! Precise to a tenth of a millisecond or so, upwards. The order is kept by the queue, not here.

use std::time::Duration;

use rand::RngExt;
use rand_pcg::Pcg64;

use super::effect::Effect;

pub(super) struct Latency {
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    /// Whether the end of the stream is delayed too.
    pub(super) ends: bool,
    pub(super) chance: Pcg64,
}

impl Effect for Latency {
    fn delays(&self) -> bool {
        true
    }

    fn delay(&mut self) -> Duration {
        let share = self.chance.random_range(0.0..=2.0);
        (self.delay + self.jitter.mul_f64(share)).saturating_sub(self.jitter)
    }

    fn delays_end(&self) -> bool {
        self.ends
    }

    /// 16 MiB on the way: 160 MB/s at 100 ms.
    fn room(&self) -> usize {
        16 * 1024 * 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    #[test]
    fn stays_within_delay_and_jitter_and_uses_them() {
        let (delay, jitter) = (Duration::from_millis(100), Duration::from_millis(30));
        let mut latency = Latency { delay, jitter, ends: true, chance: Seed(1).stream("latency") };
        let drawn: Vec<_> = (0..1000).map(|_| latency.delay()).collect();
        assert!(drawn.iter().all(|d| (delay - jitter..=delay + jitter).contains(d)));
        assert!(drawn.iter().min() < Some(&Duration::from_millis(72)));
        assert!(drawn.iter().max() > Some(&Duration::from_millis(128)));
    }
}
