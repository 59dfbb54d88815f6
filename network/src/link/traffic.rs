//! How many bytes a link has read and written, each way, over all its connections.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::wire::Direction;

/// Bytes so far.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    ways: [Counts; 2],
}

#[derive(Debug, Default)]
struct Counts {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    fn way(&self, way: Direction) -> &Counts {
        &self.ways[usize::from(way == Direction::ToClient)]
    }

    pub(super) fn received(&self, way: Direction, bytes: usize) {
        self.way(way).received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn sent(&self, way: Direction, bytes: usize) {
        self.way(way).sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Read at the near end, and written at the far end.
    pub(super) fn so_far(&self, way: Direction) -> (u64, u64) {
        let counts = self.way(way);
        (counts.received.load(Relaxed), counts.sent.load(Relaxed))
    }
}
