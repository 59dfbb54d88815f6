//! `gauntlet league`: several consumers through the same scenarios, and the table that comes of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gauntlet_harness::broker::RunId;
use gauntlet_harness::subject::{Program, Promised, Promises, SubjectSpec};
use gauntlet_harness::suite::{Options, PlannedRun, RunOutcome, SuiteEvent, run_suite};
use gauntlet_judge::report::league::{Cell, League};
use gauntlet_judge::report::summary;
use gauntlet_judge::scenario::nearest_hint;
use gauntlet_network::Seed;
use serde::Deserialize;

use super::run::can_be_found;
use super::{Failure, broker, isolated, network, runtime, say, subject};
use crate::args;
use crate::interrupt::Interrupt;

/// What a league's file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Suites or scenarios; without one, the core suite.
    #[serde(default)]
    scenarios: Vec<String>,
    /// What every command is told.
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(rename = "subject")]
    subjects: Vec<Member>,
}

/// One subject of it: a command, or a consumer of Gauntlet's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    /// In the table; a consumer of Gauntlet's own keeps its own.
    #[serde(default)]
    name: String,
    #[serde(default)]
    command: Vec<String>,
    builtin: Option<String>,
    /// Where the command is started, from the file's directory.
    dir: Option<PathBuf>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// A table, or the path of a file of them.
    promises: Option<toml::Value>,
}

/// Runs all, prints the table, writes it.
pub fn execute(args: &args::League) -> Result<u8, Failure> {
    let (scenarios, subject_specs) = read(&args.file)?;
    let scenarios = gauntlet_scenarios::select(&scenarios).map_err(Failure::usage)?;
    let seed = args.environment.seed.unwrap_or_else(Seed::random);
    let out = match &args.out {
        Some(out) => out.clone(),
        None => PathBuf::from("gauntlet-out").join(RunId::new().as_str()),
    };
    super::run::refuse_used(&out)?;
    let interrupt = Interrupt::listen(false)?;
    let runtime = runtime()?;
    let network = network(&args.environment)?;
    let broker = broker(&args.environment, &network, &runtime)?;
    let processes = subject_specs.iter().any(|e| e.program().is_some());
    let options = Options {
        network,
        jobs: args.environment.jobs(&broker, processes),
        broker,
        out: Some(out.clone()),
        isolated: Some(isolated),
        halt: interrupt.halt(),
        preflight: !args.no_preflight,
    };
    let mut planned_runs = Vec::new();
    for subject_spec in &subject_specs {
        for scenario in &scenarios {
            let dir = Some(out.join(slug(&subject_spec.name)).join(&scenario.name));
            let (scenario, subject_spec) = (scenario.clone(), subject_spec.clone());
            planned_runs.push(PlannedRun { scenario, subject_spec, seed, dir });
        }
    }
    for subject_spec in &subject_specs {
        let dir = out.join(slug(&subject_spec.name));
        std::fs::create_dir_all(&dir)
            .map_err(|e| Failure::environment(format!("failed to make {}: {e}", dir.display())))?;
    }
    let (subjects, count) = (subject_specs.len(), summary::counted(scenarios.len(), "scenario"));
    say(format!("gauntlet league: {subjects} subjects, {count}, seed {seed}"));
    let began = Instant::now();
    let reports = runtime.block_on(run_suite(&planned_runs, &options, Arc::new(tell)));
    if let Some(code) = interrupt.code() {
        let totals = summary::totals(&reports.unwrap_or_default(), began.elapsed());
        say(format!("interrupted: {totals}; histories in {}", out.display()));
        return Ok(code);
    }
    let reports = reports.map_err(Failure::environment)?;
    let league = League {
        subjects: subject_specs.iter().map(|e| e.name.clone()).collect(),
        scenarios: scenarios.iter().map(|s| s.name.clone()).collect(),
        cells: reports.iter().map(|r| Cell::of(r)).collect(),
    };
    say(format!("\n{}", league.text()));
    for (name, text) in [("league.md", league.markdown()), ("league.json", league.json())] {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(|e| {
            Failure::environment(format!("failed to write {}: {e}", path.display()))
        })?;
    }
    let (totals, out) = (summary::totals(&reports, began.elapsed()), out.display());
    say(format!("\n{totals}; league.md, league.json and histories in {out}"));
    // Who fails in it is what a league is for: no error of the command.
    let broken = reports.iter().any(|r| matches!(r.outcome, RunOutcome::Broken(_)));
    Ok(if broken { 3 } else { 0 })
}

fn tell(news: SuiteEvent) {
    if let SuiteEvent::Finished { report } = news {
        say(format!("{:<20} {}", report.subject, summary::line(&report)));
    }
}

/// A name as a directory.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    name.chars().map(plain).collect()
}

fn read(path: &Path) -> Result<(Vec<String>, Vec<SubjectSpec>), Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::usage(format!("{}: {e}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
    let file: File = toml::from_str(&text).map_err(|e| {
        wrong(&format!("{}{}", e.to_string().trim_end(), nearest_hint(e.message())))
    })?;
    let beside = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut subject_specs: Vec<SubjectSpec> = Vec::new();
    for mut member in file.subjects {
        for (name, value) in &file.env {
            member.env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let subject_spec = subject_spec(member, beside).map_err(|e| wrong(&e))?;
        if subject_specs.iter().any(|e| slug(&e.name) == slug(&subject_spec.name)) {
            return Err(wrong(&format!("two subjects are named `{}`", subject_spec.name)));
        }
        subject_specs.push(subject_spec);
    }
    if subject_specs.is_empty() {
        return Err(wrong(&"it has no [[subject]]"));
    }
    Ok((file.scenarios, subject_specs))
}

fn subject_spec(member: Member, beside: &Path) -> Result<SubjectSpec, String> {
    let name = member.name;
    match (&member.builtin, member.command.first()) {
        (Some(builtin), None) => subject(builtin).map_err(|e| e.message),
        (None, Some(_)) if name.is_empty() => Err("a subject with a command needs a `name`".into()),
        (None, Some(first)) => {
            let dir = member.dir.map_or(beside.to_owned(), |dir| beside.join(dir));
            let dir = std::path::absolute(dir).map_err(|e| e.to_string())?;
            let mut command: Vec<OsString> = member.command.iter().map(OsString::from).collect();
            if first.contains('/') {
                command[0] = dir.join(first).into_os_string();
            }
            if !can_be_found(Path::new(&command[0])) {
                return Err(format!(
                    "subject `{name}`: no program is found by `{first}` from {}",
                    dir.display()
                ));
            }
            let program =
                Program { command, dir: Some(dir), env: member.env.into_iter().collect() };
            let promises = promised(member.promises, beside)
                .map_err(|e| format!("subject `{name}`: {e}"))?
                .over(Promises::of_a_process());
            Ok(SubjectSpec::process(name, promises, program))
        }
        _ => Err(format!("subject `{name}` needs either `command` or `builtin`")),
    }
}

/// What is promised in the league's file itself, or in the file that it names.
fn promised(said: Option<toml::Value>, beside: &Path) -> Result<Promised, String> {
    match said {
        None => Ok(Promised::default()),
        Some(toml::Value::String(file)) => args::promised_in(&beside.join(file)),
        Some(here) => {
            let text = toml::to_string(&here).map_err(|e| format!("promises: {e}"))?;
            Promised::parse(&text).map_err(|e| format!("promises: {e}"))
        }
    }
}
