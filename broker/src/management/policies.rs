//! Policies of a virtual host.

use serde_json::{Value as Json, json};

use super::access::Need::{Management, Policymaker};
use super::answer::Answer;
use super::json::{from_table, table_in};
use super::route::{Call, Reply, Resource};
use crate::model::policy::Policy;
use crate::wire::Value;

/// What a policy can say; federation's too, which changes nothing here.
const KEYS: &[&str] = &[
    "alternate-exchange",
    "consumer-timeout",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
    "delivery-limit",
    "expires",
    "federation-upstream",
    "federation-upstream-set",
    "max-age",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "overflow",
    "queue-leader-locator",
    "queue-master-locator",
    "queue-mode",
    "queue-version",
    "stream-max-segment-size-bytes",
];

/// What a value must be.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// A number, so much at least.
    Number(i64),
    Text,
    OneOf(&'static [&'static str]),
}

/// Of `KEYS`, those that this broker acts on: what the value is called, and what it must be.
const RULES: &[(&str, &str, Shape)] = &[
    ("alternate-exchange", "alternate exchange name", Shape::Text),
    ("consumer-timeout", "consumer timeout", Shape::Number(0)),
    ("dead-letter-exchange", "dead letter exchange name", Shape::Text),
    ("dead-letter-routing-key", "dead letter routing key", Shape::Text),
    ("delivery-limit", "delivery limit", Shape::Number(i64::MIN)),
    ("expires", "queue expiry", Shape::Number(1)),
    ("max-length", "maximum length", Shape::Number(0)),
    ("max-length-bytes", "maximum length in bytes", Shape::Number(0)),
    ("message-ttl", "message TTL", Shape::Number(0)),
    (
        "overflow",
        "overflow value",
        Shape::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"]),
    ),
];

const APPLY_TO: &[&str] =
    &["queues", "classic_queues", "quorum_queues", "streams", "exchanges", "all"];

pub(super) const RESOURCES: &[Resource] = &[
    Resource { path: "policies", methods: &[("GET", Management, list)] },
    Resource { path: "policies/{vhost}", methods: &[("GET", Management, list)] },
    Resource {
        path: "policies/{vhost}/{name}",
        methods: &[
            ("GET", Management, show),
            ("PUT", Policymaker, set),
            ("DELETE", Policymaker, delete),
        ],
    },
];

fn shown(vhost: &str, policy: &Policy) -> Json {
    json!({
        "vhost": vhost,
        "name": &*policy.name,
        "pattern": policy.pattern.text(),
        "apply-to": policy.apply_to,
        "priority": policy.priority,
        "definition": from_table(&policy.definition),
    })
}

fn list(call: &mut Call<'_>) -> Reply {
    let vhosts = call.core.model.vhosts.values().filter(|it| call.is_here(&it.name));
    let all = vhosts.flat_map(|it| it.policies.values().map(|policy| shown(&it.name, policy)));
    Ok(Answer::ok(all.collect()))
}

fn known<'a>(call: &'a Call<'_>) -> Option<&'a Policy> {
    call.core.model.vhosts.get(call.vhost())?.policies.get(call.name(0))
}

fn show(call: &mut Call<'_>) -> Reply {
    let policy = known(call).ok_or_else(Answer::unknown)?;
    Ok(Answer::ok(shown(call.vhost(), policy)))
}

fn invalid(why: &str) -> Answer {
    Answer::bad(format!("Validation failed\n\n{why}\n"))
}

/// The rule that a value breaks.
fn wrong(key: &str, value: &Value) -> Option<&'static (&'static str, &'static str, Shape)> {
    let rule = RULES.iter().find(|rule| rule.0 == key)?;
    let is_right = match rule.2 {
        Shape::Number(least) => value.as_int().is_some_and(|n| n >= least),
        Shape::Text => value.as_str().is_some(),
        Shape::OneOf(known) => value.as_str().is_some_and(|text| known.contains(&text)),
    };
    (!is_right).then_some(rule)
}

/// As RabbitMQ prints it, safe for a page.
fn erlang(value: &Value) -> String {
    match value {
        Value::Long(_) => format!("&lt;&lt;\"{}\"&gt;&gt;", value.shown()),
        other => other.shown(),
    }
}

fn set(call: &mut Call<'_>) -> Reply {
    let object = call.object()?;
    object.needs(&["pattern", "definition"])?;
    let definition = table_in(&object, "definition")?;
    if definition.is_empty() {
        return Err(invalid("no policy provided"));
    }
    for (key, value) in &definition.0 {
        if !KEYS.contains(&&**key) {
            let setting = format!("[{{{},{}}}]", erlang(&Value::text(key)), erlang(value));
            return Err(invalid(&format!("{setting} are not recognised policy settings")));
        }
        if let Some((_, what, _)) = wrong(key, value) {
            return Err(invalid(&format!("{} is not a valid {what}", erlang(value))));
        }
    }
    let apply_to = object.text("apply-to")?.unwrap_or("all");
    if !APPLY_TO.contains(&apply_to) {
        return Err(invalid(&format!(
            "apply-to '{apply_to}' unrecognised; should be one of: 'queues', 'classic_queues',  \
             'quorum_queues', 'streams', 'exchanges', or 'all'"
        )));
    }
    let pattern = match object.get("pattern").cloned().unwrap_or_default() {
        Json::String(pattern) => pattern,
        Json::Null => String::new(),
        other => return Err(invalid(&format!("pattern should be a binary but was {other}"))),
    };
    let priority = match object.get("priority") {
        None => 0,
        Some(number) => number.as_i64().ok_or_else(|| {
            let shown = match number {
                Json::String(text) => erlang(&Value::text(text)),
                other => other.to_string(),
            };
            invalid(&format!("priority should be a number, actually was {shown}"))
        })?,
    };
    let is_new = known(call).is_none();
    let (vhost, name) = (call.vhost(), call.name(0));
    call.core.set_policy(vhost, name, &pattern, apply_to, priority, definition).map_err(
        |error| invalid(&format!("pattern should be regular expression but is invalid: {error}")),
    )?;
    Ok(Answer::put(is_new))
}

fn delete(call: &mut Call<'_>) -> Reply {
    if call.core.delete_policy(call.vhost(), call.name(0)) {
        Ok(Answer::done())
    } else {
        Err(Answer::unknown())
    }
}
