//! What a running consumer tells its observer.
//!
//! Event types only; who updates health and metrics from them is `board.rs`.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{message::Epoch, trouble::ConsumeError};

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1000.0)
}

/// How one run of the handler ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HandlerOutcome {
    /// It returned `Ok`.
    Ok,
    /// It returned an error, and may be run again.
    Retryable(String),
    /// It returned an error, for good.
    Failed(String),
    /// It did not end within its deadline.
    TimedOut,
    /// It panicked.
    Panicked(String),
}

/// Something a running consumer did or met. Durations serialize as milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// A connection attempt starts.
    Dialing {
        /// Attempts in a row, this one included.
        attempt: u32,
        /// The address, without secrets.
        endpoint: String,
    },
    /// The AMQP handshake is complete.
    Connected {
        /// Number of the connection, from 1.
        connection: u64,
        /// The address, without secrets.
        endpoint: String,
        /// The negotiated heartbeat; zero is off.
        #[serde(rename = "heartbeat_ms", serialize_with = "millis")]
        heartbeat: Duration,
        /// How long dialling and handshake took.
        #[serde(rename = "took_ms", serialize_with = "millis")]
        took: Duration,
    },
    /// A connection attempt failed.
    ConnectFailed {
        /// Attempts in a row, this one included.
        attempt: u32,
        /// Why.
        reason: ConsumeError,
    },
    /// An established connection is gone.
    ConnectionLost {
        /// Its number.
        connection: u64,
        /// Why.
        reason: ConsumeError,
    },
    /// The broker pauses publishers; consuming and acknowledging go on.
    Blocked {
        /// Number of the connection.
        connection: u64,
        /// The broker's reason.
        reason: String,
    },
    /// The pause is over.
    Unblocked {
        /// Number of the connection.
        connection: u64,
    },
    /// Waiting before the next attempt.
    Backoff {
        /// The attempt that will be made, in a row.
        attempt: u32,
        /// How long until then.
        #[serde(rename = "delay_ms", serialize_with = "millis")]
        delay: Duration,
    },
    /// The broker refuses for a reason that a retry will not cure.
    Refused {
        /// What it said.
        reason: ConsumeError,
        /// Whether the consumer gives up on it.
        fatal: bool,
    },
    /// basic.consume is confirmed.
    Consuming {
        /// The worker.
        worker: usize,
        /// Its channel.
        epoch: Epoch,
        /// The consumer tag.
        consumer_tag: String,
    },
    /// A worker's channel is gone while its connection lives.
    ChannelLost {
        /// The worker.
        worker: usize,
        /// Why.
        reason: ConsumeError,
    },
    /// Waiting before a worker opens its next channel.
    ChannelBackoff {
        /// The worker.
        worker: usize,
        /// The attempt that will be made, in a row.
        attempt: u32,
        /// How long until then.
        #[serde(rename = "delay_ms", serialize_with = "millis")]
        delay: Duration,
    },
    /// The server cancelled the consumer.
    Cancelled {
        /// The worker.
        worker: usize,
        /// Its channel.
        epoch: Epoch,
    },
    /// A handler starts.
    HandlerStarted {
        /// Message id.
        id: String,
        /// The broker's redelivered flag.
        redelivered: bool,
        /// Which run for this delivery, from 1.
        attempt: u32,
        /// Delivery tag, in `epoch`.
        delivery_tag: u64,
        /// Its channel.
        epoch: Epoch,
        /// The worker.
        worker: usize,
    },
    /// A handler has been running for longer than [`Builder::stuck_after`](crate::Builder::stuck_after).
    HandlerStuck {
        /// Message id.
        id: String,
        /// The worker.
        worker: usize,
        /// How long so far.
        #[serde(rename = "took_ms", serialize_with = "millis")]
        took: Duration,
    },
    /// A handler ended.
    HandlerFinished {
        /// Message id.
        id: String,
        /// How.
        outcome: HandlerOutcome,
        /// How long it ran.
        #[serde(rename = "took_ms", serialize_with = "millis")]
        took: Duration,
    },
    /// A delivery is not as it was published: see [`Message::altered`](crate::Message::altered).
    Altered {
        /// Message id.
        id: String,
        /// What is not.
        fields: Vec<&'static str>,
    },
    /// A delivery whose handler has already succeeded: acknowledged without running it.
    Duplicate {
        /// Message id.
        id: String,
    },
    /// The acknowledgement was written to the socket of the delivery's own channel.
    Acked {
        /// Message id.
        id: String,
    },
    /// The acknowledgement, rejection or return could not be written: the broker will redeliver.
    AckFailed {
        /// Message id.
        id: String,
        /// Why.
        why: String,
    },
    /// Rejected without requeue: dead-lettered, or dropped where no dead-letter exchange is set.
    Rejected {
        /// Message id.
        id: String,
        /// Why.
        why: String,
    },
    /// Given back unhandled.
    Returned {
        /// Message id.
        id: String,
    },
    /// Left to the broker: its channel ended before it could be settled.
    Abandoned {
        /// Message id.
        id: String,
    },
    /// A graceful stop begins.
    Draining {
        /// Handlers running.
        in_flight: usize,
    },
    /// Everything is released.
    Stopped {
        /// Every handler in flight was finished.
        clean: bool,
        /// The connection was closed in order.
        orderly: bool,
        /// How long the stop took.
        #[serde(rename = "took_ms", serialize_with = "millis")]
        took: Duration,
    },
    /// The consumer ends for good: the limit or the policy says so.
    GaveUp {
        /// Why.
        reason: String,
    },
}

/// Receives every [`Event`], on the consumer's own thread: be quick. Closures implement it.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}
