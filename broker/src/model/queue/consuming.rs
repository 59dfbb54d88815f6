//! The arguments of `basic.consume`, checked as RabbitMQ checks them and refused in its words.

use std::time::Duration;

use super::stream::{NoInterval, Start, interval};
use super::{Queue, queue_in};
use crate::refuse::refuse;
use crate::wire::{AmqpError, Table, Value, erlang};

const PRIORITY: &str = "x-priority";
const OFFSET: &str = "x-stream-offset";

/// Refuses what RabbitMQ refuses. The consumer's priority.
pub fn check(queue: &Queue, arguments: &Table) -> Result<i64, AmqpError> {
    let shown = queue_in(&queue.vhost, &queue.name);
    let kind = queue.kind();
    let foreign = if kind == "stream" { PRIORITY } else { OFFSET };
    if arguments.get(foreign).is_some() {
        refuse!(
            PreconditionFailed,
            "invalid arg '{foreign}' for {shown} of queue type rabbit_{kind}_queue"
        );
    }
    if let Some(Value::Long(bytes)) = arguments.get(OFFSET) {
        let is_time = std::str::from_utf8(bytes).map_err(|_| NoInterval::Refused);
        let is_word = matches!(&bytes[..], b"first" | b"last" | b"next");
        match is_time.and_then(interval) {
            Ok(_) => {}
            Err(_) if is_word => {}
            Err(NoInterval::NoNumber) => return Err(AmqpError::internal()),
            Err(NoInterval::Refused) => refuse!(
                PreconditionFailed,
                "invalid arg '{OFFSET}' for {shown}: {{invalid_stream_offset_arg,{{longstr,{}}}}}",
                erlang::pretty(bytes)
            ),
        }
    }
    match arguments.get(PRIORITY) {
        None => Ok(0),
        Some(value) => match value.as_int() {
            Some(priority) => Ok(priority),
            None => refuse!(
                PreconditionFailed,
                "invalid arg '{PRIORITY}' for {shown}: \"expected integer, got {}\"",
                value.type_name()
            ),
        },
    }
}

/// Where in a stream its consumer begins. `now` is since 1970.
pub fn start(arguments: &Table, now: Duration) -> Result<Start, AmqpError> {
    Ok(match arguments.get(OFFSET) {
        None => Start::Next,
        Some(Value::Timestamp(seconds)) => Start::Time(Duration::from_secs(*seconds)),
        Some(value) => match (value.as_str(), value.as_int()) {
            (Some("first"), _) => Start::First,
            (Some("last"), _) => Start::Last,
            (Some("next"), _) => Start::Next,
            (Some(text), _) => match interval(text) {
                Ok(ago) => Start::Time(now.saturating_sub(ago)),
                Err(_) => return Err(AmqpError::internal()),
            },
            // Before the beginning is the beginning.
            (None, Some(offset)) => Start::Offset(u64::try_from(offset).unwrap_or(0)),
            (None, None) => return Err(AmqpError::internal()),
        },
    })
}
