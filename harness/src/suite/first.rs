//! What comes before a suite: how long it can take, and the preflight of each command in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gauntlet_judge::preflight;
use gauntlet_judge::verdict::Verdict;

use super::{BESIDE, Options, PlannedRun, RunOutcome, RunReport, Shared};
use crate::broker::BrokerSpec;
use crate::run::upper_bound;

/// The longest that these runs can take, the broker's own start left out.
pub fn longest(planned_runs: &[PlannedRun], options: &Options) -> Duration {
    let embedded = options.broker == BrokerSpec::Embedded;
    // At one broker of their own, or in this process, they take turns.
    let by_turns = |planned: &&PlannedRun| {
        planned.scenario.own_broker && !embedded
            || planned.counts_this_process() && options.isolated.is_none()
    };
    let (turns, others): (Vec<&PlannedRun>, Vec<&PlannedRun>) =
        planned_runs.iter().partition(by_turns);
    let turns: Duration = turns.into_iter().map(PlannedRun::upper_bound).sum();
    let bounds: Vec<Duration> = others.into_iter().map(PlannedRun::upper_bound).collect();
    let jobs = u32::try_from(options.jobs.max(1)).unwrap_or(u32::MAX);
    let last = bounds.iter().max().copied().unwrap_or_default();
    let preflights: Duration =
        preflights(planned_runs, options).values().map(PlannedRun::upper_bound).sum();
    let sum: Duration = bounds.iter().sum();
    // The last of them begins no later than when all others, spread over the jobs, are over.
    preflights + turns + (sum - last) / jobs + last
}

impl PlannedRun {
    /// No run of it takes longer.
    pub fn upper_bound(&self) -> Duration {
        upper_bound(&self.plan("")) + BESIDE
    }
}

/// A preflight of each command that is to play more than one scenario, by its name.
fn preflights(planned_runs: &[PlannedRun], options: &Options) -> BTreeMap<String, PlannedRun> {
    let mut of: BTreeMap<String, PlannedRun> = BTreeMap::new();
    for planned in
        planned_runs.iter().filter(|b| options.preflight && b.subject_spec.program().is_some())
    {
        let name = &planned.subject_spec.name;
        let its = || planned_runs.iter().filter(|b| b.subject_spec.name == *name);
        if its().count() > 1 && !of.contains_key(name) {
            let beside = planned.dir.as_deref().and_then(Path::parent);
            let dir = beside.map(|dir| dir.join(preflight::NAME));
            let mut scenario = preflight::scenario();
            // No broker is started for it that nothing else would need.
            scenario.own_broker = its().all(|b| b.scenario.own_broker);
            let first = PlannedRun { scenario, dir, ..planned.clone() };
            of.insert(name.clone(), first);
        }
    }
    of
}

impl Shared {
    /// Plays the preflights, one after the other. A report for each run that is not to be played.
    pub(super) async fn preflights(
        &self,
        planned_runs: &[PlannedRun],
    ) -> Vec<Option<Arc<RunReport>>> {
        let mut reports = vec![None; planned_runs.len()];
        for (i, (name, first)) in preflights(planned_runs, &self.options).into_iter().enumerate() {
            let report = self.one(planned_runs.len() + i, &first, false).await;
            if report.verdict() == Some(Verdict::Pass) {
                continue;
            }
            if matches!(report.outcome, RunOutcome::Interrupted) {
                break;
            }
            let its = planned_runs.iter().enumerate().filter(|(_, b)| b.subject_spec.name == name);
            for (i, planned) in its {
                reports[i] = Some(Arc::new(RunReport {
                    scenario: planned.scenario.name.clone(),
                    title: planned.scenario.title.clone(),
                    subject: name.clone(),
                    dir: None,
                    took: Duration::ZERO,
                    outcome: RunOutcome::NotPlayed(report.clone()),
                }));
            }
        }
        reports
    }
}
