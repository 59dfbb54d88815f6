//! The arguments of a queue's declaration, checked as RabbitMQ checks them and refused in its words.

use super::Flags;
use super::stream::{NoInterval, interval};
use crate::model::message::LONGEST;
use crate::model::queue_in;
use crate::refuse::refuse;
use crate::wire::{AmqpError, Table, Value};

/// What a classic queue understands.
const CLASSIC: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
];

/// What a quorum queue understands.
const QUORUM: &[&str] = &[
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
];

/// What a stream understands.
const STREAM: &[&str] = &[
    "x-max-length-bytes",
    "x-queue-type",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
];

/// Bytes of a stream's segment at most.
const LARGEST_SEGMENT: i64 = 3_000_000_000;

/// In place of a reason: RabbitMQ's own process dies of it.
const CRASH: &str = "crash";

type Check = fn(&Value, &Table) -> Result<(), String>;

/// In RabbitMQ's order: the first failure is the one that is told.
const CHECKS: &[(&str, Check)] = &[
    ("x-expires", expires),
    ("x-message-ttl", ttl),
    ("x-dead-letter-exchange", text),
    ("x-dead-letter-routing-key", dead_letter_key),
    ("x-dead-letter-strategy", |value, _| {
        one_of(value, &["at-most-once", "at-least-once"], "invalid_dlx_strategy")
    }),
    ("x-max-length", not_negative),
    ("x-max-length-bytes", not_negative),
    ("x-max-in-memory-length", not_negative),
    ("x-max-in-memory-bytes", not_negative),
    ("x-max-priority", max_priority),
    ("x-overflow", |value, _| {
        one_of(value, &["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow")
    }),
    ("x-queue-mode", queue_mode),
    ("x-queue-version", queue_version),
    ("x-single-active-consumer", boolean),
    ("x-quorum-initial-group-size", positive),
    ("x-max-age", max_age),
    ("x-stream-max-segment-size-bytes", not_negative),
    ("x-initial-cluster-size", positive),
    ("x-queue-leader-locator", |value, _| {
        one_of(
            value,
            &["client-local", "balanced", "random", "least-leaders"],
            "invalid_queue_locator_arg",
        )
    }),
];

/// Whether they ask for a quorum queue.
pub fn is_quorum(arguments: &Table) -> bool {
    arguments.str("x-queue-type") == Some("quorum")
}

/// Whether they ask for a stream.
pub fn is_stream(arguments: &Table) -> bool {
    arguments.str("x-queue-type") == Some("stream")
}

/// What a queue of that type understands, and the name of RabbitMQ's module for it.
fn known(arguments: &Table) -> (&'static [&'static str], &'static str) {
    match arguments.str("x-queue-type") {
        Some("quorum") => (QUORUM, "rabbit_quorum_queue"),
        Some("stream") => (STREAM, "rabbit_stream_queue"),
        _ => (CLASSIC, "rabbit_classic_queue"),
    }
}

/// Refuses a new queue that RabbitMQ refuses.
pub fn check_new(
    vhost: &str,
    name: &str,
    arguments: &Table,
    flags: Flags,
) -> Result<(), AmqpError> {
    text_or_none("x-dead-letter-exchange", arguments, || queue_in(vhost, name))?;
    check(vhost, name, arguments)?;
    if !is_quorum(arguments) && !is_stream(arguments) {
        return Ok(());
    }
    for (is_wrong, what) in [
        (flags.auto_delete, "auto-delete"),
        (flags.exclusive, "exclusive-owner"),
        (!flags.durable, "non-durable"),
    ] {
        if is_wrong {
            refuse!(PreconditionFailed, "invalid property '{what}' for {}", queue_in(vhost, name));
        }
    }
    if is_stream(arguments) {
        check_sizes(arguments)?;
    }
    Ok(())
}

/// Refuses sizes that a stream cannot have. Whatever is no integer is too large.
fn check_sizes(arguments: &Table) -> Result<(), AmqpError> {
    if arguments.int("x-stream-max-segment-size-bytes").is_some_and(|n| n > LARGEST_SEGMENT) {
        refuse!(PreconditionFailed, "Exceeded max value for x-stream-max-segment-size-bytes");
    }
    let filter = arguments.get("x-stream-filter-size-bytes");
    if filter.is_some_and(|value| value.as_int().is_none_or(|n| !(16..=255).contains(&n))) {
        refuse!(PreconditionFailed, "Invalid value for  x-stream-filter-size-bytes");
    }
    Ok(())
}

/// The text under `key`; refused if it is there and no text.
pub fn text_or_none<'a>(
    key: &str,
    arguments: &'a Table,
    what: impl Fn() -> String,
) -> Result<Option<&'a [u8]>, AmqpError> {
    match arguments.get(key) {
        None => Ok(None),
        Some(Value::Long(text)) => Ok(Some(text)),
        Some(other) => refuse!(
            PreconditionFailed,
            "invalid type '{}' for arg '{key}' in {}",
            other.type_name(),
            what()
        ),
    }
}

/// Refuses what RabbitMQ refuses.
fn check(vhost: &str, name: &str, arguments: &Table) -> Result<(), AmqpError> {
    let queue = queue_in(vhost, name);
    if let Some(value) = arguments.get("x-queue-type")
        && let Err(why) = queue_type(value)
    {
        refuse!(PreconditionFailed, "invalid arg 'x-queue-type' for {queue}: {why}");
    }
    let (known, module) = known(arguments);
    for (key, check) in CHECKS.iter().filter(|(key, _)| known.contains(key)) {
        if let Some(value) = arguments.get(key)
            && let Err(why) = check(value, arguments)
        {
            if why == CRASH {
                return Err(AmqpError::internal());
            }
            refuse!(PreconditionFailed, "invalid arg '{key}' for {queue}: {why}");
        }
    }
    for (key, _) in &arguments.0 {
        let key = &**key;
        let is_anybodys = [CLASSIC, QUORUM, STREAM].iter().any(|keys| keys.contains(&key));
        if is_anybodys && !known.contains(&key) {
            refuse!(PreconditionFailed, "invalid arg '{key}' for {queue} of queue type {module}");
        }
    }
    Ok(())
}

/// Refuses a declaration of a queue that is there with other arguments.
pub fn check_equivalent(
    vhost: &str,
    name: &str,
    old: &Table,
    new: &Table,
) -> Result<(), AmqpError> {
    equivalent(&queue_in(vhost, name), old, new, known(old).0)
}

/// Refuses arguments under `keys` that differ from what `what` was declared with.
pub fn equivalent(what: &str, old: &Table, new: &Table, keys: &[&str]) -> Result<(), AmqpError> {
    for key in keys {
        let (old, new) = (old.get(key), new.get(key));
        let is_same = match (old, new) {
            (Some(a), Some(b)) => a.same_as(b),
            (a, b) => a.is_none() && b.is_none(),
        };
        if is_same {
            continue;
        }
        // When both are there RabbitMQ tells the values alone.
        let shown = |value: Option<&Value>, alone: bool| match value {
            None => "none".to_owned(),
            Some(value) if alone => format!("'{}'", value.shown()),
            Some(value) => format!("the value '{}' of type '{}'", value.shown(), value.type_name()),
        };
        let alone = old.is_some() && new.is_some();
        let (new, old) = (shown(new, alone), shown(old, alone));
        refuse!(
            PreconditionFailed,
            "inequivalent arg '{key}' for {what}: received {new} but current is {old}"
        );
    }
    Ok(())
}

fn queue_type(value: &Value) -> Result<(), String> {
    match value {
        Value::Long(bytes) => match &bytes[..] {
            b"classic" | b"quorum" | b"stream" => Ok(()),
            other => {
                Err(format!("\"unsupported queue type '{}'\"", String::from_utf8_lossy(other)))
            }
        },
        other => Err(unacceptable(other)),
    }
}

fn unacceptable(value: &Value) -> String {
    format!("{{unacceptable_type,{}}}", value.type_name())
}

fn integer(value: &Value) -> Result<i64, String> {
    value.as_int().ok_or_else(|| format!("\"expected integer, got {}\"", value.type_name()))
}

fn not_negative(value: &Value, _: &Table) -> Result<(), String> {
    match integer(value)? {
        n if n < 0 => Err(format!("{{value_negative,{n}}}")),
        _ => Ok(()),
    }
}

fn positive(value: &Value, arguments: &Table) -> Result<(), String> {
    not_negative(value, arguments)?;
    if integer(value)? == 0 { Err("{value_zero,0}".to_owned()) } else { Ok(()) }
}

fn ttl(value: &Value, _: &Table) -> Result<(), String> {
    match integer(value)? {
        n if n < 0 => Err(format!("{{value_negative,{n}}}")),
        n if n > LONGEST => Err(format!("{{value_too_large,{n}}}")),
        _ => Ok(()),
    }
}

fn expires(value: &Value, arguments: &Table) -> Result<(), String> {
    if integer(value)? == 0 { Err("{value_zero,0}".to_owned()) } else { ttl(value, arguments) }
}

fn max_age(value: &Value, arguments: &Table) -> Result<(), String> {
    text(value, arguments)?;
    match interval(value.as_str().unwrap_or("0")) {
        Ok(_) => Ok(()),
        Err(NoInterval::Refused) => Err("invalid_max_age".to_owned()),
        Err(NoInterval::NoNumber) => Err(CRASH.to_owned()),
    }
}

fn max_priority(value: &Value, arguments: &Table) -> Result<(), String> {
    not_negative(value, arguments)?;
    match integer(value)? {
        n if n > 255 => Err(format!("{{max_value_exceeded,{n}}}")),
        _ => Ok(()),
    }
}

fn text(value: &Value, _: &Table) -> Result<(), String> {
    if matches!(value, Value::Long(_)) { Ok(()) } else { Err(unacceptable(value)) }
}

fn dead_letter_key(value: &Value, arguments: &Table) -> Result<(), String> {
    text(value, arguments)?;
    match arguments.get("x-dead-letter-exchange") {
        None => Err("routing_key_but_no_dlx_defined".to_owned()),
        Some(_) => Ok(()),
    }
}

fn boolean(value: &Value, _: &Table) -> Result<(), String> {
    if matches!(value, Value::Bool(_)) { Ok(()) } else { Err(unacceptable(value)) }
}

fn one_of(value: &Value, known: &[&str], why: &str) -> Result<(), String> {
    match value {
        Value::Long(bytes) if known.iter().any(|k| k.as_bytes() == &bytes[..]) => Ok(()),
        Value::Long(_) => Err(why.to_owned()),
        other => Err(unacceptable(other)),
    }
}

fn queue_mode(value: &Value, _: &Table) -> Result<(), String> {
    match value {
        Value::Long(bytes) if matches!(&bytes[..], b"default" | b"lazy") => Ok(()),
        Value::Long(_) => Err(format!("\"unsupported queue mode '{}'\"", value.shown())),
        other => Err(unacceptable(other)),
    }
}

fn queue_version(value: &Value, arguments: &Table) -> Result<(), String> {
    not_negative(value, arguments)?;
    match integer(value)? {
        1 | 2 => Ok(()),
        n => Err(format!("\"unsupported queue version '{n}'\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, Value)]) -> Table {
        Table(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    fn check_one(entries: &[(&str, Value)], expect: Result<(), &str>) {
        let got = check("/", "q", &table(entries)).map_err(|error| error.text());
        assert_eq!(got, expect.map_err(|why| format!("PRECONDITION_FAILED - {why}")));
    }

    #[test]
    fn arguments_are_checked() {
        check_one(&[("x-message-ttl", Value::I32(0)), ("anything", Value::Void)], Ok(()));
        check_one(
            &[("x-message-ttl", Value::text("1"))],
            Err(
                "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': \"expected integer, got longstr\"",
            ),
        );
        check_one(
            &[("x-expires", Value::I32(0))],
            Err("invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}"),
        );
        check_one(
            &[("x-dead-letter-routing-key", Value::text("k"))],
            Err(
                "invalid arg 'x-dead-letter-routing-key' for queue 'q' in vhost '/': routing_key_but_no_dlx_defined",
            ),
        );
        check_one(
            &[("x-delivery-limit", Value::I32(1))],
            Err(
                "invalid arg 'x-delivery-limit' for queue 'q' in vhost '/' of queue type rabbit_classic_queue",
            ),
        );
        check_one(
            &[("x-queue-type", Value::text("quorum")), ("x-max-priority", Value::I32(1))],
            Err(
                "invalid arg 'x-max-priority' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue",
            ),
        );
    }

    #[test]
    fn equivalence_is_by_value() {
        let old = table(&[("x-max-length", Value::I32(5))]);
        let same = table(&[("x-max-length", Value::I64(5))]);
        assert_eq!(check_equivalent("/", "q", &old, &same), Ok(()));
        let other = table(&[("x-max-length", Value::I64(6))]);
        let error = check_equivalent("/", "q", &old, &other).map_err(|e| e.text());
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received '6' but current is '5'";
        assert_eq!(error, Err(text.to_owned()));
        let error = check_equivalent("/", "q", &old, &Table::default()).map_err(|e| e.text());
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but current is the value '5' of type 'signedint'";
        assert_eq!(error, Err(text.to_owned()));
    }
}
