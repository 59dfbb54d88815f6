//! Policies, and what a queue does by its arguments and its policy together.

use std::time::Duration;

use super::Name;
use super::queue::stream::Retention;
use super::user::Pattern;
use crate::wire::Table;

/// A quorum queue gives a message up after this many returns, unless told otherwise.
const DELIVERY_LIMIT: i64 = 20;

/// A policy of a virtual host.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: Name,
    /// Which names it is for.
    pub pattern: Pattern,
    /// `all`, `queues`, `classic_queues`, `quorum_queues`, `streams` or `exchanges`.
    pub apply_to: String,
    /// The highest one that matches applies.
    pub priority: i64,
    /// What it says, keyed as in RabbitMQ: `message-ttl`, `dead-letter-exchange`...
    pub definition: Table,
}

/// What happens when a queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest goes.
    #[default]
    DropHead,
    /// The newest is refused.
    RejectPublish,
    /// The newest is refused and dead-lettered.
    RejectPublishDlx,
}

/// What a queue does by its arguments and its policy.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Of every message.
    pub ttl: Option<Duration>,
    /// Of the queue, when nobody uses it.
    pub expires: Option<Duration>,
    /// Where the dead go.
    pub dead_letter_exchange: Option<Name>,
    /// With which key.
    pub dead_letter_key: Option<Name>,
    /// Ready messages at most.
    pub max_length: Option<usize>,
    /// Bytes of ready messages at most.
    pub max_bytes: Option<usize>,
    /// When that is too much.
    pub overflow: Overflow,
    /// Returns at most; only quorum queues count.
    pub delivery_limit: Option<u64>,
    /// Levels beyond the lowest.
    pub max_priority: Option<u8>,
    /// Whether one consumer gets everything.
    pub single_active: bool,
    /// Of its deliveries, if not the broker's.
    pub consumer_timeout: Option<Duration>,
    /// Of a stream, which knows nothing else but the timeout.
    pub retention: Retention,
}

impl Settings {
    /// Merges: of two limits the smaller holds, of two names the argument's.
    pub fn of(arguments: &Table, policy: Option<&Policy>) -> Settings {
        let from_policy = |key: &str| policy.and_then(|policy| policy.definition.get(key));
        let number = |key: &str| {
            let argument = arguments.int(&format!("x-{key}"));
            let policy = from_policy(key).and_then(|value| value.as_int());
            match (argument, policy) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        };
        let text = |key: &str| {
            arguments
                .str(&format!("x-{key}"))
                .or_else(|| from_policy(key).and_then(|value| value.as_str()))
                .map(str::to_owned)
        };
        let millis =
            |key: &str| number(key).and_then(|n| u64::try_from(n).ok()).map(Duration::from_millis);
        let size = |key: &str| number(key).and_then(|n| usize::try_from(n).ok());
        let consumer_timeout = millis("consumer-timeout");
        let kind = arguments.str("x-queue-type");
        if kind == Some("stream") {
            let retention = Retention::of(arguments, policy);
            return Settings { consumer_timeout, retention, ..Settings::default() };
        }
        let is_quorum = kind == Some("quorum");
        let limit = number("delivery-limit").unwrap_or(DELIVERY_LIMIT);
        Settings {
            ttl: millis("message-ttl"),
            expires: millis("expires"),
            dead_letter_exchange: text("dead-letter-exchange").map(Name::from),
            dead_letter_key: text("dead-letter-routing-key").map(Name::from),
            max_length: size("max-length"),
            max_bytes: size("max-length-bytes"),
            overflow: match text("overflow").as_deref() {
                Some("reject-publish") => Overflow::RejectPublish,
                Some("reject-publish-dlx") => Overflow::RejectPublishDlx,
                _ => Overflow::DropHead,
            },
            delivery_limit: if is_quorum { u64::try_from(limit).ok() } else { None },
            max_priority: arguments.int("x-max-priority").and_then(|n| u8::try_from(n).ok()),
            single_active: arguments.is_true("x-single-active-consumer"),
            consumer_timeout,
            retention: Retention::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Value;

    fn table(entries: &[(&str, Value)]) -> Table {
        Table(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    #[test]
    fn arguments_and_policy_merge() {
        let policy = Policy {
            name: "p".into(),
            pattern: Pattern::new(".*").expect("it is an expression"),
            apply_to: "all".into(),
            priority: 0,
            definition: table(&[
                ("message-ttl", Value::I64(5)),
                ("dead-letter-exchange", Value::text("from policy")),
                ("max-length", Value::I64(3)),
            ]),
        };
        let arguments = table(&[
            ("x-message-ttl", Value::I32(9)),
            ("x-dead-letter-exchange", Value::text("from argument")),
        ]);
        let settings = Settings::of(&arguments, Some(&policy));
        assert_eq!(settings.ttl, Some(Duration::from_millis(5)));
        assert_eq!(settings.dead_letter_exchange.as_deref(), Some("from argument"));
        assert_eq!(settings.max_length, Some(3));
        assert_eq!(settings.delivery_limit, None);
    }

    #[test]
    fn streams_know_only_what_they_keep() {
        let policy = Policy {
            name: "p".into(),
            pattern: Pattern::new(".*").expect("it is an expression"),
            apply_to: "all".into(),
            priority: 0,
            definition: table(&[
                ("expires", Value::I64(5)),
                ("max-length-bytes", Value::I64(9)),
                ("max-age", Value::text("2h")),
            ]),
        };
        let arguments = table(&[
            ("x-queue-type", Value::text("stream")),
            ("x-max-length-bytes", Value::I64(3)),
            ("x-stream-max-segment-size-bytes", Value::I64(7)),
        ]);
        let settings = Settings::of(&arguments, Some(&policy));
        assert_eq!((settings.expires, settings.max_bytes), (None, None));
        // The policy's limit counts, also where it is the greater one.
        let max_age = Some(Duration::from_secs(7200));
        let expect = Retention { max_bytes: Some(9), max_age, segment: Some(7) };
        assert_eq!(settings.retention, expect);
    }

    #[test]
    fn quorum_queues_have_a_delivery_limit() {
        let check = |limit: Option<i64>, expect: Option<u64>| {
            let mut arguments = table(&[("x-queue-type", Value::text("quorum"))]);
            if let Some(limit) = limit {
                arguments.set("x-delivery-limit", Value::I64(limit));
            }
            assert_eq!(Settings::of(&arguments, None).delivery_limit, expect);
        };
        check(None, Some(20));
        check(Some(3), Some(3));
        check(Some(-1), None);
    }
}
