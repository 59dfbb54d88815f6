//! What waits to be sent to one peer. Small things are copied together; large bodies are passed on as they are.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes, BytesMut};

/// A peer that leaves this much unread is not delivered to and not read from.
const FULL: usize = 1 << 20;
/// From this size on a body is passed on without a copy.
const LARGE: usize = 16 << 10;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// In order.
    Fin,
    /// Abruptly; what was sent before may still arrive.
    Rst,
}

/// Bytes on their way to a peer.
#[derive(Debug, Default)]
pub struct Batch {
    chunks: VecDeque<Bytes>,
}

impl Batch {
    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The front, for a vectored write.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slot, chunk) in into.iter_mut().zip(&self.chunks) {
            *slot = IoSlice::new(chunk);
            used += 1;
        }
        used
    }

    /// That much was sent.
    pub fn advance(&mut self, mut bytes: usize) {
        while let Some(front) = self.chunks.front_mut() {
            if bytes < front.len() {
                front.advance(bytes);
                return;
            }
            bytes -= front.len();
            self.chunks.pop_front();
        }
    }

    /// Everything in one piece, as tests like it.
    pub fn concat(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        for chunk in self.chunks.drain(..) {
            all.extend_from_slice(&chunk);
        }
        all
    }
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Out {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Out {
    /// Where to write next.
    pub fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Part of a body.
    pub fn body(&mut self, part: Bytes) {
        if part.len() < LARGE {
            self.tail.extend_from_slice(&part);
            return;
        }
        let before = self.tail.split().freeze();
        self.len += before.len() + part.len();
        self.chunks.push_back(before);
        self.chunks.push_back(part);
    }

    /// How much waits.
    pub fn len(&self) -> usize {
        self.len + self.tail.len()
    }

    /// Whether it is too much.
    pub fn is_full(&self) -> bool {
        self.len() >= FULL
    }

    /// Moves everything to `batch`.
    pub fn take(&mut self, batch: &mut Batch) -> usize {
        let taken = self.len();
        batch.chunks.append(&mut self.chunks);
        if !self.tail.is_empty() {
            batch.chunks.push_back(self.tail.split().freeze());
        }
        self.len = 0;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_large_bodies_are_not_copied() {
        let mut out = Out::default();
        let body = Bytes::from(vec![7; LARGE]);
        out.tail().extend_from_slice(b"ab");
        out.body(body.clone());
        out.tail().extend_from_slice(b"cd");
        assert_eq!(out.len(), LARGE + 4);
        let mut batch = Batch::default();
        assert_eq!(out.take(&mut batch), LARGE + 4);
        assert_eq!(batch.chunks[1].as_ptr(), body.as_ptr());
        batch.advance(1);
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(batch.slices(&mut slices), 3);
        batch.advance(LARGE + 1);
        assert_eq!(batch.concat(), b"cd");
        assert_eq!(out.len(), 0);
    }
}
