//! How long to wait before the next attempt, and when to stop trying.
//!
//! Pure: no clock, no sleep, no socket. [`Backoff`] is the policy; [`Pace`] counts attempts under it.
//! Who waits, and what ends the wait early, is the supervisor's business.

use std::time::Duration;

use rand::RngExt;
use serde::Serialize;

/// Exponential backoff with full jitter and a cap; the first retry is immediate.
///
/// After the immediate retry, retry `k` (from 0) waits `min(cap, base * factor^k)`, of which
/// `jitter` (0 to 1) is drawn at random: 1 is full jitter, 0 none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Backoff {
    /// The first wait, before jitter.
    pub base: Duration,
    /// What each further wait is multiplied by.
    pub factor: f64,
    /// No wait is longer than this.
    pub cap: Duration,
    /// The share of each wait that is drawn at random: 0 none, 1 all of it.
    pub jitter: f64,
    /// Give up after this many attempts in a row; `None` never gives up.
    pub max_attempts: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            factor: 2.0,
            cap: Duration::from_secs(60),
            jitter: 1.0,
            max_attempts: None,
        }
    }
}

impl Backoff {
    /// The longest wait before retry `k`: jitter only shortens it.
    pub fn ceiling(&self, k: u32) -> Duration {
        let exponent = i32::try_from(k).unwrap_or(i32::MAX);
        let seconds = self.base.as_secs_f64() * self.factor.powi(exponent);
        if seconds.is_finite() && seconds < self.cap.as_secs_f64() {
            Duration::from_secs_f64(seconds)
        } else {
            self.cap
        }
    }

    /// The wait before retry `k`, given a draw from `0.0..1.0`.
    pub fn wait(&self, k: u32, draw: f64) -> Duration {
        let fixed = 1.0 - self.jitter.clamp(0.0, 1.0);
        let ceiling = self.ceiling(k);
        let wait = ceiling.as_secs_f64() * (fixed + (1.0 - fixed) * draw.clamp(0.0, 1.0));
        // The longest durations round up to more than a duration holds.
        Duration::try_from_secs_f64(wait).unwrap_or(ceiling).min(ceiling)
    }
}

/// What [`Pace::next`] says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Wait this long, then make attempt number `attempt` (from 1).
    Go {
        /// Which attempt in a row this is.
        attempt: u32,
        /// How long to wait before it.
        delay: Duration,
    },
    /// The limit on attempts is reached.
    Exhausted {
        /// How many attempts were made.
        attempts: u32,
    },
}

/// Counts attempts in a row under a [`Backoff`].
#[derive(Debug, Clone)]
pub struct Pace {
    policy: Backoff,
    /// Attempts that are free of delay: one, or one per address when there are several.
    immediate: u32,
    attempts: u32,
}

impl Pace {
    /// A fresh counter. The first `immediate` attempts (at least one) do not wait.
    pub fn new(policy: Backoff, immediate: u32) -> Self {
        Self { policy, immediate: immediate.max(1), attempts: 0 }
    }

    /// The next step, with jitter from the thread's random source.
    pub fn next(&mut self, limit: Option<u32>) -> Step {
        self.next_with(limit, rand::rng().random::<f64>())
    }

    /// The next step, given a draw from `0.0..1.0`. `limit` overrides the policy's own.
    pub fn next_with(&mut self, limit: Option<u32>, draw: f64) -> Step {
        if limit.or(self.policy.max_attempts).is_some_and(|max| self.attempts >= max) {
            return Step::Exhausted { attempts: self.attempts };
        }
        let delay = match self.attempts.checked_sub(self.immediate) {
            None => Duration::ZERO,
            Some(k) => self.policy.wait(k, draw),
        };
        self.attempts = self.attempts.saturating_add(1);
        Step::Go { attempt: self.attempts, delay }
    }

    /// Attempts made since the last reset.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The longest wait this pace ever makes.
    pub fn cap(&self) -> Duration {
        self.policy.cap
    }

    /// Start over: the last attempt led to a stable period.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn policy() -> Backoff {
        Backoff { max_attempts: Some(8), ..Backoff::default() }
    }

    fn delays(pace: &mut Pace, draw: f64, count: usize) -> Vec<u64> {
        (0..count)
            .filter_map(|_| match pace.next_with(None, draw) {
                Step::Go { delay, .. } => Some(u64::try_from(delay.as_millis()).expect("small")),
                Step::Exhausted { .. } => None,
            })
            .collect()
    }

    #[rstest]
    #[case(0.0, vec![0, 0, 0, 0, 0, 0, 0, 0])]
    #[case(0.5, vec![0, 500, 1000, 2000, 4000, 8000, 16000, 30000])]
    #[case(1.0, vec![0, 1000, 2000, 4000, 8000, 16000, 32000, 60000])]
    fn first_at_once_then_exponential_up_to_the_cap(#[case] draw: f64, #[case] expect: Vec<u64>) {
        assert_eq!(delays(&mut Pace::new(policy(), 1), draw, 8), expect);
    }

    #[test]
    fn the_limit_is_exact() {
        let mut pace = Pace::new(policy(), 1);
        for attempt in 1..=8 {
            assert!(
                matches!(pace.next_with(None, 0.5), Step::Go { attempt: a, .. } if a == attempt)
            );
        }
        assert_eq!(pace.next_with(None, 0.5), Step::Exhausted { attempts: 8 });
        assert!(matches!(pace.next_with(Some(9), 0.5), Step::Go { attempt: 9, .. }));
        assert_eq!(pace.next_with(Some(9), 0.5), Step::Exhausted { attempts: 9 });
    }

    #[test]
    fn reset_makes_the_next_attempt_immediate() {
        let mut pace = Pace::new(policy(), 1);
        assert_eq!(delays(&mut pace, 1.0, 3), [0, 1000, 2000]);
        pace.reset();
        assert_eq!(delays(&mut pace, 1.0, 2), [0, 1000]);
    }

    #[test]
    fn every_address_is_tried_before_the_first_wait() {
        assert_eq!(delays(&mut Pace::new(policy(), 3), 1.0, 5), [0, 0, 0, 1000, 2000]);
    }

    #[rstest]
    #[case(0.0, 0.0, 4.0)]
    #[case(0.0, 1.0, 4.0)]
    #[case(0.25, 0.0, 3.0)]
    #[case(0.25, 1.0, 4.0)]
    #[case(1.0, 0.0, 0.0)]
    #[case(7.0, 0.0, 0.0)]
    fn jitter_takes_only_its_share(#[case] jitter: f64, #[case] draw: f64, #[case] seconds: f64) {
        let backoff = Backoff { jitter, ..Backoff::default() };
        assert_eq!(backoff.wait(2, draw), Duration::from_secs_f64(seconds));
    }

    #[test]
    fn the_longest_wait_there_is_can_be_drawn() {
        let longest = Backoff { cap: Duration::MAX, base: Duration::MAX, ..Backoff::default() };
        for (k, draw) in [(0, 1.0), (u32::MAX, 1.0), (3, 0.0), (3, 0.5)] {
            assert!(longest.wait(k, draw) <= Duration::MAX);
        }
        let jitter = Backoff { jitter: 0.3, ..longest };
        assert!(jitter.wait(9, 1.0) > Duration::from_secs(u64::MAX / 2));
    }

    #[test]
    fn huge_retry_counts_stay_at_the_cap() {
        assert_eq!(Backoff::default().ceiling(5), Duration::from_secs(32));
        assert_eq!(Backoff::default().ceiling(6), Duration::from_secs(60));
        assert_eq!(Backoff::default().ceiling(u32::MAX), Duration::from_secs(60));
    }
}
