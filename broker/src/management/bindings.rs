//! Bindings: listed from every side, made, and removed by what RabbitMQ calls their properties key.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::BytesMut;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use super::access::Need::Management;
use super::access::Thing;
use super::answer::Answer;
use super::exchanges::unnamed;
use super::json::{from_table, table_in};
use super::route::{Call, Reply, Resource};
use crate::look::BindingLook;
use crate::model::user::Access;
use crate::model::{exchange_in, queue_in};
use crate::wire::Table;

/// Kept as they are in a properties key.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');
/// Kept as they are in the last part of a `Location`.
const KEPT_IN_PATH: &AsciiSet = &KEPT.remove(b'~');

pub(super) const RESOURCES: &[Resource] = &[
    Resource { path: "bindings", methods: &[("GET", Management, list)] },
    Resource { path: "bindings/{vhost}", methods: &[("GET", Management, list)] },
    Resource {
        path: "bindings/{vhost}/e/{source}/q/{destination}",
        methods: &[("GET", Management, of_queue_pair), ("POST", Management, bind_queue)],
    },
    Resource {
        path: "bindings/{vhost}/e/{source}/e/{destination}",
        methods: &[("GET", Management, of_exchange_pair), ("POST", Management, bind_exchange)],
    },
    Resource {
        path: "bindings/{vhost}/e/{source}/q/{destination}/{props}",
        methods: &[("GET", Management, of_queue), ("DELETE", Management, unbind_queue)],
    },
    Resource {
        path: "bindings/{vhost}/e/{source}/e/{destination}/{props}",
        methods: &[("GET", Management, of_exchange), ("DELETE", Management, unbind_exchange)],
    },
    Resource { path: "queues/{vhost}/{queue}/bindings", methods: &[("GET", Management, to_queue)] },
    Resource {
        path: "exchanges/{vhost}/{exchange}/bindings/source",
        methods: &[("GET", Management, from_exchange)],
    },
    Resource {
        path: "exchanges/{vhost}/{exchange}/bindings/destination",
        methods: &[("GET", Management, to_exchange)],
    },
];

/// What tells the bindings between two ends apart: the routing key, and a digest of the arguments. RabbitMQ's digest is
/// Erlang's own; to its users it is opaque.
fn properties_key(key: &str, arguments: &Table) -> String {
    let key = utf8_percent_encode(key, KEPT).to_string().replace("%20", "+");
    if arguments.is_empty() {
        return if key.is_empty() { "~".to_owned() } else { key };
    }
    let mut sorted = arguments.clone();
    sorted.sort();
    let mut bytes = BytesMut::new();
    sorted.write(&mut bytes);
    // FNV-1a.
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let digest = bytes.iter().fold(0x811c_9dc5, step);
    format!("{key}~{}", BASE64_URL_SAFE_NO_PAD.encode(digest.to_be_bytes()))
}

fn shown(binding: &BindingLook) -> Json {
    json!({
        "source": binding.source,
        "vhost": binding.vhost,
        "destination": binding.destination,
        "destination_type": if binding.to_exchange { "exchange" } else { "queue" },
        "routing_key": binding.routing_key,
        "arguments": from_table(&binding.arguments),
        "properties_key": properties_key(&binding.routing_key, &binding.arguments),
    })
}

/// The bindings here that `keep` wants, those of the default exchange to every queue first.
fn select(call: &Call<'_>, keep: impl Fn(&BindingLook) -> bool) -> Vec<BindingLook> {
    let look = call.core.look();
    let mut all: Vec<BindingLook> = look
        .queues
        .into_iter()
        .map(|queue| BindingLook {
            vhost: queue.vhost,
            source: String::new(),
            destination: queue.name.clone(),
            to_exchange: false,
            routing_key: queue.name,
            arguments: Table::default(),
        })
        .collect();
    all.extend(look.bindings);
    all.retain(|binding| call.is_here(&binding.vhost) && keep(binding));
    let order = |it: &BindingLook| {
        (it.vhost.clone(), it.source.clone(), it.destination.clone(), it.routing_key.clone())
    };
    all.sort_by_cached_key(order);
    all
}

fn listed(call: &Call<'_>, keep: impl Fn(&BindingLook) -> bool) -> Reply {
    Ok(Answer::ok(select(call, keep).iter().map(shown).collect()))
}

fn list(call: &mut Call<'_>) -> Reply {
    listed(call, |_| true)
}

fn to_queue(call: &mut Call<'_>) -> Reply {
    listed(call, |it| !it.to_exchange && it.destination == call.name(0))
}

fn from_exchange(call: &mut Call<'_>) -> Reply {
    listed(call, |it| it.source == unnamed(call.name(0)))
}

fn to_exchange(call: &mut Call<'_>) -> Reply {
    listed(call, |it| it.to_exchange && it.destination == unnamed(call.name(0)))
}

/// Between the two ends of the path.
fn pair(call: &Call<'_>, to_exchange: bool) -> Vec<BindingLook> {
    let (source, destination) = (unnamed(call.name(0)), call.name(1));
    select(call, |it| {
        it.to_exchange == to_exchange && it.source == source && it.destination == destination
    })
}

fn of_queue_pair(call: &mut Call<'_>) -> Reply {
    Ok(Answer::ok(pair(call, false).iter().map(shown).collect()))
}

fn of_exchange_pair(call: &mut Call<'_>) -> Reply {
    Ok(Answer::ok(pair(call, true).iter().map(shown).collect()))
}

fn one(call: &Call<'_>, to_exchange: bool) -> Result<BindingLook, Answer> {
    let wanted = call.name(2);
    let mut between = pair(call, to_exchange).into_iter();
    let found = between.find(|it| properties_key(&it.routing_key, &it.arguments) == wanted);
    found.ok_or_else(Answer::unknown)
}

fn of_queue(call: &mut Call<'_>) -> Reply {
    Ok(Answer::ok(shown(&one(call, false)?)))
}

fn of_exchange(call: &mut Call<'_>) -> Reply {
    Ok(Answer::ok(shown(&one(call, true)?)))
}

/// Refuses what the user may not bind or unbind.
fn permit(call: &Call<'_>, to_exchange: bool) -> Result<(), Answer> {
    let (source, destination) = (unnamed(call.name(0)), call.name(1));
    let target = if to_exchange { Thing::Exchange(destination) } else { Thing::Queue(destination) };
    call.permit(Access::Write, target)?;
    call.permit(Access::Read, Thing::Exchange(source))?;
    if source.is_empty() {
        return Err(Answer::forbidden("Access refused."));
    }
    Ok(())
}

fn bind(call: &mut Call<'_>, to_exchange: bool) -> Reply {
    let (vhost, source, destination) = (call.vhost(), unnamed(call.name(0)), call.name(1));
    let object = call.object()?;
    let key = object.text("routing_key")?.unwrap_or_default();
    if key.len() > 255 {
        return Err(Answer::bad(json!(["too_long", "routing_key"])));
    }
    let arguments = table_in(&object, "arguments")?;
    permit(call, to_exchange)?;
    let known = call.core.model.vhosts.get(vhost);
    let has_exchange = |name: &str| known.is_some_and(|it| it.exchanges.contains_key(name));
    let has_queue = |name: &str| known.is_some_and(|it| it.queues.contains_key(name));
    for (is_there, shown) in [
        (has_exchange(source), exchange_in(vhost, source)),
        (to_exchange || has_queue(destination), queue_in(vhost, destination)),
        (!to_exchange || has_exchange(destination), exchange_in(vhost, destination)),
    ] {
        if !is_there {
            return Err(Answer::missing(&format!("no {shown}")));
        }
    }
    if !to_exchange {
        super::queues::unlocked(call, destination)?;
    }
    let props = properties_key(key, &arguments);
    call.core.add_bind(vhost, source, destination, to_exchange, key, arguments)?;
    let destination = utf8_percent_encode(destination, KEPT_IN_PATH);
    let props = utf8_percent_encode(&props, KEPT_IN_PATH);
    Ok(Answer::created(format!("{destination}/{props}")))
}

fn bind_queue(call: &mut Call<'_>) -> Reply {
    bind(call, false)
}

fn bind_exchange(call: &mut Call<'_>) -> Reply {
    bind(call, true)
}

fn unbind(call: &mut Call<'_>, to_exchange: bool) -> Reply {
    let it = one(call, to_exchange)?;
    permit(call, to_exchange)?;
    call.core.remove_bind(
        &it.vhost,
        &it.source,
        &it.destination,
        to_exchange,
        &it.routing_key,
        &it.arguments,
    )?;
    Ok(Answer::done())
}

fn unbind_queue(call: &mut Call<'_>) -> Reply {
    unbind(call, false)
}

fn unbind_exchange(call: &mut Call<'_>) -> Reply {
    unbind(call, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Value;

    #[test]
    fn a_properties_key_tells_bindings_apart() {
        let check = |key: &str, expect: &str| {
            assert_eq!(properties_key(key, &Table::default()), expect);
        };
        check("", "~");
        check("a.b", "a.b");
        check("a b", "a+b");
        check("~x/y", "%7Ex%2Fy");
        let table = |n| Table(vec![("a".to_owned(), Value::I64(n))]);
        let (one, two) = (properties_key("k", &table(1)), properties_key("k", &table(2)));
        assert!(one.starts_with("k~") && one.len() == 8 && one != two, "{one} {two}");
    }
}
