//! A queue: who consumes from it, what is ready in it, what it was declared as.

pub mod arguments;

pub mod consuming;

pub mod store;

pub mod stream;

use std::time::Duration;

pub use store::{Ready, Store};
pub use stream::Stream;

use super::policy::Settings;
use super::{ConsumerId, Name, QueueId, queue_in, same};
use crate::core::ConnectionId;
use crate::wire::{AmqpError, Code, Table};

/// The properties that a queue is declared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// It survives a restart. An exclusive queue does not outlive its connection, so RabbitMQ counts it as transient.
    pub durable: bool,
    /// It is its connection's own.
    pub exclusive: bool,
    /// It goes with its last consumer.
    pub auto_delete: bool,
}

impl Flags {
    /// Whether a quorum queue or a stream may have them.
    pub const fn suit_replication(self) -> bool {
        self.durable && !self.exclusive && !self.auto_delete
    }
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    /// For as long as it lives.
    pub id: QueueId,
    /// Its virtual host.
    pub vhost: Name,
    /// Its name.
    pub name: Name,
    /// Whether it survives a restart.
    pub durable: bool,
    /// The only connection that may use it, which it dies with.
    pub owner: Option<ConnectionId>,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// As declared.
    pub arguments: Table,
    /// Of type quorum.
    pub is_quorum: bool,
    /// Its policy's name.
    pub policy: Option<Name>,
    /// What it does, by arguments and policy.
    pub settings: Settings,
    /// What is ready.
    pub store: Store,
    /// If it is a stream: everything that is in it. Then nothing is in `store`.
    pub stream: Option<Box<Stream>>,
    /// Delivered and not yet settled.
    pub unacked: usize,
    /// In the order of their turn, the highest priority first.
    pub consumers: Vec<Consumer>,
    /// Whether the first consumer is there for itself alone.
    pub is_exclusively_consumed: bool,
    /// With a single active consumer: which one it is.
    pub active: Option<ConsumerId>,
    /// When it was last used, for its expiry.
    pub used: Duration,
    /// Whether it waits to be looked after: it may be able to deliver.
    pub is_dirty: bool,
    /// When its first message expires, as the timer knows it.
    pub message_timer: Option<Duration>,
    /// When it expires itself, as the timer knows it.
    pub expiry_timer: Option<Duration>,
}

/// A consumer of a queue.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Over the whole broker.
    pub id: ConsumerId,
    /// Whose it is.
    pub connection: ConnectionId,
    /// On which channel.
    pub channel: u16,
    /// What the client calls it.
    pub tag: Name,
    /// Whether what it gets is settled at once.
    pub no_ack: bool,
    /// Whether it wants the queue for itself.
    pub exclusive: bool,
    /// The highest that can take a message gets it.
    pub priority: i64,
    /// Deliveries without acknowledgement at most; 0 is any number.
    pub prefetch: u16,
    /// Deliveries without acknowledgement.
    pub unacked: usize,
    /// Where it is in a stream.
    pub reader: Option<stream::Reader>,
    /// As given.
    pub arguments: Table,
}

impl Queue {
    /// Refuses a declaration that is unlike the one that made it.
    pub fn check_alike(&self, flags: Flags, arguments: &Table) -> Result<(), AmqpError> {
        let shown = queue_in(&self.vhost, &self.name);
        same(&shown, "durable", self.durable, flags.durable)?;
        same(&shown, "auto_delete", self.auto_delete, flags.auto_delete)?;
        arguments::check_equivalent(&self.vhost, &self.name, &self.arguments, arguments)
    }

    /// What everybody but its owner is told.
    pub fn locked(&self) -> AmqpError {
        let text = format!(
            "cannot obtain exclusive access to locked {}. It could be originally declared on \
             another connection or the exclusive property value does not match that of the \
             original declaration.",
            queue_in(&self.vhost, &self.name)
        );
        AmqpError::new(Code::ResourceLocked, text)
    }

    /// Adds a consumer behind those of its priority.
    pub fn add_consumer(&mut self, consumer: Consumer) {
        if self.settings.single_active && self.active.is_none() {
            self.active = Some(consumer.id);
        }
        self.is_exclusively_consumed |= consumer.exclusive;
        let at = self.behind(consumer.priority);
        self.consumers.insert(at, consumer);
    }

    /// Removes a consumer. Whether that was its last one.
    pub fn remove_consumer(&mut self, id: ConsumerId) -> Option<Consumer> {
        let at = self.consumers.iter().position(|consumer| consumer.id == id)?;
        let consumer = self.consumers.remove(at);
        if consumer.exclusive {
            self.is_exclusively_consumed = false;
        }
        if self.active == Some(id) {
            self.active = self.consumers.first().map(|next| next.id);
        }
        Some(consumer)
    }

    /// Moves the consumer that had its turn behind those of its priority.
    pub fn turn(&mut self, at: usize) {
        let alone = self
            .consumers
            .get(at + 1)
            .is_none_or(|next| next.priority != self.consumers[at].priority);
        if alone {
            return;
        }
        let end = self.behind(self.consumers[at].priority);
        self.consumers[at..end].rotate_left(1);
    }

    fn behind(&self, priority: i64) -> usize {
        self.consumers.partition_point(|consumer| consumer.priority >= priority)
    }

    /// Messages for consumers: all that are in a stream, those not delivered of another queue.
    pub fn ready(&self) -> usize {
        self.stream.as_ref().map_or(self.store.len(), |stream| stream.len())
    }

    /// Their bytes.
    pub fn ready_bytes(&self) -> usize {
        self.stream.as_ref().map_or(self.store.bytes(), |stream| stream.bytes())
    }

    /// Its type, as in `x-queue-type`.
    pub const fn kind(&self) -> &'static str {
        match (&self.stream, self.is_quorum) {
            (Some(_), _) => "stream",
            (None, true) => "quorum",
            (None, false) => "classic",
        }
    }

    /// One delivery of that consumer was settled.
    pub fn settled(&mut self, consumer: Option<ConsumerId>) {
        self.unacked = self.unacked.saturating_sub(1);
        if let Some(id) = consumer
            && let Some(consumer) = self.consumers.iter_mut().find(|consumer| consumer.id == id)
        {
            consumer.unacked = consumer.unacked.saturating_sub(1);
        }
    }

    /// Whether one message more of that size is too much.
    pub fn would_overflow(&self, bytes: usize) -> bool {
        self.settings.max_length.is_some_and(|most| self.store.len() + 1 > most)
            || self.settings.max_bytes.is_some_and(|most| self.store.bytes() + bytes > most)
    }

    /// Whether what is ready is too much.
    pub fn is_over(&self) -> bool {
        self.settings.max_length.is_some_and(|most| self.store.len() > most)
            || self.settings.max_bytes.is_some_and(|most| self.store.bytes() > most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(id: u64, priority: i64) -> Consumer {
        Consumer {
            id: ConsumerId(id),
            connection: ConnectionId(1),
            channel: 1,
            tag: "c".into(),
            no_ack: false,
            exclusive: false,
            priority,
            prefetch: 0,
            unacked: 0,
            reader: None,
            arguments: Table::default(),
        }
    }

    fn queue() -> Queue {
        Queue {
            id: QueueId(1),
            vhost: "/".into(),
            name: "q".into(),
            durable: true,
            owner: None,
            auto_delete: false,
            arguments: Table::default(),
            is_quorum: false,
            policy: None,
            settings: Settings::default(),
            store: Store::classic(0),
            stream: None,
            unacked: 0,
            consumers: Vec::new(),
            is_exclusively_consumed: false,
            active: None,
            used: Duration::ZERO,
            is_dirty: false,
            message_timer: None,
            expiry_timer: None,
        }
    }

    #[test]
    fn consumers_take_turns_within_their_priority() {
        let mut queue = queue();
        for (id, priority) in [(1, 0), (2, 5), (3, 0), (4, 0)] {
            queue.add_consumer(consumer(id, priority));
        }
        let order = |queue: &Queue| queue.consumers.iter().map(|c| c.id.0).collect::<Vec<_>>();
        assert_eq!(order(&queue), [2, 1, 3, 4]);
        queue.turn(0);
        assert_eq!(order(&queue), [2, 1, 3, 4]);
        queue.turn(1);
        assert_eq!(order(&queue), [2, 3, 4, 1]);
        queue.turn(3);
        assert_eq!(order(&queue), [2, 3, 4, 1]);
    }

    #[test]
    fn the_next_consumer_becomes_active() {
        let mut queue = queue();
        queue.settings.single_active = true;
        queue.add_consumer(consumer(1, 0));
        queue.add_consumer(consumer(2, 0));
        assert_eq!(queue.active, Some(ConsumerId(1)));
        queue.remove_consumer(ConsumerId(1));
        assert_eq!(queue.active, Some(ConsumerId(2)));
    }
}
