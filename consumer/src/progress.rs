//! Handlers at work, and which of them have been for too long.
//!
//! Keeps the list; what follows from it for health is `board.rs` and `health.rs`.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

/// A handler that has been running for longer than [`Builder::stuck_after`](crate::Builder::stuck_after).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stuck {
    /// The worker that received the message.
    pub worker: usize,
    /// Message id.
    pub id: String,
    /// How long the handler has been running, when last looked at.
    pub for_ms: u64,
}

#[derive(Debug)]
struct Run {
    worker: usize,
    id: String,
    since: Instant,
    told: bool,
}

#[derive(Debug, Default)]
struct Runs {
    last: u64,
    running: BTreeMap<u64, Run>,
}

/// The handlers at work.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Runs>);

/// A handler at work, until dropped.
#[must_use]
pub(crate) struct AtWork<'a> {
    progress: &'a Progress,
    number: u64,
}

impl Progress {
    pub(crate) fn begin(&self, worker: usize, id: String) -> AtWork<'_> {
        let mut runs = self.lock();
        runs.last += 1;
        let number = runs.last;
        runs.running.insert(number, Run { worker, id, since: Instant::now(), told: false });
        AtWork { progress: self, number }
    }

    /// Those that have been at it for at least so long, the oldest first; and of these, those never returned before.
    pub(crate) fn stuck(&self, limit: Duration) -> (Vec<Stuck>, Vec<Stuck>) {
        let (mut stuck, mut new) = (Vec::new(), Vec::new());
        for run in self.lock().running.values_mut() {
            let at_work = run.since.elapsed();
            if at_work < limit {
                // The others began later.
                break;
            }
            let for_ms = u64::try_from(at_work.as_millis()).unwrap_or(u64::MAX);
            let it = Stuck { worker: run.worker, id: run.id.clone(), for_ms };
            if !std::mem::replace(&mut run.told, true) {
                new.push(it.clone());
            }
            stuck.push(it);
        }
        (stuck, new)
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.progress.lock().running.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stuck_begins_at_the_limit_and_ends_with_the_handler() {
        let (progress, limit) = (Progress::default(), Duration::from_secs(10));
        let first = progress.begin(3, "m1".to_owned());
        tokio::time::advance(Duration::from_secs(1)).await;
        let _second = progress.begin(4, "m2".to_owned());
        tokio::time::advance(Duration::from_millis(8999)).await;
        assert!(progress.stuck(limit).0.is_empty());
        tokio::time::advance(Duration::from_millis(1)).await;
        let m1 = Stuck { worker: 3, id: "m1".to_owned(), for_ms: 10_000 };
        assert_eq!(progress.stuck(limit), (vec![m1.clone()], vec![m1.clone()]));
        assert_eq!(progress.stuck(limit), (vec![m1], Vec::new()), "told once");
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(first);
        let m2 = Stuck { worker: 4, id: "m2".to_owned(), for_ms: 10_000 };
        assert_eq!(progress.stuck(limit).0, [m2]);
    }
}
