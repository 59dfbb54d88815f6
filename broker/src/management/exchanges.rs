//! Exchanges: shown, declared, deleted.

use serde_json::{Value as Json, json};

use super::access::Need::Management;
use super::access::Thing;
use super::answer::Answer;
use super::json::{from_table, table_in};
use super::route::{Call, Reply, Resource};
use crate::look::ExchangeLook;
use crate::model::exchange::{Exchange, Kind};
use crate::model::exchange_in;
use crate::model::user::Access;

pub(super) const RESOURCES: &[Resource] = &[
    Resource { path: "exchanges", methods: &[("GET", Management, list)] },
    Resource { path: "exchanges/{vhost}", methods: &[("GET", Management, list)] },
    Resource {
        path: "exchanges/{vhost}/{exchange}",
        methods: &[
            ("GET", Management, show),
            ("PUT", Management, declare),
            ("DELETE", Management, delete),
        ],
    },
];

/// The default exchange has no name; in a path it is called `amq.default`.
pub(super) fn unnamed(name: &str) -> &str {
    if name == "amq.default" { "" } else { name }
}

fn shown(exchange: &ExchangeLook) -> Json {
    let mut shown = json!({
        "name": exchange.name,
        "vhost": exchange.vhost,
        "type": exchange.kind,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": from_table(&exchange.arguments),
    });
    if let Some(policy) = &exchange.policy {
        shown["policy"] = json!(policy);
    }
    shown
}

fn list(call: &mut Call<'_>) -> Reply {
    let look = call.core.look();
    let some = look.exchanges.iter().filter(|it| call.is_here(&it.vhost));
    Ok(Answer::ok(some.map(shown).collect()))
}

fn show(call: &mut Call<'_>) -> Reply {
    let look = call.core.look();
    let name = unnamed(call.name(0));
    let found = look.exchanges.iter().find(|it| it.vhost == call.vhost() && it.name == name);
    let mut shown = shown(found.ok_or_else(Answer::unknown)?);
    // Rates between exchanges and channels: none are counted.
    shown["incoming"] = json!([]);
    shown["outgoing"] = json!([]);
    Ok(Answer::ok(shown))
}

fn declare(call: &mut Call<'_>) -> Reply {
    let (vhost, name) = (call.vhost(), unnamed(call.name(0)));
    let object = call.object()?;
    let kind = Kind::named(object.text("type")?.unwrap_or("direct"))?;
    let (durable, auto_delete) = (object.truth("durable")?, object.truth("auto_delete")?);
    let internal = object.truth("internal")?;
    let arguments = table_in(&object, "arguments")?;
    call.permit(Access::Configure, Thing::Exchange(name))?;
    let exchange =
        Exchange { durable, auto_delete, internal, arguments, ..Exchange::new(name.into(), kind) };
    let is_new = call.core.declare_exchange(vhost, exchange)?;
    Ok(Answer::put(is_new))
}

fn delete(call: &mut Call<'_>) -> Reply {
    let (vhost, name) = (call.vhost(), unnamed(call.name(0)));
    let known = call.core.model.vhosts.get(vhost).and_then(|it| it.exchanges.get(name));
    let known = known.ok_or_else(Answer::unknown)?;
    if name.is_empty() || name.starts_with("amq.") {
        return Err(Answer::forbidden("Access refused."));
    }
    call.permit(Access::Configure, Thing::Exchange(name))?;
    if call.request.head.wants("if-unused") && !known.bindings.is_empty() {
        return Err(Answer::bad(format!("{} in use", exchange_in(vhost, name))));
    }
    call.core.remove_exchange(vhost, name);
    Ok(Answer::done())
}
