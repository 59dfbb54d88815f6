//! From the protocol header to `connection.open-ok`, and the other methods of channel 0.

use super::{Capabilities, State};
use crate::core::timers::Timer;
use crate::core::{ChannelId, ConnectionId, Core, How};
use crate::look::events::Event;
use crate::refuse::refuse;
use crate::wire::frame::FRAME_MIN;
use crate::wire::{AmqpError, Code, Method, Reply, Table, Value};

/// The header of AMQP 0-9-1.
const HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
/// Of 0-9, which is served alike.
const HEADER_0_9: &[u8; 8] = b"AMQP\x01\x01\x00\x09";
/// What RabbitMQ 4.0 offers when it does not know the protocol: AMQP 1.0 with SASL.
const OFFER: &[u8; 8] = b"AMQP\x03\x01\x00\x00";

/// As RabbitMQ offers them.
const MECHANISMS: &str = "PLAIN ANONYMOUS AMQPLAIN";

impl Core {
    /// The first eight bytes.
    pub(crate) fn protocol_header(&mut self, id: ConnectionId, header: &[u8; 8]) {
        let known = header == HEADER || header == HEADER_0_9;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !known {
            let newer = header.starts_with(b"AMQP\x00\x00") && header[6] >= 9;
            let offer = if newer { HEADER } else { OFFER };
            connection.out.tail().extend_from_slice(offer);
            self.end(id, How::Fin);
            return;
        }
        connection.state = State::Starting;
        let properties = server_properties(&self.config.node);
        let start = Reply::ConnectionStart { properties: &properties, mechanisms: MECHANISMS };
        self.reply(ChannelId { connection: id, channel: 0 }, &start);
    }

    /// A method on channel 0.
    pub(crate) fn connection_method(
        &mut self,
        id: ConnectionId,
        method: Method<'_>,
    ) -> Result<(), AmqpError> {
        let Some(state) = self.connections.get(&id).map(|connection| connection.state) else {
            return Ok(());
        };
        let at = ChannelId { connection: id, channel: 0 };
        match (method, state) {
            (
                Method::ConnectionStartOk { properties, mechanism, response, .. },
                State::Starting,
            ) => self.start_ok(id, properties, &mechanism, response),
            (Method::ConnectionTuneOk { channel_max, frame_max, heartbeat }, State::Tuning) => {
                self.tune_ok(id, channel_max, frame_max, heartbeat)
            }
            (Method::ConnectionOpen { vhost }, State::Opening) => self.open(id, &vhost),
            (Method::ConnectionClose { .. }, State::Running) => {
                self.closed_by_client(id);
                Ok(())
            }
            (Method::ConnectionClose { .. }, State::Closed) => {
                self.reply(at, &Reply::ConnectionCloseOk);
                Ok(())
            }
            (Method::ConnectionCloseOk, State::Closed) => {
                self.end(id, How::Fin);
                Ok(())
            }
            (Method::ConnectionUpdateSecret { .. }, State::Running) => {
                self.reply(at, &Reply::ConnectionUpdateSecretOk);
                Ok(())
            }
            (_, State::Closed | State::Ignored | State::Over) => Ok(()),
            (_, state) => {
                refuse!(ChannelError, "unexpected method in connection state {}", state.name())
            }
        }
    }

    fn start_ok(
        &mut self,
        id: ConnectionId,
        properties: Table,
        mechanism: &str,
        response: &[u8],
    ) -> Result<(), AmqpError> {
        let capable = |what: &str| {
            properties.table("capabilities").is_some_and(|capabilities| capabilities.is_true(what))
        };
        let capabilities = Capabilities {
            authentication_failure_close: capable("authentication_failure_close"),
            consumer_cancel_notify: capable("consumer_cancel_notify"),
            blocked: capable("connection.blocked"),
        };
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.properties = properties;
        connection.capabilities = capabilities;
        connection.mechanism = mechanism.to_owned();
        let user = match self.authenticate(mechanism, response) {
            Ok(user) => user,
            Err(error) if error.code == Code::AccessRefused => {
                self.refuse_login(id, &error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.user = user;
        connection.state = State::Tuning;
        let tune = Reply::ConnectionTune {
            channel_max: self.config.channel_max,
            frame_max: self.config.frame_max,
            heartbeat: self.config.heartbeat,
        };
        self.reply(ChannelId { connection: id, channel: 0 }, &tune);
        Ok(())
    }

    /// A login that failed: said only to those who said that they understand.
    fn refuse_login(&mut self, id: ConnectionId, error: &AmqpError) {
        let told = self
            .connections
            .get(&id)
            .is_some_and(|connection| connection.capabilities.authentication_failure_close);
        if told {
            let close = Reply::ConnectionClose { error };
            self.reply(ChannelId { connection: id, channel: 0 }, &close);
        }
        self.ignore(id);
    }

    fn tune_ok(
        &mut self,
        id: ConnectionId,
        channel_max: u16,
        frame_max: u32,
        heartbeat: u16,
    ) -> Result<(), AmqpError> {
        let most_channels = u32::from(self.config.channel_max);
        let agreed = is_agreed(frame_max, FRAME_MIN, self.config.frame_max)
            && is_agreed(u32::from(channel_max), 1, most_channels);
        if !agreed {
            self.ignore(id);
            return Ok(());
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.frame_max = frame_max;
        connection.channel_max = channel_max;
        connection.heartbeat = heartbeat;
        connection.state = State::Opening;
        self.start_heartbeats(id);
        Ok(())
    }

    fn open(&mut self, id: ConnectionId, vhost: &str) -> Result<(), AmqpError> {
        let user = self.connections.get(&id).map(|connection| connection.user.clone());
        let user = user.unwrap_or_else(|| "".into());
        let Some(name) = self.model.vhosts.get(vhost).map(|vhost| vhost.name.clone()) else {
            refuse!(NotAllowed, "vhost {vhost} not found");
        };
        if self.model.users.permission(&user, vhost).is_none() {
            refuse!(NotAllowed, "access to vhost '{vhost}' refused for user '{user}'");
        }
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.vhost = name.clone();
        connection.state = State::Running;
        connection.opened = now;
        let peer = connection.peer;
        self.timers.set(Timer::Handshake(id), None);
        self.reply(ChannelId { connection: id, channel: 0 }, &Reply::ConnectionOpenOk);
        self.heartbeats_from_here(id);
        self.throttle_new(id);
        self.note(|| Event::ConnectionOpened { connection: id, peer, user, vhost: name });
        Ok(())
    }

    /// The handshake took too long.
    pub(crate) fn handshake_over(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        if !matches!(connection.state, State::Running | State::Closed) {
            self.end(id, How::Fin);
        }
    }
}

/// Whether a client may choose `client`. RabbitMQ does not tell it that it may not.
fn is_agreed(client: u32, least: u32, most: u32) -> bool {
    let too_low = client != 0 && client < least;
    let too_high = most != 0 && (client == 0 || client > most);
    !too_low && !too_high
}

fn server_properties(node: &str) -> Table {
    let can = |what: &str| (what.to_owned(), Value::Bool(true));
    let capabilities = Table(vec![
        can("publisher_confirms"),
        can("exchange_exchange_bindings"),
        can("basic.nack"),
        can("consumer_cancel_notify"),
        can("connection.blocked"),
        can("consumer_priorities"),
        can("authentication_failure_close"),
        can("per_consumer_qos"),
        can("direct_reply_to"),
    ]);
    let said = |what: &str, text: &str| (what.to_owned(), Value::text(text));
    Table(vec![
        ("capabilities".to_owned(), Value::Table(capabilities)),
        said("cluster_name", node),
        said("copyright", "Copyright (c) 2007-2024 Broadcom Inc and/or its subsidiaries"),
        said("information", "Licensed under the MPL 2.0. Website: https://rabbitmq.com"),
        said("platform", "Erlang/OTP 27.3.4.1"),
        said("product", "RabbitMQ"),
        said("version", "4.0.5"),
    ])
}
