//! Flags and environment: one table, read by clap, turned into a [`Consumer`].
//!
//! Every flag has an environment variable; the flag wins. Secrets come in the URL only, and are
//! never printed: clap is told to hide its value.

use std::{net::SocketAddr, time::Duration};

use clap::{Parser, ValueEnum};
use gauntlet_consumer::{
    Backoff, ConfigError, Consumer, Deadlines, Observer, OnFailure, OnMissingQueue, OnRefused,
    Retry,
};

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

/// What to do when the broker refuses.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Refused {
    /// End at once.
    GiveUp,
    /// End if nothing was ever consumed, else keep trying.
    GiveUpAtStart,
    /// Keep trying, slowly.
    KeepTrying,
}

/// What a redelivery is recognised by.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DedupBy {
    /// Nothing: every delivery is handled.
    None,
    /// The message_id property.
    MessageId,
}

/// What to do with messages whose handler failed for good.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Failed {
    /// Reject without requeue: kept if the queue has a dead-letter exchange, else dropped by the broker.
    DeadLetter,
    /// Acknowledge.
    Drop,
}

/// A RabbitMQ consumer that survives: writes {"effect":"<message id>"} per handled message to stdout.
#[derive(Debug, Parser)]
#[command(name = "gauntlet-consumer", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Broker, or several separated by commas: amqp://user:password@host:port/vhost?heartbeat=10; without a vhost, `/`
    #[arg(
        long,
        env = "AMQP_URL",
        hide_env_values = true,
        default_value = "amqp://127.0.0.1:5672/%2f",
        hide_default_value = true
    )]
    pub(crate) url: String,
    /// Queue to consume from
    #[arg(long, env = "GAUNTLET_QUEUE")]
    queue: String,
    /// Connection name and consumer tag prefix
    #[arg(long, env = "GAUNTLET_NAME", default_value = "gauntlet-consumer")]
    name: String,
    /// Workers, each with a channel of its own
    #[arg(long, env = "GAUNTLET_WORKERS", default_value_t = 1)]
    workers: usize,
    /// Messages a worker handles at once
    #[arg(long, env = "GAUNTLET_CONCURRENCY", default_value_t = 1)]
    concurrency: usize,
    /// Unacknowledged messages per worker
    #[arg(long, env = "GAUNTLET_PREFETCH", default_value_t = 32)]
    prefetch: u16,
    /// Heartbeat asked for, whole seconds; 0 insists on none [default: the URL's, else 10s]
    #[arg(long, env = "GAUNTLET_HEARTBEAT", value_parser = duration)]
    heartbeat: Option<Duration>,
    /// Largest frame asked for, bytes: 8192 to 1048576
    #[arg(long, env = "GAUNTLET_FRAME_MAX", default_value_t = 32 * 1024)]
    frame_max: u32,
    /// First wait between connection attempts
    #[arg(long, env = "GAUNTLET_BACKOFF_BASE", value_parser = duration, default_value = "1s")]
    backoff_base: Duration,
    /// What each further wait is multiplied by
    #[arg(long, env = "GAUNTLET_BACKOFF_FACTOR", default_value_t = 2.0)]
    backoff_factor: f64,
    /// Longest wait between connection attempts
    #[arg(long, env = "GAUNTLET_BACKOFF_CAP", value_parser = duration, default_value = "60s")]
    backoff_cap: Duration,
    /// Share of each wait drawn at random, 0 to 1
    #[arg(long, env = "GAUNTLET_BACKOFF_JITTER", default_value_t = 1.0)]
    backoff_jitter: f64,
    /// Give up after this many connection attempts in a row; 0 is never
    #[arg(long, env = "GAUNTLET_MAX_ATTEMPTS", default_value_t = 0)]
    max_attempts: u32,
    /// Give up after this many attempts if there was never a connection; 0 takes --max-attempts
    #[arg(long, env = "GAUNTLET_START_ATTEMPTS", default_value_t = 5)]
    start_attempts: u32,
    /// First wait between a worker's attempts to open its channel
    #[arg(long, env = "GAUNTLET_CHANNEL_BACKOFF_BASE", value_parser = duration, default_value = "200ms")]
    channel_backoff_base: Duration,
    /// Longest wait between a worker's attempts to open its channel
    #[arg(long, env = "GAUNTLET_CHANNEL_BACKOFF_CAP", value_parser = duration, default_value = "30s")]
    channel_backoff_cap: Duration,
    /// A connection that lived this long resets the attempt counter
    #[arg(long, env = "GAUNTLET_STABLE_AFTER", value_parser = duration, default_value = "5s")]
    stable_after: Duration,
    /// When the broker refuses login, virtual host or permission
    #[arg(long, env = "GAUNTLET_ON_REFUSED", value_enum, default_value = "give-up-at-start")]
    on_refused: Refused,
    /// Give up after this many consumes on a missing queue; 0 is never
    #[arg(long, env = "GAUNTLET_MISSING_QUEUE_ATTEMPTS", default_value_t = 0)]
    missing_queue_attempts: u32,
    /// Acknowledge a redelivery of what this process has handled, told by this, without handling it again
    ///
    /// Only with ids that are unique in the queue: of two different messages with one id, the second would be lost
    /// if it were redelivered before it was handled. `none` handles every delivery.
    #[arg(long, env = "GAUNTLET_DEDUP_BY", value_enum, default_value = "none")]
    dedup_by: DedupBy,
    /// Handled ids that --dedup-by remembers, in memory
    #[arg(long, env = "GAUNTLET_DEDUP_WINDOW", default_value_t = 10_000)]
    dedup_window: usize,
    /// Deadline of one handler run [default: none]
    #[arg(long, env = "GAUNTLET_HANDLER_DEADLINE", value_parser = duration)]
    handler_deadline: Option<Duration>,
    /// A handler that runs longer is stuck; when all that may run are, /health is not UP [default: a second beyond
    /// --handler-deadline, else 60s]
    #[arg(long, env = "GAUNTLET_STUCK_AFTER", value_parser = duration)]
    stuck_after: Option<Duration>,
    /// Runs of a failing handler per delivery
    #[arg(long, env = "GAUNTLET_RETRY_ATTEMPTS", default_value_t = 5)]
    retry_attempts: u32,
    /// First wait between runs of a failing handler
    #[arg(long, env = "GAUNTLET_RETRY_BASE", value_parser = duration, default_value = "2s")]
    retry_base: Duration,
    /// Longest wait between runs of a failing handler
    #[arg(long, env = "GAUNTLET_RETRY_CAP", value_parser = duration, default_value = "30s")]
    retry_cap: Duration,
    /// What becomes of messages whose handler failed for good
    #[arg(long, env = "GAUNTLET_ON_FAILURE", value_enum, default_value = "dead-letter")]
    on_failure: Failed,
    /// Ask for exclusive consumption
    #[arg(long, env = "GAUNTLET_EXCLUSIVE")]
    exclusive: bool,
    /// Deadline: name resolution, TCP connect
    #[arg(long, env = "GAUNTLET_DEADLINE_TCP", value_parser = duration, default_value = "5s")]
    deadline_tcp: Duration,
    /// Deadline: TLS handshake
    #[arg(long, env = "GAUNTLET_DEADLINE_TLS", value_parser = duration, default_value = "5s")]
    deadline_tls: Duration,
    /// Deadline: AMQP handshake
    #[arg(long, env = "GAUNTLET_DEADLINE_HANDSHAKE", value_parser = duration, default_value = "10s")]
    deadline_handshake: Duration,
    /// Deadline: channel.open
    #[arg(long, env = "GAUNTLET_DEADLINE_CHANNEL", value_parser = duration, default_value = "5s")]
    deadline_channel: Duration,
    /// Deadline: basic.qos
    #[arg(long, env = "GAUNTLET_DEADLINE_QOS", value_parser = duration, default_value = "5s")]
    deadline_qos: Duration,
    /// Deadline: basic.consume
    #[arg(long, env = "GAUNTLET_DEADLINE_CONSUME", value_parser = duration, default_value = "10s")]
    deadline_consume: Duration,
    /// Deadline: writing an acknowledgement
    #[arg(long, env = "GAUNTLET_DEADLINE_ACK", value_parser = duration, default_value = "10s")]
    deadline_ack: Duration,
    /// Deadline: basic.cancel, channel.close, connection.close at a stop
    #[arg(long, env = "GAUNTLET_DEADLINE_CLOSE", value_parser = duration, default_value = "5s")]
    deadline_close: Duration,
    /// Deadline: in-flight handlers at a stop
    #[arg(long, env = "GAUNTLET_DEADLINE_DRAIN", value_parser = duration, default_value = "30s")]
    deadline_drain: Duration,
    /// Serve /health and /metrics here
    #[arg(long, env = "GAUNTLET_HEALTH", value_name = "ADDR")]
    pub(crate) health: Option<SocketAddr>,
    /// How long handling one message takes
    #[arg(long, env = "GAUNTLET_HANDLER_TIME", value_parser = duration, default_value = "0s")]
    pub(crate) handler_time: Duration,
    /// The same in milliseconds, as Gauntlet says it; goes over --handler-time
    #[arg(long, env = "GAUNTLET_HANDLER_TIME_MS", value_name = "MS", hide = true)]
    pub(crate) handler_time_ms: Option<u64>,
    /// Write every event to stderr as JSON
    #[arg(long, env = "GAUNTLET_EVENTS")]
    pub(crate) events: bool,
}

const EXIT_CODES: &str = "\
Exit codes: 0 clean stop; 1 gave up, refused, or handlers did not finish in time; 64 bad usage;
130 / 143 a second SIGINT / SIGTERM ended it, within half a second. RUST_LOG sets what is logged to stderr.";

fn some(count: u32) -> Option<u32> {
    (count > 0).then_some(count)
}

impl Args {
    /// Check everything and build the consumer.
    pub(crate) fn consumer(&self, observer: impl Observer) -> Result<Consumer, ConfigError> {
        let builder = Consumer::builder(&self.url)
            .queue(&self.queue)
            .name(&self.name)
            .workers(self.workers)
            .concurrency(self.concurrency)
            .prefetch(self.prefetch)
            .frame_max(self.frame_max)
            .backoff(self.backoff())
            .channel_backoff(Backoff {
                base: self.channel_backoff_base,
                cap: self.channel_backoff_cap,
                max_attempts: None,
                ..self.backoff()
            })
            .start_attempts(some(self.start_attempts))
            .stable_after(self.stable_after)
            .on_refused(match self.on_refused {
                Refused::GiveUp => OnRefused::GiveUp,
                Refused::GiveUpAtStart => OnRefused::GiveUpAtStart,
                Refused::KeepTrying => OnRefused::KeepTrying,
            })
            .on_missing_queue(match self.missing_queue_attempts {
                0 => OnMissingQueue::KeepTrying,
                attempts => OnMissingQueue::GiveUpAfter(attempts),
            })
            .dedup_window(self.dedup_window)
            .handler_deadline(self.handler_deadline)
            .stuck_after(self.stuck_after)
            .retry(Retry {
                attempts: self.retry_attempts,
                backoff: Backoff {
                    base: self.retry_base,
                    cap: self.retry_cap,
                    ..Retry::default().backoff
                },
            })
            .on_failure(match self.on_failure {
                Failed::DeadLetter => OnFailure::DeadLetter,
                Failed::Drop => OnFailure::Drop,
            })
            .exclusive(self.exclusive)
            .deadlines(self.deadlines())
            .observe(observer);
        let builder = match self.dedup_by {
            DedupBy::None => builder,
            DedupBy::MessageId => builder.suppress_by_message_id(),
        };
        match self.heartbeat {
            Some(Duration::ZERO) => builder.no_heartbeat(),
            Some(heartbeat) => builder.heartbeat(heartbeat),
            None => builder,
        }
        .build()
    }

    fn backoff(&self) -> Backoff {
        Backoff {
            base: self.backoff_base,
            factor: self.backoff_factor,
            cap: self.backoff_cap,
            jitter: self.backoff_jitter,
            max_attempts: some(self.max_attempts),
        }
    }

    fn deadlines(&self) -> Deadlines {
        Deadlines {
            tcp: self.deadline_tcp,
            tls: self.deadline_tls,
            handshake: self.deadline_handshake,
            channel: self.deadline_channel,
            qos: self.deadline_qos,
            consume: self.deadline_consume,
            ack: self.deadline_ack,
            close: self.deadline_close,
            drain: self.deadline_drain,
        }
    }
}
