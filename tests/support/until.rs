//! Waiting on conditions.

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
