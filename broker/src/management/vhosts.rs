//! Virtual hosts.

use serde_json::{Value as Json, json};

use super::access::Need::{Administrator, Management};
use super::answer::Answer;
use super::route::{Call, Reply, Resource};
use crate::model::user::Permission;
use crate::model::vhost::About;

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
    let (ready, unacked) = queues
        .fold((0, 0), |(ready, unacked), queue| (ready + queue.ready(), unacked + queue.unacked));
    let about = call.core.model.vhosts.get(name).map(|vhost| vhost.about.clone());
    let About { description, tags, default_queue_type } = about.unwrap_or_default();
    let about = json!({
        "description": description,
        "tags": tags,
        "default_queue_type": default_queue_type,
    });
    json!({
        "name": name,
        "description": about["description"],
        "tags": about["tags"],
        "default_queue_type": about["default_queue_type"],
        "metadata": about,
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
    let object = call.object()?;
    let description = object.text("description")?.map(str::to_owned);
    let tags = object.list("tags")?;
    let kind = object.text("default_queue_type")?.map(str::to_owned);
    let name = call.name(0);
    if let Some(kind) = kind.as_deref()
        && !["classic", "quorum", "stream", ""].contains(&kind)
    {
        // RabbitMQ crashes over it, with a 500 and no words.
        return Err(Answer::bad(format!("unsupported queue type '{kind}'")));
    }
    let is_new = call.core.set_vhost(name, |about| {
        // What is not said is forgotten.
        about.description = description.unwrap_or_default();
        about.tags = tags.unwrap_or_default();
        let kind = kind.filter(|kind| !kind.is_empty());
        about.default_queue_type = kind.unwrap_or_else(|| About::default().default_queue_type);
    });
    if !is_new {
        return Ok(Answer::put(false));
    }
    if let Ok(all) = Permission::new(".*", ".*", ".*") {
        let user = call.user.clone();
        call.core.set_permission(&user, name, Some(all))?;
    }
    Ok(Answer::put(true))
}

fn delete(call: &mut Call<'_>) -> Reply {
    if call.core.delete_vhost(call.name(0)) { Ok(Answer::done()) } else { Err(Answer::unknown()) }
}
