//! What is said of the node: overview, nodes, who one is, health.

use serde_json::{Value as Json, json};

use super::access::Need::{Management, Monitoring};
use super::answer::Answer;
use super::messages::{STRING, deliverable};
use super::route::{Call, Reply, Resource};
use crate::look::messages::Settle;
use crate::model::user::Access;
use crate::wire::{Props, Table, Value};

/// The version whose behaviour this is.
const VERSION: &str = "4.0.5";

/// The queue that the aliveness test uses, and leaves behind.
const ALIVENESS: &str = "aliveness-test";

pub(super) const RESOURCES: &[Resource] = &[
    Resource { path: "overview", methods: &[("GET", Management, overview)] },
    Resource { path: "cluster-name", methods: &[("GET", Management, cluster_name)] },
    Resource { path: "whoami", methods: &[("GET", Management, whoami)] },
    Resource { path: "extensions", methods: &[("GET", Management, nothing)] },
    Resource { path: "feature-flags", methods: &[("GET", Management, nothing)] },
    Resource { path: "nodes", methods: &[("GET", Monitoring, nodes)] },
    Resource { path: "nodes/{node}", methods: &[("GET", Monitoring, node)] },
    Resource { path: "aliveness-test/{vhost}", methods: &[("GET", Management, aliveness)] },
    Resource { path: "healthchecks/node", methods: &[("GET", Management, healthy)] },
    Resource { path: "healthchecks/node/{node}", methods: &[("GET", Management, healthy_node)] },
    Resource { path: "health/checks/alarms", methods: &[("GET", Management, alarms)] },
    Resource { path: "health/checks/local-alarms", methods: &[("GET", Management, local_alarms)] },
    Resource { path: "health/checks/virtual-hosts", methods: &[("GET", Management, healthy)] },
    Resource {
        path: "health/checks/node-is-quorum-critical",
        methods: &[("GET", Management, not_critical)],
    },
    Resource {
        path: "health/checks/certificate-expiration/{within}/{unit}",
        methods: &[("GET", Management, healthy)],
    },
    Resource { path: "parameters", methods: &[("GET", Management, nothing)] },
    Resource { path: "operator-policies", methods: &[("GET", Management, nothing)] },
    Resource { path: "vhost-limits", methods: &[("GET", Management, nothing)] },
    Resource { path: "user-limits", methods: &[("GET", Management, nothing)] },
    Resource { path: "topic-permissions", methods: &[("GET", Management, nothing)] },
    Resource {
        path: "health/checks/port-listener/{port}",
        methods: &[("GET", Management, port_listener)],
    },
    Resource {
        path: "health/checks/protocol-listener/{protocol}",
        methods: &[("GET", Management, protocol_listener)],
    },
];

fn nothing(_: &mut Call<'_>) -> Reply {
    Ok(Answer::ok(json!([])))
}

fn healthy(_: &mut Call<'_>) -> Reply {
    Ok(Answer::ok(json!({"status": "ok"})))
}

fn healthy_node(call: &mut Call<'_>) -> Reply {
    if call.name(0) == call.core.config().node { healthy(call) } else { Err(Answer::unknown()) }
}

fn not_critical(_: &mut Call<'_>) -> Reply {
    Ok(Answer::ok(json!({"status": "ok", "reason": "single node cluster"})))
}

fn enabled(names: &[&str]) -> Json {
    names.iter().map(|name| json!({"name": name, "enabled": true})).collect()
}

fn exchange_types() -> Json {
    enabled(&["direct", "fanout", "headers", "topic", "x-local-random"])
}

fn overview(call: &mut Call<'_>) -> Reply {
    let look = call.core.look();
    let queues = || look.queues.iter().filter(|queue| call.sees(&queue.vhost));
    let ready: usize = queues().map(|queue| queue.ready).sum();
    let unacked: usize = queues().map(|queue| queue.unacked).sum();
    let node = &call.core.config().node;
    let amqp = call.core.config().addr;
    let listener = |protocol: &str, addr: std::net::SocketAddr| {
        json!({
            "node": node,
            "protocol": protocol,
            "ip_address": addr.ip().to_string(),
            "port": addr.port(),
        })
    };
    let rate = json!({"rate": 0.0});
    Ok(Answer::ok(json!({
        "management_version": VERSION,
        "rabbitmq_version": VERSION,
        "product_version": VERSION,
        "product_name": "RabbitMQ",
        "node": node,
        "cluster_name": node,
        "cluster_tags": {},
        "node_tags": {},
        "default_queue_type": "classic",
        "disable_stats": false,
        "enable_queue_totals": false,
        "rates_mode": "none",
        "exchange_types": exchange_types(),
        "message_stats": {},
        "object_totals": {
            "channels": look.channels.iter().filter(|it| call.sees(&it.vhost)).count(),
            "connections": look.connections.iter().filter(|it| call.sees(&it.vhost)).count(),
            "consumers": look.consumers.iter().filter(|it| call.sees(&it.vhost)).count(),
            "exchanges": look.exchanges.iter().filter(|it| call.sees(&it.vhost)).count(),
            "queues": queues().count(),
        },
        "queue_totals": {
            "messages": ready + unacked,
            "messages_details": rate,
            "messages_ready": ready,
            "messages_ready_details": rate,
            "messages_unacknowledged": unacked,
            "messages_unacknowledged_details": rate,
        },
        "listeners": [listener("amqp", amqp), listener("http", call.addr)],
        "contexts": [{
            "node": node,
            "description": "RabbitMQ Management",
            "path": "/",
            "port": call.addr.port().to_string(),
        }],
        "statistics_db_event_queue": 0,
    })))
}

fn cluster_name(call: &mut Call<'_>) -> Reply {
    Ok(Answer::ok(json!({"name": call.core.config().node})))
}

fn whoami(call: &mut Call<'_>) -> Reply {
    let user = call.core.model.users.0.get(&call.user);
    let tags = user.map(|user| user.tags.clone()).unwrap_or_default();
    Ok(Answer::ok(json!({"name": &*call.user, "tags": tags, "is_internal_user": true})))
}

fn shown(call: &Call<'_>) -> Json {
    let core = &call.core;
    json!({
        "name": core.config().node,
        "type": "disc",
        "running": true,
        "uptime": core.now.as_millis() as u64,
        "partitions": [],
        "mem_alarm": core.faults.alarm,
        "disk_free_alarm": false,
        "sockets_used": core.connections.len(),
        "rates_mode": "none",
        "being_drained": false,
        "os_pid": std::process::id().to_string(),
        "exchange_types": exchange_types(),
        "auth_mechanisms": enabled(&["PLAIN", "AMQPLAIN", "ANONYMOUS"]),
        "applications": [{"name": "rabbit", "description": "RabbitMQ", "version": VERSION}],
        "enabled_plugins": ["rabbitmq_management"],
    })
}

fn nodes(call: &mut Call<'_>) -> Reply {
    Ok(Answer::ok(json!([shown(call)])))
}

fn node(call: &mut Call<'_>) -> Reply {
    if call.name(0) != call.core.config().node {
        return Err(Answer::unknown());
    }
    Ok(Answer::ok(shown(call)))
}

/// Declares a queue, publishes to it and gets the message: as RabbitMQ does, with the user's permissions.
fn aliveness(call: &mut Call<'_>) -> Reply {
    let vhost = call.vhost();
    for access in [Access::Configure, Access::Read] {
        call.permit(access, super::access::Thing::Queue(ALIVENESS))?;
    }
    call.permit(Access::Write, super::access::Thing::Exchange(""))?;
    let arguments = Table(vec![("x-queue-type".to_owned(), Value::text("classic"))]);
    call.core.declare_queue(vhost, ALIVENESS, false, false, arguments)?;
    let message = deliverable("", ALIVENESS, &Props::default(), "test_message", STRING)?;
    call.core.put_message(vhost, message)?;
    match call.core.take_messages(vhost, ALIVENESS, 1, Settle::Ack) {
        Some(taken) if taken.len() == 1 => healthy(call),
        _ => Ok(Answer::failed(json!({"status": "failed"}))),
    }
}

fn no_alarm(call: &mut Call<'_>, place: &str) -> Reply {
    if !call.core.faults.alarm {
        return healthy(call);
    }
    let node = &call.core.config().node;
    Ok(Answer::failed(json!({
        "status": "failed",
        "reason": format!("There are alarms in effect {place}"),
        "alarms": [{"node": node, "resource": "memory"}],
    })))
}

fn alarms(call: &mut Call<'_>) -> Reply {
    no_alarm(call, "in the cluster")
}

fn local_alarms(call: &mut Call<'_>) -> Reply {
    no_alarm(call, "on the node")
}

fn port_listener(call: &mut Call<'_>) -> Reply {
    let Ok(port) = call.name(0).parse::<u16>() else { return Err(Answer::bad("Invalid port")) };
    let ports = [call.addr.port(), call.core.config().addr.port()];
    if ports.contains(&port) {
        return Ok(Answer::ok(json!({"status": "ok", "port": port})));
    }
    Ok(Answer::failed(json!({
        "status": "failed",
        "reason": "No active listener",
        "missing": port,
        "ports": ports,
    })))
}

fn protocol_listener(call: &mut Call<'_>) -> Reply {
    let protocols = ["amqp", "http"];
    let asked = call.name(0);
    if protocols.contains(&asked) || asked == "amqp091" {
        return Ok(Answer::ok(json!({"status": "ok", "protocol": asked})));
    }
    Ok(Answer::failed(json!({
        "status": "failed",
        "reason": "No active listener",
        "missing": asked,
        "protocols": protocols,
    })))
}
