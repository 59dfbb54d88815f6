//! `gauntlet check`: decides again from saved histories alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gauntlet_harness::suite::{Played, RunOutcome, RunReport, exit_code};
use gauntlet_judge::preflight::is_preflight;
use gauntlet_judge::report::groups::{groups, told_of};
use gauntlet_judge::report::hints::hints;
use gauntlet_judge::report::strangers::strangers;
use gauntlet_judge::report::summary::{self, Detail};
use gauntlet_judge::saved::Saved;
use gauntlet_judge::verdict::Verdict;

use super::{Failure, say};
use crate::args::{Check, flags_of};

/// Judges one run directory, or every one in a directory.
pub fn execute(check: &Check) -> Result<u8, Failure> {
    let dirs = run_dirs(&check.dir)?;
    let mut reports = Vec::new();
    for dir in &dirs {
        let (report, notes) = match Saved::load(dir) {
            Ok(saved) => judged(dir, saved),
            // The others of a suite are judged without it.
            Err(e) if dirs.len() > 1 => (unreadable(dir, e.to_string()), Vec::new()),
            Err(e) => return Err(Failure::environment(e)),
        };
        say(summary::line(&report));
        for note in notes {
            say(format!("{:<8} {note}", "note"));
        }
        if check.full
            && let RunOutcome::Judged(played) = &report.outcome
        {
            say(summary::findings(&played.judgement));
        }
        reports.push(Arc::new(report));
    }
    let detail = if check.full { Detail::Full } else { Detail::Brief };
    let shown = told_of(&reports);
    for hint in hints(shown.iter().copied()) {
        say(format!("\nhint: {hint}"));
    }
    if let Some(note) = strangers(shown.iter().copied()) {
        say(format!("\nnote: {note}"));
    }
    let groups = match detail {
        Detail::Full => shown.iter().filter(|r| failed(r)).map(|r| vec![*r]).collect(),
        Detail::Brief => groups(&shown),
    };
    super::tell(&groups, detail, |_, played| repeat(played));
    Ok(exit_code(&reports))
}

/// A saved run judged, and what is to be known beside its verdict.
fn judged(dir: &Path, saved: Saved) -> (RunReport, Vec<String>) {
    let judgement = saved.judge();
    let notes = saved.notes(&judgement);
    let Saved { plan, history, .. } = saved;
    let report = RunReport {
        scenario: plan.scenario.name.clone(),
        title: plan.scenario.title.clone(),
        subject: plan.subject.clone(),
        dir: Some(dir.to_owned()),
        took: Duration::from_nanos(history.events().last().map_or(0, |e| e.ns)),
        outcome: RunOutcome::Judged(Box::new(Played { plan, history, judgement })),
    };
    (report, notes)
}

/// A run of which nothing can be said.
fn unreadable(dir: &Path, why: String) -> RunReport {
    RunReport {
        scenario: dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        title: String::new(),
        subject: String::new(),
        dir: Some(dir.to_owned()),
        took: Duration::ZERO,
        outcome: RunOutcome::Broken(why),
    }
}

fn failed(report: &RunReport) -> bool {
    report.verdict().is_some_and(|verdict| verdict != Verdict::Pass)
}

/// The command that plays it again.
fn repeat(played: &Played) -> String {
    let plan = &played.plan;
    let seed = gauntlet_network::Seed(plan.seed);
    let (subject, command) = match &plan.command {
        Some(command) => (flags_of(&plan.promises), format!(" -- {command}")),
        None => (format!("--subject {} ", plan.subject), String::new()),
    };
    // A preflight comes with any scenarios.
    let name = if is_preflight(plan) { "core" } else { &plan.scenario.name };
    format!("gauntlet run {name} {}{subject}--seed {seed}{command}", broker_of(&plan.broker))
}

/// The flag that asks for the broker a plan names; where one of the user's own is, the plan does not say.
fn broker_of(words: &str) -> &'static str {
    match words.rsplit_once(" (").map(|(_, kind)| kind) {
        Some("container)") => "--broker container ",
        Some("local)") => "--broker local ",
        Some("external)") => "--broker URL ",
        _ => "",
    }
}

fn run_dirs(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    // Where one of the two is missing, that is to be said.
    let is_run = |dir: &Path| ["plan.json", "history.jsonl"].iter().any(|f| dir.join(f).exists());
    if is_run(dir) {
        return Ok(vec![dir.to_owned()]);
    }
    let unreadable = |e: std::io::Error| {
        Failure::environment(format!("failed to read the run directory {}: {e}", dir.display()))
    };
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(unreadable)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_run(path))
        .collect();
    dirs.sort();
    if dirs.is_empty() {
        let message = format!(
            "{} holds no run (no plan.json in it or one level below); `gauntlet run --out DIR` makes one",
            dir.display()
        );
        return Err(Failure::environment(message));
    }
    Ok(dirs)
}
