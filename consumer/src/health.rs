//! Whether the consumer is doing its job right now, as a snapshot for `/health`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::progress::Stuck;

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
    /// Handlers that may run at once: all workers' together.
    pub handlers: usize,
    /// Handlers that have been running for longer than [`Builder::stuck_after`](crate::Builder::stuck_after).
    pub stuck: Vec<Stuck>,
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
    /// True when messages would be handled: connected, at least one worker consuming, not stalled, not stopping.
    pub fn ready(&self) -> bool {
        self.connected && self.consuming > 0 && !self.stopping && !self.stalled()
    }

    /// True when nothing moves: as many handlers are stuck as may run at once.
    pub fn stalled(&self) -> bool {
        self.handlers > 0 && self.stuck.len() >= self.handlers
    }

    /// True when every worker is consuming, and no handler is stuck.
    pub fn whole(&self) -> bool {
        self.ready() && self.consuming == self.workers && self.stuck.is_empty()
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
        health.handlers = 2;
        let stuck = Stuck { worker: 0, id: "m".to_owned(), for_ms: 1 };
        health.stuck.push(stuck.clone());
        assert!(health.ready() && !health.whole(), "one of two is stuck");
        health.stuck.push(stuck);
        assert!(!health.ready());
        health.stuck.clear();
        health.stopping = true;
        assert!(!health.ready());
    }
}
