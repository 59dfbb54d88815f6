//! What a subject has open and set up at one time, told from the wire.

use std::collections::BTreeSet;

use super::{Case, open, usable};
use crate::history::ledger::{Consumer, Epoch, Mark};

/// What the subject had open and set up at one time, by what passed its end of the wire.
pub(super) struct Used {
    pub connections: u32,
    pub channels: u32,
    pub consumers: u32,
    /// Connections that have published, and on which nothing consumes.
    pub publishers: u32,
    /// Such channels.
    pub publishing: u32,
}

impl Used {
    pub fn at(case: &Case<'_>, at: Mark) -> Used {
        let there =
            |e: &&(usize, &Epoch)| e.1.opened <= at && e.1.client_over.is_none_or(|over| over > at);
        let all = case.ledger.epochs.iter().enumerate();
        let epochs: Vec<(usize, &Epoch)> = all.filter(|e| there(&e)).collect();
        let since = |c: &&Consumer| c.ok.is_some_and(|ok| ok <= at);
        let consumes = |c: &&Consumer| since(c) && c.cancelled.is_none_or(|(_, over)| over > at);
        let of_queue = |c: &&Consumer| consumes(c) && c.under_test;
        let publishes = |(i, e): &&(usize, &Epoch)| {
            let sent = case.ledger.copies.iter().any(|c| c.epoch == *i && c.sent <= at);
            sent && !e.consumers.iter().any(|c| consumes(&c))
        };
        let on = |epochs: Vec<&(usize, &Epoch)>| {
            epochs.into_iter().map(|(_, e)| e.conn).collect::<BTreeSet<u64>>()
        };
        let publishing: Vec<_> = epochs.iter().filter(publishes).collect();
        let others = on(epochs.iter().filter(|e| !publishes(e)).collect());
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Used {
            connections: count(open(case, at).iter().filter(|(c, _)| usable(c, at)).count()),
            channels: count(epochs.len()),
            consumers: count(
                epochs.iter().flat_map(|(_, e)| &e.consumers).filter(of_queue).count(),
            ),
            publishing: count(publishing.len()),
            publishers: count(on(publishing).difference(&others).count()),
        }
    }
}
