//! One file per command: words in, an exit code out.

pub mod broker;
pub mod check;
pub mod completions;
pub mod league;
pub mod list;
pub mod mutants;
pub mod proxy;
pub mod run;
pub mod show;

use std::path::Path;
use std::time::Duration;

use gauntlet_harness::broker::{BrokerSpec, available, choose};
use gauntlet_harness::mutants as catalogue;
use gauntlet_harness::network::NetworkSpec;
use gauntlet_harness::subject::{SubjectSpec, reference};
use gauntlet_harness::suite::{PlannedRun, Played, RunOutcome, RunReport};
use gauntlet_judge::report::summary::{Detail, Told, alike, details, line};
use gauntlet_judge::scenario::nearest;
use tokio::process::Command;
use tokio::runtime::Runtime;

use crate::args::Environment;
pub use crate::output::{announce, say};

/// A command that could not do its work: what to say, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// One clear error.
    pub message: String,
    /// 3 or 64.
    pub code: u8,
}

impl Failure {
    /// The command was used incorrectly.
    pub fn usage(error: impl ToString) -> Failure {
        Failure { message: error.to_string(), code: crate::USAGE }
    }

    /// The environment is unavailable.
    pub fn environment(error: impl ToString) -> Failure {
        Failure { message: error.to_string(), code: 3 }
    }
}

/// Plays a run by this same program in a process of its own, in a directory of its own.
fn isolated(planned: &PlannedRun, broker: &BrokerSpec, dir: &Path) -> Command {
    let program = std::env::current_exe().unwrap_or_else(|_| "gauntlet".into());
    let mut command = Command::new(program);
    let (seed, subject) = (planned.seed.to_string(), &planned.subject_spec.name);
    command.args([
        "run",
        &planned.scenario.name,
        "--subject",
        subject,
        "--seed",
        &seed,
        "--isolated",
    ]);
    // By the environment: a URL may hold a password, and arguments are anybody's to read.
    command.arg(dir).env("GAUNTLET_BROKER", broker.in_full());
    command.env("GAUNTLET_NETWORK", "embedded");
    command
}

/// The network asked for.
fn network(environment: &Environment) -> Result<NetworkSpec, Failure> {
    environment.network().map_err(|e| Failure::usage(format!("failed to {e} (--network)")))
}

/// The broker asked for, behind this network; what `auto` comes to here, and why, is said.
fn broker(
    environment: &Environment,
    network: &NetworkSpec,
    runtime: &Runtime,
) -> Result<BrokerSpec, Failure> {
    let asked =
        environment.broker(network).map_err(|e| Failure::usage(format!("failed to {e}")))?;
    if asked != BrokerSpec::Auto {
        return Ok(asked);
    }
    let chosen = runtime.block_on(choose());
    let chosen = chosen.map_err(|e| Failure::environment(format!("failed to {e}")))?;
    let lacking = runtime.block_on(available()).into_iter().find_map(|(kind, is)| {
        let why = is.err()?;
        Some(format!(" ({kind} is not to be had: {})", why.lines().next().unwrap_or_default()))
    });
    say(format!(
        "broker auto: {chosen}{}",
        lacking.filter(|_| chosen != BrokerSpec::container()).unwrap_or_default()
    ));
    Ok(chosen)
}

/// The runtime of the harness itself; subjects have their own.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::environment(format!("failed to start the runtime: {e}")))
}

/// A consumer by name.
fn subject(name: &str) -> Result<SubjectSpec, Failure> {
    match name {
        reference::NAME => return Ok(reference::subject_spec()),
        "control" => return Ok(catalogue::control()),
        _ => {}
    }
    if let Some(mutant) = catalogue::find(name) {
        return Ok((mutant.make)());
    }
    if let Some(innocent) = catalogue::INNOCENTS.iter().find(|i| i.name == name) {
        return Ok((innocent.make)());
    }
    let others = catalogue::INNOCENTS.iter().map(|i| i.name).chain([reference::NAME, "control"]);
    let known = catalogue::MUTANTS.iter().map(|m| m.name).chain(others);
    let hint = nearest(name, known).map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
    Err(Failure::usage(format!(
        "no consumer is named `{name}`{hint}; `gauntlet list mutants` shows them"
    )))
}

/// Groups told in full; of the others, where to look.
const IN_FULL: usize = 5;

/// Tells what did not pass: of each group the first in full, and where to look for the others.
fn tell(
    groups: &[Vec<&RunReport>],
    detail: Detail,
    repeat: impl Fn(&RunReport, &Played) -> String,
) {
    let mut told = Told::default();
    for (i, group) in groups.iter().enumerate() {
        let in_full = detail == Detail::Full || i < IN_FULL;
        for (j, report) in group.iter().enumerate() {
            let RunOutcome::Judged(played) = &report.outcome else { continue };
            match (j, in_full) {
                (0, true) => {
                    let repeat = repeat(report, played);
                    say(format!("\n{}", details(report, played, &repeat, detail, &mut told)));
                }
                (0, false) => say(format!("\n{}", line(report))),
                _ => say(alike(report)),
            }
        }
    }
}

/// A bound in words, in whole seconds or minutes.
fn rounded(bound: Duration) -> humantime::FormattedDuration {
    let unit = if bound > Duration::from_secs(120) { 60 } else { 1 };
    let units = bound.as_secs().div_ceil(unit);
    humantime::format_duration(Duration::from_secs(units * unit))
}
