//! `basic.ack`, `nack`, `reject`, `recover`, `qos`: settling deliveries, and how many may be open.

use std::collections::BTreeSet;

use super::{Channel, Unacked};
use crate::core::{ChannelId, Core};
use crate::model::QueueId;
use crate::refuse::refuse;
use crate::wire::{AmqpError, Reply};

impl Channel {
    /// Takes the deliveries that a tag means out of those not settled.
    pub(super) fn collect(&mut self, tag: u64, multiple: bool) -> Result<Vec<Unacked>, AmqpError> {
        if multiple && tag == 0 {
            return Ok(self.unacked.drain(..).collect());
        }
        // Tags grow, but a rollback may have put some back; those are in order, too.
        let found = match self.unacked.front() {
            Some(first) if first.tag == tag => Some(0),
            _ => self.unacked.binary_search_by_key(&tag, |delivery| delivery.tag).ok(),
        };
        let Some(at) = found else {
            refuse!(PreconditionFailed, "unknown delivery tag {tag}");
        };
        if multiple {
            return Ok(self.unacked.drain(..=at).collect());
        }
        Ok(self.unacked.remove(at).into_iter().collect())
    }
}

impl Core {
    /// `basic.ack`.
    pub(super) fn ack(&mut self, at: ChannelId, tag: u64, multiple: bool) -> Result<(), AmqpError> {
        let Some(channel) = self.channel(at) else { return Ok(()) };
        let deliveries = channel.collect(tag, multiple)?;
        match &mut channel.tx {
            Some(tx) => tx.settle(super::tx::How::Ack, deliveries),
            None => self.settle_acks(at, deliveries),
        }
        Ok(())
    }

    /// `basic.nack` and `basic.reject`.
    pub(super) fn reject(
        &mut self,
        at: ChannelId,
        tag: u64,
        multiple: bool,
        requeue: bool,
    ) -> Result<(), AmqpError> {
        let Some(channel) = self.channel(at) else { return Ok(()) };
        let deliveries = channel.collect(tag, multiple)?;
        match &mut channel.tx {
            Some(tx) if requeue => tx.settle(super::tx::How::Requeue, deliveries),
            Some(tx) => tx.settle(super::tx::How::Discard, deliveries),
            None => self.settle_rejects(at, deliveries, requeue),
        }
        Ok(())
    }

    pub(super) fn settle_acks(&mut self, at: ChannelId, deliveries: Vec<Unacked>) {
        self.give_credit(at, &deliveries);
        for delivery in deliveries {
            if let Some(queue) = self.model.queues.get_mut(&delivery.queue) {
                queue.settled(delivery.consumer);
            }
            self.is_dirty(delivery.queue);
        }
    }

    pub(super) fn settle_rejects(
        &mut self,
        at: ChannelId,
        deliveries: Vec<Unacked>,
        requeue: bool,
    ) {
        self.give_credit(at, &deliveries);
        for delivery in deliveries {
            if requeue {
                self.put_back(delivery, true);
            } else {
                self.discard(delivery);
            }
        }
    }

    /// Deliveries settled make room for others, on this channel's other queues too.
    fn give_credit(&mut self, at: ChannelId, deliveries: &[Unacked]) {
        let Some(channel) = self.channel(at) else { return };
        let from_consumers = deliveries.iter().filter(|d| d.consumer.is_some()).count();
        channel.from_consumers = channel.from_consumers.saturating_sub(from_consumers);
        if channel.global_prefetch > 0 {
            self.room_on(at);
        }
    }

    /// The queues that a channel consumes from may have something for it.
    pub(crate) fn room_on(&mut self, at: ChannelId) {
        let Some(channel) = self.channel(at) else { return };
        let queues: Vec<QueueId> = channel.consumers.values().map(|c| c.queue).collect();
        for queue in queues {
            self.is_dirty(queue);
        }
    }

    /// `basic.recover`: everything not settled goes back.
    pub(super) fn recover(&mut self, at: ChannelId, requeue: bool) -> Result<(), AmqpError> {
        if !requeue {
            refuse!(NotImplemented, "requeue=false");
        }
        let Some(channel) = self.channel(at) else { return Ok(()) };
        let deliveries: Vec<Unacked> = channel.unacked.drain(..).collect();
        let queues: BTreeSet<QueueId> = deliveries.iter().map(|delivery| delivery.queue).collect();
        self.settle_rejects(at, deliveries, true);
        // What a stream has next goes out before the answer.
        for queue in queues {
            self.pump_stream(queue);
        }
        Ok(())
    }

    /// `basic.qos`.
    pub(super) fn qos(
        &mut self,
        at: ChannelId,
        size: u32,
        count: u16,
        global: bool,
    ) -> Result<(), AmqpError> {
        if size != 0 {
            refuse!(NotImplemented, "prefetch_size!=0 ({size})");
        }
        let Some(channel) = self.channel(at) else { return Ok(()) };
        if global {
            channel.global_prefetch = count;
            channel.from_consumers = channel.unacked.len();
        } else {
            channel.prefetch = count;
            // In RabbitMQ either kind ends the other.
            channel.global_prefetch = 0;
        }
        self.reply(at, &Reply::BasicQosOk);
        self.room_on(at);
        Ok(())
    }

    /// A delivery has waited long enough for its acknowledgement?
    pub(crate) fn channel_timer(&mut self, at: ChannelId) {
        let now = self.now;
        let Some(channel) = self.channel(at) else { return };
        channel.is_timed = false;
        let Some(oldest) = channel.unacked.front() else { return };
        let (queue, since) = (oldest.queue, oldest.at);
        let own = self.model.queues.get(&queue).and_then(|q| q.settings.consumer_timeout);
        let timeout = own.unwrap_or(self.config.consumer_timeout);
        if since + timeout >= now {
            self.time_channel(at);
            return;
        }
        let text = format!(
            "delivery acknowledgement on channel {} timed out. Timeout value used: {} ms. This \
             timeout value can be configured, see consumers doc guide to learn more",
            at.channel,
            timeout.as_millis()
        );
        self.fail(at, &AmqpError::new(crate::wire::Code::PreconditionFailed, text));
    }
}
