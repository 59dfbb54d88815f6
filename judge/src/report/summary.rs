//! The summary of a suite: a line per scenario, then every failure with its evidence and how to repeat it.
//!
//! Plain text; whoever prints it may colour the verdicts.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use gauntlet_faults::Seed;

use super::trace;
use crate::history::{History, What};
use crate::judgement::Judgement;
use crate::outcome::{Played, RunOutcome, RunReport};
use crate::preflight;
use crate::verdict::{Finding, Outcome, Verdict};

/// Lines of trace around each piece of evidence.
const AROUND: usize = 1;

/// One scenario in one line: verdict, name, time, and what matters most about it.
pub fn line(report: &RunReport) -> String {
    let (verdict, note) = match &report.outcome {
        RunOutcome::Judged(played) => (played.judgement.verdict.to_string(), headline(played)),
        RunOutcome::Skipped(why) => ("skipped".into(), why.clone()),
        RunOutcome::Broken(why) => ("broken".into(), why.lines().next().unwrap_or_default().into()),
        RunOutcome::Interrupted => ("-".into(), "interrupted".into()),
        RunOutcome::NotPlayed(_) => ("-".into(), "not played: the preflight did not pass".into()),
    };
    format!("{verdict:<8} {:<26} {:>7}  {note}", report.scenario, seconds(report.took))
}

/// Failures told before others: what was lost or done twice, that it did not come back, that it ended.
const GRAVEST: [&str; 6] = ["I1", "I2", "I11", "I12", "I20", "I22"];
/// Of what could not be decided, these say why the rest could not.
const CAUSES: [&str; 2] = ["fired", "reports"];

/// The gravest finding, and which others there are; for a pass, what was recovered from.
pub fn headline(played: &Played) -> String {
    let Played { plan, judgement, .. } = played;
    let worst = by_weight(played);
    let of = |outcome| {
        let others = worst.iter().skip(1).filter(move |f| f.outcome == outcome);
        others.map(|f| f.checker.as_str()).collect::<Vec<_>>().join(", ")
    };
    let others = match (of(Outcome::Fail), of(Outcome::Unknown)) {
        (failed, unknown) if failed.is_empty() && unknown.is_empty() => String::new(),
        (failed, unknown) if unknown.is_empty() => format!(" (also {failed})"),
        (failed, unknown) if failed.is_empty() => format!(" (undecided: {unknown})"),
        (failed, unknown) => format!(" (also {failed}; undecided: {unknown})"),
    };
    let worst = worst.first();
    if let Some(hazard) = &plan.scenario.hazard
        && let Some(shown) =
            judgement.findings.iter().find(|f| hazard.shows.first() == Some(&f.checker))
        && judgement.failures().next().is_none()
    {
        return format!("{} {}", shown.checker, shown.summary);
    }
    let recovered =
        judgement.findings.iter().find(|f| f.checker == "I12" && f.outcome == Outcome::Pass);
    match (worst, recovered) {
        // A preflight has but one.
        (Some(finding), _) if preflight::is_preflight(plan) => finding.summary.clone(),
        (Some(finding), _) => format!("{} {}{others}", finding.checker, finding.summary),
        // Its parts are for whoever asks for the details.
        (None, Some(finding)) => {
            finding.summary.split_once("; ").map_or(&*finding.summary, |(head, _)| head).to_owned()
        }
        (None, None) if preflight::is_preflight(plan) => {
            judgement.findings.first().map_or(String::new(), |f| f.summary.clone())
        }
        (None, None) => {
            let held = judgement.findings.iter().filter(|f| f.outcome == Outcome::Pass).count();
            format!("{held} invariants held")
        }
    }
}

/// The finding that matters most.
pub fn leading(played: &Played) -> Option<&Finding> {
    by_weight(played).first().copied()
}

/// What is grave first; then what the scenario is there for, which says more than what comes along with it.
fn by_weight(played: &Played) -> Vec<&Finding> {
    let decides = &played.plan.scenario.decides;
    let mut worst = worst_first(played);
    let rank = rank(played);
    worst.sort_by_key(|f| (rank(f), !decides.contains(&f.checker)));
    worst
}

/// Failures, the gravest first, then what could not be decided.
fn worst_first(played: &Played) -> Vec<&Finding> {
    let Played { judgement, .. } = played;
    let mut worst: Vec<&Finding> = judgement.failures().chain(judgement.unknowns()).collect();
    let rank = rank(played);
    worst.sort_by_key(|f| rank(f));
    worst
}

/// Where a finding stands: failures first, and in both kinds causes before consequences, the grave before others.
fn rank(played: &Played) -> impl Fn(&Finding) -> (bool, bool, bool) {
    let died = died(&played.history);
    move |f| {
        let id = f.checker.as_str();
        let undecided = f.outcome == Outcome::Unknown;
        let cause = match undecided {
            true => CAUSES.contains(&id),
            // Of one that ended by itself, nothing else is a surprise.
            false => died && matches!(id, "I20" | "I22"),
        };
        (undecided, !cause, !undecided && !GRAVEST.contains(&id))
    }
}

/// Whether the subject ended before it was asked to.
fn died(history: &History) -> bool {
    let ends = history.events().iter().find_map(|e| match &e.what {
        What::SubjectEnded { .. } => Some(true),
        What::StopRequested => Some(false),
        _ => None,
    });
    ends == Some(true)
}

/// `1 scenario`, `2 scenarios`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What each checker found, a line each, in the order of the catalogue.
pub fn findings(judgement: &Judgement) -> String {
    let line = |f: &Finding| {
        let outcome = f.outcome.verdict().map_or("not applicable".to_owned(), |v| v.to_string());
        format!("    {outcome:<12} {:<4} {:<22} {}", f.checker, name_of(f), f.summary)
    };
    judgement.findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The last lines: counts, time, and the sum of it.
pub fn totals(reports: &[Arc<RunReport>], took: Duration) -> String {
    let kept = |r: &RunReport| matches!(r.outcome, RunOutcome::NotPlayed(_));
    let played = || reports.iter().filter(|r| !kept(r));
    let count = |wanted: Verdict| played().filter(|r| r.verdict() == Some(wanted)).count();
    let mut parts = vec![format!("{} passed", count(Verdict::Pass))];
    let others = [
        (count(Verdict::Fail), "failed"),
        (count(Verdict::Unknown), "unknown"),
        (reports.iter().filter(|r| matches!(r.outcome, RunOutcome::Skipped(_))).count(), "skipped"),
        (reports.iter().filter(|r| matches!(r.outcome, RunOutcome::Broken(_))).count(), "broken"),
        (
            reports.iter().filter(|r| matches!(r.outcome, RunOutcome::Interrupted)).count(),
            "interrupted or not begun",
        ),
        (reports.len() - played().count(), "not played (the preflight did not pass)"),
    ];
    parts.extend(others.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    let count = counted(reports.len(), "scenario");
    format!("{count}: {} in {}", parts.join(", "), seconds(took))
}

/// How much of the evidence is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The first findings with the start of their evidence: what fits a screen.
    Brief,
    /// Everything.
    Full,
}

/// What a report has told, so that the next one in the same output need not.
#[derive(Debug, Default)]
pub struct Told {
    /// The end of each log, and the scenario it was told of.
    logs: Vec<(String, String)>,
}

impl Told {
    /// Which scenario's log ended so before, but for its numbers (ports, times, addresses).
    fn before(&mut self, lines: &[String], scenario: &str) -> Option<String> {
        let mut log = lines.join("\n");
        log.retain(|c| !c.is_ascii_hexdigit());
        let before = self.logs.iter().find(|(known, _)| *known == log);
        let before = before.map(|(_, scenario)| scenario.clone());
        if before.is_none() {
            self.logs.push((log, scenario.to_owned()));
        }
        before
    }
}

/// Findings shown with their trace in a brief report; the others get a line each.
const BRIEF_FINDINGS: usize = 2;
/// Pieces of evidence shown of each.
const BRIEF_EVIDENCE: usize = 6;

/// What was violated, or could not be decided, with the trace around the evidence and the command that repeats it.
/// Where something was violated, what could not be decided is only named in a brief report.
pub fn details(
    report: &RunReport,
    played: &Played,
    repeat: &str,
    detail: Detail,
    told: &mut Told,
) -> String {
    let mut text = String::new();
    let Played { plan, history, judgement } = played;
    let verdict = judgement.verdict.to_string().to_uppercase();
    let _ = writeln!(text, "{verdict} {} - {}", report.scenario, report.title);
    let mut shown = worst_first(played);
    let folds = detail == Detail::Brief && judgement.verdict == Verdict::Fail;
    let folded: Vec<&Finding> =
        shown.extract_if(.., |f| folds && f.outcome == Outcome::Unknown).collect();
    for (i, finding) in shown.into_iter().enumerate() {
        let undecided = match finding.outcome {
            Outcome::Unknown if judgement.verdict == Verdict::Fail => ", undecided",
            _ => "",
        };
        let _ = writeln!(text, "\n  {}{undecided}: {}", in_words(finding), finding.summary);
        let shown = match detail {
            Detail::Full => finding.evidence.len(),
            Detail::Brief if i < BRIEF_FINDINGS => BRIEF_EVIDENCE,
            Detail::Brief => 0,
        };
        let evidence: Vec<u64> = finding.evidence.iter().copied().take(shown).collect();
        if !evidence.is_empty() {
            for line in
                trace::render(history, &with_fault(history, whole(history, evidence)), AROUND)
                    .lines()
            {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    if !folded.is_empty() {
        let names: Vec<String> = folded.iter().map(|f| in_words(f)).collect();
        let _ = writeln!(text, "\n  undecided: {}", names.join(", "));
    }
    let log = history.events().iter().rev().find_map(|e| match &e.what {
        What::LogTail { lines } => Some(lines),
        _ => None,
    });
    let mut before = |lines: &Vec<String>| match detail {
        Detail::Full => None,
        Detail::Brief => told.before(lines, &report.scenario),
    };
    match log.map(|lines| (lines, before(lines))) {
        None => {}
        Some((_, Some(before))) => {
            let _ = writeln!(text, "\n  the subject's log ends as in {before}");
        }
        Some((lines, None)) => {
            let _ = writeln!(text, "\n  the subject's log ends with");
            for line in lines {
                let _ = writeln!(text, "    | {line}");
            }
        }
    }
    let _ =
        writeln!(text, "\n  subject {}, {}, seed {}", plan.subject, plan.broker, Seed(plan.seed));
    if let Some(dir) = &report.dir {
        let _ = writeln!(text, "  history {}", dir.join("history.jsonl").display());
        if detail == Detail::Brief {
            let _ = writeln!(text, "  all evidence: gauntlet check {} --full", dir.display());
        }
    }
    let _ = writeln!(text, "  repeat: {repeat}");
    text
}

/// A scenario that came out like one that was told in full: where to look.
pub fn alike(report: &RunReport) -> String {
    let dir = report.dir.as_ref();
    let look =
        dir.map_or(String::new(), |dir| format!(": gauntlet check {} --full", dir.display()));
    format!("  the same in {}{look}", report.scenario)
}

/// The evidence, a message's content with the method that brought it.
fn whole(history: &History, evidence: Vec<u64>) -> Vec<u64> {
    let mut shown = Vec::new();
    for seq in evidence {
        if let Some(What::Wire { conn, end, way, frame }) = history.get(seq).map(|e| &e.what)
            && matches!(&*frame.name, "body" | "header")
        {
            let of_it = |e: &&crate::history::Event| match &e.what {
                What::Wire { conn: c, end: n, way: w, frame: f } => {
                    (c, n, w, f.channel) == (conn, end, way, frame.channel)
                        && !matches!(&*f.name, "body" | "header")
                }
                _ => false,
            };
            let before = history.events().iter().take_while(|e| e.seq < seq);
            shown.extend(before.filter(of_it).last().map(|e| e.seq));
        }
        shown.push(seq);
    }
    shown.dedup();
    shown
}

/// The evidence, with the fault that came before it.
fn with_fault(history: &History, mut evidence: Vec<u64>) -> Vec<u64> {
    let first = evidence.iter().filter_map(|seq| history.get(*seq)).map(|e| e.ns).max();
    let fault = history
        .events()
        .iter()
        .take_while(|e| Some(e.ns) <= first)
        .filter(|e| matches!(e.what, What::Fired { .. }))
        .last();
    if let Some(fault) = fault
        && !evidence.contains(&fault.seq)
    {
        evidence.insert(0, fault.seq);
    }
    evidence
}

fn name_of(finding: &Finding) -> &'static str {
    let known = crate::checkers::CHECKERS.iter().find(|c| c.id == finding.checker);
    known.map_or("", |c| c.name)
}

/// `I12 recovery bound`; one whose id is its name, once.
fn in_words(finding: &Finding) -> String {
    match name_of(finding) {
        name if name == finding.checker || name.is_empty() => finding.checker.clone(),
        name => format!("{} {name}", finding.checker),
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1}s", took.as_secs_f64())
}
