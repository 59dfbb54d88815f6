//! Queues coming and going, and what goes with them.

use std::time::Duration;

use crate::connection::Connection;
use crate::core::timers::Timer;
use crate::core::{ChannelId, ConnectionId, Core};
use crate::look::events::Event;
use crate::model::exchange::Target;
use crate::model::queue::{Queue, Store, Stream, arguments};
use crate::model::{Name, QueueId};
use crate::wire::{Reply, Table};
use rand::Rng as _;

/// As RabbitMQ's generated names: 22 characters of base64 for URLs.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const GENERATED: usize = 22;

impl Core {
    /// A name nobody has.
    pub(crate) fn generated(&mut self, prefix: &str) -> String {
        let mut name = String::with_capacity(prefix.len() + GENERATED);
        name.push_str(prefix);
        for _ in 0..GENERATED {
            let at = (self.dice.next_u64() % 64) as usize;
            name.push(char::from(ALPHABET[at]));
        }
        name
    }

    pub(crate) fn create_queue(
        &mut self,
        vhost: &Name,
        name: &Name,
        durable: bool,
        auto_delete: bool,
        owner: Option<ConnectionId>,
        arguments: Table,
    ) -> QueueId {
        let id = QueueId(self.model.number());
        let is_quorum = arguments::is_quorum(&arguments);
        let stream = arguments::is_stream(&arguments).then(Box::<Stream>::default);
        let mut queue = Queue {
            id,
            vhost: vhost.clone(),
            name: name.clone(),
            durable,
            owner,
            auto_delete,
            arguments,
            is_quorum,
            policy: None,
            settings: Default::default(),
            store: Store::quorum(),
            stream,
            unacked: 0,
            consumers: Vec::new(),
            is_exclusively_consumed: false,
            active: None,
            used: self.now,
            is_dirty: false,
            message_timer: None,
            expiry_timer: None,
        };
        (queue.policy, queue.settings) = self.model.settings(&queue);
        if !is_quorum {
            queue.store = Store::classic(queue.settings.max_priority.unwrap_or(0));
        }
        self.model.queues.insert(id, queue);
        if let Some(known) = self.model.vhosts.get_mut(vhost) {
            known.queues.insert(name.clone(), id);
        }
        self.use_queue(id);
        self.note(|| Event::QueueDeclared { vhost: vhost.clone(), queue: name.clone() });
        id
    }

    /// Removes a queue: its bindings go, its consumers are told.
    pub(crate) fn delete_queue(&mut self, id: QueueId) {
        let Some(queue) = self.model.queues.remove(&id) else { return };
        self.timers.set(Timer::Messages(id), None);
        self.timers.set(Timer::Queue(id), None);
        if let Some(known) = self.model.vhosts.get_mut(&queue.vhost) {
            known.queues.remove(&queue.name);
        }
        self.remove_bindings_to(&queue.vhost, &Target::Queue(queue.name.clone()));
        for consumer in queue.consumers {
            let at = ChannelId { connection: consumer.connection, channel: consumer.channel };
            self.tell_cancelled(at, &consumer.tag);
            let consumer = consumer.id;
            self.note(|| Event::ConsumerGone { at, consumer });
        }
        self.note(|| Event::QueueDeleted { vhost: queue.vhost, queue: queue.name });
    }

    /// Takes the consumers off a queue and tells them, as when its node went away.
    pub fn cancel_consumers(&mut self, vhost: &str, queue: &str) -> usize {
        let Some(id) = self.model.queue_id(vhost, queue) else { return 0 };
        let Some(queue) = self.model.queues.get_mut(&id) else { return 0 };
        let consumers = std::mem::take(&mut queue.consumers);
        queue.is_exclusively_consumed = false;
        queue.active = None;
        let count = consumers.len();
        for consumer in consumers {
            let at = ChannelId { connection: consumer.connection, channel: consumer.channel };
            self.tell_cancelled(at, &consumer.tag);
            let consumer = consumer.id;
            self.note(|| Event::ConsumerGone { at, consumer });
        }
        if count > 0 {
            self.consumer_left(id);
            self.look_after();
        }
        count
    }

    fn tell_cancelled(&mut self, at: ChannelId, tag: &Name) {
        let Some(connection) = self.connections.get_mut(&at.connection) else { return };
        let notify = connection.capabilities.consumer_cancel_notify;
        let Some(channel) = connection.channels.get_mut(&at.channel) else { return };
        if channel.consumers.remove(tag).is_some() && notify {
            self.reply(at, &Reply::BasicCancel { tag });
        }
    }

    /// A consumer has left: the queue may go, or serve those that waited.
    pub(crate) fn consumer_left(&mut self, id: QueueId) {
        let Some(queue) = self.model.queues.get(&id) else { return };
        if queue.consumers.is_empty() && queue.auto_delete {
            self.delete_queue(id);
            return;
        }
        self.use_queue(id);
        self.is_dirty(id);
    }

    /// Starts the clock of a queue that expires when it is not used.
    pub(crate) fn use_queue(&mut self, id: QueueId) {
        let now = self.now;
        let Some(queue) = self.model.queues.get_mut(&id) else { return };
        queue.used = now;
        if let Some(expires) = queue.settings.expires {
            self.timers.set(Timer::Queue(id), Some(now + expires));
        }
    }

    /// A queue has not been used for as long as it may.
    pub(super) fn queue_timer(&mut self, id: QueueId) {
        let Some(queue) = self.model.queues.get(&id) else { return };
        let Some(expires) = queue.settings.expires else { return };
        let due: Duration = queue.used + expires;
        if !queue.consumers.is_empty() {
            // It is in use; the clock starts when its last consumer leaves.
            return;
        }
        if due <= self.now {
            self.delete_queue(id);
        } else {
            self.timers.set(Timer::Queue(id), Some(due));
        }
    }

    /// Drops what is ready. How many that were.
    pub(crate) fn purge_queue(&mut self, id: QueueId) -> u32 {
        self.expire(id);
        let Some(queue) = self.model.queues.get_mut(&id) else { return 0 };
        let purged = queue.store.clear();
        self.set_message_timer(id);
        u32::try_from(purged).unwrap_or(u32::MAX)
    }

    /// A policy has changed: every queue of the virtual host does what it says now.
    pub(crate) fn apply_policies(&mut self, vhost: &str) {
        let ids: Vec<QueueId> = self
            .model
            .vhosts
            .get(vhost)
            .into_iter()
            .flat_map(|v| v.queues.values())
            .copied()
            .collect();
        for id in ids {
            let Some(queue) = self.model.queues.get(&id) else { continue };
            let (policy, settings) = self.model.settings(queue);
            let Some(queue) = self.model.queues.get_mut(&id) else { continue };
            (queue.policy, queue.settings) = (policy, settings);
            let expires = queue.settings.expires;
            let used = queue.used;
            self.timers.set(Timer::Queue(id), expires.map(|expires| used + expires));
            self.trim(id);
            self.is_dirty(id);
        }
    }

    /// A peer reads again: what waits for it may go out.
    pub(super) fn room(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.is_choked = false;
        let channels: Vec<u16> = connection.channels.keys().copied().collect();
        for channel in channels {
            self.room_on(ChannelId { connection: id, channel });
        }
        if self.connections.get(&id).is_some_and(Connection::may_read) {
            self.wake(id);
        }
    }
}
