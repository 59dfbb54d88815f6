//! From a plan and a history to a verdict: runs the checkers and holds the scenario to what it said it decides.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkers::{Case, Recovery, decide_all, recoveries};
use crate::history::ledger::Ledger;
use crate::history::{History, HistoryError, What, read_file};
use crate::plan::{FORMAT, Plan};
use crate::preflight;
use crate::scenario::Hazard;
use crate::verdict::{Finding, Outcome, Verdict};

/// A run judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The worst of the findings.
    pub verdict: Verdict,
    /// What each checker found, in the order of the catalogue.
    pub findings: Vec<Finding>,
    /// The slowest recovery there was, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_ns: Option<u64>,
}

impl Judgement {
    /// The findings that fail.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.outcome == Outcome::Fail)
    }

    /// Whether it is unknown for no other reason than a busy machine.
    pub fn too_busy(&self) -> bool {
        self.verdict == Verdict::Unknown && self.unknowns().all(|f| f.busy)
    }

    /// Whether the machine was too busy to decide this invariant.
    pub fn busy(&self, checker: &str) -> bool {
        self.findings.iter().any(|f| f.checker == checker && f.busy)
    }

    /// The findings that could not be decided.
    pub fn unknowns(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.outcome == Outcome::Unknown)
    }
}

/// Judges a run from its plan and history alone. Connections of strangers are not looked at.
pub fn judge(plan: &Plan, history: &History) -> Judgement {
    let history = &history.of_subject();
    if preflight::is_preflight(plan) {
        return preflight::judge(plan, history);
    }
    let plan = &plan.as_seen(history);
    let ledger = Ledger::of_queue(&plan.queue, history.events());
    let case = Case { plan, history, ledger: &ledger };
    let recovery_ns = recoveries(&case).iter().map(Recovery::ns).max();
    let mut findings = decide_all(&case);
    let decides = |f: &Finding| plan.scenario.decides.contains(&f.checker);
    for finding in &mut findings {
        // What it does not promise is not held against it, and shows as such.
        if !plan.promises.cover(&finding.checker) {
            if finding.outcome == Outcome::Unknown {
                finding.outcome = Outcome::NotApplicable;
            }
            continue;
        }
        // A scenario that is there for an invariant and to which it did not apply has shown nothing.
        if decides(finding) && finding.outcome == Outcome::NotApplicable {
            finding.outcome = Outcome::Unknown;
            finding.summary =
                format!("this scenario is there to decide it, but: {}", finding.summary);
        }
    }
    if let Some(hazard) = &plan.scenario.hazard {
        let of_it = |f: &&mut Finding| hazard.shows.contains(&f.checker);
        findings.iter_mut().filter(of_it).for_each(|f| shown(f, hazard));
    }
    // Of a scenario of which nothing is promised, nothing is said.
    let nothing = |f: &Finding| f.outcome == Outcome::NotApplicable || !decides(f);
    if !plan.scenario.decides.is_empty()
        && findings.iter().all(nothing)
        && let Some(finding) = findings.iter_mut().find(|f| decides(f))
    {
        finding.outcome = Outcome::Unknown;
        finding.summary = format!(
            "of what this scenario is there to decide nothing is promised: {}",
            finding.summary
        );
    }
    if let Some(busy) = busy(&ledger, history) {
        for finding in findings.iter_mut().filter(|f| f.outcome == Outcome::Unknown && !f.busy) {
            finding.busy = true;
            // Causes come before consequences.
            finding.summary = format!("{busy}; {}", finding.summary);
        }
    }
    let verdict = Verdict::merge(findings.iter().filter_map(|f| f.outcome.verdict()));
    Judgement { verdict, findings, recovery_ns }
}

/// Of the subject's life, at least one part in so many spent waiting for a CPU makes a busy machine.
const BUSY: u64 = 5;

/// How busy the machine was while the subject ran; nothing where it was not.
pub(crate) fn busy(ledger: &Ledger, history: &History) -> Option<String> {
    let started =
        history.events().iter().find(|e| matches!(e.what, What::SubjectStarted { .. }))?;
    let last = history.events().last()?.ns;
    let ended = ledger.subject_ended.map_or(last, |m| m.ns);
    let (span, waited) = (ended.saturating_sub(started.ns), ledger.load.waited(started.ns, ended));
    let ms = |ns: u64| ns / 1_000_000;
    (waited > 0 && waited * BUSY >= span).then(|| {
        format!("the machine was too busy: waited {} of {} ms for a CPU", ms(waited), ms(span))
    })
}

/// A hazard that shows is what the scenario is there for, and no defect of the subject.
fn shown(finding: &mut Finding, hazard: &Hazard) {
    if hazard.shows.first() != Some(&finding.checker) {
        if finding.outcome == Outcome::Fail {
            finding.outcome = Outcome::NotApplicable;
            finding.summary = format!("part of the hazard: {}", finding.summary);
        }
        return;
    }
    match (finding.outcome, &hazard.consumer) {
        (Outcome::Fail, _) => {
            finding.outcome = Outcome::Pass;
            finding.summary = format!("hazard shown: {} ({})", hazard.words, finding.summary);
        }
        (Outcome::Pass, None) => {
            finding.outcome = Outcome::Unknown;
            finding.summary = format!("the hazard did not show: {}", finding.summary);
        }
        (Outcome::Pass, Some(consumer)) => {
            finding.summary = format!(
                "the hazard did not show: this consumer does not do what `{consumer}` does ({})",
                finding.summary
            );
        }
        _ => {}
    }
}

/// A run directory that cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The plan cannot be read.
    #[error(
        "failed to read {path}: {source}; is this the directory of a run (plan.json, history.jsonl)?"
    )]
    Plan {
        /// File.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The plan is not one.
    #[error("{path} is not a plan: {source}")]
    Format {
        /// File.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Another version wrote it.
    #[error(
        "{path} has format {found}; this gauntlet reads format {FORMAT}: use the version that wrote it"
    )]
    Version {
        /// File.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Reads a whole run back from its directory; one that is damaged is an error ([`Saved`](crate::saved::Saved)).
pub fn load(dir: &Path) -> Result<(Plan, History), CheckError> {
    let (plan, _) = load_plan(dir)?;
    let history = History::read(&dir.join("history.jsonl"))?;
    Ok((plan, history))
}

/// The plan, and what its file says.
pub(crate) fn load_plan(dir: &Path) -> Result<(Plan, serde_json::Value), CheckError> {
    let path = dir.join("plan.json");
    let text =
        read_file(&path).map_err(|source| CheckError::Plan { path: path.clone(), source })?;
    let format = |source| CheckError::Format { path: path.clone(), source };
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(format)?;
    let found = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if found != u64::from(FORMAT) {
        return Err(CheckError::Version { path, found });
    }
    let mut plan: Plan = serde_json::from_value(value.clone()).map_err(format)?;
    if plan.scenario.name.is_empty() {
        plan.scenario.name =
            dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    }
    Ok((plan, value))
}
