//! From bytes to methods: frames are taken one by one, content is put together, methods are carried out.

use bytes::{Buf as _, Bytes, BytesMut};

use super::{ChannelId, ConnectionId, Core};
use crate::channel::{Channel, Content, State as ChannelState};
use crate::connection::State;
use crate::core::send::HELD_MOST;
use crate::faults::Direction;
use crate::look::events::Event;
use crate::refuse::refuse;
use crate::wire::frame::{self, HEADER, Kind, OVERHEAD, Split};
use crate::wire::read::Malformed;
use crate::wire::{AmqpError, Code, Method, MethodId, Reply, method};

/// A body up to this size is copied out of what was read; a larger one keeps the memory it came in.
const COPIED: usize = 4 << 10;

impl Core {
    /// Takes whole frames from the front of `bytes` while the connection may go on.
    pub(super) fn take_frames(&mut self, id: ConnectionId, bytes: &mut BytesMut) {
        let before = bytes.len();
        loop {
            let Some(connection) = self.connections.get(&id) else {
                bytes.clear();
                return;
            };
            if !connection.may_read() {
                break;
            }
            match connection.state {
                State::Header => {
                    let Some(header) = bytes.first_chunk::<8>().copied() else { break };
                    bytes.advance(8);
                    self.protocol_header(id, &header);
                    continue;
                }
                State::Ignored | State::Over => {
                    bytes.clear();
                    break;
                }
                _ => {}
            }
            let (kind, channel, payload) = match frame::split(bytes, connection.frame_max) {
                Split::Need(_) => break,
                Split::Lost(error) => {
                    self.lost(id, &error);
                    bytes.clear();
                    break;
                }
                Split::Frame { kind, channel, payload } => (kind, channel, payload),
            };
            let at = ChannelId { connection: id, channel };
            if kind == Kind::Body && payload > COPIED {
                let mut whole = bytes.split_to(payload + OVERHEAD).freeze();
                whole.truncate(HEADER + payload);
                whole.advance(HEADER);
                self.frame(at, kind, &whole.clone(), Some(whole));
            } else {
                self.frame(at, kind, &bytes[HEADER..HEADER + payload], None);
                bytes.advance(payload + OVERHEAD);
            }
            self.look_after();
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            // Silence is broken by any byte, also one that does not complete a frame.
            connection.received += before.saturating_sub(connection.leftover) as u64;
            connection.leftover = bytes.len();
        }
    }

    fn frame(&mut self, at: ChannelId, kind: Kind, payload: &[u8], whole: Option<Bytes>) {
        let Some(state) = self.connections.get(&at.connection).map(|c| c.state) else { return };
        let is_known = match kind {
            Kind::Method => payload.len() >= 4,
            Kind::Header => payload.len() >= 12,
            Kind::Body => true,
            Kind::Heartbeat => payload.is_empty(),
            Kind::Unknown(_) => false,
        };
        let result = if at.channel == 0 {
            match (kind, state) {
                (Kind::Method, _) if is_known => return self.frame_of_connection(at, payload),
                (_, State::Closed) => Ok(()),
                _ if !is_known => Err(frame::frame_error(kind, payload, "unknown_frame")),
                (Kind::Heartbeat, _) => Ok(()),
                _ => Err(frame::unexpected(kind, payload)),
            }
        } else {
            match state {
                State::Running if !is_known => {
                    Err(frame::frame_error(kind, payload, "unknown_frame"))
                }
                State::Running if kind == Kind::Heartbeat => Err(frame::unexpected(kind, payload)),
                State::Running => return self.frame_of_channel(at, kind, payload, whole),
                State::Closed => Ok(()),
                _ => Err(frame::unexpected(kind, payload)),
            }
        };
        if let Err(error) = result {
            self.fail_connection(at.connection, &error);
        }
    }

    fn frame_of_connection(&mut self, at: ChannelId, payload: &[u8]) {
        let Some(id) = method::id(payload) else { return };
        if id.name().is_none() {
            return self.crash_connection(at.connection);
        }
        let fired = self.received_point(id);
        self.act_all(fired.before);
        let result = match method::read(id, &payload[4..]) {
            Ok(method) => self.connection_method(at.connection, method),
            // RabbitMQ does not catch this one.
            Err(Malformed::Shape | Malformed::Table) => Err(AmqpError::internal()),
            Err(other) => Err(other.into_error(&payload[4..])),
        };
        if let Err(error) = result {
            self.fail_connection(at.connection, &error.of(id));
        }
        self.act_all(fired.after);
    }

    fn frame_of_channel(
        &mut self,
        at: ChannelId,
        kind: Kind,
        payload: &[u8],
        whole: Option<Bytes>,
    ) {
        let Some(connection) = self.connections.get_mut(&at.connection) else { return };
        if !connection.channels.contains_key(&at.channel) {
            let (count, most) = (connection.channels.len(), usize::from(connection.channel_max));
            if most != 0 && count >= most {
                let text = format!(
                    "number of channels opened ({count}) has reached the negotiated channel_max ({most})"
                );
                return self
                    .fail_connection(at.connection, &AmqpError::new(Code::NotAllowed, text));
            }
            connection.channels.insert(at.channel, Channel::default());
        }
        let Some(channel) = connection.channels.get_mut(&at.channel) else { return };
        if channel.held.as_ref().is_some_and(|held| held.bytes.len() > HELD_MOST) {
            connection.is_choked = true;
        }
        let result = match std::mem::take(&mut channel.content) {
            Content::None => match kind {
                Kind::Method => return self.method_frame(at, payload),
                _ => Err(AmqpError::new(
                    Code::UnexpectedFrame,
                    "expected method frame, got non method frame instead",
                )),
            },
            Content::Header(publish) => self.content_header(at, publish, kind, payload),
            Content::Body(body) => self.content_body(at, body, kind, payload, whole),
        };
        if let Err(error) = result {
            self.fail(at, &error);
        }
    }

    fn method_frame(&mut self, at: ChannelId, payload: &[u8]) {
        let Some(id) = method::id(payload) else { return };
        if id.name().is_none() {
            return self.crash_connection(at.connection);
        }
        let fields = &payload[4..];
        let method = match method::read(id, fields) {
            Ok(method) => method,
            Err(Malformed::Table) => return self.crash_connection(at.connection),
            Err(malformed) => {
                let mut error = malformed.into_error(fields);
                if malformed == Malformed::Shape {
                    error = error.of(id);
                }
                return self.fail_connection(at.connection, &error);
            }
        };
        if id.has_content() {
            let publish = self.begin_publish(at, id, &method);
            if let Some(channel) = self.channel(at) {
                channel.content = Content::Header(publish);
            }
            return;
        }
        let fired = self.received_point(id);
        self.act_all(fired.before);
        if let Err(error) = self.method(at, id, method) {
            self.fail(at, &error.of(id));
        }
        self.act_all(fired.after);
    }

    pub(crate) fn received_point(&mut self, id: MethodId) -> crate::faults::Fired {
        if self.faults.is_armed() {
            self.faults.reached(Direction::In, id)
        } else {
            Default::default()
        }
    }

    /// A method on an open or opening channel.
    fn method(&mut self, at: ChannelId, id: MethodId, method: Method<'_>) -> Result<(), AmqpError> {
        let Some(state) = self.channel(at).map(|channel| channel.state) else { return Ok(()) };
        match (state, method) {
            (ChannelState::Starting, Method::ChannelOpen) => {
                if let Some(channel) = self.channel(at) {
                    channel.state = ChannelState::Running;
                }
                self.reply(at, &Reply::ChannelOpenOk);
                self.note(|| Event::ChannelOpened { at });
                Ok(())
            }
            (_, Method::ChannelOpen) => refuse!(ChannelError, "second 'channel.open' seen"),
            (ChannelState::Starting, _) => refuse!(ChannelError, "expected 'channel.open'"),
            (ChannelState::Closing, Method::ChannelCloseOk) => {
                self.drop_channel(at);
                Ok(())
            }
            (ChannelState::Closing, Method::ChannelClose { .. }) => {
                self.reply(at, &Reply::ChannelCloseOk);
                Ok(())
            }
            (ChannelState::Closing, _) => Ok(()),
            (ChannelState::Running, Method::ChannelClose { .. }) => {
                self.empty_channel(at);
                self.reply(at, &Reply::ChannelCloseOk);
                self.drop_channel(at);
                Ok(())
            }
            (ChannelState::Running, method) => self.channel_method(at, id, method),
        }
    }

    /// What RabbitMQ's own process dies of: the peer sees the end, and no reason.
    pub(crate) fn crash_connection(&mut self, id: ConnectionId) {
        self.end(id, super::How::Fin);
    }
}
