//! Every setting, with its default and why it is what it is.
//!
//! Values only; checking them is `builder.rs`, reading them from the environment is the binary's.

use std::time::Duration;

use crate::{backoff::Backoff, endpoint::Endpoint, identity::Identity};

/// What to do when the broker refuses (login, virtual host, permission, arguments).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnRefused {
    /// End with an error at the first refusal.
    GiveUp,
    /// End with an error if it happens before the consumer has ever consumed (a wrong setting);
    /// afterwards (credentials rotated, broker half up) keep trying at the cap.
    #[default]
    GiveUpAtStart,
    /// Keep trying, at the backoff's cap.
    KeepTrying,
}

/// What to do when the queue does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnMissingQueue {
    /// End with an error after this many failed consumes in a row.
    GiveUpAfter(u32),
    /// Keep trying with backoff: it may come back.
    KeepTrying,
}

/// What to do with a message whose handler failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// Reject without requeue: the queue's dead-letter exchange takes it. Where there is none the broker drops it;
    /// AMQP does not tell, so the first rejection says so in the log.
    #[default]
    DeadLetter,
    /// Acknowledge it: it is gone.
    Drop,
}

/// A deadline for every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Name resolution and TCP connect, per address.
    pub tcp: Duration,
    /// TLS handshake.
    pub tls: Duration,
    /// AMQP start, tune and open. Longer than the 3 s RabbitMQ delays some refusals.
    pub handshake: Duration,
    /// channel.open and channel.close.
    pub channel: Duration,
    /// basic.qos.
    pub qos: Duration,
    /// basic.consume.
    pub consume: Duration,
    /// Writing one acknowledgement.
    pub ack: Duration,
    /// At a stop: basic.cancel, channel.close and connection.close, each. A peer that does not answer
    /// one of them is not asked the others. Also how long a channel may still take to be set up; after
    /// that connection.close is asked for.
    pub close: Duration,
    /// In-flight handlers at a graceful stop.
    pub drain: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            tcp: seconds(5),
            tls: seconds(5),
            handshake: seconds(10),
            channel: seconds(5),
            qos: seconds(5),
            consume: seconds(10),
            ack: seconds(10),
            close: seconds(5),
            drain: seconds(30),
        }
    }
}

/// Running a failed handler again, in process, before the failure policy decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Runs of the handler per delivery, the first included.
    pub attempts: u32,
    /// Waits between runs: `base`, `base * factor`, ... up to `cap`; jitter as in [`Backoff`].
    pub backoff: Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: Backoff {
                base: Duration::from_secs(2),
                cap: Duration::from_secs(30),
                jitter: 0.5,
                ..Backoff::default()
            },
        }
    }
}

/// All settings of a consumer, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) queue: String,
    pub(crate) name: String,
    pub(crate) workers: usize,
    pub(crate) concurrency: usize,
    pub(crate) prefetch: u16,
    pub(crate) heartbeat: u16,
    pub(crate) frame_max: u32,
    pub(crate) backoff: Backoff,
    pub(crate) channel_backoff: Backoff,
    pub(crate) start_attempts: Option<u32>,
    pub(crate) stable_after: Duration,
    pub(crate) deadlines: Deadlines,
    pub(crate) on_refused: OnRefused,
    pub(crate) on_missing_queue: OnMissingQueue,
    pub(crate) identity: Identity,
    pub(crate) dedup_window: usize,
    pub(crate) handler_deadline: Option<Duration>,
    pub(crate) stuck_after: Option<Duration>,
    pub(crate) retry: Retry,
    pub(crate) on_failure: OnFailure,
    pub(crate) exclusive: bool,
}

/// A handler without a deadline is stuck after this.
const STUCK: Duration = Duration::from_secs(60);
/// A handler is dropped at its deadline; one that is there this much later does not let go.
const GRACE: Duration = Duration::from_secs(1);

impl Settings {
    /// How long a handler may run before health counts it as stuck.
    pub(crate) fn stuck_limit(&self) -> Duration {
        let by_deadline = self.handler_deadline.map(|deadline| deadline.saturating_add(GRACE));
        self.stuck_after.or(by_deadline).unwrap_or(STUCK)
    }

    pub(crate) fn with_endpoints(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            queue: String::new(),
            name: "gauntlet-consumer".to_owned(),
            workers: 1,
            concurrency: 1,
            prefetch: 32,
            heartbeat: 10,
            // lapin keeps two buffers of 32 frames: 128 KiB frames would cost 8 MiB a connection,
            // and zeroing them at every reconnect.
            frame_max: 32 * 1024,
            backoff: Backoff::default(),
            channel_backoff: Backoff {
                base: Duration::from_millis(200),
                cap: Duration::from_secs(30),
                ..Backoff::default()
            },
            start_attempts: Some(5),
            stable_after: Duration::from_secs(5),
            deadlines: Deadlines::default(),
            on_refused: OnRefused::default(),
            on_missing_queue: OnMissingQueue::KeepTrying,
            identity: Identity::default(),
            dedup_window: 10_000,
            handler_deadline: None,
            stuck_after: None,
            retry: Retry::default(),
            on_failure: OnFailure::default(),
            exclusive: false,
        }
    }
}
