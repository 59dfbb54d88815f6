//! Virtual hosts.

use serde_json::{Value as Json, json};

use super::access::Need::{Administrator, Management};
use super::answer::Answer;
use super::route::{Call, Reply, Resource};
use crate::model::user::Permission;

pub(super) const RESOURCES: &[Resource] = &[
    Resource { path: "vhosts", methods: &[("GET", Management, list)] },
    // One that is not there can be made: not `{vhost}`.
    Resource {
        path: "vhosts/{name}",
        methods: &[
            ("GET", Administrator, show),
            ("PUT", Administrator, create),
            ("DELETE", Administrator, delete),
        ],
    },
];

fn shown(call: &Call<'_>, name: &str) -> Json {
    let queues = call.core.model.queues.values().filter(|queue| &*queue.vhost == name);
    let (ready, unacked) = queues.fold((0, 0), |(ready, unacked), queue| {
        (ready + queue.store.len(), unacked + queue.unacked)
    });
    let description = if name == "/" { "Default virtual host" } else { "" };
    json!({
        "name": name,
        "description": description,
        "tags": [],
        "default_queue_type": "classic",
        "metadata": {"description": description, "tags": [], "default_queue_type": "classic"},
        "tracing": false,
        "cluster_state": {call.core.config().node.as_str(): "running"},
        "messages": ready + unacked,
        "messages_ready": ready,
        "messages_unacknowledged": unacked,
    })
}

fn list(call: &mut Call<'_>) -> Reply {
    let names = call.core.model.vhosts.keys().filter(|name| call.sees(name));
    Ok(Answer::ok(names.map(|name| shown(call, name)).collect()))
}

fn show(call: &mut Call<'_>) -> Reply {
    let name = call.name(0);
    if !call.core.model.vhosts.contains_key(name) {
        return Err(Answer::unknown());
    }
    Ok(Answer::ok(shown(call, name)))
}

/// Whoever makes one may do everything in it.
fn create(call: &mut Call<'_>) -> Reply {
    // Description, tags and default queue type are not kept, but what is no JSON is refused.
    call.object()?;
    let name = call.name(0);
    if call.core.model.vhosts.contains_key(name) {
        return Ok(Answer::put(false));
    }
    call.core.add_vhost(name);
    if let Ok(all) = Permission::new(".*", ".*", ".*") {
        let user = call.user.clone();
        call.core.set_permission(&user, name, Some(all))?;
    }
    Ok(Answer::put(true))
}

fn delete(call: &mut Call<'_>) -> Reply {
    if call.core.delete_vhost(call.name(0)) { Ok(Answer::done()) } else { Err(Answer::unknown()) }
}
