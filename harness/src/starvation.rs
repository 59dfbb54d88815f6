//! How long threads wait for a CPU, and how late this process's own runtime is: time on a busy machine that a bound
//! must not count as the subject's.
//!
//! Linux tells for each thread how long it was runnable and did not run (`/proc/PID/task/TID/schedstat`, second field),
//! as soon as it runs again. A thread that is runnable and has not run since the last look is still waiting: that counts
//! too, and is not counted again when the kernel adds it. Time that a hypervisor took is in `/proc/stat` (`steal`). Of each
//! kind of thread, the one that waited longest counts. Elsewhere than on Linux only the lateness of the runtime is known.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gauntlet_judge::history::{Waiter, What};
use tokio_util::sync::CancellationToken;

use crate::recorder::Recorder;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(100);
/// Less than this in one of them is normal on any machine.
const WORTH_SAYING: Duration = Duration::from_millis(5);
/// What `/proc/stat` counts in.
const JIFFY: Duration = Duration::from_millis(10);
/// Threads of in-process subjects are named `subject-` and the number of the subject.
pub const SUBJECT: &str = "subject-";

/// Records [`What::Starved`] until it is `over`, a last time then: for this process, and for the threads of the in-process
/// subject whose threads are named `subject`. Threads of other subjects in this process are left out.
///
/// It counts from this call on, not from when it is first polled: that may be late, too.
pub fn watch(
    recorder: Recorder,
    subject: Option<String>,
    over: CancellationToken,
) -> impl Future<Output = ()> {
    let (last, pace) = (own_process(), Pace::new());
    watch_on(recorder, subject, over, last, pace)
}

async fn watch_on(
    recorder: Recorder,
    subject: Option<String>,
    over: CancellationToken,
    mut last: Waited,
    mut pace: Pace,
) {
    // The first tick is due at once.
    pace.last = pace.last.checked_sub(EVERY).unwrap_or(pace.last);
    loop {
        let (span, late) = pace.next(&over).await;
        let now = own_process();
        let since = |group: &str| now.waited(group).saturating_sub(last.waited(group));
        record(&recorder, Waiter::Harness, span, since(HARNESS).max(late));
        if let Some(subject) = &subject {
            record(&recorder, Waiter::Subject, span, since(subject));
        }
        record(&recorder, Waiter::Machine, span, now.stolen.saturating_sub(last.stolen));
        if over.is_cancelled() {
            return;
        }
        last = now;
    }
}

/// The same for the threads of other processes, the ones there are at each look.
pub async fn watch_processes(recorder: Recorder, who: Waiter, pids: impl Fn() -> Vec<u32>) {
    let mut threads = Threads::default();
    let mut pace = Pace::new();
    let mut last = Duration::ZERO;
    loop {
        let (over, _) = pace.next(&CancellationToken::new()).await;
        let tasks = |pid: &u32| Path::new("/proc").join(pid.to_string()).join("task");
        threads.look(&pids().iter().map(tasks).collect::<Vec<_>>(), |_| "all".to_owned());
        let total = threads.waits.get("all").copied().unwrap_or_default();
        record(&recorder, who, over, total.saturating_sub(last));
        last = total;
    }
}

/// A wait that ended in this stretch may have begun before it.
fn record(recorder: &Recorder, who: Waiter, over: Duration, waited: Duration) {
    if waited >= WORTH_SAYING {
        let ns = |d: Duration| d.as_nanos() as u64;
        recorder.record(What::Starved { who, over: ns(over.max(waited)), waited: ns(waited) });
    }
}

/// Ticks, and how late each one is.
struct Pace {
    ticks: tokio::time::Interval,
    last: Instant,
}

impl Pace {
    fn new() -> Pace {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Pace { ticks, last: Instant::now() }
    }

    /// The time since the tick before, and how much longer it is than it should be; at once when it is `over`.
    async fn next(&mut self, over: &CancellationToken) -> (Duration, Duration) {
        tokio::select! {
            _ = self.ticks.tick() => {}
            () = over.cancelled() => {}
        }
        let over = self.last.elapsed();
        self.last = Instant::now();
        (over, over.saturating_sub(EVERY))
    }
}

/// The group of the threads that are no subject's: the harness's own.
const HARNESS: &str = "harness";

/// What was waited since the first look.
#[derive(Clone, Default)]
struct Waited {
    groups: HashMap<String, Duration>,
    stolen: Duration,
}

impl Waited {
    fn waited(&self, group: &str) -> Duration {
        self.groups.get(group).copied().unwrap_or_default()
    }
}

/// Many runs of a process ask about it; it looks once for all of them.
fn own_process() -> Waited {
    static SEEN: Mutex<Option<(Threads, Instant, Duration)>> = Mutex::new(None);
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let group = |name: &str| match name.starts_with(SUBJECT) {
        true => name.to_owned(),
        false => HARNESS.to_owned(),
    };
    let (threads, at, first) =
        seen.get_or_insert_with(|| (Threads::default(), Instant::now(), stolen()));
    if threads.looked.is_none() || at.elapsed() >= EVERY / 2 {
        threads.look(&["/proc/self/task".into()], group);
        *at = Instant::now();
    }
    Waited { groups: threads.waits.clone(), stolen: stolen().saturating_sub(*first) }
}

/// What a hypervisor took from this machine's CPUs.
fn stolen() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let steal = text.lines().next().and_then(|l| l.split_ascii_whitespace().nth(8)?.parse().ok());
    JIFFY * steal.unwrap_or(0)
}

/// Waits until the machine has CPU time to spare, at least a quarter of it for half a second; false when it had not within
/// `bound`. Where nothing is known of it, it has.
pub async fn quiet(bound: Duration) -> bool {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(5 * EVERY);
    ticks.tick().await;
    let mut last = idle();
    loop {
        ticks.tick().await;
        let now = idle();
        let (idle, all) = (now.0.saturating_sub(last.0), now.1.saturating_sub(last.1));
        if all == 0 || idle * 4 >= all {
            return true;
        }
        if began.elapsed() >= bound {
            return false;
        }
        last = now;
    }
}

/// The time this machine's CPUs had nothing to do, and all of their time, in jiffies.
fn idle() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().into_iter().flat_map(|l| l.split_ascii_whitespace().skip(1));
    // What guests took is counted in the first fields too.
    let times: Vec<u64> = fields.take(8).map_while(|n| n.parse().ok()).collect();
    let waits = |i: usize| times.get(i).copied().unwrap_or(0);
    (waits(3) + waits(4), times.iter().sum())
}

/// Threads as they were at the last look.
#[derive(Default)]
struct Threads {
    looked: Option<Instant>,
    known: HashMap<PathBuf, Thread>,
    /// Of each group, the longest wait of each look, summed up.
    waits: HashMap<String, Duration>,
}

#[derive(Clone)]
struct Thread {
    group: String,
    counts: Counts,
    /// Counted before the kernel did.
    ahead: Duration,
}

/// What `schedstat` says.
#[derive(Clone, Copy, Default, PartialEq)]
struct Counts {
    ran: u64,
    waited: u64,
}

impl Threads {
    fn look(&mut self, tasks: &[PathBuf], group: impl Fn(&str) -> String) {
        let over = self.looked.map(|at| at.elapsed());
        let mut now = HashMap::new();
        let mut longest: HashMap<String, Duration> = HashMap::new();
        for task in tasks.iter().flat_map(std::fs::read_dir).flatten().flatten() {
            let path = task.path();
            let Some(counts) = counts(&path) else { continue };
            let before = self.known.remove(&path);
            let name = || std::fs::read_to_string(path.join("comm")).unwrap_or_default();
            let group = before.as_ref().map_or_else(|| group(name().trim()), |t| t.group.clone());
            let (waited, ahead) = match (&before, over) {
                (Some(before), Some(over)) => before.since(counts, over, || runnable(&path)),
                // What a thread waited before it was first seen was in this stretch.
                (None, Some(_)) => (Duration::from_nanos(counts.waited), Duration::ZERO),
                (_, None) => (Duration::ZERO, Duration::ZERO),
            };
            let most = longest.entry(group.clone()).or_default();
            *most = waited.max(*most);
            now.insert(path, Thread { group, counts, ahead });
        }
        for (group, waited) in longest {
            *self.waits.entry(group).or_default() += waited;
        }
        (self.known, self.looked) = (now, Some(Instant::now()));
    }
}

impl Thread {
    /// What it waited since the last look, and how much of that the kernel has not counted yet.
    fn since(
        &self,
        now: Counts,
        over: Duration,
        runnable: impl Fn() -> bool,
    ) -> (Duration, Duration) {
        if now == self.counts {
            let waits = if runnable() { over } else { Duration::ZERO };
            return (waits, self.ahead + waits);
        }
        let counted = Duration::from_nanos(now.waited.saturating_sub(self.counts.waited));
        (counted.saturating_sub(self.ahead), self.ahead.saturating_sub(counted))
    }
}

fn counts(task: &Path) -> Option<Counts> {
    let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
    let mut fields = text.split_ascii_whitespace().map_while(|n| n.parse().ok());
    Some(Counts { ran: fields.next()?, waited: fields.next()? })
}

/// Whether it would run if there were a CPU for it.
fn runnable(task: &Path) -> bool {
    let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('R'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn of_each_look_the_longest_wait_of_a_group_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let thread = |tid: &str, name: &str, ran: u64, waited: u64| {
            let task = dir.path().join(tid);
            std::fs::create_dir_all(&task).expect("made");
            std::fs::write(task.join("schedstat"), format!("{ran} {waited} 1\n")).expect("written");
            std::fs::write(task.join("comm"), format!("{name}\n")).expect("written");
        };
        let mut threads = Threads::default();
        let mut check = |expect: [u64; 2]| {
            threads.look(&[dir.path().to_owned()], str::to_owned);
            let waited = |group| threads.waits.get(group).map_or(0, |d: &Duration| d.as_nanos());
            assert_eq!([waited("a"), waited("b")], expect.map(u128::from));
        };
        thread("1", "a", 1, 100);
        // What was before the first look is nobody's.
        check([0, 0]);
        thread("1", "a", 2, 130);
        thread("2", "a", 1, 50);
        thread("3", "b", 1, 7);
        check([50, 7]);
        thread("1", "a", 3, 160);
        thread("2", "a", 2, 55);
        check([80, 7]);
        std::fs::write(dir.path().join("2/schedstat"), "nonsense").expect("written");
        check([80, 7]);
    }

    #[test]
    fn a_wait_that_lasts_is_counted_as_it_lasts_and_once() {
        let before =
            |ahead| Thread { group: "a".into(), counts: Counts { ran: 1, waited: 1000 }, ahead };
        let same = Counts { ran: 1, waited: 1000 };
        assert_eq!(before(Duration::ZERO).since(same, 100 * MS, || true), (100 * MS, 100 * MS));
        assert_eq!(before(100 * MS).since(same, 100 * MS, || true), (100 * MS, 200 * MS));
        assert_eq!(
            before(Duration::ZERO).since(same, 100 * MS, || false),
            (Duration::ZERO, Duration::ZERO)
        );
        // It runs again, and the kernel says that it waited for 230 ms in all.
        let ran = Counts { ran: 2, waited: 1000 + 230_000_000 };
        assert_eq!(before(200 * MS).since(ran, 100 * MS, || true), (30 * MS, Duration::ZERO));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_without_a_cpu_is_seen_to_wait() {
        // More threads than cores, all of which want to run: each waits for about half of the time.
        let threads = 2 * std::thread::available_parallelism().map_or(2, usize::from);
        let over = std::sync::atomic::AtomicBool::new(false);
        let stop = || over.load(std::sync::atomic::Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !stop() {
                        std::hint::spin_loop();
                    }
                });
            }
            let began = Instant::now();
            let first = own_process().waited(HARNESS);
            while own_process().waited(HARNESS).saturating_sub(first) < 20 * MS {
                assert!(began.elapsed() < Duration::from_secs(20), "no wait was seen");
                std::thread::yield_now();
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}
