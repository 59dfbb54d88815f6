//! The summary of a suite: a line per scenario, then every failure with its evidence and how to repeat it.
//!
//! Plain text; whoever prints it may colour the verdicts.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use gauntlet_network::Seed;

use super::trace;
use crate::judge::Judgement;
use crate::suite::{Played, RunOutcome, RunReport};
use crate::verdict::{Finding, Outcome, Verdict};

/// Lines of trace around each piece of evidence.
const AROUND: usize = 2;

/// One scenario in one line: verdict, name, time, and what matters most about it.
pub fn line(report: &RunReport) -> String {
    let (verdict, note) = match &report.outcome {
        RunOutcome::Judged(played) => (played.judgement.verdict.to_string(), headline(&played.judgement)),
        RunOutcome::Skipped(why) => ("skipped".into(), why.clone()),
        RunOutcome::Broken(why) => ("broken".into(), why.lines().next().unwrap_or_default().into()),
    };
    format!("{verdict:<8} {:<26} {:>7}  {note}", report.scenario, seconds(report.took))
}

/// The worst finding; for a pass, what was recovered from.
fn headline(judgement: &Judgement) -> String {
    let worst = judgement.failures().chain(judgement.unknowns()).next();
    let recovered = judgement.findings.iter().find(|f| f.checker == "I12" && f.outcome == Outcome::Pass);
    match (worst, recovered) {
        (Some(finding), _) => format!("{} {}", finding.checker, finding.summary),
        (None, Some(finding)) => finding.summary.clone(),
        (None, None) => {
            let held = judgement.findings.iter().filter(|f| f.outcome == Outcome::Pass).count();
            format!("{held} invariants held")
        }
    }
}

/// The last lines: counts, time, and the sum of it.
pub fn totals(reports: &[Arc<RunReport>], took: Duration) -> String {
    let count = |wanted: Verdict| reports.iter().filter(|r| r.verdict() == Some(wanted)).count();
    let mut parts = vec![format!("{} passed", count(Verdict::Pass))];
    let others = [
        (count(Verdict::Fail), "failed"),
        (count(Verdict::Unknown), "unknown"),
        (reports.iter().filter(|r| matches!(r.outcome, RunOutcome::Skipped(_))).count(), "skipped"),
        (reports.iter().filter(|r| matches!(r.outcome, RunOutcome::Broken(_))).count(), "broken"),
    ];
    parts.extend(others.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    format!("{} scenarios: {} in {}", reports.len(), parts.join(", "), seconds(took))
}

/// What was violated, or could not be decided, with the trace around the evidence and the command that repeats it.
pub fn details(report: &RunReport, played: &Played, repeat: &str) -> String {
    let mut text = String::new();
    let Played { plan, history, judgement } = played;
    let title = format!("{} - {}", report.scenario, report.title);
    let _ = writeln!(text, "{} {title}", judgement.verdict.to_string().to_uppercase());
    for finding in judgement.failures().chain(judgement.unknowns()) {
        let _ = writeln!(text, "\n  {} {}: {}", finding.checker, name_of(finding), finding.summary);
        if !finding.evidence.is_empty() {
            let trace = trace::render(history, &finding.evidence, AROUND);
            for line in trace.lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    let _ = writeln!(text, "\n  subject {}, {}, seed {}", plan.subject, plan.broker, Seed(plan.seed));
    if let Some(dir) = &report.dir {
        let _ = writeln!(text, "  history {}", dir.join("history.jsonl").display());
    }
    let _ = writeln!(text, "  repeat  {repeat}");
    text
}

fn name_of(finding: &Finding) -> &'static str {
    let known = crate::checkers::CHECKERS.iter().find(|c| c.id == finding.checker);
    known.map_or("", |c| c.name)
}

fn seconds(took: Duration) -> String {
    format!("{:.1}s", took.as_secs_f64())
}
