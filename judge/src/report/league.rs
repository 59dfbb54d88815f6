//! A league: several subjects through the same scenarios, as a table.
//!
//! Owns what is kept of a run there, and its three forms: text, Markdown, JSON. It runs nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::summary;
use crate::outcome::{RunOutcome, RunReport};
use crate::verdict::Verdict;

/// What a league keeps of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Who.
    pub subject: String,
    /// In what.
    pub scenario: String,
    /// `pass`, `fail`, `unknown`, `skipped` or `broken`.
    pub verdict: String,
    /// The slowest recovery, where there was one.
    pub recovery_ms: Option<f64>,
    /// The checkers that failed, or could not decide.
    pub checkers: Vec<String>,
    /// What matters most about it.
    pub why: String,
}

impl Cell {
    /// What a league keeps of this run.
    pub fn of(report: &RunReport) -> Cell {
        let (verdict, why) = match &report.outcome {
            RunOutcome::NotPlayed(preflight) => {
                // It is known how it would have ended.
                return Cell { scenario: report.scenario.clone(), ..Cell::of(preflight) };
            }
            RunOutcome::Judged(played) => {
                (played.judgement.verdict.to_string(), summary::headline(played))
            }
            RunOutcome::Skipped(why) => ("skipped".to_owned(), why.clone()),
            RunOutcome::Broken(why) => ("broken".to_owned(), why.clone()),
            RunOutcome::Interrupted => ("-".to_owned(), "interrupted".to_owned()),
        };
        let judged = match &report.outcome {
            RunOutcome::Judged(played) => Some(&played.judgement),
            _ => None,
        };
        let ids = |j: &crate::judgement::Judgement| match j.verdict {
            Verdict::Fail => j.failures().map(|f| f.checker.clone()).collect(),
            _ => j.unknowns().map(|f| f.checker.clone()).collect(),
        };
        Cell {
            subject: report.subject.clone(),
            scenario: report.scenario.clone(),
            verdict,
            recovery_ms: judged.and_then(|j| j.recovery_ns).map(|ns| (ns / 10_000) as f64 / 100.0),
            checkers: judged.map(ids).unwrap_or_default(),
            why,
        }
    }

    /// In the table: `pass 44 ms`, `FAIL I12`, `unknown`, `-`.
    fn in_table(&self) -> String {
        match (&*self.verdict, self.recovery_ms) {
            ("pass", Some(ms)) => format!("pass {ms:.0} ms"),
            ("fail", _) => format!("FAIL {}", self.checkers.join(" ")),
            ("skipped", _) => "-".into(),
            (verdict, _) => verdict.to_owned(),
        }
    }
}

/// The table.
#[derive(Clone, Debug)]
pub struct League {
    /// Subjects, in the order of the columns.
    pub subjects: Vec<String>,
    /// Scenarios, in the order of the rows.
    pub scenarios: Vec<String>,
    /// What was run.
    pub cells: Vec<Cell>,
}

impl League {
    fn rows(&self) -> Vec<Vec<String>> {
        let cells: BTreeMap<(&str, &str), &Cell> =
            self.cells.iter().map(|c| ((&*c.scenario, &*c.subject), c)).collect();
        let head = std::iter::once("scenario".to_owned()).chain(self.subjects.clone()).collect();
        let row = |scenario: &String| {
            let cell = |subject: &String| {
                cells.get(&(&**scenario, &**subject)).map_or_else(String::new, |c| c.in_table())
            };
            std::iter::once(scenario.clone()).chain(self.subjects.iter().map(cell)).collect()
        };
        let passed = |subject: &String| {
            let of = |c: &&Cell| c.subject == *subject && c.verdict != "skipped";
            let all = self.cells.iter().filter(of).count();
            let passed = self.cells.iter().filter(of).filter(|c| c.verdict == "pass").count();
            format!("{passed} of {all}")
        };
        let sum = std::iter::once("passed".to_owned()).chain(self.subjects.iter().map(passed));
        let mut rows = vec![head];
        rows.extend(self.scenarios.iter().map(row));
        rows.push(sum.collect());
        rows
    }

    /// A line for each run that did not pass: who, where, why.
    fn explanations(&self) -> Vec<(&str, &str, &str, String)> {
        let told = |c: &&Cell| !matches!(&*c.verdict, "pass" | "skipped");
        let line = |c: &Cell| c.why.lines().next().unwrap_or_default().to_owned();
        self.cells
            .iter()
            .filter(told)
            .map(|c| (&*c.subject, &*c.scenario, &*c.verdict, line(c)))
            .collect()
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let rows = self.rows();
        let columns = rows.first().map_or(0, Vec::len);
        let wide = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(wide).collect();
        let mut text = String::new();
        for row in &rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        for (subject, scenario, verdict, why) in self.explanations() {
            let _ = write!(text, "\n{verdict} {subject} in {scenario}: {why}");
        }
        text
    }

    /// For a page.
    pub fn markdown(&self) -> String {
        let rows = self.rows();
        let safe = |cell: &String| cell.replace('|', r"\|");
        let line = |row: &Vec<String>| {
            format!("| {} |\n", row.iter().map(safe).collect::<Vec<_>>().join(" | "))
        };
        let mut text = String::new();
        for (i, row) in rows.iter().enumerate() {
            text.push_str(&line(row));
            if i == 0 {
                let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
            }
        }
        let told = self.explanations();
        if !told.is_empty() {
            text.push('\n');
        }
        for (subject, scenario, verdict, why) in told {
            let _ = writeln!(text, "- **{subject}**, `{scenario}`, {verdict}: {why}");
        }
        text
    }

    /// For a program.
    pub fn json(&self) -> String {
        // Strings and numbers alone: nothing in it can fail.
        serde_json::to_string_pretty(&self.cells).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(subject: &str, scenario: &str, verdict: &str, ms: Option<f64>, ids: &[&str]) -> Cell {
        Cell {
            subject: subject.into(),
            scenario: scenario.into(),
            verdict: verdict.into(),
            recovery_ms: ms,
            checkers: ids.iter().map(|id| (*id).to_owned()).collect(),
            why: format!("{} because | of", ids.join(" ")),
        }
    }

    fn league() -> League {
        League {
            subjects: vec!["good".into(), "bad".into()],
            scenarios: vec!["steady".into(), "rst".into(), "slow".into()],
            cells: vec![
                cell("good", "steady", "pass", None, &[]),
                cell("bad", "steady", "pass", None, &[]),
                cell("good", "rst", "pass", Some(44.2), &[]),
                cell("bad", "rst", "fail", None, &["I12", "I20"]),
                cell("good", "slow", "skipped", None, &[]),
                cell("bad", "slow", "unknown", None, &["fired"]),
            ],
        }
    }

    #[test]
    fn the_table_and_why() {
        let expect = "\
scenario  good        bad
steady    pass        pass
rst       pass 44 ms  FAIL I12 I20
slow      -           unknown
passed    2 of 2      1 of 3

fail bad in rst: I12 I20 because | of
unknown bad in slow: fired because | of";
        assert_eq!(league().text(), expect);
    }

    #[test]
    fn the_same_as_markdown_and_json() {
        let text = league().markdown();
        assert!(
            text.starts_with("| scenario | good | bad |\n|---|---|---|\n| steady | pass | pass |")
        );
        assert!(text.contains("\n\n- **bad**, `rst`, fail: I12 I20 because"));
        let json: serde_json::Value = serde_json::from_str(&league().json()).expect("JSON");
        assert_eq!(json[2]["recovery_ms"], 44.2);
        assert_eq!(json.as_array().map(Vec::len), Some(6));
    }
}
