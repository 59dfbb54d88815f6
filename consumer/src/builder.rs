//! From words to a checked [`Consumer`]: everything that can be refused is refused here, before any I/O.

use std::{sync::Arc, time::Duration};

use crate::{
    Consumer,
    backoff::Backoff,
    checks::{check, heartbeat, refuse},
    endpoint::{Endpoint, mask},
    event::Observer,
    settings::{Deadlines, OnFailure, OnMissingQueue, OnRefused, Retry, Settings},
};

/// A setting that cannot be used; quotes it, secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {setting} `{input}`: {why}")]
pub struct ConfigError {
    /// Which setting.
    pub setting: &'static str,
    /// What was given.
    pub input: String,
    /// Why it cannot be used, and what can.
    pub why: String,
}

/// Collects settings; [`Builder::build`] checks them.
#[must_use]
pub struct Builder {
    urls: Vec<String>,
    heartbeat: Option<Duration>,
    heartbeat_off: bool,
    settings: Settings,
    observer: Option<Arc<dyn Observer>>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        impl Builder {
            $($(#[$doc])*
            pub fn $name(mut self, $name: $type) -> Self {
                self.settings.$name = $name;
                self
            })*
        }
    };
}

setters! {
    /// Workers, each with a channel of its own. Default 1.
    workers: usize,
    /// Messages one worker handles at once. Default 1, which keeps the queue's order within a worker.
    concurrency: usize,
    /// Unacknowledged messages the broker may have out on one worker's channel. Default 32.
    prefetch: u16,
    /// Largest frame asked for. Default 32 KiB; the broker may lower it.
    frame_max: u32,
    /// Backoff between connection attempts. Default 1 s doubling to 60 s, full jitter, no limit.
    backoff: Backoff,
    /// Backoff between a worker's attempts to open a channel and consume. Default 0.2 s to 30 s.
    channel_backoff: Backoff,
    /// Limit on attempts before the first connection; `None` uses the backoff's own. Default 5.
    start_attempts: Option<u32>,
    /// A connection or channel that lived this long resets its attempt counter. Default 5 s.
    stable_after: Duration,
    /// A deadline for every step.
    deadlines: Deadlines,
    /// What to do when the broker refuses. Default: give up before the first success, else keep trying.
    on_refused: OnRefused,
    /// What to do when the queue is missing. Default: keep trying with backoff.
    on_missing_queue: OnMissingQueue,
    /// How many handled message ids are remembered. Default 10 000; 0 turns it off.
    dedup_window: usize,
    /// Deadline of one handler run. Default none.
    handler_deadline: Option<Duration>,
    /// Running a failed handler again. Default 5 runs, 2 s doubling to 30 s.
    retry: Retry,
    /// What to do with a message whose handler failed for good. Default: dead-letter.
    on_failure: OnFailure,
    /// Ask for exclusive consumption. Default false.
    exclusive: bool,
}

impl Builder {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            heartbeat: None,
            heartbeat_off: false,
            settings: Settings::with_endpoints(Vec::new()),
            observer: None,
        }
    }

    /// One more broker to turn to when the ones before do not answer.
    pub fn fallback(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// The queue to consume from. Required.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.settings.queue = queue.into();
        self
    }

    /// Connection name and consumer tag prefix, as operators see them.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Heartbeat asked for, in whole seconds. Wins over the URL's `heartbeat`. Default 10 s.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Ask for no heartbeat: half-open connections then go unnoticed unless the broker insists.
    pub fn no_heartbeat(mut self) -> Self {
        self.heartbeat_off = true;
        self
    }

    /// Receives every event. Closures `Fn(&Event)` implement [`Observer`].
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Check everything.
    pub fn build(self) -> Result<Consumer, ConfigError> {
        let mut endpoints = Vec::new();
        for url in self.urls.iter().flat_map(|urls| urls.split(',')) {
            match Endpoint::parse(url) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(why) => {
                    let hint = "; expected amqp://user:password@host:port/vhost";
                    return refuse("url", mask(url), why + hint);
                }
            }
        }
        let mut settings = self.settings;
        settings.heartbeat = heartbeat(self.heartbeat, self.heartbeat_off, &endpoints)?;
        for endpoint in &mut endpoints {
            endpoint.uri.query.heartbeat = Some(settings.heartbeat);
            let frame_max = endpoint.uri.query.frame_max.unwrap_or(settings.frame_max);
            endpoint.uri.query.frame_max = Some(frame_max);
        }
        settings.endpoints = endpoints;
        check(&settings)?;
        Ok(Consumer::new(settings, self.observer))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn builder() -> Builder {
        Builder::new("amqp://u:secret@h/%2f").queue("q")
    }

    #[rstest]
    #[case(Builder::new("amqp//u:secret@h").queue("q"), "url")]
    #[case(builder().fallback("ftp://u:secret@h"), "url")]
    #[case(builder().queue(""), "queue")]
    #[case(builder().queue("q".repeat(256)), "queue")]
    #[case(builder().workers(0), "workers")]
    #[case(builder().workers(2048), "workers")]
    #[case(builder().workers(2).exclusive(true), "workers")]
    #[case(builder().prefetch(0), "prefetch")]
    #[case(builder().prefetch(2).concurrency(3), "concurrency")]
    #[case(builder().concurrency(0), "concurrency")]
    #[case(builder().heartbeat(Duration::ZERO), "heartbeat")]
    #[case(builder().heartbeat(Duration::from_millis(1500)), "heartbeat")]
    #[case(builder().heartbeat(Duration::from_secs(65536)), "heartbeat")]
    #[case(Builder::new("amqp://h/?heartbeat=0").queue("q"), "heartbeat")]
    #[case(builder().backoff(Backoff { jitter: 1.1, ..Backoff::default() }), "backoff")]
    #[case(builder().backoff(Backoff { factor: 0.9, ..Backoff::default() }), "backoff")]
    #[case(builder().backoff(Backoff { base: Duration::ZERO, ..Backoff::default() }), "backoff")]
    #[case(builder().start_attempts(Some(0)), "start_attempts")]
    #[case(builder().deadlines(Deadlines { qos: Duration::ZERO, ..Deadlines::default() }), "deadline qos")]
    fn refused(#[case] builder: Builder, #[case] setting: &str) {
        let error = builder.build().err().expect("refused");
        assert_eq!(error.setting, setting);
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[rstest]
    #[case(builder(), 10)]
    #[case(Builder::new("amqp://h/?heartbeat=7").queue("q"), 7)]
    #[case(Builder::new("amqp://h/?heartbeat=7").queue("q").heartbeat(Duration::from_secs(3)), 3)]
    #[case(Builder::new("amqp://h/?heartbeat=7").queue("q").no_heartbeat(), 0)]
    fn heartbeats(#[case] builder: Builder, #[case] expect: u16) {
        assert_eq!(builder.build().expect("valid").settings().heartbeat, expect);
    }

    #[test]
    fn bounds_are_inclusive() {
        builder().workers(2047).prefetch(1).queue("q".repeat(255)).build().expect("valid");
        builder().start_attempts(Some(1)).frame_max(8192).build().expect("valid");
    }

    #[test]
    fn a_list_of_urls_is_split() {
        let consumer = Builder::new("amqp://a,amqp://b").fallback("amqp://c").queue("q").build();
        assert_eq!(consumer.expect("valid").settings().endpoints.len(), 3);
    }
}
