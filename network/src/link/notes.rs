//! The record of one connection: its events, which faults have fired on it, and its taps.

use std::time::Instant;

use super::shared::Shared;
use crate::{
    amqp::Scanner,
    event::What,
    fault::{FaultId, table::Entry},
    wire::{Direction, End},
};

/// Who keeps the record of one connection.
pub(super) struct Notes<'a> {
    pub(super) shared: &'a Shared,
    pub(super) conn: u64,
    /// Lasting faults that have fired on it.
    pub(super) fired: &'a mut Vec<FaultId>,
}

impl Notes<'_> {
    pub(super) fn record(&self, at: Instant, what: What) {
        self.shared.record(Some(self.conn), at, what);
    }

    /// Each time.
    pub(super) fn fire(&self, entry: &Entry, way: Option<Direction>, note: String) {
        self.shared.fire(Some(self.conn), entry, way, note);
    }

    /// Once a connection.
    pub(super) fn fire_once(&mut self, entry: &Entry, way: Option<Direction>) {
        if !self.fired.contains(&entry.id) {
            self.fired.push(entry.id);
            self.fire(entry, way, entry.injection.fault.name().to_owned());
        }
    }

    /// Bytes crossed an end: what frames were completed by them?
    pub(super) fn heard(
        &self,
        end: End,
        way: Direction,
        tap: &mut Option<Scanner>,
        bytes: &[u8],
        at: Instant,
    ) {
        if let Some(scanner) = tap {
            scanner.feed(bytes, |item| self.record(at, What::Wire { end, way, item }));
        }
    }
}
