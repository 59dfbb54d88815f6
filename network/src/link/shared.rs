//! What a link's supervisor, connections and owner share.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::Ordering::Relaxed,
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{builder::Strangers, clock::Clock, traffic::Traffic};
use crate::{
    event::{Event, Tap, What},
    fault::table::{Entry, Table},
    seed::Seed,
    wire::{CloseKind, Direction},
};

pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) addr: SocketAddr,
    pub(super) seed: Seed,
    pub(super) scan: bool,
    pub(super) dial_deadline: Duration,
    pub(super) taps: Vec<Arc<dyn Tap>>,
    /// Tells clients that the faults are not meant for.
    pub(super) strangers: Option<Arc<Strangers>>,
    /// Whether one of them is to hear of frames.
    pub(super) tapped: bool,
    pub(super) upstream: Mutex<SocketAddr>,
    /// A host and port, resolved at each dial; then `upstream` is the last address dialed.
    pub(super) upstream_name: Option<String>,
    /// What a client gets when the upstream cannot be reached.
    pub(super) undialed: CloseKind,
    pub(super) traffic: Traffic,
    pub(super) table: RwLock<Table>,
    /// Wakes the supervisor: something expired, was spent, or concerns the door.
    pub(super) nudge: Notify,
    pub(super) clock: Clock,
}

impl Shared {
    pub(super) fn upstream(&self) -> SocketAddr {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_upstream(&self, addr: SocketAddr) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = addr;
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tapped(&self) -> bool {
        self.tapped
    }

    #[inline]
    pub(super) fn record(&self, conn: Option<u64>, at: Instant, what: What) {
        let Some((last, others)) = self.taps.split_last() else { return };
        let event = Event { at, link: Arc::clone(&self.name), conn, what };
        for tap in others {
            tap.record(event.clone());
        }
        last.record(event);
    }

    /// Counts and records that a fault did something.
    pub(super) fn fire(
        &self,
        conn: Option<u64>,
        entry: &Entry,
        way: Option<Direction>,
        note: String,
    ) {
        entry.counters.fired.fetch_add(1, Relaxed);
        self.record(conn, Instant::now(), What::Fired { fault: entry.id, way, note });
    }
}
