//! How many octets a link has read and written, each way, over all its connections.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::wire::Way;

/// Octets so far.
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
    fn way(&self, way: Way) -> &Counts {
        &self.ways[usize::from(way == Way::ToClient)]
    }

    pub(super) fn received(&self, way: Way, octets: usize) {
        self.way(way).received.fetch_add(octets as u64, Relaxed);
    }

    pub(super) fn sent(&self, way: Way, octets: usize) {
        self.way(way).sent.fetch_add(octets as u64, Relaxed);
    }

    /// Read at the near end, and written at the far end.
    pub(super) fn so_far(&self, way: Way) -> (u64, u64) {
        let counts = self.way(way);
        (counts.received.load(Relaxed), counts.sent.load(Relaxed))
    }
}
