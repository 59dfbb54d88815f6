//! Live progress: on a terminal a line per running scenario, elsewhere a line per finished one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use console::Style;
use gauntlet_harness::suite::{RunReport, SuiteEvent};
use gauntlet_judge::report::summary;
use gauntlet_judge::verdict::Verdict;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows what runs, and keeps a line for what is over.
pub struct Progress {
    bars: Option<MultiProgress>,
    running: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Progress {
    /// Progress on stdout, in the way that suits it.
    pub fn new() -> Progress {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        // Where nobody looks, or the cursor cannot be moved, lines alone are shown: all of them.
        let bars = (!bars.is_hidden()).then_some(bars);
        Progress { bars, running: Mutex::default() }
    }

    /// Shows one piece of news.
    pub fn on_event(&self, news: &SuiteEvent) {
        match news {
            SuiteEvent::BrokerStarting { of } => {
                self.begin(&key_of_broker(of.as_deref()), "broker", "starting");
            }
            SuiteEvent::BrokerReady { broker, took } => {
                self.end_brokers();
                self.keep(format!("{broker} ready after {:.1}s", took.as_secs_f64()));
            }
            SuiteEvent::NetworkReady { network } => {
                self.keep(format!("behind the link: {network}"))
            }
            SuiteEvent::Started { scenario } => self.begin(scenario, scenario, ""),
            SuiteEvent::Finished { report } => {
                self.end(&report.scenario);
                self.end(&key_of_broker(Some(&report.scenario)));
                self.keep(coloured(report));
            }
        }
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
            // Not by the bars: they drop lines where they think that nobody looks.
            Some(bars) => bars.suspend(|| crate::commands::say(line)),
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
