//! Transactions: publishes and settlements that wait for `tx.commit`.

use std::sync::Arc;

use super::Unacked;
use crate::core::{ChannelId, Core};
use crate::model::message::Message;
use crate::refuse::refuse;
use crate::wire::{AmqpError, Reply};

/// How a delivery was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Ack,
    Requeue,
    Discard,
}

/// What waits for the commit.
#[derive(Debug, Default)]
pub(crate) struct Tx {
    /// Messages, and whether they are mandatory.
    pub publishes: Vec<(Arc<Message>, bool)>,
    settled: Vec<(How, Vec<Unacked>)>,
}

impl Tx {
    pub(super) fn settle(&mut self, how: How, deliveries: Vec<Unacked>) {
        self.settled.push((how, deliveries));
    }

    /// Messages and settlements that wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.publishes.len(), self.settled.iter().map(|(_, deliveries)| deliveries.len()).sum())
    }

    /// Deliveries that were settled here go back with the others when the channel ends.
    pub(crate) fn into_unacked(self) -> Vec<Unacked> {
        self.settled.into_iter().flat_map(|(_, deliveries)| deliveries).collect()
    }
}

impl Core {
    /// `tx.select`.
    pub(super) fn tx_select(&mut self, at: ChannelId) -> Result<(), AmqpError> {
        let Some(channel) = self.channel(at) else { return Ok(()) };
        if channel.is_confirming {
            refuse!(PreconditionFailed, "cannot switch from confirm to tx mode");
        }
        channel.tx.get_or_insert_default();
        self.reply(at, &Reply::TxSelectOk);
        Ok(())
    }

    /// `tx.commit`.
    pub(super) fn tx_commit(&mut self, at: ChannelId) -> Result<(), AmqpError> {
        let Some(channel) = self.channel(at) else { return Ok(()) };
        let Some(tx) = channel.tx.take() else {
            refuse!(PreconditionFailed, "channel is not transactional");
        };
        let mut refused = false;
        for (message, mandatory) in &tx.publishes {
            refused |= self.publish_committed(at, message, *mandatory);
        }
        for (how, deliveries) in tx.settled {
            match how {
                How::Ack => self.settle_acks(at, deliveries),
                How::Requeue => self.settle_rejects(at, deliveries, true),
                How::Discard => self.settle_rejects(at, deliveries, false),
            }
        }
        if let Some(channel) = self.channel(at) {
            channel.tx = Some(Tx::default());
        }
        if refused {
            refuse!(PreconditionFailed, "partial tx completion");
        }
        self.reply(at, &Reply::TxCommitOk);
        Ok(())
    }

    /// `tx.rollback`: publishes are forgotten, settlements undone.
    pub(super) fn tx_rollback(&mut self, at: ChannelId) -> Result<(), AmqpError> {
        let Some(channel) = self.channel(at) else { return Ok(()) };
        let Some(tx) = channel.tx.take() else {
            refuse!(PreconditionFailed, "channel is not transactional");
        };
        channel.unacked.extend(tx.into_unacked());
        channel.unacked.make_contiguous().sort_by_key(|delivery| delivery.tag);
        channel.tx = Some(Tx::default());
        self.reply(at, &Reply::TxRollbackOk);
        Ok(())
    }
}
