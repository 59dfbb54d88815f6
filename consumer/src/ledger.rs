//! Which messages have been handled, and which are being handled right now.
//!
//! Owns the bounded window of message ids whose handler succeeded, and the set of ids whose handler
//! is running, across channels and connections. It knows nothing of deliveries or acknowledgements.

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

#[derive(Debug)]
struct Inner {
    done: Window,
    running: HashMap<Arc<str>, CancellationToken>,
}

/// Shared record of handled and running message ids.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Mutex<Inner>>);

/// What [`Ledger::claim`] says about an id.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Nobody has it: handle it, and report through the guard.
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

    /// Claim an id. Messages without one cannot be told apart, and are always ours to handle.
    pub(crate) fn claim(&self, id: Option<&str>) -> Claim {
        let Some(id) = id else {
            return Claim::Mine(Running { ledger: self.clone(), id: None });
        };
        let mut inner = self.lock();
        if inner.done.ids.contains(id) {
            return Claim::Done;
        }
        if let Some(finished) = inner.running.get(id) {
            return Claim::Busy(finished.clone());
        }
        let id: Arc<str> = id.into();
        inner.running.insert(id.clone(), CancellationToken::new());
        Claim::Mine(Running { ledger: self.clone(), id: Some(id) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An id being handled. Dropped without [`Running::succeeded`], the id may be claimed again.
#[derive(Debug)]
#[must_use]
pub(crate) struct Running {
    ledger: Ledger,
    id: Option<Arc<str>>,
}

impl Running {
    /// The handler succeeded: later deliveries of this id are duplicates.
    pub(crate) fn succeeded(self) {
        if let Some(id) = &self.id {
            self.ledger.lock().done.insert(id);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(id) = &self.id
            && let Some(finished) = self.ledger.lock().running.remove(id)
        {
            finished.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(ledger: &Ledger, id: &str) {
        match ledger.claim(Some(id)) {
            Claim::Mine(running) => running.succeeded(),
            other => panic!("{id}: {other:?}"),
        }
    }

    #[test]
    fn a_success_makes_later_deliveries_duplicates() {
        let ledger = Ledger::new(4);
        handle(&ledger, "a");
        assert!(matches!(ledger.claim(Some("a")), Claim::Done));
        assert!(matches!(ledger.claim(Some("b")), Claim::Mine(_)));
    }

    #[test]
    fn a_failure_does_not() {
        let ledger = Ledger::new(4);
        drop(ledger.claim(Some("a")));
        assert!(matches!(ledger.claim(Some("a")), Claim::Mine(_)));
    }

    #[test]
    fn a_second_claim_waits_for_the_first() {
        let ledger = Ledger::new(4);
        let Claim::Mine(first) = ledger.claim(Some("a")) else { panic!("fresh") };
        let Claim::Busy(finished) = ledger.claim(Some("a")) else { panic!("running") };
        assert!(!finished.is_cancelled());
        first.succeeded();
        assert!(finished.is_cancelled());
        assert!(matches!(ledger.claim(Some("a")), Claim::Done));
    }

    #[test]
    fn the_window_is_bounded_exactly() {
        let ledger = Ledger::new(3);
        for id in ["a", "b", "c"] {
            handle(&ledger, id);
        }
        assert!(matches!(ledger.claim(Some("a")), Claim::Done));
        handle(&ledger, "d");
        assert!(matches!(ledger.claim(Some("a")), Claim::Mine(_)));
        assert!(matches!(ledger.claim(Some("b")), Claim::Done));
        let inner = ledger.lock();
        assert_eq!((inner.done.order.len(), inner.done.ids.len()), (3, 3));
    }

    #[test]
    fn a_window_of_zero_remembers_nothing() {
        let ledger = Ledger::new(0);
        handle(&ledger, "a");
        assert!(matches!(ledger.claim(Some("a")), Claim::Mine(_)));
    }

    #[test]
    fn messages_without_id_are_never_duplicates() {
        let ledger = Ledger::new(3);
        let Claim::Mine(first) = ledger.claim(None) else { panic!("fresh") };
        assert!(matches!(ledger.claim(None), Claim::Mine(_)));
        first.succeeded();
        assert!(matches!(ledger.claim(None), Claim::Mine(_)));
    }
}
