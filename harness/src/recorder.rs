//! Writing a history: streamed to disk as it happens, folded live for those who wait on it.
//!
//! Owns the one clock, the sequence numbers and the file. What waits here waits on a condition with
//! a deadline, and is told what was still missing.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use gauntlet_judge::history::ledger::Ledger;
use gauntlet_judge::history::{Event, History, What};

/// The history of a run while it is made. Cheap to clone; every clone writes the same history.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

/// How far a condition is from being true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It holds.
    Done,
    /// Not yet: what is missing.
    Missing(String),
    /// It never will: why.
    Hopeless(String),
}

impl Progress {
    /// Done when `condition` holds, else what is missing.
    pub fn when(condition: bool, missing: impl FnOnce() -> String) -> Progress {
        if condition { Progress::Done } else { Progress::Missing(missing()) }
    }
}

struct Shared {
    began: Instant,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    file: Option<BufWriter<File>>,
    events: Vec<Event>,
    ledger: Ledger,
    lost: Option<std::io::Error>,
}

impl Recorder {
    /// A history streamed to `file` (created, must not exist), or kept in memory alone.
    pub fn new(file: Option<&Path>) -> std::io::Result<Recorder> {
        let file = file.map(File::create_new).transpose()?.map(BufWriter::new);
        let state = State { file, events: Vec::new(), ledger: Ledger::default(), lost: None };
        let shared =
            Shared { began: Instant::now(), state: Mutex::new(state), changed: Notify::new() };
        Ok(Recorder { shared: Arc::new(shared) })
    }

    /// The run is about this queue.
    pub fn about(&self, queue: &str) {
        self.state().ledger.about(queue);
    }

    /// Records what happens now.
    pub fn record(&self, what: What) {
        self.record_at(Instant::now(), what);
    }

    /// Records what happened at `at`.
    pub fn record_at(&self, at: Instant, what: What) {
        self.record_ns(at.saturating_duration_since(self.shared.began).as_nanos() as u64, what);
    }

    /// Records what happened so many nanoseconds after the run began.
    pub fn record_ns(&self, ns: u64, what: What) {
        let mut state = self.state();
        let event = Event { seq: state.events.len() as u64, ns, what };
        if let Err(e) = state.write(&event) {
            state.lost.get_or_insert(e);
        }
        state.ledger.apply(&event);
        state.events.push(event);
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// Time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// Looks at the ledger as it is now.
    pub fn look<T>(&self, f: impl FnOnce(&Ledger) -> T) -> T {
        f(&self.state().ledger)
    }

    /// Waits until `condition` is [`Progress::Done`]; `Err` with what was missing when it is not within
    /// `bound`, or as soon as it is hopeless.
    pub async fn until(
        &self,
        bound: Duration,
        mut condition: impl FnMut(&Ledger) -> Progress,
    ) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + bound;
        let mut late = false;
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.look(&mut condition) {
                Progress::Done => return Ok(()),
                Progress::Hopeless(why) => return Err(why),
                Progress::Missing(what) if late => {
                    return Err(format!("after {}: {what}", humantime::format_duration(bound)));
                }
                Progress::Missing(_) => {}
            }
            late = tokio::time::timeout_at(deadline, changed).await.is_err();
        }
    }

    /// Everything so far, in order of time; flushes the file.
    pub fn history(&self) -> std::io::Result<History> {
        let mut state = self.state();
        if let Some(e) = state.lost.take() {
            return Err(e);
        }
        if let Some(file) = &mut state.file {
            file.flush()?;
        }
        Ok(History::new(state.events.clone()))
    }

    /// Hands what is buffered to the system, so that a crash of this process loses no more than what came since.
    pub fn flush(&self) {
        let mut state = self.state();
        if let Some(file) = &mut state.file
            && let Err(e) = file.flush()
        {
            state.lost.get_or_insert(e);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, event: &Event) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        serde_json::to_writer(&mut *file, event)?;
        file.write_all(b"\n")?;
        // Frames come in floods and ride along with what follows; everything else is on its way at once.
        if matches!(event.what, What::Wire { .. }) { Ok(()) } else { file.flush() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_when_the_condition_holds_or_says_what_is_missing() {
        let recorder = Recorder::new(None).expect("memory");
        let two = |l: &Ledger| {
            Progress::when(l.confirmed >= 2, || format!("{} of 2 confirmed", l.confirmed))
        };
        recorder.record(What::Confirmed { id: 0 });
        let missing = recorder.until(Duration::from_secs(1), two).await;
        assert_eq!(missing, Err("after 1s: 1 of 2 confirmed".into()));
        recorder.record(What::Confirmed { id: 1 });
        assert_eq!(recorder.until(Duration::from_secs(1), two).await, Ok(()));
    }

    #[test]
    fn a_history_reads_back_as_written_and_survives_a_cut_last_line() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("history.jsonl");
        let recorder = Recorder::new(Some(&path)).expect("new file");
        recorder.record(What::StopRequested);
        recorder.record(What::End);
        let written = recorder.history().expect("flushed");
        assert_eq!(History::read(&path).expect("reads").events(), written.events());

        let text = std::fs::read_to_string(&path).expect("text");
        std::fs::write(&path, &text[..text.len() - 5]).expect("cut");
        let cut = History::read(&path).expect("reads");
        assert_eq!(cut.events().len(), 1);
        assert!(!cut.complete());
    }
}
