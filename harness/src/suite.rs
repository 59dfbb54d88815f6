//! Runs many scenarios: shares one broker among those that can share it, several at a time.
//!
//! Owns which scenario runs when and on which broker. Scenarios with a broker of their own start
//! first (they take longest), exclusive ones last and alone.

mod error;
mod first;
mod isolated;
mod out;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gauntlet_judge::judgement::{Judgement, judge};
use gauntlet_judge::plan::Plan;
use gauntlet_judge::scenario::Scenario;
use gauntlet_judge::verdict::Verdict;
use gauntlet_network::Seed;
use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, BrokerError, BrokerSpec, RunId};
use crate::network::{Network, NetworkSpec};
use crate::run::{Environment, RunError, run, upper_bound};
use crate::subject::{SubjectSpec, process};

pub use error::SuiteError;
pub use first::longest;
pub use gauntlet_judge::outcome::{Played, RunOutcome, RunReport, exit_code};
use out::{remove_empty, try_out};

/// What a run takes beside its phases, at most: its virtual host, its link, what is counted at the end.
const BESIDE: Duration = Duration::from_secs(90);

/// Scenarios at a time, unless somebody says otherwise: most of them wait most of the time, but a broker they share
/// does not.
pub fn default_jobs(broker: &BrokerSpec) -> usize {
    if *broker == BrokerSpec::Embedded { 24 } else { 8 }
}

/// One scenario against one consumer.
#[derive(Clone)]
pub struct PlannedRun {
    /// What is played.
    pub scenario: Scenario,
    /// Against whom.
    pub subject_spec: SubjectSpec,
    /// The seed of its schedule.
    pub seed: Seed,
    /// Where its plan, history and verdict are kept; none keeps nothing on disk.
    pub dir: Option<PathBuf>,
}

impl PlannedRun {
    fn report(&self, took: Duration, outcome: RunOutcome) -> RunReport {
        RunReport {
            scenario: self.scenario.name.clone(),
            title: self.scenario.title.clone(),
            subject: self.subject_spec.name.clone(),
            dir: self.dir.clone(),
            took,
            outcome,
        }
    }

    fn plan(&self, broker: &str) -> Plan {
        let SubjectSpec { name, promises, .. } = &self.subject_spec;
        let mut plan = Plan::resolve(&self.scenario, self.seed, name, promises, broker);
        plan.command = self.subject_spec.program().map(process::Program::in_words);
        plan
    }

    /// Whether it counts what this process holds, where a subject runs in it.
    fn counts_this_process(&self) -> bool {
        self.scenario.exclusive && self.subject_spec.program().is_none()
    }
}

/// The command that plays a run on a broker in a process of its own, keeping it in the directory given. It ends in order
/// when its standard input does: so it does not outlive this process.
pub type IsolatedProcess = fn(&PlannedRun, &BrokerSpec, &Path) -> Command;

/// How runs are played.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which broker.
    pub broker: BrokerSpec,
    /// What is between the link and the broker.
    pub network: NetworkSpec,
    /// Scenarios at a time; at least 1.
    pub jobs: usize,
    /// Where the runs' directories are; it must be writable before anything is played.
    pub out: Option<PathBuf>,
    /// How exclusive scenarios are played beside the others; without it, or where there is one run and so no other,
    /// they are played alone and last.
    pub isolated: Option<IsolatedProcess>,
    /// Ends the suite wherever it is. What runs is broken off and removed, the rest is not played.
    pub halt: CancellationToken,
    /// Whether a command that is to play several scenarios must pass a preflight first.
    pub preflight: bool,
}

impl Default for Options {
    fn default() -> Options {
        let broker = BrokerSpec::Embedded;
        let jobs = default_jobs(&broker);
        Options {
            jobs,
            broker,
            network: NetworkSpec::Embedded,
            out: None,
            isolated: None,
            halt: CancellationToken::new(),
            preflight: true,
        }
    }
}

/// What a suite tells while it runs.
#[derive(Clone, Debug)]
pub enum SuiteEvent {
    /// A broker is being started, for all or for one scenario.
    BrokerStarting {
        /// For which scenario alone.
        of: Option<String>,
    },
    /// It answers.
    BrokerReady {
        /// In words.
        broker: String,
        /// After so long.
        took: Duration,
    },
    /// There is more than the link, and it answers.
    NetworkReady {
        /// In words.
        network: String,
    },
    /// A scenario began.
    Started {
        /// Its name.
        scenario: String,
    },
    /// A scenario is over.
    Finished {
        /// Its report.
        report: Arc<RunReport>,
    },
}

type OnEvent = Arc<dyn Fn(SuiteEvent) + Send + Sync>;

/// Plays the runs and reports them in the order given.
pub async fn run_suite(
    planned_runs: &[PlannedRun],
    options: &Options,
    on_event: OnEvent,
) -> Result<Vec<Arc<RunReport>>, SuiteError> {
    let made = match &options.out {
        Some(out) => {
            try_out(out).map_err(|source| SuiteError::Out { path: out.clone(), source })?
        }
        None => Vec::new(),
    };
    let run = RunId::new();
    let halt = &options.halt;
    let network = Network::start(&options.network, &run, options.jobs.max(1));
    let Some(network) = halt.run_until_cancelled(network).await else {
        remove_empty(&made);
        return Ok(planned_runs.iter().map(interrupted).collect());
    };
    let network = Arc::new(network.inspect_err(|_| remove_empty(&made))?);
    if let Some(network) = network.in_words() {
        on_event(SuiteEvent::NetworkReady { network });
    }
    // A process of its own has no part in a Toxiproxy that this one uses.
    let isolated =
        options.isolated.filter(|_| planned_runs.len() > 1 && network.in_words().is_none());
    let shared = Arc::new(Shared {
        options: Options { isolated, ..options.clone() },
        network: network.clone(),
        on_event,
        broker: OnceCell::new(),
        permits: Semaphore::new(options.jobs.max(1)),
        own: Mutex::new(None),
        run,
    });
    // Whether there is a broker at all is known before anything is played.
    if planned_runs.iter().any(|b| !b.scenario.own_broker)
        && let Some(Err(error)) = halt.run_until_cancelled(shared.broker()).await
    {
        remove_empty(&made);
        // The first error is the one to be told.
        _ = network.stop().await;
        return Err(error.into());
    }
    let reports = shared.clone().play(planned_runs).await;
    remove_empty(&made);
    let own = shared.own.lock().await.take();
    for broker in shared.broker.get().into_iter().chain(&own) {
        if let Err(error) = broker.stop().await {
            tracing::warn!(%error, "failed to stop the broker");
        }
    }
    if let Err(error) = network.stop().await {
        tracing::warn!(%error, "failed to stop the network");
    }
    Ok(reports)
}

fn interrupted(planned: &PlannedRun) -> Arc<RunReport> {
    Arc::new(planned.report(Duration::ZERO, RunOutcome::Interrupted))
}

struct Shared {
    options: Options,
    network: Arc<Network>,
    on_event: OnEvent,
    broker: OnceCell<Arc<Broker>>,
    permits: Semaphore,
    /// For scenarios that want a broker to themselves: they take turns at it. One is enough, for each takes a core while
    /// it starts, and time that subjects wait for a core counts as theirs.
    own: Mutex<Option<Arc<Broker>>>,
    run: RunId,
}

impl Shared {
    async fn broker(&self) -> Result<Arc<Broker>, BrokerError> {
        self.broker.get_or_try_init(|| self.start_broker(None)).await.cloned()
    }

    async fn start_broker(&self, of: Option<&str>) -> Result<Arc<Broker>, BrokerError> {
        (self.on_event)(SuiteEvent::BrokerStarting { of: of.map(str::to_owned) });
        let began = Instant::now();
        let broker = Box::pin(Broker::start(&self.options.broker, &self.run)).await?;
        (self.on_event)(SuiteEvent::BrokerReady {
            broker: broker.in_words().await,
            took: began.elapsed(),
        });
        Ok(Arc::new(broker))
    }

    async fn play(self: Arc<Shared>, planned_runs: &[PlannedRun]) -> Vec<Arc<RunReport>> {
        let mut order: Vec<usize> = (0..planned_runs.len()).collect();
        order.sort_by_key(|i| (!planned_runs[*i].scenario.own_broker, *i));
        let isolated = self.options.isolated;
        let (alone, together): (Vec<usize>, Vec<usize>) = order
            .into_iter()
            .partition(|i| planned_runs[*i].counts_this_process() && isolated.is_none());
        let mut reports = self.preflights(planned_runs).await;
        let mut playing = JoinSet::new();
        for i in together.into_iter().filter(|i| reports[*i].is_none()) {
            let (shared, planned) = (self.clone(), planned_runs[i].clone());
            playing.spawn(async move { (i, shared.one(i, &planned, false).await) });
        }
        while let Some(played) = playing.join_next().await {
            // A panic in the harness is its own defect and must be seen as one.
            let (i, report) = played.expect("the runner does not panic");
            reports[i] = Some(report);
        }
        for i in alone {
            if reports[i].is_none() {
                reports[i] = Some(self.one(i, &planned_runs[i], true).await);
            }
        }
        reports.into_iter().flatten().collect()
    }

    async fn one(&self, number: usize, planned: &PlannedRun, alone: bool) -> Arc<RunReport> {
        let scenario = &planned.scenario;
        let embedded = self.options.broker == BrokerSpec::Embedded;
        let turn = async {
            let own = match scenario.own_broker && !embedded {
                true => Some(self.own.lock().await),
                false => None,
            };
            (own, self.permits.acquire().await)
        };
        let Some((mut own, _permit)) = self.options.halt.run_until_cancelled(turn).await else {
            return interrupted(planned);
        };
        (self.on_event)(SuiteEvent::Started { scenario: scenario.name.clone() });
        let began = Instant::now();
        let outcome = match (self.options.isolated, planned.subject_spec.cannot_play(scenario)) {
            (_, Some(why)) => RunOutcome::Skipped(why),
            (Some(make), _) if planned.counts_this_process() => self.isolated(planned, make).await,
            _ => self.here(number, planned, alone, own.as_deref_mut()).await,
        };
        let report = Arc::new(planned.report(began.elapsed(), outcome));
        if !matches!(report.outcome, RunOutcome::Interrupted) {
            (self.on_event)(SuiteEvent::Finished { report: report.clone() });
        }
        report
    }

    /// Plays a run in this process.
    async fn here(
        &self,
        number: usize,
        planned: &PlannedRun,
        alone: bool,
        mut own: Option<&mut Option<Arc<Broker>>>,
    ) -> RunOutcome {
        let environment = self.environment(number, &planned.scenario, alone, own.as_deref_mut());
        match self.options.halt.run_until_cancelled(environment).await {
            None => RunOutcome::Interrupted,
            Some(Ok(environment)) => {
                let outcome = self.judged(planned, environment, planned.dir.as_deref()).await;
                if let (RunOutcome::Broken(_), Some(own)) = (&outcome, own) {
                    // Whatever state it is in is not for the next scenario.
                    self.stop_own(own).await;
                }
                outcome
            }
            Some(Err(RunOrSkip::Skip(why))) => RunOutcome::Skipped(why),
            Some(Err(RunOrSkip::Broker(e))) => RunOutcome::Broken(format!("failed to {e}")),
        }
    }

    async fn isolated(&self, planned: &PlannedRun, make: IsolatedProcess) -> RunOutcome {
        let broker = match self.options.halt.run_until_cancelled(self.broker()).await {
            None => return RunOutcome::Interrupted,
            Some(Ok(broker)) => broker.as_external(),
            Some(Err(e)) => return RunOutcome::Broken(format!("failed to {e}")),
        };
        isolated::play(planned, &broker, make, (&self.run, &self.options.halt)).await
    }

    async fn environment(
        &self,
        number: usize,
        scenario: &Scenario,
        alone: bool,
        own: Option<&mut Option<Arc<Broker>>>,
    ) -> Result<Environment, RunOrSkip> {
        if let Some(why) = scenario.refused_by(self.options.broker.kind()) {
            return Err(RunOrSkip::Skip(why));
        }
        let broker = match (&self.options.broker, own) {
            // It costs less than a virtual host elsewhere.
            (BrokerSpec::Embedded, _) => {
                Arc::new(Broker::start(&self.options.broker, &self.run).await?)
            }
            (_, Some(Some(broker))) => broker.clone(),
            (_, Some(none)) => none.insert(self.start_broker(Some(&scenario.name)).await?).clone(),
            (_, None) => self.broker().await?,
        };
        let vhost =
            broker.vhost_named(&format!("gauntlet-{}-{number}-{}", self.run, scenario.name));
        let (network, halt) = (self.network.clone(), self.options.halt.clone());
        Ok(Environment { broker, vhost, alone, network, halt })
    }

    async fn stop_own(&self, own: &mut Option<Arc<Broker>>) {
        let Some(broker) = own.take() else { return };
        if let Err(error) = broker.stop().await {
            tracing::warn!(%error, "failed to stop a broker that a scenario had to itself");
        }
    }

    async fn judged(
        &self,
        planned: &PlannedRun,
        environment: Environment,
        dir: Option<&Path>,
    ) -> RunOutcome {
        let broker = environment.broker.in_words().await;
        let PlannedRun { scenario, subject_spec, .. } = planned;
        let plan = planned.plan(&broker);
        let bound = upper_bound(&plan) + BESIDE;
        let played = Box::pin(run(&plan, subject_spec, &environment, dir));
        let played = tokio::time::timeout(bound, played).await.unwrap_or_else(|_late| {
            Err(RunError::Overran { bound: humantime::format_duration(bound).to_string() })
        });
        if self.options.broker == BrokerSpec::Embedded
            && let Err(error) = environment.broker.stop().await
        {
            tracing::warn!(%error, scenario = scenario.name, "failed to stop the scenario's broker");
        }
        match played {
            Ok(history) => {
                let judgement = judge(&plan, &history);
                if let Some(dir) = dir
                    && let Err(e) = save(dir, &judgement)
                {
                    return RunOutcome::Broken(e.to_string());
                }
                // Of what passed, nobody asks to see the trace; a soak of thousands must fit in memory.
                let passed = judgement.verdict == Verdict::Pass;
                let history = if passed { history.only_strangers() } else { history };
                RunOutcome::Judged(Box::new(Played { plan, history, judgement }))
            }
            Err(RunError::Interrupted) => RunOutcome::Interrupted,
            Err(e) => RunOutcome::Broken(e.to_string()),
        }
    }
}

enum RunOrSkip {
    Skip(String),
    Broker(BrokerError),
}

impl From<BrokerError> for RunOrSkip {
    fn from(e: BrokerError) -> Self {
        RunOrSkip::Broker(e)
    }
}

fn save(dir: &Path, judgement: &Judgement) -> Result<(), RunError> {
    let path = dir.join("verdict.json");
    let failed = |source| RunError::Output { path: path.clone(), source };
    let text = serde_json::to_string_pretty(judgement).map_err(|e| failed(e.into()))?;
    std::fs::write(&path, text).map_err(failed)
}
