//! Messages into queues, out to consumers, back, and on to dead-letter exchanges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{ChannelId, ConnectionId, Core, Dead, wake};
use crate::channel::Unacked;
use crate::connection::Connection;
use crate::core::send::write_content;
use crate::core::timers::Timer;
use crate::faults::Direction;
use crate::model::message::{Message, Reason};
use crate::model::policy::Overflow;
use crate::model::queue::{Consumer, Queue, Ready};
use crate::model::{ConsumerId, Name, QueueId};
use crate::wire::reply::Content;
use crate::wire::{MethodId, Value};
use rand::Rng as _;

pub(super) const DELIVER: MethodId = MethodId::of(60, 60);

/// A message on its way to a consumer.
pub(super) struct Out {
    pub to: ChannelId,
    pub queue: QueueId,
    pub consumer: ConsumerId,
    pub tag: Name,
    pub no_ack: bool,
    /// What the broker adds to it.
    pub header: Option<(&'static str, Value)>,
    pub ready: Ready,
}

/// Whether one more delivery may go to that consumer.
pub(super) fn can_take(
    connections: &BTreeMap<ConnectionId, Connection>,
    consumer: &Consumer,
) -> bool {
    if consumer.prefetch > 0 && consumer.unacked >= usize::from(consumer.prefetch) {
        return false;
    }
    let Some(connection) = connections.get(&consumer.connection) else { return false };
    let Some(channel) = connection.channels.get(&consumer.channel) else { return false };
    connection.has_room() && channel.has_room() && (consumer.no_ack || channel.has_credit())
}

impl Core {
    /// The queues a message goes to. The list is to be given back with [`Core::keep_routed`].
    pub(crate) fn route(&mut self, vhost: &Name, message: &Message) -> Vec<QueueId> {
        let mut found = std::mem::take(&mut self.routed);
        if let Some(vhost) = self.model.vhosts.get(vhost) {
            let dice = if message.exchange.is_empty() { 0 } else { self.dice.next_u64() };
            vhost.route(&message.exchange, message, dice, &mut found);
        }
        found
    }

    pub(crate) fn keep_routed(&mut self, routed: Vec<QueueId>) {
        self.routed = routed;
    }

    /// Puts a message into a queue; false if the queue refuses it.
    pub(crate) fn enqueue(&mut self, id: QueueId, message: Arc<Message>) -> bool {
        let now = self.now;
        let Some(queue) = self.model.queues.get_mut(&id) else { return true };
        if queue.stream.is_some() {
            self.append(id, &message);
            return true;
        }
        let overflow = queue.settings.overflow;
        if overflow != Overflow::DropHead && queue.would_overflow(message.body.len()) {
            if overflow == Overflow::RejectPublishDlx {
                let ready = Ready { at: 0, message, expires: None, redelivered: false, returns: 0 };
                self.dead_letter(id, ready, Reason::Maxlen);
            }
            return false;
        }
        let ttl = match (queue.settings.ttl, message.ttl()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        // Behind others that nobody takes it has to wait, and they were offered to all: that costs time for each consumer.
        let waits = !queue.store.is_empty() && !queue.is_dirty;
        queue.store.push(message, ttl.map(|ttl| now + ttl));
        if !waits {
            // Who waits gets it, even if its time is up at once.
            self.pump(id, false);
        }
        self.trim(id);
        if ttl.is_some() {
            self.expire(id);
        }
        true
    }

    /// The queue may be able to deliver: it is looked after before anything else is done.
    pub(crate) fn is_dirty(&mut self, id: QueueId) {
        if let Some(queue) = self.model.queues.get_mut(&id)
            && !queue.is_dirty
        {
            queue.is_dirty = true;
            self.dirty.push_back(id);
        }
    }

    /// Delivers what can be delivered, and sends the dead on their way.
    pub(crate) fn look_after(&mut self) {
        loop {
            if let Some(dead) = self.dead.pop_front() {
                self.bury(&dead);
            } else if let Some(id) = self.dirty.pop_front() {
                if let Some(queue) = self.model.queues.get_mut(&id) {
                    queue.is_dirty = false;
                }
                self.pump(id, true);
            } else {
                return;
            }
        }
    }

    /// Delivers from one queue for as long as there is a message and a consumer for it.
    fn pump(&mut self, id: QueueId, expire: bool) {
        if self.model.queues.get(&id).is_some_and(|queue| queue.stream.is_some()) {
            return self.pump_stream(id);
        }
        let mut expire = expire;
        loop {
            if expire {
                self.expire(id);
            }
            // What comes up to the head may be past its time.
            expire = true;
            let Core { model, connections, faults, .. } = self;
            let Some(queue) = model.queues.get_mut(&id) else { return };
            if queue.store.is_empty() || queue.consumers.is_empty() {
                return;
            }
            let Some(turn) = (0..queue.consumers.len()).find(|at| {
                let consumer = &queue.consumers[*at];
                (!queue.settings.single_active || queue.active == Some(consumer.id))
                    && can_take(connections, consumer)
            }) else {
                return;
            };
            let mut after = Vec::new();
            if faults.is_armed() {
                let fired = faults.reached(Direction::Out, DELIVER);
                after = fired.after;
                if !fired.before.is_empty() {
                    // It may change everything: look again.
                    self.act_all(fired.before);
                    self.act_all(after);
                    continue;
                }
            }
            let Some(ready) = queue.store.pop() else { return };
            let consumer = &mut queue.consumers[turn];
            let no_ack = consumer.no_ack;
            if !no_ack {
                consumer.unacked += 1;
                queue.unacked += 1;
            }
            let is_counted = queue.is_quorum && ready.returns > 0;
            let returns = i64::try_from(ready.returns).unwrap_or(i64::MAX);
            let out = Out {
                to: ChannelId { connection: consumer.connection, channel: consumer.channel },
                queue: id,
                consumer: consumer.id,
                tag: consumer.tag.clone(),
                no_ack,
                header: is_counted.then_some(("x-delivery-count", Value::I64(returns))),
                ready,
            };
            queue.turn(turn);
            self.hand_out(out);
            self.act_all(after);
        }
    }

    /// Sends a delivery that a consumer can take.
    pub(super) fn hand_out(&mut self, out: Out) {
        let Out { to, queue, consumer, tag: consumer_tag, no_ack, header, ready } = out;
        let Core { connections, woken, .. } = self;
        let Some(connection) = connections.get_mut(&to.connection) else { return };
        let Some(channel) = connection.channels.get_mut(&to.channel) else { return };
        channel.last_tag += 1;
        let tag = channel.last_tag;
        let (message, redelivered) = (ready.message.clone(), ready.redelivered);
        let mut is_timed = true;
        if !no_ack {
            channel.from_consumers += 1;
            is_timed = channel.is_timed;
            let consumer = Some(consumer);
            channel.unacked.push_back(Unacked { tag, queue, consumer, ready, at: self.now });
        }
        let content = Content::Deliver {
            consumer: &consumer_tag,
            tag,
            redelivered,
            exchange: &message.exchange,
            routing_key: &message.routing_key,
        };
        if let Some((name, value)) = header {
            let props = message.props_with(name, value);
            write_content(connection, to.channel, content, &props, &message.body);
        } else {
            write_content(connection, to.channel, content, &message.props, &message.body);
        }
        wake(connection, woken);
        if !is_timed {
            self.time_channel(to);
        }
    }

    /// Makes sure that somebody looks whether a channel's deliveries are acknowledged in time.
    pub(crate) fn time_channel(&mut self, at: ChannelId) {
        let due = self.now + self.config.consumer_timeout_tick;
        let Some(channel) = self.channel(at) else { return };
        if !channel.is_timed {
            channel.is_timed = true;
            self.timers.set(Timer::Channel(at.connection, at.channel), Some(due));
        }
    }

    /// A delivery comes back to its queue. `seen` unless it surely never reached the client.
    pub(crate) fn put_back(&mut self, delivery: Unacked, seen: bool) {
        let Unacked { queue: id, consumer, mut ready, .. } = delivery;
        let Some(queue) = self.model.queues.get_mut(&id) else { return };
        queue.settled(consumer);
        if queue.stream.is_some() {
            // There it still is; who wants it again reads again.
            return self.is_dirty(id);
        }
        ready.redelivered |= seen;
        ready.returns += 1;
        if queue.settings.delivery_limit.is_some_and(|most| ready.returns > most) {
            self.dead_letter(id, ready, Reason::DeliveryLimit);
        } else {
            queue.store.put_back(ready);
            self.trim(id);
        }
        self.set_message_timer(id);
        self.is_dirty(id);
    }

    /// A delivery is rejected for good.
    pub(crate) fn discard(&mut self, delivery: Unacked) {
        let Some(queue) = self.model.queues.get_mut(&delivery.queue) else { return };
        queue.settled(delivery.consumer);
        self.dead_letter(delivery.queue, delivery.ready, Reason::Rejected);
        self.is_dirty(delivery.queue);
    }

    /// Drops from the head what is too much.
    pub(crate) fn trim(&mut self, id: QueueId) {
        loop {
            let Some(queue) = self.model.queues.get_mut(&id) else { return };
            if queue.settings.overflow != Overflow::DropHead || !queue.is_over() {
                return;
            }
            let Some(ready) = queue.store.pop() else { return };
            self.dead_letter(id, ready, Reason::Maxlen);
        }
    }

    /// Drops the heads whose time is up.
    pub(crate) fn expire(&mut self, id: QueueId) {
        let now = self.now;
        let Some(queue) = self.model.queues.get_mut(&id) else { return };
        if !queue.store.expires() && queue.message_timer.is_none() {
            return;
        }
        for ready in queue.store.expired(now) {
            self.dead_letter(id, ready, Reason::Expired);
        }
        self.set_message_timer(id);
    }

    /// The head of a queue expires.
    pub(super) fn message_timer(&mut self, id: QueueId) {
        if let Some(queue) = self.model.queues.get_mut(&id) {
            queue.message_timer = None;
        }
        self.expire(id);
    }

    pub(super) fn set_message_timer(&mut self, id: QueueId) {
        let Some(queue) = self.model.queues.get_mut(&id) else { return };
        let due: Option<Duration> = queue.store.next_expiry();
        if queue.message_timer != due {
            queue.message_timer = due;
            self.timers.set(Timer::Messages(id), due);
        }
    }

    /// Sends a message to the dead-letter exchange of the queue it was in, if that has one.
    fn dead_letter(&mut self, id: QueueId, ready: Ready, reason: Reason) {
        let Some(Queue { vhost, name, settings, .. }) = self.model.queues.get(&id) else { return };
        let Some(exchange) = &settings.dead_letter_exchange else { return };
        self.dead.push_back(Dead {
            vhost: vhost.clone(),
            queue: name.clone(),
            exchange: exchange.clone(),
            key: settings.dead_letter_key.clone(),
            reason,
            message: ready.message,
        });
    }

    fn bury(&mut self, dead: &Dead) {
        let Dead { vhost, queue, exchange, key, reason, message } = dead;
        let is_there =
            self.model.vhosts.get(vhost).is_some_and(|v| v.exchanges.contains_key(exchange));
        if !is_there {
            return;
        }
        let time = self.unix_seconds();
        let message = message.dead(queue, *reason, exchange.clone(), key.as_ref(), time);
        let message = Arc::new(message);
        let mut queues = self.route(vhost, &message);
        if *reason != Reason::Rejected {
            let queues_of = &self.model.queues;
            queues.retain(|id| {
                queues_of.get(id).is_some_and(|queue| !message.would_circle(&queue.name))
            });
        }
        self.enqueue_all(&queues, &message);
        queues.clear();
        self.keep_routed(queues);
    }
}
