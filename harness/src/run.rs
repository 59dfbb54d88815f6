//! One run, as a straight line: environment, subject, phases, history.
//!
//! Owns the order of the phases and their bounds. It records; it judges nothing ([`gauntlet_judge::checkers`]),
//! and it plays no fault itself ([`crate::conductor`]).

mod bounds;
mod error;
mod held;
mod output;
mod refused;
mod start;
mod stop;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gauntlet_judge::history::ledger::{self, Ledger};
use gauntlet_judge::history::{History, Moment, Phase, SubjectEnd, Waiter, What};
use gauntlet_judge::plan::Plan;
use gauntlet_judge::preflight::is_preflight;
use gauntlet_judge::scenario::{Ends, Trigger};
use gauntlet_network::{Link, Seed};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backstage::AdminSession;
use crate::broker::Broker;
use crate::conductor::{Conductor, alive, caught_up, quiet};
use crate::network::{self, Network};
use crate::probe::{ASK_AGAIN, Holds, Probe, Runs};
use crate::recorder::{Progress, Recorder};
use crate::starvation;
use crate::subject::process::{self, Answers};
use crate::subject::{AmqpUrl, Host, Job, Promises, SubjectSpec, Work};
use crate::tap::StepTap;
use crate::whose::Whose;
use crate::workload::Publisher;

pub use bounds::upper_bound;
pub use error::RunError;

/// After the subject's end the link is watched for connections that should not come: for as long as its delays between
/// attempts grow, where it promises them, within these bounds. A longer one would cost every run more than it finds.
const AFTERLIFE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(500));

/// Where a run takes place.
pub struct Environment {
    /// The broker; shared unless the scenario needs its own.
    pub broker: Arc<Broker>,
    /// A virtual host of this run alone.
    pub vhost: String,
    /// Whether nothing else runs in this process.
    pub alone: bool,
    /// What is between the link and the broker.
    pub network: Arc<Network>,
    /// Ends the run wherever it is.
    pub halt: CancellationToken,
}

/// Plays `plan` against `entrant`, within [`upper_bound`]. The history is streamed to `dir/history.jsonl` beside
/// `dir/plan.json`, or kept in memory alone.
pub async fn run(
    plan: &Plan,
    subject_spec: &SubjectSpec,
    environment: &Environment,
    dir: Option<&Path>,
) -> Result<History, RunError> {
    run_within(upper_bound(plan), plan, subject_spec, environment, dir).await
}

/// Plays it within another bound. A run that reaches it is cut short, and its history has no end.
pub async fn run_within(
    bound: Duration,
    plan: &Plan,
    subject_spec: &SubjectSpec,
    environment: &Environment,
    dir: Option<&Path>,
) -> Result<History, RunError> {
    let recorder = output::open(plan, dir)?;
    recorder.about(&plan.queue);
    let Environment { broker, vhost, .. } = environment;
    broker.create_vhost(vhost).await?;
    let outcome = in_vhost(plan, subject_spec, environment, &recorder, (bound, dir)).await;
    let deleted = broker.delete_vhost(vhost).await;
    let played = outcome?;
    deleted?;
    if played == Played::Whole {
        recorder.record(What::End);
    }
    let path = dir.map(|d| d.join("history.jsonl")).unwrap_or_default();
    recorder.history().map_err(|source| RunError::Output { path, source })
}

/// How far a run got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Played {
    /// Through all its phases.
    Whole,
    /// Until its bound.
    Cut,
}

async fn in_vhost(
    plan: &Plan,
    subject_spec: &SubjectSpec,
    environment: &Environment,
    recorder: &Recorder,
    (bound, dir): (Duration, Option<&Path>),
) -> Result<Played, RunError> {
    let Environment { broker, vhost, .. } = environment;
    let url = broker.url(vhost);
    let backstage = AdminSession::open(&url).await?;
    backstage.declare(&plan.queue, &plan.scenario.queue).await?;
    backstage.close().await;
    let path = environment.network.path(vhost, broker).await?;
    let outcome =
        on_path(plan, subject_spec, environment, recorder, (bound, dir, path.as_ref())).await;
    if let Some(path) = path {
        let closed = path.close().await;
        let played = outcome?;
        closed?;
        return Ok(played);
    }
    outcome
}

async fn on_path(
    plan: &Plan,
    subject_spec: &SubjectSpec,
    environment: &Environment,
    recorder: &Recorder,
    (bound, dir, path): (Duration, Option<&Path>, Option<&network::Path>),
) -> Result<Played, RunError> {
    let Environment { broker, vhost, .. } = environment;
    let url = broker.url(vhost);
    let told = plan.scenario.subject.vhost.as_deref().unwrap_or(vhost);
    let whose = Arc::<Whose>::default();
    let tap = Arc::new(StepTap::new(recorder.clone(), whose.clone(), told));
    let asked = whose.clone();
    let link = Link::builder(&plan.scenario.name)
        .upstream(path.map_or_else(|| broker.addr(), network::Path::addr))
        .tap(tap.clone())
        .strangers(move |peer, local| asked.is_stranger(peer, local))
        .seed(Seed(plan.seed).derive(&plan.scenario.name))
        .start()
        .await
        .map_err(RunError::Link)?;
    let mut publisher = Publisher::start(
        &url,
        &plan.queue,
        &plan.scenario.workload,
        (plan.scenario.own_broker, plan.reserve()),
        recorder,
    );
    let runs = match subject_spec.program() {
        Some(_) => Runs::InItsOwn,
        None => Runs::Here { alone: environment.alone },
    };
    let probe = Probe::new(recorder, link.addr(), broker, runs);
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let conductor = Conductor {
        plan,
        recorder,
        link: &link,
        tap: &tap,
        broker,
        vhost,
        probe: &probe,
        stop: stop.clone(),
        abort: abort.clone(),
        fleet: None,
        armed: Vec::new(),
        in_force: Vec::new(),
        ailing: Vec::new(),
        path: path.cloned(),
        poisoned: Vec::new(),
    };
    let job = job(plan, environment, &link, recorder, stop, abort);
    let mut stage = Stage {
        plan,
        recorder,
        vhost,
        probe: &probe,
        conductor,
        publisher: &mut publisher,
        steady: None,
        halt: environment.halt.clone(),
        bound,
    };
    let answers = Answers { path: plan.promises.health_path().to_owned() };
    let copies = plan.scenario.subject.copies;
    let (_, password) = broker.credentials();
    let place = process::Stage { link: link.addr(), dir, copies, answers, whose, password };
    let outcome = stage.play(subject_spec, job, &place, &tap).await;
    publisher.stop().await;
    link.stop().await;
    if outcome? == Played::Cut {
        return Ok(Played::Cut);
    }
    recorder.record(What::Phase { phase: Phase::Close });
    let backstage = AdminSession::open(&broker.url(vhost)).await?;
    backstage.count_remaining(&plan.queue, recorder).await?;
    backstage.close().await;
    Ok(Played::Whole)
}

fn job(
    plan: &Plan,
    environment: &Environment,
    link: &Link,
    recorder: &Recorder,
    stop: CancellationToken,
    abort: CancellationToken,
) -> Job {
    let told = &plan.scenario.subject;
    let (user, password) = environment.broker.credentials();
    let url = AmqpUrl {
        user: &user,
        password: told.password.as_deref().unwrap_or(&password),
        addr: link.addr(),
        vhost: told.vhost.as_deref().unwrap_or(&environment.vhost),
        heartbeat: told.heartbeat,
    };
    Job {
        url: url.to_string(),
        queue: plan.queue.clone(),
        workers: told.workers,
        prefetch: told.prefetch,
        heartbeat: told.heartbeat,
        stop,
        abort,
        work: Work::new(recorder.clone(), told.handler_time, told.slow.clone()),
    }
}

struct Stage<'a> {
    plan: &'a Plan,
    recorder: &'a Recorder,
    vhost: &'a str,
    probe: &'a Probe<'a>,
    conductor: Conductor<'a>,
    publisher: &'a mut Publisher,
    /// What the broker held in steady state, once asked.
    steady: Option<Holds>,
    halt: CancellationToken,
    /// All phases together take no longer.
    bound: Duration,
}

impl Stage<'_> {
    /// From the subject's start to its end and what the broker holds then.
    async fn play(
        &mut self,
        subject_spec: &SubjectSpec,
        job: Job,
        place: &process::Stage<'_>,
        tap: &StepTap,
    ) -> Result<Played, RunError> {
        self.phase(Phase::Start);
        self.probe.sample(Moment::Before);
        if !self.publisher.filled(bounds::STEADY).await {
            let missing = "the backlog was not in the queue".to_owned();
            self.bounded(Phase::Start, Err(missing));
        }
        self.conductor.arm_start_steps().await?;
        let host = match Host::start(subject_spec, job, self.recorder, place) {
            Ok(host) => host,
            Err(e) => {
                let why = e.not_executable().ok_or(e)?;
                self.recorder.record(What::SubjectEnded { how: SubjectEnd::Failed(why) });
                return Ok(Played::Whole);
            }
        };
        self.conductor.fleet = host.fleet().cloned();
        host.reports().into_iter().for_each(|reports| tap.look_first(reports));
        self.probe.attach(host.holder(place.link));
        let mut watching = JoinSet::new();
        let over = CancellationToken::new();
        watching.spawn(starvation::watch(self.recorder.clone(), host.threads(), over.clone()));
        let (recorder, broker) = (self.recorder.clone(), self.conductor.broker.clone());
        let of_broker =
            starvation::watch_processes(recorder, Waiter::Broker, move || broker.processes());
        let mut without_end = JoinSet::new();
        without_end.spawn(of_broker);
        let (bound, halt) = (self.bound, self.halt.clone());
        let phases = tokio::time::timeout(bound, self.phases(&host));
        let outcome = match halt.run_until_cancelled(phases).await {
            None => Err(RunError::Interrupted),
            Some(Ok(outcome)) => outcome.map(|()| Played::Whole),
            Some(Err(_late)) => {
                let why = format!("it took {}, its upper bound", humantime::format_duration(bound));
                self.recorder.record(What::CutShort { why });
                Ok(Played::Cut)
            }
        };
        host.stop().await;
        over.cancel();
        without_end.shutdown().await;
        // A watch that panics is this program's defect, and loses nothing of the run.
        while watching.join_next().await.is_some() {}
        outcome
    }

    async fn phases(&mut self, host: &Host) -> Result<(), RunError> {
        if is_preflight(self.plan) {
            return self.preflight(host).await;
        }
        let refused = self.plan.scenario.expect.outcome == Ends::Refused;
        if !refused
            && !self.plan.steps.iter().any(|s| s.when == Trigger::Start)
            && !self.start_and_steady().await?
        {
            // With nothing in its way it does no work: no fault could show more.
            self.stop(host).await;
            return self.settle().await;
        }
        self.phase(Phase::Faults);
        self.publisher.go();
        self.conductor.play(self.publisher).await?;
        if refused {
            self.watch_refused(host).await;
        } else if self.stops_early() {
            // Healing would change what the subject stops in.
            self.await_end(host).await;
        }
        self.phase(Phase::Heal);
        let healed = self.conductor.heal().await;
        self.bounded(Phase::Heal, healed);
        if !refused && !self.stops_early() {
            self.drain().await?;
        }
        self.stop(host).await;
        self.settle().await
    }

    /// Whether the schedule has asked the subject to stop; one that ended before it came to that has not.
    fn stops_early(&self) -> bool {
        self.plan.stops_early() && self.recorder.look(|l| l.stop_requested.is_some())
    }

    async fn drain(&mut self) -> Result<(), RunError> {
        self.phase(Phase::Drain);
        self.publisher.hurry();
        let published = match self.publisher.finished(bounds::drain(self.plan)).await {
            true => Ok(()),
            false => Err("the publisher was not done".to_owned()),
        };
        self.bounded(Phase::Drain, published);
        let deadline = Instant::now() + bounds::drain(self.plan);
        // What was in a deleted queue is handled by nobody; everywhere else, all that was confirmed is.
        let lossy =
            self.plan.scenario.expect.queue_is_deleted || self.plan.scenario.hazard.is_some();
        let handled = match lossy {
            true => Ok(()),
            false => self.by(deadline, caught_up).await,
        };
        // An ack of unknown fate may bring its message back, so the queue itself is asked too.
        if handled.is_ok() {
            self.copies_come_back().await;
        }
        let drained = match handled {
            Ok(()) => self.queue_is_empty(deadline).await?,
            missing => missing,
        };
        let drained = match drained {
            Ok(()) => self.all_copies_consume(deadline).await,
            missing => missing,
        };
        let quiet = drained.is_ok();
        self.bounded(Phase::Drain, drained);
        self.probe.sample(Moment::Drained);
        if quiet {
            self.drained_state().await?;
        }
        Ok(())
    }

    /// Waits for a condition until a deadline that several share.
    async fn by(
        &self,
        deadline: Instant,
        condition: impl FnMut(&Ledger) -> Progress,
    ) -> Result<(), String> {
        // Said in words, no more than milliseconds of it are of interest.
        let left = deadline.saturating_duration_since(Instant::now()).as_millis() as u64;
        self.conductor.until(Duration::from_millis(left), condition).await
    }

    /// Where several run, one alone may have done all the work.
    async fn all_copies_consume(&self, deadline: Instant) -> Result<(), String> {
        let copies = usize::from(self.plan.scenario.subject.copies);
        let back = |l: &Ledger| {
            let there = l.consuming_connections();
            let missing = || format!("{there} of {copies} copies consume");
            Progress::when(copies == 1 || there >= copies, missing)
        };
        self.by(deadline, back).await
    }

    async fn queue_is_empty(&self, deadline: Instant) -> Result<Result<(), String>, RunError> {
        let backstage = AdminSession::open(&self.conductor.broker.url(self.vhost)).await?;
        let empty = loop {
            let ready = backstage.ready(&self.plan.queue).await?;
            if ready == 0 {
                break self.by(deadline, quiet).await;
            }
            let missing = format!("{ready} messages still ready");
            let waits = self.recorder.look(|l| alive(l, Progress::Missing(missing.clone())));
            if let Progress::Hopeless(why) = waits {
                break Err(why);
            }
            if Instant::now() >= deadline {
                let bound = humantime::format_duration(bounds::drain(self.plan));
                break Err(format!("after {bound}: {missing}"));
            }
            tokio::time::sleep_until(Instant::now() + ASK_AGAIN).await;
        };
        backstage.close().await;
        Ok(empty)
    }

    async fn settle(&self) -> Result<(), RunError> {
        self.phase(Phase::Settle);
        let came_back = |l: &Ledger| {
            let late = |c: &ledger::Connection| c.accepted > l.subject_ended;
            Progress::when(l.connections.values().any(late), || {
                "no connection after the end".into()
            })
        };
        // Hoped not to come true: the link is watched for as long as that takes.
        let _ = self.recorder.until(afterlife(&self.plan.promises), came_back).await;
        self.probe.sample_when_gone(bounds::going(self.plan)).await;
        let bound = bounds::forgotten(self.plan);
        let gone = |h: &Holds| (h.connections, h.consumers, h.unacked.unwrap_or(0)) == (0, 0, 0);
        let whose = (self.vhost, self.plan.queue.as_str());
        self.probe.broker_holds(whose, Moment::After, bound, false, gone).await?;
        Ok(())
    }

    fn phase(&self, phase: Phase) {
        self.recorder.record(What::Phase { phase });
    }

    fn bounded(&self, phase: Phase, outcome: Result<(), String>) {
        if let Err(missing) = outcome {
            self.recorder.record(What::PhaseOverran { phase, missing });
        }
    }
}

/// How long the link is watched after the subject's end.
fn afterlife(promises: &Promises) -> Duration {
    let (least, most) = AFTERLIFE;
    promises.backoff.as_ref().map_or(most, |backoff| backoff.cap).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::{BackoffPromise, Jitter};

    #[test]
    fn the_link_is_watched_for_the_longest_delay_promised_within_bounds() {
        let check = |cap: Option<u64>, expect: u64| {
            let backoff = cap.map(|cap| BackoffPromise {
                first_at_once: true,
                base: Duration::from_millis(50),
                factor: 2.0,
                cap: Duration::from_millis(cap),
                jitter: Jitter::Full,
                max_attempts: None,
            });
            let promises = Promises { backoff, ..Promises::all() };
            assert_eq!(afterlife(&promises), Duration::from_millis(expect), "{cap:?}");
        };
        check(Some(100), 250);
        check(Some(400), 400);
        check(Some(60_000), 500);
        check(None, 500);
    }
}
