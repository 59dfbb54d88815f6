//! All copies of a program that is the subject: started, signalled, killed, paused, replaced; and nothing of them left.
//!
//! Owns their lives and the one end of the subject that these make up. It judges nothing. Whatever a copy starts is
//! found by its process group, or by the mark in its environment; a reaper removes what is there when the harness
//! itself is killed.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gauntlet_judge::history::{Moment, SubjectEnd, Waiter, What};
use rustix::process::{Pid, Signal};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::contract::MARK;
use super::copy::{self, Copy, Due};
use super::health::Answers;
use super::output::Log;
use super::{Program, group};
use crate::broker::{Mark, Reaper, RunId};
use crate::recorder::Recorder;
use crate::starvation;
use crate::subject::{Job, Resources, count_all};
use crate::whose::Whose;

/// Between two samples of what the copies hold.
const SAMPLE: Duration = Duration::from_secs(2);
/// A process that is killed is gone within this, or never.
const DEATH: Duration = Duration::from_secs(10);
/// What a subject started may take so long to go after it.
const FOLLOWS: Duration = Duration::from_millis(500);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(20);

/// What a fleet is given beside its orders.
pub struct Stage<'a> {
    /// The link, to count sockets that lead to it.
    pub link: SocketAddr,
    /// Where the run is kept; the log is beside the history.
    pub dir: Option<&'a Path>,
    /// How many copies run at a time.
    pub copies: u16,
    /// How the health endpoint is asked.
    pub answers: Answers,
    /// Who knows the subject's processes.
    pub whose: Arc<Whose>,
    /// The broker's password, which is not kept.
    pub password: String,
}

/// The copies. Cheap to clone.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    program: Program,
    job: Job,
    mark: String,
    link: SocketAddr,
    answers: Answers,
    whose: Arc<Whose>,
    log: Arc<Log>,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    tasks: Mutex<JoinSet<()>>,
    reaper: Mutex<Option<Reaper>>,
}

#[derive(Default)]
struct State {
    copies: BTreeMap<u32, Copy>,
    /// Groups of all copies there ever were.
    groups: Vec<Pid>,
    stopping: bool,
    /// Copies about to be started again.
    restarting: u32,
    bad: Option<String>,
    /// How the first copy ended that did so by the request to stop itself.
    terminated: Option<String>,
    over: bool,
}

impl Fleet {
    /// Starts the copies; the end of the subject is recorded when it comes.
    pub fn start(program: &Program, job: Job, stage: &Stage<'_>) -> io::Result<Fleet> {
        let mark = Mark::new(&RunId::new()).to_string();
        let reaper = Reaper::of_processes(&format!("{MARK}={mark}")).map_err(io::Error::other)?;
        stage.whose.marked(&mark);
        let log = stage.dir.map(|dir| dir.join("subject.log"));
        let inner = Inner {
            program: program.clone(),
            job,
            mark,
            link: stage.link,
            answers: stage.answers.clone(),
            whose: stage.whose.clone(),
            log: Arc::new(Log::new(log.as_deref())?.without(&stage.password)),
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            tasks: Mutex::default(),
            reaper: Mutex::new(Some(reaper)),
        };
        let fleet = Fleet(Arc::new(inner));
        fleet.recorder().record(What::SubjectStarted { name: program.in_words() });
        for _ in 0..stage.copies.max(1) {
            fleet.spawn()?;
        }
        let watching = [fleet.clone(), fleet.clone(), fleet.clone()];
        let [signals, samples, waits] = watching;
        fleet.task(async move { signals.pass_on().await });
        fleet.task(async move { samples.sample_on().await });
        fleet.task(async move {
            let recorder = waits.recorder().clone();
            starvation::watch_processes(recorder, Waiter::Subject, || waits.members()).await;
        });
        Ok(fleet)
    }

    /// Starts one more copy; its number.
    fn spawn(&self) -> io::Result<u32> {
        let inner = &*self.0;
        let (number, (child, mut copy)) = inner.whose.enrol(|| {
            let started = copy::start(&inner.program, &inner.job, &inner.mark, &inner.log)?;
            let pid = started.1.pid;
            let mut state = self.state();
            state.groups.push(pid);
            let process = pid.as_raw_nonzero().get().unsigned_abs();
            io::Result::Ok((state.groups.len() as u32, process, started))
        })?;
        let process = copy.pid.as_raw_nonzero().get().unsigned_abs();
        self.recorder().record(What::ProcessStarted { copy: number, pid: process });
        let (answers, recorder) = (inner.answers.clone(), self.recorder().clone());
        let (whose, health) = (inner.whose.clone(), copy.health.addr());
        let with_it = {
            let mut tasks = self.tasks();
            tasks.spawn(copy.out.clone().follow());
            tasks.spawn(copy.err.clone().follow());
            tasks.spawn(async move { answers.watch(number, health, &recorder, &whose).await })
        };
        copy.with_it.push(with_it);
        self.state().copies.insert(number, copy);
        let fleet = self.clone();
        self.task(async move { fleet.wait(number, child).await });
        Ok(number)
    }

    async fn wait(&self, number: u32, mut child: Child) {
        let status = child.wait().await;
        self.gone(number, &status);
        if self.over() {
            self.sweep().await;
        }
    }

    /// A copy has ended; perhaps the subject has.
    fn gone(&self, number: u32, status: &io::Result<ExitStatus>) {
        let out = self.state().copies.get(&number).map(|copy| copy.out.clone());
        // What it has acked may still be on its way through the link: whoever records an ack takes the reports of the
        // copies there are, so there must be none left of one that is no longer among them.
        out.and_then(|out| out.take());
        let Some(copy) = self.state().copies.remove(&number) else { return };
        copy.with_it.iter().for_each(tokio::task::AbortHandle::abort);
        copy.out.close();
        copy.err.close();
        let how = copy::in_words(status);
        let clean = status.as_ref().is_ok_and(ExitStatus::success);
        let last = self.0.log.tail().pop();
        let mut state = self.state();
        let asked = copy.due != Due::Stay;
        self.recorder().record(What::ProcessEnded { copy: number, how: how.clone(), asked });
        let alone = state.groups.len() == 1;
        let terminated = copy.due == Due::Stop && status.as_ref().is_ok_and(copy::by_request);
        let bad = match copy.due {
            Due::Killed => false,
            Due::Stop => !clean && !terminated,
            Due::Stay => !clean || !alone,
        };
        if bad || terminated {
            let which = if alone { String::new() } else { format!("copy {number}: ") };
            let unasked = if asked || alone { "" } else { ", unasked" };
            let last = last.map(|line| format!("; its last line: {line}")).unwrap_or_default();
            let words = format!("{which}{how}{unasked}{last}");
            if bad { &mut state.bad } else { &mut state.terminated }.get_or_insert(words);
        }
        if state.copies.is_empty() && state.restarting == 0 && !state.over {
            state.over = true;
            let terminated = state.terminated.clone();
            let in_time = || terminated.map_or(SubjectEnd::Clean, SubjectEnd::Terminated);
            let how = state.bad.clone().map_or_else(in_time, SubjectEnd::Failed);
            drop(state);
            self.end(how);
        }
        self.0.changed.send_replace(());
    }

    fn end(&self, how: SubjectEnd) {
        let lines = self.0.log.tail();
        if !lines.is_empty() {
            self.recorder().record(What::LogTail { lines });
        }
        // One that was torn down has its end on record.
        if self.recorder().look(|l| l.subject_ended.is_none()) {
            self.recorder().record(What::SubjectEnded { how });
        }
    }

    /// What is still there of an ended subject is given a moment, put on record, and killed.
    async fn sweep(&self) {
        let deadline = Instant::now() + FOLLOWS;
        let mut left = self.left();
        while !left.is_empty() && Instant::now() < deadline {
            pause(LOOK).await;
            left = self.left();
        }
        if !left.is_empty() {
            let processes = left.iter().map(|pid| group::in_words(*pid)).collect();
            self.recorder().record(What::LeftBehind { processes });
            self.kill_all();
        }
    }

    /// Processes of the subject, in its groups or marked.
    fn left(&self) -> Vec<u32> {
        let mut left = group::members(&self.state().groups);
        left.extend(group::marked(&self.0.mark));
        left.sort_unstable();
        left.dedup();
        left
    }

    /// Kills all of it, as whoever runs it does with one that does not stop in time.
    pub fn kill_all(&self) {
        for group in self.state().groups.iter() {
            group::signal_group(*group, Signal::KILL);
        }
        // Twice: one may have been about to start another.
        for _ in 0..2 {
            group::marked(&self.0.mark)
                .into_iter()
                .for_each(|pid| group::signal(pid, Signal::KILL));
        }
    }

    /// Passes requests to stop on as signals, to the leaders: as Docker and Kubernetes do.
    async fn pass_on(&self) {
        self.0.job.stop.cancelled().await;
        {
            let mut state = self.state();
            state.stopping = true;
            for copy in state.copies.values_mut() {
                copy.due = Due::Stop;
            }
        }
        self.signal_leaders(Signal::TERM);
        self.0.job.abort.cancelled().await;
        self.signal_leaders(Signal::TERM);
    }

    fn signal_leaders(&self, signal: Signal) {
        self.leaders().into_iter().for_each(|pid| group::signal(pid, signal));
    }

    async fn sample_on(&self) {
        let mut ticks = tokio::time::interval(SAMPLE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Resources { threads, fds, sockets, rss_kib } = self.holds();
            let at = Moment::Running;
            let what =
                What::Sample { at, tasks: None, threads, fds, sockets, rss_kib, alone: true };
            self.recorder().record(what);
        }
    }

    /// What all its processes hold.
    pub fn holds(&self) -> Resources {
        count_all(&self.members(), self.0.link)
    }

    /// The processes in its groups.
    fn members(&self) -> Vec<u32> {
        group::members(&self.state().groups)
    }

    /// Records what the copies have reported by now; the time of the last report.
    pub fn reports(&self) -> Option<Instant> {
        let outputs: Vec<_> = self.state().copies.values().map(|c| c.out.clone()).collect();
        outputs.iter().filter_map(|out| out.take()).max()
    }

    /// Kills the oldest copy (SIGKILL, its whole group) and starts another. What was done, in words.
    pub async fn kill(&self) -> io::Result<String> {
        let killed = self.oldest(Due::Killed)?;
        group::signal_group(killed.1, Signal::KILL);
        let died = self.until(DEATH, |state| !state.copies.contains_key(&killed.0)).await;
        let started = self.spawn();
        self.state().restarting -= 1;
        started?;
        match died {
            true => Ok(format!("process {} was killed", killed.1)),
            false => Err(io::Error::other(format!("process {} does not die", killed.1))),
        }
    }

    /// Asks the oldest copy to stop while another one starts. Its number.
    pub fn replace(&self) -> io::Result<u32> {
        let (number, group) = self.oldest(Due::Stop)?;
        group::signal(group.as_raw_nonzero().get().unsigned_abs(), Signal::TERM);
        let started = self.spawn();
        self.state().restarting -= 1;
        started.map(|_| number)
    }

    /// Waits until this copy has ended; one that has not within `bound` is killed, which is held against it.
    pub async fn gone_within(&self, number: u32, bound: Duration) {
        if self.until(bound, |state| !state.copies.contains_key(&number)).await {
            return;
        }
        let group = self.state().copies.get(&number).map(|copy| copy.pid);
        let late = humantime::format_duration(bound);
        self.state().bad.get_or_insert(format!("copy {number} did not stop within {late}"));
        if let Some(group) = group {
            group::signal_group(group, Signal::KILL);
        }
    }

    /// The oldest copy, from now on `due`, and one to come in its place.
    fn oldest(&self, due: Due) -> io::Result<(u32, Pid)> {
        let mut state = self.state();
        let oldest = state.copies.iter_mut().find(|(_, copy)| copy.due == Due::Stay);
        let Some((number, copy)) = oldest else {
            return Err(io::Error::other("no copy of the subject runs"));
        };
        copy.due = due;
        let found = (*number, copy.pid);
        state.restarting += 1;
        Ok(found)
    }

    /// Stops all copies in their tracks (SIGSTOP), or lets them go on (SIGCONT).
    pub fn freeze(&self, freeze: bool) {
        let signal = if freeze { Signal::STOP } else { Signal::CONT };
        for copy in self.state().copies.values() {
            group::signal_group(copy.pid, signal);
        }
    }

    /// Waits for the subject to end by itself; false when it did not within `bound`.
    pub async fn ended(&self, bound: Duration) -> bool {
        self.until(bound, |state| state.over).await
    }

    /// Kills whatever is left, and sees it gone.
    pub async fn stop(&self) {
        let had_ended = self.over();
        if had_ended {
            self.sweep().await;
        } else {
            self.state().copies.values_mut().for_each(|copy| copy.due = Due::Killed);
            self.kill_all();
            self.ended(DEATH).await;
            self.kill_all();
        }
        let mut tasks = std::mem::take(&mut *self.tasks());
        tasks.shutdown().await;
        let reaper = self.0.reaper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reaper) = reaper
            && let Err(error) = reaper.dismiss().await
        {
            tracing::warn!(%error, "failed to dismiss the reaper of the subject");
        }
    }

    async fn until(&self, bound: Duration, condition: impl Fn(&State) -> bool) -> bool {
        let mut changes = self.0.changed.subscribe();
        let holds = async {
            while !condition(&self.state()) {
                // The sender lives as long as this fleet.
                _ = changes.changed().await;
            }
        };
        tokio::time::timeout(bound, holds).await.is_ok()
    }

    fn over(&self) -> bool {
        self.state().over
    }

    fn leaders(&self) -> Vec<u32> {
        let pid = |copy: &Copy| copy.pid.as_raw_nonzero().get().unsigned_abs();
        self.state().copies.values().map(pid).collect()
    }

    fn recorder(&self) -> &Recorder {
        self.0.job.recorder()
    }

    fn task(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks().spawn(task);
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pause(time: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + time).await;
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::subject::Work;

    fn job(recorder: &Recorder) -> Job {
        Job {
            url: String::new(),
            queue: String::new(),
            workers: 1,
            prefetch: 1,
            heartbeat: 0,
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            work: Work::new(recorder.clone(), Duration::ZERO, None),
        }
    }

    #[test]
    fn a_copy_that_is_gone_has_no_report_left() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let program = ["/bin/sh", "-c", "echo handled m3"].map(Into::into).to_vec();
        for _ in 0..10 {
            let recorder = Recorder::new(None).expect("memory");
            let stage = Stage {
                link: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
                dir: None,
                copies: 1,
                answers: Answers { path: String::new() },
                whose: Arc::default(),
                password: String::new(),
            };
            let fleet = runtime
                .block_on(async {
                    Fleet::start(&Program::new(program.clone()), job(&recorder), &stage)
                })
                .expect("a shell");
            let seen = {
                let fleet = fleet.clone();
                std::thread::spawn(move || {
                    while !fleet.state().copies.is_empty() {
                        std::hint::spin_loop();
                    }
                    fleet.recorder().look(|l| l.handled)
                })
            };
            // Its report is in the pipe, which nobody has looked at yet.
            let pid = fleet.state().groups[0];
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(pid), ended).expect("a child of this process");
            fleet.gone(1, &Ok(ExitStatus::default()));
            runtime.block_on(fleet.stop());
            assert_eq!(seen.join().expect("no panic"), 1);
        }
    }
}
