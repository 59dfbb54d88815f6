//! Truncate: the first bytes of one frame pass, the rest of it vanishes; the stream goes on, and the
//! reader is out of step. A frame no longer than that is left alone.

use super::table::Act;

pub(super) fn acts(keep: u32, total: u64) -> Vec<(u64, Act)> {
    let keep = u64::from(keep);
    if keep < total { vec![(keep, Act::Swallow { to: total })] } else { Vec::new() }
}
