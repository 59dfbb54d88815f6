//! A run read back from its directory, judged as far as it is sound.
//!
//! Owns what can be wrong with a saved run beside its verdict: a damaged history, a plan that is not the one it was made
//! with, a verdict that is not the one that was saved. What cannot be trusted never makes a pass nor a failure.

use std::path::Path;

use crate::history::{History, HistoryError, What, read_file};
use crate::judgement::{CheckError, Judgement, judge, load_plan};
use crate::plan::{Plan, digest};
use crate::verdict::{Finding, Outcome, Verdict};

/// The id of the finding about the plan, which is no checker's.
const PLAN: &str = "plan";

/// A saved run, and what is wrong with it.
#[derive(Debug)]
pub struct Saved {
    /// Its plan.
    pub plan: Plan,
    /// Its history, up to the damage.
    pub history: History,
    /// What is damaged; the history ends before it.
    pub damage: Option<HistoryError>,
    /// The plan the history was made with, and the one that is there, where they differ.
    pub other_plan: Option<(String, String)>,
    /// The judgement saved beside it; nothing where none was, or why it cannot be read.
    pub judgement: Result<Option<Judgement>, String>,
}

impl Saved {
    /// Reads a run back. Nothing can be said without a plan, nor of a history without a sound event.
    pub fn load(dir: &Path) -> Result<Saved, CheckError> {
        let (plan, value) = load_plan(dir)?;
        let (history, damage) = History::read_sound(&dir.join("history.jsonl"))?;
        let damage = match damage {
            Some(damage) if history.events().is_empty() => return Err(damage.into()),
            damage => damage,
        };
        let made_with = match history.get(0).map(|e| &e.what) {
            Some(What::Began { plan }) => Some(plan.clone()),
            _ => None,
        };
        let is = digest(&value);
        let other_plan = made_with.filter(|made| *made != is).map(|made| (made, is));
        let judgement = saved_judgement(&dir.join("verdict.json"));
        Ok(Saved { plan, history, damage, other_plan, judgement })
    }

    /// Judges it. A history that ends at its damage can prove a violation, never the absence of one; by another plan than
    /// its own nothing is decided.
    pub fn judge(&self) -> Judgement {
        let mut judgement = judge(&self.plan, &self.history);
        let Some((made, is)) = &self.other_plan else { return judgement };
        for finding in &mut judgement.findings {
            if matches!(finding.outcome, Outcome::Pass | Outcome::Fail) {
                finding.outcome = Outcome::Unknown;
                finding.busy = false;
                finding.summary = format!("by another plan: {}", finding.summary);
            }
        }
        let summary = format!(
            "plan.json is not the plan this history was made with (that was {made}, this is {is}): nothing is decided"
        );
        let (checker, outcome) = (PLAN.to_owned(), Outcome::Unknown);
        let evidence = Vec::new();
        let finding = Finding { checker, outcome, summary, evidence, busy: false };
        judgement.findings.insert(0, finding);
        judgement.verdict = Verdict::Unknown;
        judgement
    }

    /// What a reader has to know beside the verdict, a line each.
    pub fn notes(&self, now: &Judgement) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(damage) = &self.damage {
            let sound = self.history.events().len();
            notes.push(format!(
                "damaged: {damage}; the {sound} events before it are judged, as of a run that broke off there"
            ));
        }
        if let Some((made, is)) = &self.other_plan {
            notes.push(format!(
                "plan.json was changed: the history was made with {made}, this is {is}; put the original back to have it judged"
            ));
        }
        match &self.judgement {
            Ok(None) => {}
            Ok(Some(saved)) => {
                let sound = self.damage.is_none() && self.other_plan.is_none();
                // Otherwise it is known why less is decided.
                let told =
                    if sound { usize::MAX } else { usize::from(saved.verdict != now.verdict) };
                notes.extend(changes(saved, now).into_iter().take(told));
            }
            Err(why) => notes.push(format!("verdict.json cannot be compared: {why}")),
        }
        notes
    }
}

/// The judgement in this file, if it is there.
fn saved_judgement(path: &Path) -> Result<Option<Judgement>, String> {
    match read_file(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| e.to_string()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

/// What is decided otherwise now than it was saved, a line each; the verdict first.
fn changes(saved: &Judgement, now: &Judgement) -> Vec<String> {
    let mut lines = Vec::new();
    if saved.verdict != now.verdict {
        lines.push(format!(
            "the verdict changed since it was saved: it was {}, now it is {}",
            saved.verdict, now.verdict
        ));
    }
    let find = |of: &Judgement, id: &str| of.findings.iter().find(|f| f.checker == id).cloned();
    let mut ids: Vec<&str> = now.findings.iter().map(|f| f.checker.as_str()).collect();
    let gone = saved.findings.iter().map(|f| f.checker.as_str());
    ids.extend(gone.filter(|id| find(now, id).is_none()));
    for id in ids.into_iter().filter(|id| *id != PLAN) {
        let (was, is) = (find(saved, id), find(now, id));
        if was.as_ref().map(|f| f.outcome) == is.as_ref().map(|f| f.outcome) {
            continue;
        }
        let why = is.as_ref().map(|f| format!(" ({})", f.summary)).unwrap_or_default();
        lines.push(format!("{id} changed: it was {}, now it is {}{why}", said(&was), said(&is)));
    }
    lines
}

fn said(finding: &Option<Finding>) -> &'static str {
    match finding.as_ref().map(|f| f.outcome) {
        None => "not decided",
        Some(Outcome::Pass) => "pass",
        Some(Outcome::Unknown) => "unknown",
        Some(Outcome::Fail) => "fail",
        Some(Outcome::NotApplicable) => "not applicable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgement(findings: &[(&str, Outcome)]) -> Judgement {
        let findings: Vec<Finding> = findings
            .iter()
            .map(|(id, outcome)| Finding {
                checker: (*id).to_owned(),
                outcome: *outcome,
                summary: "so it is".into(),
                evidence: Vec::new(),
                busy: false,
            })
            .collect();
        let verdict = Verdict::merge(findings.iter().filter_map(|f| f.outcome.verdict()));
        Judgement { verdict, findings, recovery_ns: None }
    }

    #[test]
    fn what_is_decided_otherwise_is_told_with_both() {
        let was =
            judgement(&[("I1", Outcome::Pass), ("I2", Outcome::Pass), ("old", Outcome::Pass)]);
        let now =
            judgement(&[("I1", Outcome::Fail), ("I2", Outcome::Pass), ("new", Outcome::Pass)]);
        assert_eq!(
            changes(&was, &now),
            [
                "the verdict changed since it was saved: it was pass, now it is fail",
                "I1 changed: it was pass, now it is fail (so it is)",
                "new changed: it was not decided, now it is pass (so it is)",
                "old changed: it was pass, now it is not decided",
            ]
        );
        assert_eq!(changes(&was, &was), [""; 0]);
    }
}
