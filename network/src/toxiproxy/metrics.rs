//! `/metrics`: bytes of each proxy, and this process, in Prometheus' text format.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

use crate::{link::Link, wire::Direction};

/// What a counter is about: direction, proxy, listener, upstream; and what was received and sent.
type Totals = BTreeMap<[String; 4], (u64, u64)>;

/// What is counted, and the counts of links that are no more.
#[derive(Debug)]
pub(super) struct Metrics {
    proxies: bool,
    runtime: bool,
    past: Mutex<Totals>,
}

/// The content type.
pub(super) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// A proxy's link, as metrics know it.
pub(super) struct Counted<'a> {
    pub(super) name: &'a str,
    pub(super) listen: &'a str,
    pub(super) upstream: &'a str,
    pub(super) link: &'a Link,
}

impl Metrics {
    pub(super) fn new(proxies: bool, runtime: bool) -> Self {
        Self { proxies, runtime, past: Mutex::default() }
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.proxies || self.runtime
    }

    /// Keeps what a link that ends has counted.
    pub(super) fn keep(&self, counted: &Counted<'_>) {
        if self.proxies {
            count(&mut self.past.lock().unwrap_or_else(PoisonError::into_inner), counted);
        }
    }

    /// What there was until now.
    pub(super) fn so_far(&self) -> Totals {
        self.past.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn render(&self, totals: &Totals) -> String {
        let mut text = String::new();
        if self.runtime {
            process(&mut text);
        }
        if self.proxies {
            for (name, pick) in [("received", 0), ("sent", 1)] {
                let name = format!("toxiproxy_proxy_{name}_bytes_total");
                family(&mut text, &name, "counter");
                for ([direction, proxy, listener, upstream], (received, sent)) in totals {
                    let [proxy, listener, upstream] =
                        [proxy, listener, upstream].map(|label| escaped(label));
                    let n = if pick == 0 { received } else { sent };
                    let _ = writeln!(
                        text,
                        "{name}{{direction=\"{direction}\",listener=\"{listener}\",\
                         proxy=\"{proxy}\",upstream=\"{upstream}\"}} {n}"
                    );
                }
            }
        }
        text
    }
}

/// Adds what a link has counted so far, if anything.
pub(super) fn count(totals: &mut Totals, counted: &Counted<'_>) {
    for (direction, way) in [("upstream", Direction::ToBroker), ("downstream", Direction::ToClient)]
    {
        let (received, sent) = counted.link.traffic(way);
        if received + sent > 0 {
            let labels = [direction, counted.name, counted.listen, counted.upstream];
            let total = totals.entry(labels.map(str::to_owned)).or_default();
            *total = (total.0 + received, total.1 + sent);
        }
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn family(text: &mut String, name: &str, kind: &str) {
    let _ = writeln!(text, "# HELP {name} \n# TYPE {name} {kind}");
}

/// What the operating system says of this process; nothing where it has no `/proc`.
fn process(text: &mut String) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    let descriptors = std::fs::read_dir("/proc/self/fd").ok().map(|all| all.count() as u64);
    let gauges = [
        ("process_open_fds", descriptors),
        ("process_resident_memory_bytes", field("VmRSS").map(|kb| kb * 1024)),
        ("process_virtual_memory_bytes", field("VmSize").map(|kb| kb * 1024)),
        ("process_threads", field("Threads")),
    ];
    for (name, value) in gauges {
        if let Some(value) = value {
            family(text, name, "gauge");
            let _ = writeln!(text, "{name} {value}");
        }
    }
}
