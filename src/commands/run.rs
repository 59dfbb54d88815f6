//! `gauntlet run`: scenarios against a consumer, live progress, a summary, every failure with its evidence.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gauntlet_harness::broker::{BrokerSpec, RunId};
use gauntlet_harness::network::NetworkSpec;
use gauntlet_harness::subject::{Program, SubjectSpec};
use gauntlet_harness::suite::{
    Options, PlannedRun, Played, RunOutcome, RunReport, SuiteError, exit_code, longest, run_suite,
};
use gauntlet_judge::report::groups::{groups, told_of};
use gauntlet_judge::report::hints::hints;
use gauntlet_judge::report::strangers::strangers;
use gauntlet_judge::report::summary::{self, Detail};
use gauntlet_judge::scenario::Scenario;
use gauntlet_judge::verdict::Outcome;
use gauntlet_network::Seed;

use super::{Failure, broker, isolated, network, runtime, say, subject};
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
    let subject_spec = subject_spec(run)?;
    let seed = run.environment.seed.unwrap_or_else(Seed::random);
    let out = match (&run.out, &run.isolated) {
        (Some(out), _) => out.clone(),
        // It holds other scenarios, too.
        (None, Some(isolated)) => isolated.parent().map(Path::to_owned).unwrap_or_default(),
        (None, None) => PathBuf::from("gauntlet-out").join(RunId::new().as_str()),
    };
    if run.isolated.is_none() {
        refuse_used(&out)?;
    }
    let interrupt = Interrupt::listen(run.isolated.is_some())?;
    let runtime = runtime()?;
    let network = network(&run.environment)?;
    let broker = broker(&run.environment, &network, &runtime)?;
    let options = Options {
        network: network.clone(),
        broker: broker.clone(),
        jobs: run.environment.jobs(&broker, subject_spec.program().is_some()),
        out: run.isolated.is_none().then(|| out.clone()),
        isolated: Some(isolated),
        halt: interrupt.halt(),
        preflight: !run.no_preflight,
    };
    let progress = Arc::new(Progress::new());
    let hear = {
        let progress = progress.clone();
        move |event| progress.on_event(&event)
    };
    let rounds = (1..=run.repeat).map(|round| {
        // The first round is what a single run with this seed would be.
        let seed = if round == 1 { seed } else { seed.derive(&format!("round {round}")) };
        (round, seed)
    });
    let planned_runs: Vec<PlannedRun> = rounds
        .flat_map(|(round, seed)| {
            let (out, subject_spec) = (&out, &subject_spec);
            // Not every consumer shows every hazard; a command is judged as it is.
            let whoever_shows = |scenario: &Scenario| {
                let shows = scenario.hazard.as_ref()?.consumer.as_deref()?;
                subject(shows).ok().filter(|_| subject_spec.program().is_none())
            };
            scenarios.iter().map(move |scenario| {
                let name = if run.repeat == 1 {
                    scenario.name.clone()
                } else {
                    format!("{}.{round}", scenario.name)
                };
                let dir = Some(run.isolated.clone().unwrap_or_else(|| out.join(name)));
                let subject_spec = whoever_shows(scenario).unwrap_or_else(|| subject_spec.clone());
                PlannedRun { scenario: scenario.clone(), subject_spec, seed, dir }
            })
        })
        .collect();
    let count = summary::counted(planned_runs.len(), "scenario");
    let longest = super::rounded(longest(&planned_runs, &options));
    say(format!(
        "gauntlet: {count}, subject {}, seed {seed}; at most {longest}",
        subject_spec.name
    ));
    let began = Instant::now();
    let reports = runtime.block_on(run_suite(&planned_runs, &options, Arc::new(hear)));
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
    let shown = told_of(&reports);
    for hint in hints(shown.iter().copied()) {
        say(format!("\nhint: {hint}"));
    }
    if let Some(note) = strangers(shown.iter().copied()) {
        say(format!("\nnote: {note}"));
    }
    let groups = groups(&shown);
    let place = (&broker, &network);
    let repeat = |report: &RunReport, played: &Played| repeat(report, played, run, place);
    super::tell(&groups, Detail::Brief, repeat);
    shown.iter().for_each(|report| tell_broken(report));
    if subject_spec.program().is_some() && reports.iter().any(|r| is_judged_by_wire_alone(r)) {
        say(
            "\nnote: it reports no `handled ID`, so what it did with a message is taken from its acks alone (docs/subjects.md)",
        );
    }
    say(totals(&reports));
    Ok(exit_code(&reports))
}

/// Whoever is to be put through it: a command, or a consumer by name.
fn subject_spec(run: &Run) -> Result<SubjectSpec, Failure> {
    let Some(program) = run.command.first() else { return subject(&run.subject) };
    if !can_be_found(Path::new(program)) {
        return Err(Failure::usage(format!(
            "no program is found by `{}`: give a path, or a name that is in a directory of PATH",
            program.to_string_lossy()
        )));
    }
    if !can_be_executed(Path::new(program)) {
        let program = program.to_string_lossy();
        return Err(Failure::usage(format!(
            "`{program}` may not be executed: chmod +x {program}, or name what runs it, like: -- python3 {program}"
        )));
    }
    let promises = run.promises.promises().map_err(Failure::usage)?;
    let program = Program::new(run.command.clone());
    Ok(SubjectSpec::process(program.in_words(), promises, program))
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

/// Whether a program that is given by its path has the right set; one by its name is looked for by it.
fn can_be_executed(program: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let rights = |meta: std::fs::Metadata| meta.permissions().mode() & 0o111 != 0;
    program.components().count() == 1 || program.metadata().is_ok_and(rights)
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
    findings.iter().any(|f| f.checker == "reports" && f.outcome == Outcome::NotApplicable)
        && findings.iter().any(|f| f.checker == "I1" && f.outcome == Outcome::Pass)
}

/// The command that plays it again.
fn repeat(
    report: &RunReport,
    played: &Played,
    run: &Run,
    (broker, network): (&BrokerSpec, &NetworkSpec),
) -> String {
    let seed = Seed(played.plan.seed);
    let (flags, words) = match &played.plan.command {
        Some(command) => (run.promises.in_words(), format!("-- {command}")),
        None => (format!("--subject {} ", run.subject), String::new()),
    };
    let network = match network {
        NetworkSpec::Embedded => String::new(),
        other => format!("--network {other} "),
    };
    // A preflight comes with any scenarios.
    let names = match report.scenario == gauntlet_judge::preflight::NAME {
        true => run.names.join(" "),
        false => report.scenario.clone(),
    };
    let command =
        format!("gauntlet run {names} --broker '{broker}' {network}{flags}--seed {seed} {words}");
    command.trim_end().to_owned()
}

fn tell_broken(report: &RunReport) {
    if let RunOutcome::Broken(why) = &report.outcome
        && why.contains('\n')
    {
        say(format!("\nBROKEN {}: {why}", report.scenario));
    }
}
