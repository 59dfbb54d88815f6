//! How connections and channels end, and what of theirs goes back to the queues.

use super::State;
use crate::channel;
use crate::core::timers::Timer;
use crate::core::{ChannelId, ConnectionId, Core};
use crate::look::events::Event;
use crate::model::QueueId;
use crate::wire::{AmqpError, Reply};

impl Core {
    /// `connection.close` from the client.
    pub(super) fn closed_by_client(&mut self, id: ConnectionId) {
        self.abandon(id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.state = State::Closed;
        }
        self.reply(ChannelId { connection: id, channel: 0 }, &Reply::ConnectionCloseOk);
        self.await_end(id);
    }

    /// Tells a client why its connection closes, and waits for it to answer.
    pub(crate) fn fail_connection(&mut self, id: ConnectionId, error: &AmqpError) {
        let Some(state) = self.connections.get(&id).map(|connection| connection.state) else {
            return;
        };
        match state {
            State::Running | State::Opening if error.is_unspeakable() => {
                return self.crash_connection(id);
            }
            State::Running | State::Opening => {}
            State::Closed | State::Over => return,
            // Whoever breaks the rules before is not spoken to, but kept waiting.
            _ => return self.ignore(id),
        }
        self.abandon(id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.state = State::Closed;
        }
        self.reply(ChannelId { connection: id, channel: 0 }, &Reply::ConnectionClose { error });
        self.await_end(id);
    }

    /// After an error in the framing nothing that comes can be understood.
    pub(crate) fn lost(&mut self, id: ConnectionId, error: &AmqpError) {
        self.fail_connection(id, error);
        self.ignore(id);
    }

    /// Neither reads nor says anything more, and cuts the peer off after a while.
    pub(super) fn ignore(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.state = State::Ignored;
        let until = self.now + self.config.silent_close;
        self.timers.set(Timer::Handshake(id), None);
        self.timers.set(Timer::End(id), Some(until));
    }

    fn await_end(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let heartbeat = std::time::Duration::from_secs(u64::from(connection.heartbeat));
        let most = self.config.close_timeout;
        let wait = if heartbeat.is_zero() { most } else { heartbeat.min(most) };
        self.timers.set(Timer::Handshake(id), None);
        self.timers.set(Timer::End(id), Some(self.now + wait));
    }

    /// Ends all channels, and deletes the queues that were this connection's own.
    pub(crate) fn abandon(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let numbers: Vec<u16> = connection.channels.keys().copied().collect();
        for number in numbers {
            self.drop_channel(ChannelId { connection: id, channel: number });
        }
        let own: Vec<QueueId> = self
            .model
            .queues
            .values()
            .filter(|queue| queue.owner == Some(id))
            .map(|queue| queue.id)
            .collect();
        for queue in own {
            self.delete_queue(queue);
        }
    }

    /// Nothing is kept of a connection.
    pub(crate) fn forget(&mut self, id: ConnectionId) {
        self.abandon(id);
        self.timers.forget(id);
        if self.connections.remove(&id).is_some() {
            self.note(|| Event::ConnectionClosed { connection: id });
        }
    }

    /// A channel is over: its consumers go, its deliveries return.
    pub(crate) fn drop_channel(&mut self, at: ChannelId) {
        self.empty_channel(at);
        if let Some(connection) = self.connections.get_mut(&at.connection) {
            connection.channels.remove(&at.channel);
            connection.is_choked = false;
        }
        self.timers.set(Timer::Channel(at.connection, at.channel), None);
        self.timers.set(Timer::Release(at.connection, at.channel), None);
        self.note(|| Event::ChannelClosed { at });
    }

    /// Tells a client why its channel closes.
    pub(crate) fn close_channel(&mut self, at: ChannelId, error: &AmqpError) {
        self.empty_channel(at);
        if let Some(channel) = self.channel(at) {
            channel.state = channel::State::Closing;
        }
        let text = error.text();
        self.reply(at, &Reply::ChannelClose { error });
        self.note(|| Event::ChannelFailed { at, text });
    }

    /// Takes a channel's consumers off their queues and puts its deliveries back.
    pub(crate) fn empty_channel(&mut self, at: ChannelId) {
        let Some(channel) = self.channel(at) else { return };
        let consumers = std::mem::take(&mut channel.consumers);
        let mut unacked = std::mem::take(&mut channel.unacked);
        if let Some(tx) = channel.tx.take() {
            unacked.extend(tx.into_unacked());
        }
        channel.unsent_confirms = None;
        channel.reply_to = None;
        channel.from_consumers = 0;
        // First the messages, so that no other consumer overtakes them; then those who could take them again.
        let mut emptied = Vec::new();
        for (_, consumer) in consumers {
            if let Some(queue) = self.model.queues.get_mut(&consumer.queue)
                && queue.remove_consumer(consumer.id).is_some()
            {
                emptied.push((consumer.queue, consumer.id));
            }
        }
        for delivery in unacked {
            self.put_back(delivery, true);
        }
        for (queue, consumer) in emptied {
            self.note(|| Event::ConsumerGone { at, consumer });
            self.consumer_left(queue);
        }
    }
}
