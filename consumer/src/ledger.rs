//! Which messages have been handled, and which are being handled right now.
//!
//! Owns the bounded window of identities whose handler succeeded, and the set of those whose handler
//! is running, across channels and connections. What an identity is was chosen in `identity.rs`; only a
//! delivery that the broker marks as redelivered is ever compared with what is here.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// The last `capacity` ids that succeeded, oldest forgotten first.
#[derive(Debug)]
struct Window {
    capacity: usize,
    order: VecDeque<Arc<str>>,
    ids: HashSet<Arc<str>>,
}

impl Window {
    fn new(capacity: usize) -> Self {
        Self { capacity, order: VecDeque::new(), ids: HashSet::new() }
    }

    fn insert(&mut self, id: &Arc<str>) {
        if self.capacity == 0 || !self.ids.insert(id.clone()) {
            return;
        }
        self.order.push_back(id.clone());
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

/// Handlers running under one identity.
#[derive(Debug, Default)]
struct Runs {
    count: usize,
    /// Cancelled when the last of them has ended.
    ended: CancellationToken,
}

#[derive(Debug)]
struct Inner {
    done: Window,
    running: HashMap<Arc<str>, Runs>,
}

/// Shared record of handled and running identities.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Mutex<Inner>>);

/// What [`Ledger::claim`] says about a delivery.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Handle it, and report through the guard.
    Mine(Running),
    /// Its handler has already succeeded.
    Done,
    /// Its handler is running; claim again once this token is cancelled.
    Busy(CancellationToken),
}

impl Ledger {
    /// A ledger remembering the last `window` successes.
    pub(crate) fn new(window: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner { done: Window::new(window), running: HashMap::new() })))
    }

    /// Claim a delivery. One without an identity cannot be recognised. One that is not redelivered was never
    /// here before, whatever its identity says: both are always ours to handle.
    pub(crate) fn claim(&self, id: Option<&str>, redelivered: bool) -> Claim {
        let Some(id) = id else {
            return Claim::Mine(Running { ledger: self.clone(), id: None });
        };
        let mut inner = self.lock();
        if redelivered {
            if inner.done.ids.contains(id) {
                return Claim::Done;
            }
            if let Some(runs) = inner.running.get(id) {
                return Claim::Busy(runs.ended.clone());
            }
        }
        let id: Arc<str> = id.into();
        inner.running.entry(id.clone()).or_default().count += 1;
        Claim::Mine(Running { ledger: self.clone(), id: Some(id) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A delivery being handled. Dropped without [`Running::succeeded`], its identity may be claimed again.
#[derive(Debug)]
#[must_use]
pub(crate) struct Running {
    ledger: Ledger,
    id: Option<Arc<str>>,
}

impl Running {
    /// The handler succeeded: redeliveries of this identity are duplicates.
    pub(crate) fn succeeded(self) {
        if let Some(id) = &self.id {
            self.ledger.lock().done.insert(id);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(id) = &self.id else { return };
        let mut inner = self.ledger.lock();
        let Some(runs) = inner.running.get_mut(id) else { return };
        runs.count -= 1;
        if runs.count == 0
            && let Some(runs) = inner.running.remove(id)
        {
            runs.ended.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(ledger: &Ledger, id: &str) {
        match ledger.claim(Some(id), true) {
            Claim::Mine(running) => running.succeeded(),
            other => panic!("{id}: {other:?}"),
        }
    }

    #[test]
    fn a_success_makes_later_deliveries_duplicates() {
        let ledger = Ledger::new(4);
        handle(&ledger, "a");
        assert!(matches!(ledger.claim(Some("a"), true), Claim::Done));
        assert!(matches!(ledger.claim(Some("b"), true), Claim::Mine(_)));
    }

    #[test]
    fn a_failure_does_not() {
        let ledger = Ledger::new(4);
        drop(ledger.claim(Some("a"), true));
        assert!(matches!(ledger.claim(Some("a"), true), Claim::Mine(_)));
    }

    #[test]
    fn a_second_claim_waits_for_the_first() {
        let ledger = Ledger::new(4);
        let Claim::Mine(first) = ledger.claim(Some("a"), true) else { panic!("fresh") };
        let Claim::Busy(finished) = ledger.claim(Some("a"), true) else { panic!("running") };
        assert!(!finished.is_cancelled());
        first.succeeded();
        assert!(finished.is_cancelled());
        assert!(matches!(ledger.claim(Some("a"), true), Claim::Done));
    }

    #[test]
    fn what_is_not_redelivered_is_never_a_duplicate() {
        let ledger = Ledger::new(4);
        handle(&ledger, "a");
        assert!(matches!(ledger.claim(Some("a"), false), Claim::Mine(_)));
    }

    #[test]
    fn two_messages_of_one_identity_run_side_by_side_and_a_redelivery_waits_for_both() {
        let ledger = Ledger::new(4);
        let Claim::Mine(first) = ledger.claim(Some("a"), false) else { panic!("fresh") };
        let Claim::Mine(second) = ledger.claim(Some("a"), false) else { panic!("fresh") };
        let Claim::Busy(ended) = ledger.claim(Some("a"), true) else { panic!("running") };
        drop(first);
        assert!(!ended.is_cancelled());
        second.succeeded();
        assert!(ended.is_cancelled());
        assert!(matches!(ledger.claim(Some("a"), true), Claim::Done));
        assert!(ledger.lock().running.is_empty());
    }

    #[test]
    fn the_window_is_bounded_exactly() {
        let ledger = Ledger::new(3);
        for id in ["a", "b", "c"] {
            handle(&ledger, id);
        }
        assert!(matches!(ledger.claim(Some("a"), true), Claim::Done));
        handle(&ledger, "d");
        assert!(matches!(ledger.claim(Some("a"), true), Claim::Mine(_)));
        assert!(matches!(ledger.claim(Some("b"), true), Claim::Done));
        let inner = ledger.lock();
        assert_eq!((inner.done.order.len(), inner.done.ids.len()), (3, 3));
    }

    #[test]
    fn a_window_of_zero_remembers_nothing() {
        let ledger = Ledger::new(0);
        handle(&ledger, "a");
        assert!(matches!(ledger.claim(Some("a"), true), Claim::Mine(_)));
    }

    #[test]
    fn messages_without_id_are_never_duplicates() {
        let ledger = Ledger::new(3);
        let Claim::Mine(first) = ledger.claim(None, true) else { panic!("fresh") };
        assert!(matches!(ledger.claim(None, true), Claim::Mine(_)));
        first.succeeded();
        assert!(matches!(ledger.claim(None, true), Claim::Mine(_)));
    }
}
