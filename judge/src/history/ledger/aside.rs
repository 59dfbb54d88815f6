//! What the subject is done with: handled, acked, or set aside without having been handled.

use std::collections::BTreeSet;

use super::{Ledger, Settle};

impl Ledger {
    /// Distinct messages done with: handled, or, where the subject does not report that, acked; or set aside.
    pub fn done(&self) -> u32 {
        let (done, open) = match self.reports {
            true => (self.handled, &self.unhandled),
            false => (self.settled.len() as u32, &self.unacked),
        };
        done + self.set_aside.intersection(open).count() as u32
    }

    /// Confirmed messages that are not done with.
    pub fn undone(&self) -> BTreeSet<u32> {
        let open = if self.reports { &self.unhandled } else { &self.unacked };
        open.difference(&self.set_aside).copied().collect()
    }

    /// Messages set aside that are neither handled nor, without reports, acked: a copy may come back.
    pub fn may_come_back(&self) -> usize {
        let open = if self.reports { &self.unhandled } else { &self.unacked };
        let copied = |id: &&u32| self.messages.get(id).is_some_and(|m| !m.copies.is_empty());
        self.set_aside.intersection(open).filter(copied).count()
    }

    /// The queues of the subject's own in which copies of messages may be: those it published copies to, and those it
    /// declared, once it has published any.
    pub fn queues_of_copies(&self) -> BTreeSet<String> {
        let copies = self.copies.iter().filter(|c| c.id.is_some() && c.exchange.is_empty());
        let mut queues: BTreeSet<String> = copies.map(|c| c.routing_key.clone()).collect();
        if self.copies.iter().any(|c| c.id.is_some()) {
            queues.extend(self.declared.iter().cloned());
        }
        queues
    }

    /// The subject let go of a delivery: what becomes of its message by the wire alone.
    pub(super) fn let_go(&mut self, epoch: usize, tag: u64) {
        let Some(d) = self.epochs[epoch].deliveries.get(&tag) else { return };
        let Some(id) = d.id else { return };
        let acked = d.automatic
            || d.settled.iter().any(|i| self.epochs[epoch].settlements[*i].kind == Settle::Ack);
        // What it acks from a queue of its own counts for what it had moved there.
        if acked && (!d.foreign || self.set_aside.contains(&id)) {
            self.settled.insert(id);
            self.unacked.remove(&id);
        }
    }

    /// A copy of this message is confirmed. What one connection does may be recorded before what another did earlier, so the
    /// ack that came after the confirm may be known already.
    pub(super) fn copy_confirmed(&mut self, id: u32) {
        let last = self.messages.get(&id).and_then(|m| m.deliveries.last());
        let Some(&(epoch, tag)) = last else { return };
        let Some(d) = self.epochs[epoch].deliveries.get(&tag) else { return };
        let at_broker = |i: &usize| self.epochs[epoch].settlements[*i].at_broker.is_some();
        if let Some(settlement) = d.settled.iter().copied().find(|i| at_broker(i)) {
            self.settled_at_broker(epoch, settlement);
        }
    }

    /// A settlement is whole at the broker's end.
    pub(super) fn settled_at_broker(&mut self, epoch: usize, index: usize) {
        let settlement = &self.epochs[epoch].settlements[index];
        let kind = settlement.kind;
        for tag in settlement.covers.clone() {
            let Some(d) = self.epochs[epoch].deliveries.get(&tag) else { continue };
            let Some(id) = d.id.filter(|_| !d.foreign) else { continue };
            let message = self.messages.get(&id);
            // A copy, or the same message again, may be on its way already.
            if message.is_some_and(|m| m.deliveries.last() != Some(&(epoch, tag))) {
                continue;
            }
            let arrived = d.at_client;
            let copied = message.is_some_and(|m| {
                m.copies.iter().map(|i| &self.copies[*i]).any(|c| {
                    Some(c.sent) > arrived
                        && (c.confirmed.is_some() || self.epochs[epoch].transacted)
                })
            });
            self.unsettled.remove(&id);
            if kind.consumes() && (kind != Settle::Ack || copied) {
                self.set_aside.insert(id);
            }
        }
    }
}
