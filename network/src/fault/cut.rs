//! Rst and Fin: the connection is cut, now, whether bytes flow or not.
//!
//! An end that is not cut is left half-open: it learns with its next byte, or its FIN, which is
//! answered with a reset, as TCP answers for a peer that has forgotten the connection. If it had sent
//! FIN before, it learns at once.

use std::time::Instant;

use super::effect::{Effect, Gate};
use crate::wire::{CloseKind, Side};

pub(super) struct Cut {
    pub(super) side: Side,
    pub(super) how: CloseKind,
}

impl Effect for Cut {
    fn gate(&mut self, _now: Instant, _waiting: usize) -> Gate {
        Gate::Cut(self.side, self.how)
    }
}
