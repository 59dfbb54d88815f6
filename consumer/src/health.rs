//! Whether the consumer is doing its job right now, as a snapshot for `/health`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The consumer's state at one moment. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// A connection is open and heard from.
    pub connected: bool,
    /// Workers whose basic.consume is confirmed and whose channel lives.
    pub consuming: usize,
    /// Workers there should be.
    pub workers: usize,
    /// A stop was asked for, or the consumer has ended.
    pub stopping: bool,
    /// When `connected` last changed.
    pub since_ms: u64,
    /// When something last went forward: a handler succeeded, or an acknowledgement was written.
    pub last_progress_ms: Option<u64>,
    /// Connections established after the first.
    pub reconnects: u64,
    /// The last trouble, kept after recovery.
    pub last_error: Option<String>,
}

impl Health {
    /// True when messages would be handled: connected, at least one worker consuming, not stopping.
    pub fn ready(&self) -> bool {
        self.connected && self.consuming > 0 && !self.stopping
    }

    /// True when every worker is consuming.
    pub fn whole(&self) -> bool {
        self.ready() && self.consuming == self.workers
    }
}

pub(crate) fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_a_connection_and_a_consuming_worker() {
        let mut health = Health { workers: 2, ..Health::default() };
        assert!(!health.ready());
        health.connected = true;
        assert!(!health.ready());
        health.consuming = 1;
        assert!(health.ready() && !health.whole());
        health.consuming = 2;
        assert!(health.whole());
        health.stopping = true;
        assert!(!health.ready());
    }
}
