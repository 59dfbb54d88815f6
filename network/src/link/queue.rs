//! Bytes that were read and not yet written, in order, each with the instant it may leave at.
//!
//! It has no bound of its own: a direction stops reading when it holds enough.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The state of the front of the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    Empty,
    Later(Instant),
    Due,
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// Bytes of it that have left.
    gone: usize,
    due: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Queue {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends; what is behind another chunk never leaves before it.
    pub(super) fn push(&mut self, bytes: &[u8], due: Instant) {
        let due = self.chunks.back().map_or(due, |last| last.due.max(due));
        self.bytes += bytes.len();
        self.chunks.push_back(Chunk { bytes: bytes.to_vec(), gone: 0, due });
    }

    pub(super) fn front(&self, now: Instant) -> Front {
        match self.chunks.front() {
            None => Front::Empty,
            Some(chunk) if chunk.due > now => Front::Later(chunk.due),
            Some(_) => Front::Due,
        }
    }

    /// The first chunk's bytes.
    pub(super) fn head(&mut self) -> &mut [u8] {
        self.chunks.front_mut().map_or(&mut [], |chunk| &mut chunk.bytes[chunk.gone..])
    }

    /// Copies the first bytes, across chunks; how many there were.
    pub(super) fn peek(&self, into: &mut [u8]) -> usize {
        let bytes = self.chunks.iter().flat_map(|chunk| &chunk.bytes[chunk.gone..]);
        into.iter_mut().zip(bytes).map(|(to, from)| *to = *from).count()
    }

    /// Removes the first `n` bytes, which are of the first chunk.
    pub(super) fn take(&mut self, n: usize) {
        let Some(chunk) = self.chunks.front_mut() else { return };
        chunk.gone += n;
        self.bytes -= n;
        if chunk.gone >= chunk.bytes.len() {
            self.chunks.pop_front();
        }
    }

    /// Whatever waits waits so much longer.
    pub(super) fn delay(&mut self, by: Duration) {
        for chunk in &mut self.chunks {
            chunk.due += by;
        }
    }

    /// Whatever waits may leave.
    pub(super) fn release(&mut self, now: Instant) {
        for chunk in &mut self.chunks {
            chunk.due = now;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
