//! Queues: shown, declared, purged, deleted.

use serde_json::{Value as Json, json};

use super::access::Need::Management;
use super::access::Thing;
use super::answer::Answer;
use super::connections::shown_consumer;
use super::json::{from_table, table_in};
use super::route::{Call, Reply, Resource};
use crate::look::{Look, QueueLook};
use crate::model::queue::Queue;
use crate::model::queue_in;
use crate::model::user::Access;
use crate::wire::AmqpError;

pub(super) const RESOURCES: &[Resource] = &[
    Resource { path: "queues", methods: &[("GET", Management, list)] },
    Resource { path: "queues/detailed", methods: &[("GET", Management, list)] },
    Resource { path: "queues/{vhost}", methods: &[("GET", Management, list)] },
    Resource {
        path: "queues/{vhost}/{queue}",
        methods: &[
            ("GET", Management, show),
            ("PUT", Management, declare),
            ("DELETE", Management, delete),
        ],
    },
    Resource { path: "queues/{vhost}/{queue}/contents", methods: &[("DELETE", Management, purge)] },
];

/// The queue itself.
fn known<'a>(call: &'a Call<'_>, name: &str) -> Option<&'a Queue> {
    call.core.model.queue(call.vhost(), name)
}

fn shown(call: &Call<'_>, look: &Look, queue: &QueueLook) -> Json {
    let rate = json!({"rate": 0.0});
    let of_queue =
        || look.consumers.iter().filter(|it| it.queue == queue.name && it.vhost == queue.vhost);
    let exclusive = of_queue().find(|it| it.exclusive).map(|it| it.tag.clone());
    let policy = call.core.model.vhosts.get(&*queue.vhost);
    let policy = policy.zip(queue.policy.as_ref()).and_then(|(v, name)| v.policies.get(&**name));
    let owner = queue.owner.and_then(|id| look.connections.iter().find(|it| it.id == id));
    let single = queue.arguments.is_true("x-single-active-consumer");
    let active = of_queue().find(|it| single && it.active).map(|it| it.tag.clone());
    let mut shown = json!({
        "name": queue.name,
        "vhost": queue.vhost,
        "type": queue.kind,
        "node": call.core.config().node,
        "state": "running",
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "exclusive": queue.exclusive,
        "arguments": from_table(&queue.arguments),
        "policy": queue.policy,
        "operator_policy": null,
        "effective_policy_definition":
            policy.map_or_else(|| json!({}), |policy| from_table(&policy.definition)),
        "consumers": queue.consumers,
        "exclusive_consumer_tag": exclusive,
        "single_active_consumer_tag": active,
        "messages": queue.ready + queue.unacked,
        "messages_details": rate,
        "messages_ready": queue.ready,
        "messages_ready_details": rate,
        "messages_unacknowledged": queue.unacked,
        "messages_unacknowledged_details": rate,
        "message_bytes_ready": queue.bytes_ready,
    });
    if let Some(owner) = owner {
        shown["owner_pid_details"] = json!({
            "name": owner.name,
            "peer_host": owner.peer.ip().to_string(),
            "peer_port": owner.peer.port(),
        });
    }
    if queue.kind == "quorum" {
        let node = &call.core.config().node;
        for (key, value) in [("leader", json!(node)), ("members", json!([node]))] {
            shown[key] = value;
        }
        shown["online"] = json!([node]);
    }
    shown
}

fn list(call: &mut Call<'_>) -> Reply {
    let mut look = call.core.look();
    // As RabbitMQ does, by name; the look has them by age.
    look.queues.sort_by(|a, b| (&a.vhost, &a.name).cmp(&(&b.vhost, &b.name)));
    let some = look.queues.iter().filter(|queue| call.is_here(&queue.vhost));
    Ok(Answer::ok(some.map(|queue| shown(call, &look, queue)).collect()))
}

fn show(call: &mut Call<'_>) -> Reply {
    let look = call.core.look();
    let (vhost, name) = (call.vhost(), call.name(0));
    let queue = look.queues.iter().find(|it| it.vhost == vhost && it.name == name);
    let queue = queue.ok_or_else(Answer::unknown)?;
    let consumers = look.consumers.iter().filter(|it| it.queue == name && it.vhost == vhost);
    let mut shown = shown(call, &look, queue);
    shown["consumer_details"] = consumers.map(|it| shown_consumer(call, &look, it)).collect();
    Ok(Answer::ok(shown))
}

/// Refuses a queue that is some connection's own: management is nobody's connection.
pub(super) fn unlocked(call: &Call<'_>, name: &str) -> Result<(), AmqpError> {
    match known(call, name) {
        Some(queue) if queue.owner.is_some() => Err(queue.locked()),
        _ => Ok(()),
    }
}

fn declare(call: &mut Call<'_>) -> Reply {
    let (vhost, name) = (call.vhost(), call.name(0));
    let object = call.object()?;
    let (durable, auto_delete) = (object.truth("durable")?, object.truth("auto_delete")?);
    let table = table_in(&object, "arguments")?;
    // What is the request's own is gone when it is over.
    let exclusive = object.truth("exclusive")?;
    call.permit(Access::Configure, Thing::Queue(name))?;
    let durable = durable && !exclusive;
    let is_new = call.core.declare_queue(vhost, name, durable, auto_delete, table)?;
    if is_new && exclusive {
        call.core.remove_queue(vhost, name);
    }
    Ok(Answer::put(is_new))
}

fn purge(call: &mut Call<'_>) -> Reply {
    let name = call.name(0);
    known(call, name).ok_or_else(Answer::unknown)?;
    call.permit(Access::Read, Thing::Queue(name))?;
    unlocked(call, name)?;
    if known(call, name).is_some_and(|queue| queue.stream.is_some()) {
        let shown = queue_in(call.vhost(), name);
        return Err(Answer::bad(format!("queue.purge not supported by stream queues {shown}")));
    }
    call.core.purge(call.vhost(), name);
    Ok(Answer::done())
}

fn delete(call: &mut Call<'_>) -> Reply {
    let (vhost, name) = (call.vhost(), call.name(0));
    let queue = known(call, name).ok_or_else(Answer::unknown)?;
    let shown = queue_in(vhost, name);
    let head = call.request.head;
    let checks = [
        ("if-empty", !queue.store.is_empty(), "not empty"),
        ("if-unused", !queue.consumers.is_empty() && queue.stream.is_none(), "in use"),
    ];
    call.permit(Access::Configure, Thing::Queue(name))?;
    unlocked(call, name)?;
    for (flag, is_so, what) in checks {
        if !head.wants(flag) {
            continue;
        }
        if queue.is_quorum {
            return Err(Answer::bad(format!(
                "cannot delete {shown}. queue.delete operations with {flag} flag set are not \
                 supported by quorum queues"
            )));
        }
        if is_so {
            return Err(Answer::bad(format!("{shown} {what}")));
        }
    }
    call.core.remove_queue(vhost, name);
    Ok(Answer::done())
}
