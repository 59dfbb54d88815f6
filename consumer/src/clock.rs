//! Moments in the future that any `Duration` can name: one too long to count is far away, not a panic.

use std::time::Duration;

use tokio::time::Instant;

/// Nobody waits longer than this.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// The moment so long after another.
pub(crate) fn later(since: Instant, delay: Duration) -> Instant {
    since + delay.min(FAR)
}

/// The moment so long from now.
pub(crate) fn after(delay: Duration) -> Instant {
    later(Instant::now(), delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_duration_has_a_moment() {
        let now = Instant::now();
        assert_eq!(after(Duration::from_secs(7)), now + Duration::from_secs(7));
        for longest in [Duration::MAX, Duration::from_secs(u64::MAX)] {
            assert!(after(longest) > now + Duration::from_secs(1_000_000));
        }
    }
}
