//! Hold: the stream waits at the point, and whatever follows behind it; nothing is lost.

use std::time::Duration;

use super::table::Act;

pub(super) fn acts(delay: Duration, edge: u64) -> Vec<(u64, Act)> {
    vec![(edge, Act::Hold(delay))]
}
