//! Going down and coming up again: what is durable stays, the rest is gone.

use std::collections::BTreeSet;

use crate::connection::State;
use crate::core::{ConnectionId, Core, How};
use crate::look::events::Event;
use crate::model::exchange::Target;
use crate::model::{Name, QueueId};
use crate::wire::{AmqpError, Code};

/// What RabbitMQ tells its clients when it is stopped.
const SHUTDOWN: &str = "broker forced connection closure with reason 'shutdown'";

impl Core {
    /// Dies: every connection is reset after what was sent to it, and nothing is accepted until [`Core::up`].
    pub fn crash(&mut self) {
        self.down(How::Rst);
    }

    /// Stops: every open connection is told, and nothing is accepted until [`Core::up`].
    pub fn shutdown(&mut self) {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            let is_open = self.connections.get(&id).is_some_and(|c| c.state == State::Running);
            if is_open {
                self.fail_connection(id, &AmqpError::new(Code::ConnectionForced, SHUTDOWN));
            }
        }
        self.down(How::Fin);
    }

    /// Comes up with what was durable.
    pub fn up(&mut self) {
        if !self.is_down() {
            return;
        }
        self.set_down(false);
        let ids: Vec<QueueId> = self.model.queues.keys().copied().collect();
        for id in ids {
            self.use_queue(id);
            self.expire(id);
        }
        self.note(|| Event::Up);
        self.look_after();
    }

    fn down(&mut self, how: How) {
        if self.is_down() {
            return;
        }
        self.set_down(true);
        self.faults.alarm = false;
        self.clear_work();
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            self.cut(id, how);
        }
        self.keep_durable();
        self.note(|| Event::Down);
    }

    /// Ends a connection with no effect but that its deliveries are back where they were.
    fn cut(&mut self, id: ConnectionId, how: How) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.state = State::Over;
        connection.ending.get_or_insert(how);
        for (_, channel) in std::mem::take(&mut connection.channels) {
            let uncommitted = channel.tx.map(|tx| tx.into_unacked()).unwrap_or_default();
            for delivery in channel.unacked.into_iter().chain(uncommitted) {
                if let Some(queue) = self.model.queues.get_mut(&delivery.queue)
                    && queue.stream.is_none()
                {
                    let mut ready = delivery.ready;
                    ready.redelivered = true;
                    ready.returns += 1;
                    queue.store.put_back(ready);
                }
            }
        }
        self.wake(id);
    }

    fn keep_durable(&mut self) {
        let mut gone: BTreeSet<QueueId> = BTreeSet::new();
        for queue in self.model.queues.values_mut() {
            if !queue.durable || queue.owner.is_some() {
                gone.insert(queue.id);
                continue;
            }
            queue.consumers.clear();
            queue.is_exclusively_consumed = false;
            queue.active = None;
            queue.unacked = 0;
            queue.is_dirty = false;
            queue.message_timer = None;
            if !queue.is_quorum {
                queue.store.retain(|message| message.persistent);
            }
        }
        self.model.queues.retain(|id, _| !gone.contains(id));
        for vhost in self.model.vhosts.values_mut() {
            vhost.queues.retain(|_, id| !gone.contains(id));
            vhost.exchanges.retain(|_, exchange| exchange.durable);
            let exchanges: BTreeSet<Name> = vhost.exchanges.keys().cloned().collect();
            for exchange in vhost.exchanges.values_mut() {
                exchange.bindings.retain(|binding, _| match &binding.target {
                    Target::Queue(name) => vhost.queues.contains_key(name),
                    Target::Exchange(name) => exchanges.contains(name),
                });
            }
        }
    }
}
