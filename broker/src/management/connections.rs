//! Connections, channels and consumers.

use serde_json::{Value as Json, json};

use super::access::Need::Management;
use super::answer::Answer;
use super::json::from_table;
use super::route::{Call, Reply, Resource};
use crate::look::{ChannelLook, ConnectionLook, ConsumerLook, Look};

/// What a client is told when nobody gave a reason.
const REASON: &str = "Closed via management plugin";

pub(super) const RESOURCES: &[Resource] = &[
    Resource { path: "connections", methods: &[("GET", Management, connections)] },
    Resource {
        path: "connections/username/{user}",
        methods: &[("GET", Management, of_user), ("DELETE", Management, delete_of_user)],
    },
    Resource {
        path: "connections/{name}",
        methods: &[("GET", Management, connection), ("DELETE", Management, delete)],
    },
    Resource {
        path: "connections/{name}/channels",
        methods: &[("GET", Management, channels_of_connection)],
    },
    Resource { path: "vhosts/{vhost}/connections", methods: &[("GET", Management, connections)] },
    Resource { path: "vhosts/{vhost}/channels", methods: &[("GET", Management, channels)] },
    Resource { path: "channels", methods: &[("GET", Management, channels)] },
    Resource { path: "channels/{name}", methods: &[("GET", Management, channel)] },
    Resource { path: "consumers", methods: &[("GET", Management, consumers)] },
    Resource { path: "consumers/{vhost}", methods: &[("GET", Management, consumers)] },
];

/// Whoever is no monitor sees their own alone.
fn is_theirs(call: &Call<'_>, user: &str) -> bool {
    call.is_monitor() || *call.user == *user
}

fn shown(call: &Call<'_>, connection: &ConnectionLook) -> Json {
    let own = call.core.config().addr;
    let name = connection.client_properties.str("connection_name");
    let rate = json!({"rate": 0.0});
    let mut shown = json!({
        "name": connection.name,
        "node": call.core.config().node,
        "type": "network",
        "protocol": "AMQP 0-9-1",
        "state": connection.state,
        "user": connection.user,
        "user_who_performed_action": connection.user,
        "vhost": connection.vhost,
        "channels": connection.channels,
        "channel_max": connection.channel_max,
        "frame_max": connection.frame_max,
        "timeout": connection.heartbeat,
        "auth_mechanism": connection.auth_mechanism,
        "client_properties": from_table(&connection.client_properties),
        "connected_at": connection.connected_at.as_millis() as u64,
        "host": own.ip().to_string(),
        "port": own.port(),
        "peer_host": connection.peer.ip().to_string(),
        "peer_port": connection.peer.port(),
        "ssl": false,
        "ssl_protocol": null,
        "ssl_cipher": null,
        "ssl_hash": null,
        "ssl_key_exchange": null,
        "peer_cert_subject": null,
        "peer_cert_issuer": null,
        "peer_cert_validity": null,
        "recv_oct": connection.received,
        "recv_oct_details": rate,
        "send_oct": connection.sent,
        "send_oct_details": rate,
        "send_pend": 0,
    });
    if let Some(name) = name {
        shown["user_provided_name"] = json!(name);
    }
    shown
}

fn connections(call: &mut Call<'_>) -> Reply {
    let look = call.core.look();
    let some = look.connections.iter();
    let some = some.filter(|it| call.is_here(&it.vhost) && is_theirs(call, &it.user));
    Ok(Answer::ok(some.map(|it| shown(call, it)).collect()))
}

fn of_user(call: &mut Call<'_>) -> Reply {
    let look = call.core.look();
    let some = look.connections.iter().filter(|it| it.user == call.name(0));
    Ok(Answer::ok(some.filter(|it| is_theirs(call, &it.user)).map(|it| shown(call, it)).collect()))
}

fn named(call: &Call<'_>) -> Result<ConnectionLook, Answer> {
    let look = call.core.look();
    let found = look.connections.into_iter().find(|it| it.name == call.name(0));
    let found = found.ok_or_else(Answer::unknown)?;
    if is_theirs(call, &found.user) {
        return Ok(found);
    }
    Err(Answer::forbidden("User not authorised to access object"))
}

fn connection(call: &mut Call<'_>) -> Reply {
    let found = named(call)?;
    Ok(Answer::ok(shown(call, &found)))
}

/// Monitors may look; only administrators close what is not theirs.
fn close(call: &mut Call<'_>, connection: &ConnectionLook) -> Result<(), Answer> {
    if !call.is_administrator() && connection.user != *call.user {
        return Err(Answer::forbidden("User not authorised to access object"));
    }
    let reason = call.request.head.reason.as_deref().unwrap_or(REASON);
    call.core.close_connection(connection.id, reason);
    Ok(())
}

fn delete(call: &mut Call<'_>) -> Reply {
    let found = named(call)?;
    close(call, &found)?;
    Ok(Answer::done())
}

fn delete_of_user(call: &mut Call<'_>) -> Reply {
    let (look, user) = (call.core.look(), call.name(0));
    for connection in look.connections.iter().filter(|it| it.user == user) {
        close(call, connection)?;
    }
    Ok(Answer::done())
}

/// The connection's peer, as channels and consumers show it.
fn peer(look: &Look, channel: &ChannelLook) -> (String, u16) {
    let connection = look.connections.iter().find(|it| it.id == channel.at.connection);
    connection
        .map(|it| (it.peer.ip().to_string(), it.peer.port()))
        .unwrap_or_else(|| ("undefined".to_owned(), 0))
}

fn channel_name(channel: &ChannelLook) -> String {
    format!("{} ({})", channel.connection, channel.at.channel)
}

fn shown_channel(call: &Call<'_>, look: &Look, channel: &ChannelLook) -> Json {
    let (peer_host, peer_port) = peer(look, channel);
    json!({
        "name": channel_name(channel),
        "number": channel.at.channel,
        "node": call.core.config().node,
        "state": "running",
        "user": channel.user,
        "user_who_performed_action": channel.user,
        "vhost": channel.vhost,
        "connection_details": {
            "name": channel.connection,
            "peer_host": peer_host,
            "peer_port": peer_port,
        },
        "consumer_count": channel.consumers,
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": channel.global_prefetch,
        "confirm": channel.confirm,
        "transactional": channel.transactional,
        "messages_unacknowledged": channel.unacked,
        "messages_uncommitted": channel.uncommitted,
        "acks_uncommitted": channel.acks_uncommitted,
        "messages_unconfirmed": 0,
        "message_stats": {},
    })
}

fn channels(call: &mut Call<'_>) -> Reply {
    let look = call.core.look();
    let some = look.channels.iter();
    let some = some.filter(|it| call.is_here(&it.vhost) && is_theirs(call, &it.user));
    Ok(Answer::ok(some.map(|it| shown_channel(call, &look, it)).collect()))
}

fn channels_of_connection(call: &mut Call<'_>) -> Reply {
    let connection = named(call)?;
    let look = call.core.look();
    let some = look.channels.iter().filter(|it| it.at.connection == connection.id);
    Ok(Answer::ok(some.map(|it| shown_channel(call, &look, it)).collect()))
}

fn channel(call: &mut Call<'_>) -> Reply {
    let look = call.core.look();
    let found = look.channels.iter().find(|it| channel_name(it) == call.name(0));
    let found = found.ok_or_else(Answer::unknown)?;
    if !is_theirs(call, &found.user) {
        return Err(Answer::forbidden("User not authorised to access object"));
    }
    let consumers = look.consumers.iter().filter(|it| it.at == found.at);
    let mut shown = shown_channel(call, &look, found);
    shown["consumer_details"] = consumers.map(|it| shown_consumer(call, &look, it)).collect();
    Ok(Answer::ok(shown))
}

/// A consumer, also as a queue lists it.
pub(super) fn shown_consumer(call: &Call<'_>, look: &Look, consumer: &ConsumerLook) -> Json {
    let channel = look.channels.iter().find(|it| it.at == consumer.at);
    let channel = channel.map(|channel| {
        let (peer_host, peer_port) = peer(look, channel);
        json!({
            "name": channel_name(channel),
            "connection_name": channel.connection,
            "node": call.core.config().node,
            "number": channel.at.channel,
            "peer_host": peer_host,
            "peer_port": peer_port,
            "user": channel.user,
        })
    });
    json!({
        "consumer_tag": consumer.tag,
        "queue": {"name": consumer.queue, "vhost": consumer.vhost},
        "channel_details": channel,
        "ack_required": consumer.ack_required,
        "active": consumer.active,
        "activity_status": if consumer.active { "up" } else { "waiting" },
        "exclusive": consumer.exclusive,
        "prefetch_count": consumer.prefetch,
        "arguments": from_table(&consumer.arguments),
        "consumer_timeout": call.core.config().consumer_timeout.as_millis() as u64,
    })
}

fn consumers(call: &mut Call<'_>) -> Reply {
    let look = call.core.look();
    let some = look.consumers.iter().filter(|it| call.is_here(&it.vhost));
    Ok(Answer::ok(some.map(|it| shown_consumer(call, &look, it)).collect()))
}
