//! One scenario against a consumer in this process: what it is to be, played and judged.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Duration;

use gauntlet_harness::broker::BrokerSpec;
use gauntlet_harness::subject::{Promises, Subject, SubjectSpec};
use gauntlet_harness::suite::{Options, PlannedRun, RunOutcome, RunReport, SuiteError, run_suite};
use gauntlet_harness::{limits, starvation};
use gauntlet_judge::report::summary::{self, Detail, Told};
use gauntlet_judge::scenario::Scenario;
use gauntlet_judge::verdict::Verdict;
use gauntlet_network::Seed;
use gauntlet_scenarios::SelectError;
use tokio::sync::{RwLock, RwLockWriteGuard};

/// A scenario to be played.
#[derive(Clone)]
pub struct Play {
    scenario: Scenario,
    promises: Promises,
    broker: BrokerSpec,
    seed: Seed,
    dir: Option<PathBuf>,
}

/// Why a scenario could not be played. It says nothing of the consumer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayError {
    /// No scenario has this name, or a suite has it.
    #[error(transparent)]
    Unknown(#[from] SelectError),
    /// No broker, or no directory to keep the run in.
    #[error(transparent)]
    Environment(#[from] SuiteError),
}

/// A scenario of any suite, as it comes: on the embedded broker, with a random seed, kept nowhere, and for a consumer that
/// promises what any service's consumer has to do, but not to remember what it has handled.
///
/// # Errors
///
/// No scenario has this name; the error names the nearest.
pub fn scenario(name: &str) -> Result<Play, PlayError> {
    let promises = Promises {
        reports_handling: true,
        reports_when_seen: false,
        prefetch: true,
        ..Promises::of_a_process()
    };
    let scenario = gauntlet_scenarios::scenario(name)?;
    let broker = BrokerSpec::Embedded;
    Ok(Play { scenario, promises, broker, seed: Seed::random(), dir: None })
}

impl Play {
    /// What the consumer is held to. What it does not promise is not held against it.
    #[must_use]
    pub fn promises(mut self, promises: Promises) -> Play {
        self.promises = promises;
        self
    }

    /// How many workers it is told to have, each with a channel of its own; at least 1.
    #[must_use]
    pub fn workers(mut self, workers: u16) -> Play {
        self.scenario.subject.workers = workers.max(1);
        self
    }

    /// Which broker: one of RabbitMQ's own is started for this play and stopped after it.
    #[must_use]
    pub fn broker(mut self, broker: BrokerSpec) -> Play {
        self.broker = broker;
        self
    }

    /// Fixes the schedule of faults, not how tasks interleave.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Play {
        self.seed = seed;
        self
    }

    /// Keeps plan, history and verdict in this directory, for `gauntlet check`. It must not exist, or be empty.
    #[must_use]
    pub fn keep_in(mut self, dir: impl Into<PathBuf>) -> Play {
        self.dir = Some(dir.into());
        self
    }

    /// Plays it and judges what happened. What a busy machine left undecided is played once more when the load is gone, and
    /// a warning (`tracing`) says so; a failure is never played again. The second run is kept beside the first, in `DIR-again`.
    ///
    /// # Errors
    ///
    /// There is no broker, or the directory cannot be written. A consumer that fails is no error but a verdict.
    pub async fn run(self, consumer: impl Subject) -> Result<Outcome, PlayError> {
        static LIMITS: Once = Once::new();
        LIMITS.call_once(limits::raise_open_files);
        let subject_spec = SubjectSpec::new(
            std::any::type_name_of_val(&consumer),
            self.promises.clone(),
            consumer,
        );
        let first = self.once(&subject_spec, self.dir.clone()).await?;
        if !first.too_busy() {
            return Ok(first);
        }
        let quiet = starvation::quiet(PATIENCE).await;
        tracing::warn!(
            scenario = self.scenario.name,
            quiet,
            "the machine was too busy: played again"
        );
        let again = self.dir.as_ref().map(|dir| {
            let mut dir = dir.clone().into_os_string();
            dir.push("-again");
            PathBuf::from(dir)
        });
        self.once(&subject_spec, again).await
    }

    async fn once(
        &self,
        subject_spec: &SubjectSpec,
        dir: Option<PathBuf>,
    ) -> Result<Outcome, PlayError> {
        static ALONE: RwLock<()> = RwLock::const_new(());
        let (_alone, _beside) = match self.scenario.exclusive {
            true => (Some(last(&ALONE).await), None),
            false => (None, Some(ALONE.read().await)),
        };
        let (scenario, subject_spec) = (self.scenario.clone(), subject_spec.clone());
        let planned = PlannedRun { scenario, subject_spec, seed: self.seed, dir };
        let options = Options { broker: self.broker.clone(), ..Options::default() };
        let mut reports = run_suite(&[planned], &options, Arc::new(|_| {})).await?;
        let report = reports.pop().expect("a report for each run");
        Ok(Outcome { report, seed: self.seed })
    }
}

/// What this process holds is counted when nothing else in it plays: the lock for that, without others that come meanwhile
/// having to wait for those that play.
async fn last(lock: &RwLock<()>) -> RwLockWriteGuard<'_, ()> {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        if let Ok(alone) = lock.try_write() {
            return alone;
        }
    }
}

/// How long to wait for a machine with CPU time to spare.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of a scenario. `Display` is the report: findings, and the trace that proves them.
#[derive(Clone, Debug)]
pub struct Outcome {
    report: Arc<RunReport>,
    seed: Seed,
}

impl Outcome {
    /// The verdict; none where the scenario was not played, or not to its end.
    pub fn verdict(&self) -> Option<Verdict> {
        self.report.verdict()
    }

    /// Everything known of the run.
    pub fn report(&self) -> &RunReport {
        &self.report
    }

    /// Returns if the consumer came through. What a busy machine left undecided, twice, is no failure either: a line on
    /// stderr says so.
    ///
    /// # Panics
    ///
    /// It did not come through, or that could not be decided for another reason; with the report as the message.
    #[track_caller]
    pub fn assert_passed(&self) {
        if self.too_busy() {
            // Nobody reading is no reason to fail.
            let _ = writeln!(std::io::stderr(), "undecided, the machine was too busy: {self}");
            return;
        }
        assert!(self.verdict() == Some(Verdict::Pass), "{self}");
    }

    fn too_busy(&self) -> bool {
        matches!(&self.report.outcome, RunOutcome::Judged(played) if played.judgement.too_busy())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &*self.report;
        writeln!(f, "{}", summary::line(report))?;
        if let RunOutcome::Judged(played) = &report.outcome
            && played.judgement.verdict != Verdict::Pass
        {
            let again =
                format!("gauntlet::scenario({:?})?.seed(Seed({}))", report.scenario, self.seed.0);
            let told = &mut Told::default();
            write!(f, "\n{}", summary::details(report, played, &again, Detail::Brief, told))?;
        }
        Ok(())
    }
}

/// A `#[test]` of [`suite!`](crate::suite).
///
/// # Panics
///
/// The consumer did not come through, or the scenario could not be played.
#[doc(hidden)]
#[track_caller]
pub fn test(name: &str, setup: impl FnOnce(Play) -> Play, consumer: impl Subject) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let played = runtime
        .expect("a runtime can be started")
        .block_on(async { setup(scenario(name)?).run(consumer).await });
    match played {
        Ok(outcome) => outcome.assert_passed(),
        Err(error) => panic!("{error}"),
    }
}
