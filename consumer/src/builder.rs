//! From words to a checked [`Consumer`]: everything that can be refused is refused here, before any I/O.

use std::{sync::Arc, time::Duration};

use crate::{
    Consumer,
    backoff::Backoff,
    checks::{check, check_channel_max, check_frame_max, heartbeat, refuse},
    endpoint::Endpoint,
    event::Observer,
    identity::Identity,
    message::Message,
    redact,
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
    /// Largest frame asked for, 8 KiB to 1 MiB. Default 32 KiB; the broker may lower it. A connection holds buffers of
    /// 64 frames. A message may be larger; headers that are larger are left out ([`Message::altered`]).
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
    /// How many identities of handled messages [`Builder::suppress_by`] remembers. Default 10 000, at most 10 million.
    dedup_window: usize,
    /// Deadline of one handler run. Default none.
    handler_deadline: Option<Duration>,
    /// How long a handler may run before it counts as stuck. When as many are stuck as may run at once, nothing moves and
    /// [`Health::ready`](crate::Health::ready) is false; each is named in [`Health::stuck`](crate::Health::stuck).
    /// Default: a second beyond the handler's deadline, or 60 s where there is none. Not below the deadline.
    stuck_after: Option<Duration>,
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

    /// Acknowledge a redelivery of a message that was handled before, without handling it again. Off by default:
    /// then every delivery is handled.
    ///
    /// A delivery is suppressed when all of this holds: the broker marks it as redelivered, `identity` names it, its
    /// properties were readable ([`Message::altered`] is empty), and the handler succeeded for a message of the same
    /// identity. While that handler still runs, the redelivery waits for it.
    ///
    /// The limits:
    /// - The identity must be unique among the messages of the queue. If two different messages share one and the
    ///   second is redelivered before it was handled, it is taken for the first: acknowledged, and lost.
    /// - What was handled is remembered in the memory of this consumer, the last [`Builder::dedup_window`] of it. A
    ///   restart forgets it, and what another consumer handled was never known here: the message is handled again.
    /// - A copy that somebody published again is not a redelivery: it is handled.
    /// - A broker that loses the redelivered flag, as some do in a crash, has the message handled again.
    ///
    /// An effect that must not happen twice needs an idempotent handler; this only makes repetitions rare.
    pub fn suppress_by(
        mut self,
        identity: impl Fn(&Message) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.settings.identity = Identity::by(identity);
        self
    }

    /// [`Builder::suppress_by`] the `message_id` property, for publishers that make it unique.
    pub fn suppress_by_message_id(self) -> Self {
        self.suppress_by(|message| message.id.as_deref().map(str::to_owned))
    }

    /// Receives every event. Closures `Fn(&Event)` implement [`Observer`].
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Check everything.
    pub fn build(self) -> Result<Consumer, ConfigError> {
        let mut endpoints = Vec::new();
        for urls in &self.urls {
            for url in split(urls) {
                let endpoint = Endpoint::parse(url).or_else(|why| {
                    let hint = "; expected amqp://user:password@host:port/vhost";
                    // The whole of it: a piece of a URL cannot be told from a piece of a password.
                    refuse("url", redact::url(urls), why + hint)
                })?;
                endpoints.push(endpoint);
            }
        }
        let mut settings = self.settings;
        settings.heartbeat = heartbeat(self.heartbeat, self.heartbeat_off, &endpoints)?;
        for endpoint in &mut endpoints {
            endpoint.uri.query.heartbeat = Some(settings.heartbeat);
            let frame_max = endpoint.uri.query.frame_max.unwrap_or(settings.frame_max);
            check_frame_max(frame_max)?;
            endpoint.uri.query.frame_max = Some(frame_max);
            check_channel_max(endpoint.uri.query.channel_max, settings.workers)?;
        }
        settings.endpoints = endpoints;
        check(&settings)?;
        Ok(Consumer::new(settings, self.observer))
    }
}

/// The URLs of a list: a comma separates two when a scheme follows it. Any other belongs to a password.
fn split(urls: &str) -> Vec<&str> {
    let scheme = |text: &str| {
        let text = text.trim_start();
        let end = text.find("://")?;
        (end > 0 && text[..end].chars().all(|c| c.is_ascii_alphanumeric())).then_some(())
    };
    let (mut list, mut start) = (Vec::new(), 0);
    for (comma, _) in urls.match_indices(',') {
        if scheme(&urls[comma + 1..]).is_some() {
            list.push(&urls[start..comma]);
            start = comma + 1;
        }
    }
    list.push(&urls[start..]);
    list
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
    #[case(Builder::new("amqp:/u:secret@h").queue("q"), "url")]
    #[case(Builder::new("amqp://u:pa,secret@h:x").queue("q"), "url")]
    #[case(Builder::new("amqp://a,amqp://u:pa,secret").queue("q"), "url")]
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
    #[case(builder().stuck_after(Some(Duration::ZERO)), "stuck_after")]
    #[case(
        builder().stuck_after(Some(Duration::from_secs(9))).handler_deadline(Some(Duration::from_secs(10))),
        "stuck_after"
    )]
    #[case(builder().frame_max(8191), "frame_max")]
    #[case(builder().frame_max(0), "frame_max")]
    #[case(builder().frame_max(1024 * 1024 + 1), "frame_max")]
    #[case(builder().frame_max(u32::MAX), "frame_max")]
    #[case(Builder::new("amqp://u:secret@h/?frame_max=4294967295").queue("q"), "frame_max")]
    #[case(Builder::new("amqp://u:secret@h/?frame_max=0").queue("q"), "frame_max")]
    #[case(Builder::new("amqp://u:secret@h/?channel_max=3").queue("q").workers(4), "channel_max")]
    #[case(builder().dedup_window(usize::MAX), "dedup_window")]
    #[case(Builder::new("amqp://u:pa,secret@h:nonsense").queue("q"), "url")]
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
        builder().frame_max(1024 * 1024).dedup_window(10_000_000).build().expect("valid");
        let url = "amqp://h/?channel_max=4&frame_max=8192";
        Builder::new(url).queue("q").workers(4).build().expect("valid");
        Builder::new("amqp://h/?channel_max=0").queue("q").workers(4).build().expect("valid");
    }

    #[test]
    fn a_list_of_urls_is_split() {
        let consumer = Builder::new("amqp://a,amqp://b").fallback("amqp://c").queue("q").build();
        assert_eq!(consumer.expect("valid").settings().endpoints.len(), 3);
        let comma = Builder::new("amqp://u:pa,sekrit@h, amqps://b").queue("q").build();
        let comma = comma.expect("valid");
        let endpoints = &comma.settings().endpoints;
        assert_eq!(endpoints.len(), 2);
        assert_eq!(endpoints[0].to_string(), "amqp://u:***@h:5672/%2f");
    }

    #[rstest]
    #[case("amqp://a", &["amqp://a"])]
    #[case("amqp://a, amqps://b", &["amqp://a", " amqps://b"])]
    #[case("amqp://u:pa,ss@a,amqp://b", &["amqp://u:pa,ss@a", "amqp://b"])]
    #[case("amqp://u:pa,sekrit@h", &["amqp://u:pa,sekrit@h"])]
    #[case("amqp://a,", &["amqp://a,"])]
    fn a_comma_separates_where_a_scheme_follows(#[case] urls: &str, #[case] expect: &[&str]) {
        assert_eq!(split(urls), expect);
    }
}
