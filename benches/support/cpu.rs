//! CPU time: what work costs whoever else uses the machine meanwhile.
//!
//! With everything pinned to one core, it is what the wall clock would show were the core free of others.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Of this process so far.
pub fn own() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}
