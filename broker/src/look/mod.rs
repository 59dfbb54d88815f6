//! A look inside a node: what is there, as plain data, in a fixed order.

pub mod admin;

pub mod events;

pub mod messages;

use std::net::SocketAddr;
use std::time::Duration;

use crate::connection::{Connection, State};
use crate::core::{ChannelId, ConnectionId, Core};
use crate::model::exchange::Target;
use crate::wire::Table;

/// Everything there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// That have at least begun the handshake.
    pub connections: Vec<ConnectionLook>,
    /// Of all connections.
    pub channels: Vec<ChannelLook>,
    /// Of all queues.
    pub consumers: Vec<ConsumerLook>,
    /// Of all virtual hosts.
    pub queues: Vec<QueueLook>,
    /// Of all virtual hosts.
    pub exchanges: Vec<ExchangeLook>,
    /// Of all virtual hosts, without those of the default exchange.
    pub bindings: Vec<BindingLook>,
    /// By name.
    pub vhosts: Vec<String>,
    /// By name.
    pub users: Vec<UserLook>,
    /// Of all users.
    pub permissions: Vec<PermissionLook>,
}

/// A connection.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are RabbitMQ's own, named as there")]
pub struct ConnectionLook {
    pub id: ConnectionId,
    pub name: String,
    pub peer: SocketAddr,
    pub state: &'static str,
    pub user: String,
    pub vhost: String,
    pub channels: usize,
    pub frame_max: u32,
    pub channel_max: u16,
    pub heartbeat: u16,
    pub auth_mechanism: String,
    pub client_properties: Table,
    pub connected_at: Duration,
    pub received: u64,
    pub sent: u64,
}

/// A channel.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are RabbitMQ's own, named as there")]
pub struct ChannelLook {
    pub at: ChannelId,
    pub connection: String,
    pub user: String,
    pub vhost: String,
    pub consumers: usize,
    pub unacked: usize,
    pub uncommitted: usize,
    pub acks_uncommitted: usize,
    pub prefetch: u16,
    pub global_prefetch: u16,
    pub confirm: bool,
    pub transactional: bool,
}

/// A consumer.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are RabbitMQ's own, named as there")]
pub struct ConsumerLook {
    pub at: ChannelId,
    pub tag: String,
    pub queue: String,
    pub vhost: String,
    pub ack_required: bool,
    pub exclusive: bool,
    pub active: bool,
    pub prefetch: u16,
    pub unacked: usize,
    pub arguments: Table,
}

/// A queue.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are RabbitMQ's own, named as there")]
pub struct QueueLook {
    pub name: String,
    pub vhost: String,
    pub kind: &'static str,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub arguments: Table,
    pub policy: Option<String>,
    pub ready: usize,
    pub unacked: usize,
    pub bytes_ready: usize,
    pub consumers: usize,
    pub owner: Option<ConnectionId>,
}

/// An exchange.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are RabbitMQ's own, named as there")]
pub struct ExchangeLook {
    pub name: String,
    pub vhost: String,
    pub kind: &'static str,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Table,
    pub policy: Option<String>,
}

/// A binding.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are RabbitMQ's own, named as there")]
pub struct BindingLook {
    pub vhost: String,
    pub source: String,
    pub destination: String,
    pub to_exchange: bool,
    pub routing_key: String,
    pub arguments: Table,
}

/// A user.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are RabbitMQ's own, named as there")]
pub struct UserLook {
    pub name: String,
    pub tags: Vec<String>,
}

/// What a user may do in a virtual host.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are RabbitMQ's own, named as there")]
pub struct PermissionLook {
    pub user: String,
    pub vhost: String,
    pub configure: String,
    pub write: String,
    pub read: String,
}

impl Core {
    /// Everything there is, now.
    pub fn look(&self) -> Look {
        let mut look = Look::default();
        for connection in self.connections.values().filter(|c| c.state != State::Header) {
            look.connections.push(self.look_at_connection(connection));
            self.look_at_channels(connection, &mut look.channels);
        }
        for queue in self.model.queues.values() {
            look.queues.push(QueueLook {
                name: queue.name.to_string(),
                vhost: queue.vhost.to_string(),
                kind: queue.kind(),
                durable: queue.durable,
                exclusive: queue.owner.is_some(),
                auto_delete: queue.auto_delete,
                arguments: queue.arguments.clone(),
                policy: queue.policy.as_ref().map(ToString::to_string),
                ready: queue.ready(),
                unacked: queue.unacked,
                bytes_ready: queue.ready_bytes(),
                consumers: queue.consumers.len(),
                owner: queue.owner,
            });
            for consumer in &queue.consumers {
                look.consumers.push(ConsumerLook {
                    at: ChannelId { connection: consumer.connection, channel: consumer.channel },
                    tag: consumer.tag.to_string(),
                    queue: queue.name.to_string(),
                    vhost: queue.vhost.to_string(),
                    ack_required: !consumer.no_ack,
                    exclusive: consumer.exclusive,
                    active: !queue.settings.single_active || queue.active == Some(consumer.id),
                    prefetch: consumer.prefetch,
                    unacked: consumer.unacked,
                    arguments: consumer.arguments.clone(),
                });
            }
        }
        self.look_at_vhosts(&mut look);
        for user in self.model.users.0.values() {
            let name = user.name.to_string();
            for (vhost, permission) in &user.permissions {
                look.permissions.push(PermissionLook {
                    user: name.clone(),
                    vhost: vhost.to_string(),
                    configure: permission.configure.text().to_owned(),
                    write: permission.write.text().to_owned(),
                    read: permission.read.text().to_owned(),
                });
            }
            look.users.push(UserLook { name, tags: user.tags.clone() });
        }
        look
    }

    fn look_at_connection(&self, connection: &Connection) -> ConnectionLook {
        let state = match connection.state {
            State::Running if connection.throttle.is_blocked => "blocked",
            State::Running if self.faults.alarm => "blocking",
            state => state.name(),
        };
        ConnectionLook {
            id: connection.id,
            name: connection.name.clone(),
            peer: connection.peer,
            state,
            user: connection.user.to_string(),
            vhost: connection.vhost.to_string(),
            channels: connection.channels.len(),
            frame_max: connection.frame_max,
            channel_max: connection.channel_max,
            heartbeat: connection.heartbeat,
            auth_mechanism: connection.mechanism.clone(),
            client_properties: connection.properties.clone(),
            connected_at: self.config.epoch + connection.opened,
            received: connection.received,
            sent: connection.sent,
        }
    }

    fn look_at_channels(&self, connection: &Connection, into: &mut Vec<ChannelLook>) {
        for (number, channel) in &connection.channels {
            let waiting = channel.tx.as_ref().map_or((0, 0), |tx| tx.waiting());
            into.push(ChannelLook {
                at: ChannelId { connection: connection.id, channel: *number },
                connection: connection.name.clone(),
                user: connection.user.to_string(),
                vhost: connection.vhost.to_string(),
                consumers: channel.consumers.len(),
                unacked: channel.unacked.len(),
                uncommitted: waiting.0,
                acks_uncommitted: waiting.1,
                prefetch: channel.prefetch,
                global_prefetch: channel.global_prefetch,
                confirm: channel.is_confirming,
                transactional: channel.tx.is_some(),
            });
        }
    }

    fn look_at_vhosts(&self, look: &mut Look) {
        for vhost in self.model.vhosts.values() {
            look.vhosts.push(vhost.name.to_string());
            for exchange in vhost.exchanges.values() {
                look.exchanges.push(ExchangeLook {
                    name: exchange.name.to_string(),
                    vhost: vhost.name.to_string(),
                    kind: exchange.kind.name(),
                    durable: exchange.durable,
                    auto_delete: exchange.auto_delete,
                    internal: exchange.internal,
                    arguments: exchange.arguments.clone(),
                    policy: vhost.policy_for_exchange(exchange).map(|p| p.name.to_string()),
                });
                for (binding, arguments) in &exchange.bindings {
                    let (destination, to_exchange) = match &binding.target {
                        Target::Queue(name) => (name, false),
                        Target::Exchange(name) => (name, true),
                    };
                    look.bindings.push(BindingLook {
                        vhost: vhost.name.to_string(),
                        source: exchange.name.to_string(),
                        destination: destination.to_string(),
                        to_exchange,
                        routing_key: binding.key.to_string(),
                        arguments: arguments.clone(),
                    });
                }
            }
        }
    }

    /// From now on events are kept for [`Core::take_events`].
    pub fn listen(&mut self) {
        self.events.listen();
    }

    /// Whether there are events that nobody has taken.
    pub fn has_events(&self) -> bool {
        self.events.is_waiting()
    }

    /// The events since the last call, and how many were lost because nobody asked.
    pub fn take_events(&mut self) -> (Vec<(Duration, events::Event)>, u64) {
        self.events.take()
    }
}
