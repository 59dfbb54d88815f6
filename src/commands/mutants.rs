//! `gauntlet mutants`: each consumer broken on purpose must fail its scenario by the checker meant for it.

use std::sync::Arc;
use std::time::Instant;

use gauntlet_harness::mutants::{MUTANTS, Mutant, find};
use gauntlet_harness::suite::{Options, PlannedRun, RunOutcome, RunReport, run_suite};
use gauntlet_judge::report::summary;
use gauntlet_judge::scenario::nearest;
use gauntlet_judge::verdict::{Finding, Outcome};
use gauntlet_network::Seed;

use super::{Failure, broker, isolated, network, runtime, say};
use crate::args::Mutants;
use crate::interrupt::Interrupt;

/// Exit code 0 when every mutant was caught by its checker, 1 when one escaped, 2 when the machine was too busy to tell of
/// one and none escaped.
pub fn execute(args: &Mutants) -> Result<u8, Failure> {
    let mutants = selected(&args.names)?;
    let seed = args.environment.seed.unwrap_or_else(Seed::random);
    let interrupt = Interrupt::listen(false)?;
    let runtime = runtime()?;
    let network = network(&args.environment)?;
    let broker = broker(&args.environment, &network, &runtime)?;
    let options = Options {
        network,
        jobs: args.environment.jobs(&broker, false),
        broker,
        out: None,
        isolated: Some(isolated),
        halt: interrupt.halt(),
        preflight: false,
    };
    say(format!("gauntlet: {} mutants, seed {seed}", mutants.len()));
    let planned = |mutant: &&Mutant| {
        let scenario = gauntlet_scenarios::scenario(mutant.scenario).map_err(Failure::usage)?;
        Ok(PlannedRun { scenario, subject_spec: (mutant.make)(), seed, dir: None })
    };
    let planned_runs: Vec<PlannedRun> =
        mutants.iter().map(planned).collect::<Result<_, Failure>>()?;
    let began = Instant::now();
    let reports = runtime.block_on(run_suite(&planned_runs, &options, Arc::new(|_| {})));
    if let Some(code) = interrupt.code() {
        let totals = summary::totals(&reports.unwrap_or_default(), began.elapsed());
        say(format!("interrupted: {totals}"));
        return Ok(code);
    }
    let reports = reports.map_err(Failure::environment)?;
    let told: Vec<Told> = mutants.iter().zip(&reports).map(|(m, r)| told(m, r)).collect();
    for ((mutant, report), told) in mutants.iter().zip(&reports).zip(&told) {
        let (verdict, words) = (told.in_words(), words(mutant, report));
        say(format!("{verdict:<8} {:<24} {:<26} {words}", mutant.name, mutant.scenario));
    }
    let count = |wanted| told.iter().filter(|told| **told == wanted).count();
    let (caught, escaped, busy) = (count(Told::Caught), count(Told::Escaped), count(Told::Busy));
    let undecided = if busy > 0 { format!(", {busy} undecided") } else { String::new() };
    say(format!("\n{} mutants: {caught} caught, {escaped} escaped{undecided}", mutants.len()));
    Ok(match (escaped, busy) {
        (0, 0) => 0,
        (0, _) => 2,
        _ => 1,
    })
}

/// What became of a mutant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It failed by the checker meant for it.
    Caught,
    /// It did not.
    Escaped,
    /// The machine was too busy to tell.
    Busy,
}

impl Told {
    fn in_words(self) -> &'static str {
        match self {
            Told::Caught => "caught",
            Told::Escaped => "ESCAPED",
            Told::Busy => "unknown",
        }
    }
}

fn told(mutant: &Mutant, report: &RunReport) -> Told {
    let RunOutcome::Judged(played) = &report.outcome else { return Told::Escaped };
    let judgement = &played.judgement;
    match judgement.failures().any(|f| f.checker == mutant.checker) {
        true => Told::Caught,
        false if judgement.busy(mutant.checker) => Told::Busy,
        false => Told::Escaped,
    }
}

fn words(mutant: &Mutant, report: &RunReport) -> String {
    match &report.outcome {
        RunOutcome::Judged(played) => {
            let of_it = |f: &&Finding| f.checker == mutant.checker && (f.busy || fails(f));
            if let Some(finding) = played.judgement.findings.iter().find(of_it) {
                return format!("{} {}", finding.checker, finding.summary);
            }
            let others: Vec<&str> =
                played.judgement.failures().map(|f| f.checker.as_str()).collect();
            format!("{} did not fail (failed: {})", mutant.checker, others.join(" "))
        }
        RunOutcome::Skipped(why) | RunOutcome::Broken(why) => why.clone(),
        RunOutcome::Interrupted => "interrupted".to_owned(),
        RunOutcome::NotPlayed(_) => "not played".into(),
    }
}

fn fails(finding: &Finding) -> bool {
    finding.outcome == Outcome::Fail
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
