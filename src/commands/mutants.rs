//! `gauntlet mutants`: each consumer broken on purpose must fail its scenario by the checker meant for it.

use std::sync::Arc;

use gauntlet_harness::mutants::{MUTANTS, Mutant, find};
use gauntlet_harness::scenario::nearest;
use gauntlet_harness::suite::{Bout, Options, RunOutcome, RunReport, run_suite};
use gauntlet_network::Seed;

use super::{Failure, apart, broker, runtime, say};
use crate::args::Mutants;

/// Exit code 0 when every mutant was caught by its checker, 1 when one escaped.
pub fn execute(args: &Mutants) -> Result<u8, Failure> {
    let mutants = selected(&args.names)?;
    let seed = args.environment.seed.unwrap_or_else(Seed::random);
    let runtime = runtime()?;
    let broker = broker(&args.environment, &runtime)?;
    let options = Options {
        network: args.environment.network.clone(),
        jobs: args.environment.jobs(&broker, false),
        broker,
        out: None,
        apart: Some(apart),
    };
    say(format!("gauntlet: {} mutants, seed {seed}", mutants.len()));
    let bout = |mutant: &&Mutant| {
        let scenario = gauntlet_scenarios::scenario(mutant.scenario).map_err(Failure::usage)?;
        Ok(Bout { scenario, entrant: (mutant.make)(), seed, dir: None })
    };
    let bouts: Vec<Bout> = mutants.iter().map(bout).collect::<Result<_, Failure>>()?;
    let reports = runtime
        .block_on(run_suite(&bouts, &options, Arc::new(|_| {})))
        .map_err(Failure::environment)?;
    let mut escaped = 0;
    for (mutant, report) in mutants.iter().zip(&reports) {
        let (caught, words) = outcome(mutant, report);
        escaped += u32::from(!caught);
        let verdict = if caught { "caught" } else { "ESCAPED" };
        say(format!("{verdict:<8} {:<24} {:<26} {words}", mutant.name, mutant.scenario));
    }
    say(format!(
        "\n{} mutants: {} caught, {escaped} escaped",
        mutants.len(),
        mutants.len() as u32 - escaped
    ));
    Ok(u8::from(escaped > 0))
}

fn outcome(mutant: &Mutant, report: &RunReport) -> (bool, String) {
    match &report.outcome {
        RunOutcome::Judged(played) => {
            let mut failures = played.judgement.failures();
            match failures.find(|f| f.checker == mutant.checker) {
                Some(finding) => (true, format!("{} {}", finding.checker, finding.summary)),
                None => {
                    let others: Vec<&str> =
                        played.judgement.failures().map(|f| f.checker.as_str()).collect();
                    (
                        false,
                        format!("{} did not fail (failed: {})", mutant.checker, others.join(" ")),
                    )
                }
            }
        }
        RunOutcome::Skipped(why) | RunOutcome::Broken(why) => (false, why.clone()),
    }
}

fn selected(names: &[String]) -> Result<Vec<&'static Mutant>, Failure> {
    if names.is_empty() {
        return Ok(MUTANTS.iter().collect());
    }
    let unknown = |name: &String| {
        let hint = nearest(name, MUTANTS.iter().map(|m| m.name));
        let hint = hint.map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
        Failure::usage(format!(
            "no mutant is named `{name}`{hint}; `gauntlet list mutants` shows them"
        ))
    };
    names.iter().map(|name| find(name).ok_or_else(|| unknown(name))).collect()
}
