//! The two ways to ask a running consumer to end.

use tokio_util::sync::CancellationToken;

/// Tokens passed to [`Consumer::run`](crate::Consumer::run).
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Stop gracefully: cancel, finish what is in flight, acknowledge, close; bounded.
    pub stop: CancellationToken,
    /// Stop at once: drop handlers and the connection.
    pub abort: CancellationToken,
}

impl Shutdown {
    /// Fresh tokens.
    pub fn new() -> Self {
        Self::default()
    }
}
