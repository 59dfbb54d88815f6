//! Counters, and their Prometheus text form.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::Serialize;

/// Upper bounds of the handler latency histogram, in milliseconds; the last bucket is open.
pub const LATENCY_BOUNDS_MS: [u64; 11] = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30000];

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $help:literal,)*) => {
        /// Live counters.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
            pub(crate) latency: [AtomicU64; LATENCY_BOUNDS_MS.len() + 1],
            pub(crate) latency_sum_us: AtomicU64,
            pub(crate) latency_max_us: AtomicU64,
        }

        /// The counters at one moment.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct Metrics {
            $(#[doc = $help] pub $name: u64,)*
            /// Handler runs by duration: counts per bucket of [`LATENCY_BOUNDS_MS`], the last open.
            pub latency_buckets: Vec<u64>,
            /// Sum of all handler runs.
            pub latency_sum_us: u64,
            /// The longest handler run.
            pub latency_max_us: u64,
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Metrics {
                Metrics {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    latency_buckets: self.latency.iter().map(|b| b.load(Ordering::Relaxed)).collect(),
                    latency_sum_us: self.latency_sum_us.load(Ordering::Relaxed),
                    latency_max_us: self.latency_max_us.load(Ordering::Relaxed),
                }
            }
        }

        impl Metrics {
            fn plain(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $help, self.$name),)*]
            }
        }
    };
}

counters! {
    attempts: "Connection attempts.",
    connections: "Connections established.",
    connections_lost: "Established connections lost.",
    channels_lost: "Channels lost while their connection lived.",
    cancelled: "Consumers cancelled by the broker.",
    refused: "Refusals by the broker.",
    handled_ok: "Handler runs that succeeded.",
    handled_failed: "Handler runs that failed.",
    stuck: "Handler runs that took longer than stuck_after.",
    acks: "Acknowledgements written.",
    ack_failures: "Acknowledgements, rejections or returns that could not be written.",
    altered: "Deliveries with properties that are not as they were published.",
    duplicates: "Deliveries suppressed as duplicates.",
    rejected: "Messages rejected without requeue.",
    returned: "Messages given back unhandled.",
    abandoned: "Deliveries left to the broker because their channel ended.",
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn latency(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_MS.partition_point(|bound| bound * 1000 < micros);
        Self::add(&self.latency[bucket]);
        self.latency_sum_us.fetch_add(micros, Ordering::Relaxed);
        self.latency_max_us.fetch_max(micros, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Connections established after the first.
    pub fn reconnects(&self) -> u64 {
        self.connections.saturating_sub(1)
    }

    /// The Prometheus text exposition.
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        let mut line = |args: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _ = text.write_fmt(args);
        };
        for (name, help, value) in self.plain() {
            line(format_args!(
                "# HELP gauntlet_consumer_{name}_total {help}\n# TYPE gauntlet_consumer_{name}_total counter\n\
                 gauntlet_consumer_{name}_total {value}\n"
            ));
        }
        let histogram = "gauntlet_consumer_handler_seconds";
        line(format_args!(
            "# HELP {histogram} Duration of handler runs.\n# TYPE {histogram} histogram\n"
        ));
        let mut total = 0;
        for (index, count) in self.latency_buckets.iter().enumerate() {
            total += count;
            match LATENCY_BOUNDS_MS.get(index) {
                #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
                Some(bound) => line(format_args!(
                    "{histogram}_bucket{{le=\"{}\"}} {total}\n",
                    *bound as f64 / 1000.0
                )),
                None => line(format_args!("{histogram}_bucket{{le=\"+Inf\"}} {total}\n")),
            }
        }
        let sum = Duration::from_micros(self.latency_sum_us).as_secs_f64();
        line(format_args!("{histogram}_sum {sum}\n{histogram}_count {total}\n"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_lands_on_either_side_of_a_bound() {
        let counters = Counters::default();
        for micros in [1000, 1001, 30_000_000, 30_000_001] {
            counters.latency(Duration::from_micros(micros));
        }
        let metrics = counters.snapshot();
        assert_eq!(metrics.latency_buckets, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(metrics.latency_max_us, 30_000_001);
        let text = metrics.prometheus();
        assert!(
            text.contains("gauntlet_consumer_handler_seconds_bucket{le=\"0.001\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("gauntlet_consumer_handler_seconds_bucket{le=\"+Inf\"} 4\n"),
            "{text}"
        );
    }
}
