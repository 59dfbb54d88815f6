//! Drop: one frame vanishes, whole; the stream goes on with the next.

use super::table::Act;

pub(super) fn acts(total: u64) -> Vec<(u64, Act)> {
    vec![(0, Act::Swallow { to: total })]
}
