//! Every consumer broken on purpose is caught by the checker meant for it, and the control, which has
//! none of their habits, passes the same scenarios: the catch is the habit's doing. Consumers that are odd and right
//! pass too.

use std::collections::BTreeSet;
use std::time::Duration;

use gauntlet_harness::mutants::{INNOCENTS, MUTANTS, control};
use gauntlet_judge::judgement::Judgement;
use gauntlet_judge::scenario::Scenario;
use gauntlet_judge::verdict::{Outcome, Verdict};

use crate::support::{explain, play, play_until};

/// The scenario, less patient: most mutants make it wait for what never comes.
fn scenario(name: &str) -> Scenario {
    let mut scenario = gauntlet_scenarios::scenario(name).expect("listed");
    scenario.expect.drains_within = scenario.expect.drains_within.min(PATIENCE);
    scenario
}

/// The control, which passes the same scenarios, is done in a fraction of this.
const PATIENCE: Duration = Duration::from_secs(8);

/// The kind of broker mutants meet: what catches them is the wire, which is the same on each, and this one is there.
fn kind() -> &'static str {
    "embedded"
}

#[test]
fn each_mutant_fails_by_the_checker_meant_for_it() {
    let escaped: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = MUTANTS
            .iter()
            .map(|mutant| {
                scope.spawn(move || {
                    let busy = |judgement: &Judgement| judgement.busy(mutant.checker);
                    let scenario = scenario(mutant.scenario);
                    let played = play_until(&scenario, &(mutant.make)(), kind(), &busy)?;
                    let caught = played
                        .judgement
                        .findings
                        .iter()
                        .any(|f| f.checker == mutant.checker && f.outcome == Outcome::Fail);
                    (!caught || played.judgement.verdict != Verdict::Fail).then(|| {
                        format!("{} escaped {}:\n{}", mutant.name, mutant.checker, explain(&played))
                    })
                })
            })
            .collect();
        runs.into_iter().filter_map(|run| run.join().expect("a run does not panic")).collect()
    });
    assert!(escaped.is_empty(), "\n{}", escaped.join("\n"));
}

#[test]
fn the_control_passes_every_scenario_a_mutant_fails() {
    let scenarios: BTreeSet<&str> = MUTANTS.iter().map(|m| m.scenario).collect();
    let failed: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = scenarios
            .into_iter()
            .map(|name| {
                scope.spawn(move || {
                    let played = play(&scenario(name), &control(), kind())?;
                    (played.judgement.verdict != Verdict::Pass).then(|| explain(&played))
                })
            })
            .collect();
        runs.into_iter().filter_map(|run| run.join().expect("a run does not panic")).collect()
    });
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

/// What every consumer of any kind has to get through: work, a lost connection, a stop.
const OF_ALL: [&str; 3] = ["steady", "rst-load", "stop-in-flight"];

#[test]
fn what_is_odd_and_right_passes() {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let pairs = INNOCENTS.iter().flat_map(|i| OF_ALL.map(|name| (i, name)));
        let runs: Vec<_> = pairs
            .map(|(innocent, name)| {
                scope.spawn(move || {
                    let played = play(&scenario(name), &(innocent.make)(), kind())?;
                    let passed = played.judgement.verdict == Verdict::Pass;
                    (!passed).then(|| format!("{}:\n{}", innocent.name, explain(&played)))
                })
            })
            .collect();
        runs.into_iter().filter_map(|run| run.join().expect("a run does not panic")).collect()
    });
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn there_are_at_least_ten_and_each_differs() {
    let names: BTreeSet<&str> = MUTANTS.iter().map(|m| m.name).collect();
    assert!(names.len() >= 10 && names.len() == MUTANTS.len(), "{names:?}");
}
