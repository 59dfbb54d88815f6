//! Which faults a Toxiproxy plays, and as what. The rest is played by the link in front of it.
//!
//! A blackhole is not among them: when its `timeout` toxic is removed, Toxiproxy closes every connection, which is
//! neither a cable that is back nor a flow that was forgotten.

use std::time::Duration;

use gauntlet_judge::scenario::{Step, Trigger};
use gauntlet_network::{CloseKind, Direction, Fault};

/// A direction of Toxiproxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// To the broker.
    Upstream,
    /// To the subject.
    Downstream,
}

impl Stream {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Upstream => "upstream",
            Stream::Downstream => "downstream",
        }
    }
}

/// A toxic: what Toxiproxy calls a fault on one stream of a proxy. Units are the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toxic {
    /// Which way.
    pub stream: Stream,
    /// What.
    pub kind: Kind,
}

/// A type of toxic, with its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Milliseconds.
    Latency {
        /// How long.
        latency: u32,
        /// More or less.
        jitter: u32,
    },
    /// Of 1000 bytes a second.
    Bandwidth {
        /// How many.
        rate: u32,
    },
    /// Milliseconds.
    SlowClose {
        /// How long.
        delay: u32,
    },
    /// Bytes, and microseconds between.
    Slicer {
        /// In the mean.
        average_size: u32,
        /// More or less.
        size_variation: u32,
        /// Between slices.
        delay: u32,
    },
    /// Bytes.
    LimitData {
        /// How many.
        bytes: u32,
    },
}

impl Kind {
    /// Its type, as the API writes it, and its attributes.
    pub fn attributes(self) -> (&'static str, Vec<(&'static str, u32)>) {
        match self {
            Kind::Latency { latency, jitter } => {
                ("latency", vec![("latency", latency), ("jitter", jitter)])
            }
            Kind::Bandwidth { rate } => ("bandwidth", vec![("rate", rate)]),
            Kind::SlowClose { delay } => ("slow_close", vec![("delay", delay)]),
            Kind::Slicer { average_size, size_variation, delay } => (
                "slicer",
                vec![
                    ("average_size", average_size),
                    ("size_variation", size_variation),
                    ("delay", delay),
                ],
            ),
            Kind::LimitData { bytes } => ("limit_data", vec![("bytes", bytes)]),
        }
    }
}

/// What a step is on a Toxiproxy, if it can play it: a fault in force from a moment on, on every connection, in whole
/// units of the API.
pub fn of_step(step: &Step) -> Option<Vec<Toxic>> {
    let by_link = matches!(step.when, Trigger::Frame { .. }) || step.connections.is_some();
    match &step.fault {
        Some(fault) if !by_link => of_fault(fault),
        _ => None,
    }
}

fn of_fault(fault: &Fault) -> Option<Vec<Toxic>> {
    let (way, kind) = match *fault {
        Fault::Latency { way, delay, jitter } => {
            (way, Kind::Latency { latency: millis(delay)?, jitter: millis(jitter)? })
        }
        Fault::Bandwidth { way, bytes_per_second } if bytes_per_second % 1000 == 0 => {
            (way, Kind::Bandwidth { rate: u32::try_from(bytes_per_second / 1000).ok()? })
        }
        Fault::Slice { way, size, variation, pause } => {
            let delay = u32::try_from(pause.as_micros()).ok()?;
            (way, Kind::Slicer { average_size: size, size_variation: variation, delay })
        }
        Fault::Limit { way, bytes, how: CloseKind::Fin } => {
            (way, Kind::LimitData { bytes: u32::try_from(bytes).ok()? })
        }
        Fault::SlowClose { delay } => (None, Kind::SlowClose { delay: millis(delay)? }),
        _ => return None,
    };
    let streams = match way {
        None => vec![Stream::Upstream, Stream::Downstream],
        Some(Direction::ToBroker) => vec![Stream::Upstream],
        Some(Direction::ToClient) => vec![Stream::Downstream],
    };
    Some(streams.into_iter().map(|stream| Toxic { stream, kind }).collect())
}

fn millis(duration: Duration) -> Option<u32> {
    let whole = duration.subsec_nanos().is_multiple_of(1_000_000);
    u32::try_from(duration.as_millis()).ok().filter(|_| whole)
}

#[cfg(test)]
mod tests {
    use gauntlet_judge::scenario;

    use super::*;

    fn step(words: &str) -> Option<Vec<Toxic>> {
        let text = format!("# A tale.\ntitle = \"t\"\ndecides = []\n[[step]]\n{words}\n");
        of_step(&scenario::parse("t", &text).expect("valid").steps[0])
    }

    #[test]
    fn what_has_an_equal_there_is_played_there_and_the_rest_is_not() {
        let latency = Kind::Latency { latency: 200, jitter: 0 };
        let both =
            [Stream::Upstream, Stream::Downstream].map(|stream| Toxic { stream, kind: latency });
        let idle = "when = \"idle\"\nfault = ";
        assert_eq!(
            step(&format!("{idle}{{ kind = \"latency\", delay = \"200ms\" }}")),
            Some(both.to_vec())
        );
        let pace = Toxic { stream: Stream::Upstream, kind: Kind::Bandwidth { rate: 20 } };
        let bandwidth = "{ kind = \"bandwidth\", bytes_per_second = 20000, way = \"to_broker\" }";
        assert_eq!(step(&format!("{idle}{bandwidth}")), Some(vec![pace]));
        for other in [
            "{ kind = \"rst\" }",
            "{ kind = \"latency\", delay = \"1500us\" }",
            "{ kind = \"bandwidth\", bytes_per_second = 1500 }",
            "{ kind = \"blackhole\" }",
            "{ kind = \"blackhole\", way = \"to_broker\", resume = false }",
            "{ kind = \"limit\", bytes = 10 }",
        ] {
            assert_eq!(step(&format!("{idle}{other}")), None, "{other}");
        }
        let at_frame = "when = { frame = { way = \"to_client\", name = \"basic.deliver\", edge = \"after\" } }\nfault = ";
        assert_eq!(step(&format!("{at_frame}{bandwidth}")), None);
    }
}
