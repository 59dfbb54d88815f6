//! Waiting on conditions, and sharing the process with tests that count what it holds.

use std::sync::{PoisonError, RwLockReadGuard};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// Small beside what is waited for (reconnects, boots), large beside one look.
const EVERY: Duration = Duration::from_millis(5);

/// Looks until it sees what it wants; `Err` is what is still missing. Panics with it at the deadline.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let began = Instant::now();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match look().await {
            Ok(seen) => return seen,
            Err(missing) => {
                let late = began.elapsed() >= deadline;
                assert!(!late, "{what}: still missing after {deadline:?}: {missing}");
            }
        }
    }
}

/// `Ok` when it holds, else what is there in its place.
pub fn when(holds: bool, there: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(there()) }
}

/// Held by a test while it adds threads and descriptors to this process: others count them.
pub fn together() -> RwLockReadGuard<'static, ()> {
    super::ALONE.read().unwrap_or_else(PoisonError::into_inner)
}
