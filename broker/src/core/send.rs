//! Frames to a peer: replies, deliveries, errors; and what faults do to them.

use bytes::{Bytes, BytesMut};

use super::{ChannelId, ConnectionId, Core, How, wake};
use crate::channel::{Channel, Held};
use crate::connection::{Connection, State};
use crate::core::timers::Timer;
use crate::faults::{Direction, Withheld};
use crate::model::message::Message;
use crate::wire::frame;
use crate::wire::reply::{Content, body_front};
use crate::wire::{AmqpError, Reply};

/// What is held on a channel at most; more is as if the peer did not read.
pub(crate) const HELD_MOST: usize = 1 << 20;

impl Core {
    /// Sends a method, if the connection is still there.
    pub(crate) fn reply(&mut self, at: ChannelId, reply: &Reply<'_>) {
        if !matches!(reply, Reply::BasicAck { .. }) {
            // What was published before the request that is answered here is confirmed before it, too.
            self.flush_channel(at);
        }
        if self.faults.is_armed() {
            if let Some(withheld) = self.faults.withholds(reply.id()) {
                self.hold(at, withheld);
            }
            let fired = self.faults.reached(Direction::Out, reply.id());
            self.act_all(fired.before);
            self.send(at, reply);
            self.act_all(fired.after);
        } else {
            self.send(at, reply);
        }
    }

    fn send(&mut self, at: ChannelId, reply: &Reply<'_>) {
        let Some(connection) = self.connections.get_mut(&at.connection) else { return };
        if connection.ending.is_some() {
            return;
        }
        reply.write(at.channel, sink(connection, at.channel));
        wake(connection, &mut self.woken);
    }

    /// Sends a method that carries content.
    pub(crate) fn content(&mut self, at: ChannelId, content: Content<'_>, message: &Message) {
        let Some(connection) = self.connections.get_mut(&at.connection) else { return };
        if connection.ending.is_some() {
            return;
        }
        write_content(connection, at.channel, content, &message.props, &message.body);
        wake(connection, &mut self.woken);
    }

    /// Sends the confirms that wait on any channel of a connection.
    pub(super) fn flush_confirms(&mut self, id: ConnectionId) {
        while let Some(channel) = self.connections.get_mut(&id).and_then(|c| c.unconfirmed.pop()) {
            self.flush_channel(ChannelId { connection: id, channel });
        }
    }

    fn flush_channel(&mut self, at: ChannelId) {
        if let Some(confirms) = self.channel(at).and_then(Channel::take_confirms) {
            let (tag, multiple) = (confirms.last, confirms.first < confirms.last);
            self.reply(at, &Reply::BasicAck { tag, multiple });
        }
    }

    /// Answers an error: closes the channel, or the connection.
    pub(crate) fn fail(&mut self, at: ChannelId, error: &AmqpError) {
        tracing::debug!(connection = at.connection.0, channel = at.channel, error = %error);
        if at.channel != 0 && error.is_unspeakable() {
            // Its channel's process dies of that.
            self.fail_connection(at.connection, &AmqpError::internal());
        } else if error.code.is_hard() || at.channel == 0 {
            self.fail_connection(at.connection, error);
        } else {
            self.close_channel(at, error);
        }
    }

    /// Keeps everything a channel has to say to itself.
    fn hold(&mut self, at: ChannelId, withheld: Withheld) {
        let until = match withheld {
            Withheld::Delayed(by) => Some(self.now + by),
            Withheld::Forever => None,
        };
        let Some(connection) = self.connections.get_mut(&at.connection) else { return };
        let held = match connection.channels.get_mut(&at.channel) {
            Some(channel) => &mut channel.held,
            None => &mut connection.held,
        };
        if held.is_none() {
            *held = Some(Held::default());
            self.timers.set(Timer::Release(at.connection, at.channel), until);
        }
    }

    /// Lets go of what a channel was kept from saying.
    pub(super) fn release(&mut self, at: ChannelId) {
        let Some(connection) = self.connections.get_mut(&at.connection) else { return };
        let held = match connection.channels.get_mut(&at.channel) {
            Some(channel) => channel.held.take(),
            None => connection.held.take(),
        };
        if let Some(held) = held {
            connection.out.tail().extend_from_slice(&held.bytes);
            wake(connection, &mut self.woken);
            self.room(at.connection);
        }
    }

    /// Lets go of everything that is withheld anywhere.
    pub(crate) fn release_all(&mut self) {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            let channels: Vec<u16> = self
                .connections
                .get(&id)
                .map(|connection| connection.channels.keys().copied().chain([0]).collect())
                .unwrap_or_default();
            for channel in channels {
                self.timers.set(Timer::Release(id, channel), None);
                self.release(ChannelId { connection: id, channel });
            }
        }
    }

    /// Ends a connection after what waits to be sent.
    pub(crate) fn end(&mut self, id: ConnectionId, how: How) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.ending.is_none() {
            connection.ending = Some(how);
            connection.state = State::Over;
            wake(connection, &mut self.woken);
        }
        self.abandon(id);
        self.timers.forget(id);
    }
}

/// Where a channel's frames go.
pub(crate) fn sink(connection: &mut Connection, channel: u16) -> &mut BytesMut {
    if let Some(held) = connection.channels.get_mut(&channel).and_then(|c| c.held.as_mut()) {
        return &mut held.bytes;
    }
    if channel == 0
        && let Some(held) = &mut connection.held
    {
        return &mut held.bytes;
    }
    connection.out.tail()
}

/// Method, header and body, split to the size of frame that was agreed.
pub(crate) fn write_content(
    connection: &mut Connection,
    channel: u16,
    content: Content<'_>,
    props: &[u8],
    body: &Bytes,
) {
    let most = (connection.frame_max as usize).saturating_sub(frame::OVERHEAD).max(1);
    let is_held = connection.channels.get(&channel).is_some_and(|c| c.held.is_some());
    content.write(channel, props, body.len() as u64, sink(connection, channel));
    let mut from = 0;
    while from < body.len() {
        let part = most.min(body.len() - from);
        body_front(channel, part, sink(connection, channel));
        let part_bytes = body.slice(from..from + part);
        if is_held {
            sink(connection, channel).extend_from_slice(&part_bytes);
        } else {
            connection.out.body(part_bytes);
        }
        sink(connection, channel).extend_from_slice(&[frame::END]);
        from += part;
    }
}
