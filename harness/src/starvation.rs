//! How long threads of this process wait for a CPU: on a busy machine, time that a bound must not count as the
//! subject's.
//!
//! Linux says so for each thread (`/proc/self/task/TID/schedstat`, second field: nanoseconds runnable and not
//! running). Of every slice of time the thread counts that waited longest; elsewhere nothing is known and nothing said.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::history::{Recorder, What};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(100);
/// Less than this in one of them is how any machine is.
const WORTH_SAYING: Duration = Duration::from_millis(5);

/// Records [`What::Starved`] for as long as it is polled.
pub async fn watch(recorder: Recorder) {
    let (mut last, mut since) = (waited(), Instant::now());
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (total, now) = (waited(), Instant::now());
        let (waited, over) = (total.saturating_sub(last), now - since);
        if waited >= WORTH_SAYING {
            let ns = |d: Duration| d.as_nanos() as u64;
            recorder.record(What::Starved { over: ns(over), waited: ns(waited.min(over)) });
        }
        (last, since) = (total, now);
    }
}

/// The same for the threads of other processes, whichever there are each time.
pub async fn watch_processes(recorder: Recorder, pids: impl Fn() -> Vec<u32>) {
    let (mut seen, mut last, mut since) = (Seen::default(), 0, Instant::now());
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tasks = |pid: &u32| Path::new("/proc").join(pid.to_string()).join("task");
        seen.look(&pids().iter().map(tasks).collect::<Vec<_>>());
        let (waited, over) = (Duration::from_nanos(seen.total - last), since.elapsed());
        if waited >= WORTH_SAYING {
            let ns = |d: Duration| d.as_nanos() as u64;
            recorder.record(What::Starved { over: ns(over), waited: ns(waited.min(over)) });
        }
        (last, since) = (seen.total, Instant::now());
    }
}

/// What this process's threads were seen to have waited.
#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    threads: HashMap<String, u64>,
    /// The longest wait of each slice, summed up.
    total: u64,
}

/// The longest waits of all slices so far. Many runs of a process ask; it looks once for all of them.
fn waited() -> Duration {
    static SEEN: Mutex<Option<Seen>> = Mutex::new(None);
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = seen.get_or_insert_default();
    if seen.at.is_none_or(|at| at.elapsed() >= EVERY / 2) {
        seen.look(&["/proc/self/task".into()]);
    }
    Duration::from_nanos(seen.total)
}

impl Seen {
    fn look(&mut self, tasks: &[PathBuf]) {
        let mut threads = HashMap::new();
        for task in tasks.iter().flat_map(std::fs::read_dir).flatten().flatten() {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let waited = text.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok());
            if let Some(waited) = waited {
                threads.insert(task.file_name().to_string_lossy().into_owned(), waited);
            }
        }
        // What a thread waited before it was first seen was in this slice too.
        let since = |(tid, now): (&String, &u64)| {
            now.saturating_sub(self.threads.get(tid).copied().unwrap_or(0))
        };
        if self.at.is_some() {
            self.total += threads.iter().map(since).max().unwrap_or(0);
        }
        (self.threads, self.at) = (threads, Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_slice_the_longest_wait_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let thread = |tid: &str, waited: u64| {
            std::fs::create_dir_all(dir.path().join(tid)).expect("made");
            let text = format!("1 {waited} 1\n");
            std::fs::write(dir.path().join(tid).join("schedstat"), text).expect("written");
        };
        let mut seen = Seen::default();
        let mut check = |expect: u64| {
            seen.look(&[dir.path().to_owned()]);
            assert_eq!(seen.total, expect);
        };
        thread("1", 100);
        // What was before the first look is nobody's.
        check(0);
        thread("1", 130);
        thread("2", 50);
        check(50);
        thread("1", 160);
        thread("2", 55);
        check(80);
        std::fs::write(dir.path().join("2/schedstat"), "nonsense").expect("written");
        check(80);
    }
}
