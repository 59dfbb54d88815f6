//! What each toxic of Toxiproxy becomes on a link: made of the effects of the faults next to it; only `timeout` and
//! `reset_peer` have files of their own.

use std::time::{Duration, Instant};

use gauntlet_faults::{Seed, Toxic};

use super::{
    bandwidth::Bandwidth, effect::Effect, latency::Latency, limit::Limit, reset_peer::ResetPeer,
    slice::Slice, slow_close::SlowClose, timeout::Timeout,
};
use crate::wire::CloseKind;

/// Longer times are as long as this: a year.
const LONGEST: i64 = 365 * 24 * 3600 * 1000;

/// How a link plays a toxic.
pub(super) trait PlayToxic {
    /// Whether it does something to connections on which nothing happens.
    fn stirs(self) -> bool;

    /// What it is on one direction of one connection; `fresh` if that was born under it.
    fn effect(self, seed: Seed, fresh: bool) -> Option<Box<dyn Effect>>;
}

impl PlayToxic for Toxic {
    fn stirs(self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::ResetPeer { .. })
    }

    fn effect(self, seed: Seed, fresh: bool) -> Option<Box<dyn Effect>> {
        let chance = || seed.stream("effect");
        Some(match self {
            Self::Latency { latency, jitter } => {
                let (delay, jitter) = (milliseconds(latency), milliseconds(jitter));
                Box::new(Latency { delay, jitter, ends: false, chance: chance() })
            }
            Self::Bandwidth { rate } => {
                Box::new(Bandwidth::new(u64::try_from(rate).unwrap_or(0).saturating_mul(1000)))
            }
            Self::SlowClose { delay } => {
                Box::new(SlowClose { delay: milliseconds(delay), until: None })
            }
            Self::Timeout { timeout } => {
                let after = (timeout > 0).then(|| milliseconds(timeout));
                Box::new(Timeout { after, quiet_since: Instant::now() })
            }
            Self::ResetPeer { timeout } => Box::new(ResetPeer::new(milliseconds(timeout), fresh)),
            Self::Slicer { average_size, size_variation, delay } => {
                let size = match average_size {
                    ..=0 => u32::MAX,
                    size => u32::try_from(size).unwrap_or(u32::MAX),
                };
                let variation = u32::try_from(size_variation.max(0)).unwrap_or(u32::MAX);
                let variation = if average_size > 0 { variation.min(size - 1) } else { 0 };
                let pause = Duration::from_micros(positive(delay.min(LONGEST)));
                Box::new(Slice { size, variation, pause, chance: chance(), left: 0, paused: None })
            }
            Self::LimitData { bytes } => Box::new(Limit::new(positive(bytes), CloseKind::Fin)),
            Self::Noop => return None,
        })
    }
}

fn positive(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn milliseconds(number: i64) -> Duration {
    Duration::from_millis(positive(number.min(LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::effect::{Gate, OPEN};

    fn effect(toxic: Toxic) -> Box<dyn Effect> {
        toxic.effect(Seed(1), true).expect("it does something")
    }

    #[test]
    fn no_number_breaks_it() {
        for n in [i64::MIN, -1, 0, 1, i64::MAX] {
            for toxic in [
                Toxic::Latency { latency: n, jitter: n },
                Toxic::Bandwidth { rate: n },
                Toxic::SlowClose { delay: n },
                Toxic::Timeout { timeout: n },
                Toxic::ResetPeer { timeout: n },
                Toxic::Slicer { average_size: n, size_variation: n, delay: n },
                Toxic::LimitData { bytes: n },
            ] {
                let (mut effect, now) = (effect(toxic), Instant::now());
                effect.gate(now, 0);
                effect.gate(now, 100);
                effect.wrote(now, 1);
                effect.ending(now);
                let _ = (now + effect.delay(), effect.alarm());
            }
        }
    }

    #[test]
    fn a_rate_of_0_holds_bytes_back_and_lets_an_empty_stream_end() {
        let mut pause = effect(Toxic::Bandwidth { rate: 0 });
        assert_eq!(pause.gate(Instant::now(), 1), Gate::Wait(None));
        assert_eq!(pause.gate(Instant::now(), 0), OPEN);
        assert_eq!(pause.ending(Instant::now()), OPEN);
    }

    #[test]
    fn a_size_of_0_does_not_slice() {
        let mut slicer = effect(Toxic::Slicer { average_size: 0, size_variation: 9, delay: 1 });
        assert_eq!(slicer.gate(Instant::now(), 5000), Gate::Pass(u32::MAX as usize));
        let mut slicer = effect(Toxic::Slicer { average_size: 5, size_variation: 900, delay: 1 });
        let Gate::Pass(1..=9) = slicer.gate(Instant::now(), 5000) else { panic!("not a slice") };
    }
}
