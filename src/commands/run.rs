//! `gauntlet run`: scenarios against a consumer, live progress, a summary, every failure with its evidence.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gauntlet_harness::broker::{BrokerSpec, RunId};
use gauntlet_harness::network::NetworkSpec;
use gauntlet_harness::report::hints::hints;
use gauntlet_harness::report::strangers::strangers;
use gauntlet_harness::report::summary::{self, Detail, Told};
use gauntlet_harness::scenario::Scenario;
use gauntlet_harness::subject::{Entrant, Program};
use gauntlet_harness::suite::{
    Bout, Options, RunOutcome, RunReport, SuiteError, exit_code, run_suite,
};
use gauntlet_harness::verdict::{Outcome, Verdict};
use gauntlet_network::Seed;

use super::{Failure, apart, broker, network, runtime, say, subject};
use crate::args::Run;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// Runs, reports, and says how it went.
pub fn execute(run: &Run) -> Result<u8, Failure> {
    // A variable that is empty, say.
    if run.command.is_empty() && std::env::args_os().next_back().is_some_and(|last| last == "--") {
        return Err(Failure::usage(
            "nothing follows `--`: give the command that starts your consumer",
        ));
    }
    let scenarios = gauntlet_scenarios::select(&run.names)
        .map_err(|e| Failure::usage(format!("{e}{}", meant_a_command(run))))?;
    let entrant = entrant(run)?;
    let seed = run.environment.seed.unwrap_or_else(Seed::random);
    let out = match (&run.out, &run.apart) {
        (Some(out), _) => out.clone(),
        // It holds other scenarios, too.
        (None, Some(apart)) => apart.parent().map(Path::to_owned).unwrap_or_default(),
        (None, None) => PathBuf::from("gauntlet-out").join(RunId::new().as_str()),
    };
    if run.apart.is_none() {
        refuse_used(&out)?;
    }
    let interrupt = Interrupt::listen(run.apart.is_some())?;
    let runtime = runtime()?;
    let network = network(&run.environment)?;
    let broker = broker(&run.environment, &network, &runtime)?;
    let options = Options {
        network: network.clone(),
        broker: broker.clone(),
        jobs: run.environment.jobs(&broker, entrant.program().is_some()),
        out: run.apart.is_none().then(|| out.clone()),
        apart: Some(apart),
        halt: interrupt.halt(),
    };
    let progress = Arc::new(Progress::new());
    let hear = {
        let progress = progress.clone();
        move |news| progress.hear(&news)
    };
    let rounds = (1..=run.repeat).map(|round| {
        // The first round is what a single run with this seed would be.
        let seed = if round == 1 { seed } else { seed.derive(&format!("round {round}")) };
        (round, seed)
    });
    let bouts: Vec<Bout> = rounds
        .flat_map(|(round, seed)| {
            let (out, entrant) = (&out, &entrant);
            // Not every consumer shows every hazard; a command is judged as it is.
            let whoever_shows = |scenario: &Scenario| {
                let shows = scenario.hazard.as_ref()?.consumer.as_deref()?;
                subject(shows).ok().filter(|_| entrant.program().is_none())
            };
            scenarios.iter().map(move |scenario| {
                let name = if run.repeat == 1 {
                    scenario.name.clone()
                } else {
                    format!("{}.{round}", scenario.name)
                };
                let dir = Some(run.apart.clone().unwrap_or_else(|| out.join(name)));
                let entrant = whoever_shows(scenario).unwrap_or_else(|| entrant.clone());
                Bout { scenario: scenario.clone(), entrant, seed, dir }
            })
        })
        .collect();
    let count = summary::counted(bouts.len(), "scenario");
    say(format!("gauntlet: {count}, subject {}, seed {seed}", entrant.name));
    let began = Instant::now();
    let reports = runtime.block_on(run_suite(&bouts, &options, Arc::new(hear)));
    progress.finish();
    let totals = |reports: &[Arc<RunReport>]| {
        let totals = summary::totals(reports, began.elapsed());
        format!("\n{totals}; histories in {}", out.display())
    };
    if let Some(code) = interrupt.code() {
        say("interrupted: what was begun is removed");
        say(totals(&reports.unwrap_or_default()));
        return Ok(code);
    }
    let reports = reports.map_err(|e| environment(&e))?;
    let mut told = Told::default();
    for report in &reports {
        tell(report, run, (&broker, &network), &mut told);
    }
    for hint in hints(reports.iter().map(|report| &**report)) {
        say(format!("\nhint: {hint}"));
    }
    if let Some(note) = strangers(reports.iter().map(|report| &**report)) {
        say(format!("\nnote: {note}"));
    }
    if entrant.program().is_some() && reports.iter().any(|r| is_judged_by_wire_alone(r)) {
        say(
            "\nnote: it reports no `handled ID`, so what it did with a message is taken from its acks alone (docs/subjects.md)",
        );
    }
    say(totals(&reports));
    Ok(exit_code(&reports))
}

/// Whoever is to be put through it: a command, or a consumer by name.
fn entrant(run: &Run) -> Result<Entrant, Failure> {
    let Some(program) = run.command.first() else { return subject(&run.subject) };
    if !can_be_found(Path::new(program)) {
        return Err(Failure::usage(format!(
            "no program is found by `{}`: give a path, or a name that is in a directory of PATH",
            program.to_string_lossy()
        )));
    }
    let promises = run.promises.promises().map_err(Failure::usage)?;
    let program = Program::new(run.command.clone());
    Ok(Entrant::process(program.in_words(), promises, program))
}

/// For whoever gave a program where a scenario goes.
fn meant_a_command(run: &Run) -> String {
    let program = run.names.iter().position(|name| {
        gauntlet_scenarios::select(std::slice::from_ref(name)).is_err()
            && (can_be_found(Path::new(name)) || Path::new(name).is_file())
    });
    match program {
        Some(at) if run.command.is_empty() => {
            let (scenarios, command) = run.names.split_at(at);
            let words = [scenarios, &["--".to_owned()], command].concat();
            format!("; a program of yours goes after `--`: gauntlet run {}", words.join(" "))
        }
        _ => String::new(),
    }
}

pub(super) fn can_be_found(program: &Path) -> bool {
    if program.components().count() != 1 {
        return program.is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn environment(error: &SuiteError) -> Failure {
    Failure::environment(error)
}

/// A directory that holds runs already is not mixed with another.
pub(super) fn refuse_used(out: &Path) -> Result<(), Failure> {
    let used =
        |dir: std::fs::ReadDir| dir.flatten().any(|e| e.path().join("history.jsonl").exists());
    if std::fs::read_dir(out).is_ok_and(used) {
        let message = format!(
            "the output directory {} holds runs already; choose another with --out",
            out.display()
        );
        return Err(Failure::usage(message));
    }
    Ok(())
}

/// Whether it handled messages and reported none.
fn is_judged_by_wire_alone(report: &RunReport) -> bool {
    let RunOutcome::Judged(played) = &report.outcome else { return false };
    let findings = &played.judgement.findings;
    findings.iter().any(|f| f.checker == "reports" && f.outcome == Outcome::NotAtStake)
        && findings.iter().any(|f| f.checker == "I1" && f.outcome == Outcome::Pass)
}

fn tell(
    report: &RunReport,
    run: &Run,
    (broker, network): (&BrokerSpec, &NetworkSpec),
    told: &mut Told,
) {
    match &report.outcome {
        RunOutcome::Judged(played) if played.judgement.verdict != Verdict::Pass => {
            let seed = Seed(played.plan.seed);
            let (flags, words) = match &played.plan.command {
                Some(command) => (run.promises.in_words(), format!("-- {command}")),
                None => (format!("--subject {} ", run.subject), String::new()),
            };
            let network = match network {
                NetworkSpec::Embedded => String::new(),
                other => format!("--network {other} "),
            };
            let command = format!(
                "gauntlet run {} --broker '{broker}' {network}{flags}--seed {seed} {words}",
                report.scenario
            );
            let command = command.trim_end();
            say(format!("\n{}", summary::details(report, played, command, Detail::Brief, told)));
        }
        RunOutcome::Broken(why) if why.contains('\n') => {
            say(format!("\nBROKEN {}: {why}", report.scenario));
        }
        _ => {}
    }
}
