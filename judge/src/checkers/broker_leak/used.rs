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
    publishers: u32,
    /// Such channels.
    publishing: u32,
}

impl Used {
    pub fn at(case: &Case<'_>, at: Mark) -> Used {
        let copies = case.ledger.copies.iter().filter(|c| c.sent <= at);
        let published: BTreeSet<usize> = copies.map(|c| c.epoch).collect();
        let consumes = |c: &&Consumer| {
            c.ok.is_some_and(|ok| ok <= at) && c.cancelled.is_none_or(|(_, over)| over > at)
        };
        let (mut channels, mut consumers, mut publishing) = (0, 0, 0);
        let (mut publishers, mut others) = (BTreeSet::new(), BTreeSet::new());
        let there = |e: &Epoch| e.opened <= at && e.client_over.is_none_or(|over| over > at);
        for (index, epoch) in case.ledger.epochs.iter().enumerate().filter(|(_, e)| there(e)) {
            let consuming: Vec<&Consumer> = epoch.consumers.iter().filter(consumes).collect();
            channels += 1;
            consumers += consuming.iter().filter(|c| c.under_test).count() as u32;
            if consuming.is_empty() && published.contains(&index) {
                publishing += 1;
                publishers.insert(epoch.conn);
            } else {
                others.insert(epoch.conn);
            }
        }
        Used {
            connections: open(case, at).iter().filter(|(c, _)| usable(c, at)).count() as u32,
            channels,
            consumers,
            publishers: publishers.difference(&others).count() as u32,
            publishing,
        }
    }

    /// How many more connections and channels publish than did before: opened when they were first needed, as long as there
    /// is no more than one for each worker. Beyond that they count like any other.
    pub fn publishers_since(&self, case: &Case<'_>, before: Mark) -> (u32, u32) {
        let told = &case.plan.scenario.subject;
        let workers = u32::from(told.workers.max(1)) * u32::from(told.copies.max(1));
        let then = Used::at(case, before);
        let new = |then: u32, now: u32| now.min(then.max(workers)).saturating_sub(then);
        (new(then.publishers, self.publishers), new(then.publishing, self.publishing))
    }
}
