//! Live progress: on a terminal a line per running scenario, elsewhere a line per finished one.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use console::Style;
use gauntlet_harness::report::summary;
use gauntlet_harness::suite::{News, RunReport};
use gauntlet_harness::verdict::Verdict;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Shows what runs, and keeps a line for what is over.
pub struct Progress {
    bars: Option<MultiProgress>,
    running: Mutex<BTreeMap<String, ProgressBar>>,
    finished: AtomicUsize,
}

impl Progress {
    /// Progress on stdout, in the way that suits it.
    pub fn new() -> Progress {
        let bars = std::io::stdout().is_terminal().then(MultiProgress::new);
        Progress { bars, running: Mutex::default(), finished: AtomicUsize::new(0) }
    }

    /// Shows one piece of news.
    pub fn hear(&self, news: &News) {
        match news {
            News::BrokerStarting { of } => {
                self.begin(&key_of_broker(of.as_deref()), "broker", "starting");
            }
            News::BrokerReady { broker, took } => {
                self.end_brokers();
                self.keep(format!("{broker} ready after {:.1}s", took.as_secs_f64()));
            }
            News::NetworkReady { network } => self.keep(format!("behind the link: {network}")),
            News::Started { scenario } => self.begin(scenario, scenario, ""),
            News::Finished { report } => {
                self.finished.fetch_add(1, Ordering::Relaxed);
                self.end(&report.scenario);
                self.end(&key_of_broker(Some(&report.scenario)));
                self.keep(coloured(report));
            }
        }
    }

    /// Scenarios that are over.
    pub fn finished(&self) -> usize {
        self.finished.load(Ordering::Relaxed)
    }

    /// Takes everything that still moves off the screen.
    pub fn finish(&self) {
        for bar in std::mem::take(&mut *self.lock()).into_values() {
            bar.finish_and_clear();
        }
    }

    fn begin(&self, key: &str, what: &str, note: &str) {
        let Some(bars) = &self.bars else { return };
        let style = ProgressStyle::with_template("{spinner} {prefix:<26} {elapsed:>5}  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = bars.add(ProgressBar::new_spinner().with_style(style));
        bar.set_prefix(what.to_owned());
        bar.set_message(note.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        self.lock().insert(key.to_owned(), bar);
    }

    fn end(&self, key: &str) {
        if let Some(bar) = self.lock().remove(key) {
            bar.finish_and_clear();
        }
    }

    fn end_brokers(&self) {
        self.end(&key_of_broker(None));
    }

    fn keep(&self, line: String) {
        match &self.bars {
            // The terminal going away is no reason to stop.
            Some(bars) => _ = bars.println(line),
            None => crate::commands::say(line),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, ProgressBar>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of_broker(of: Option<&str>) -> String {
    format!("broker of {}", of.unwrap_or("all"))
}

fn coloured(report: &RunReport) -> String {
    let line = summary::line(report);
    let style = match report.verdict() {
        Some(Verdict::Pass) => Style::new().green(),
        Some(Verdict::Fail) => Style::new().red().bold(),
        Some(Verdict::Unknown) | None => Style::new().yellow(),
    };
    let split = line.find(' ').unwrap_or(line.len());
    format!("{}{}", style.apply_to(&line[..split]), &line[split..])
}
