//! One hint a run about the load of the machine: what it left undecided, and how to play that again.

use super::summary::counted;
use crate::outcome::{RunOutcome, RunReport};

/// The hint; nothing where the machine left nothing undecided.
pub fn busy(reports: &[&RunReport]) -> Option<String> {
    let undecided = |report: &&&RunReport| match &report.outcome {
        RunOutcome::Judged(played) => played.judgement.too_busy(),
        _ => false,
    };
    let mut names: Vec<&str> =
        reports.iter().filter(undecided).map(|report| report.scenario.as_str()).collect();
    let count = counted(names.len(), "scenario");
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| {
        format!(
            "the machine was too busy to decide {count}. End what else runs on it, or play fewer at a time: gauntlet run {} --jobs 2",
            names.join(" ")
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gauntlet_faults::Seed;

    use super::*;
    use crate::history::History;
    use crate::judgement::Judgement;
    use crate::outcome::Played;
    use crate::plan::Plan;
    use crate::promises::Promises;
    use crate::verdict::{Finding, Outcome, Verdict};

    fn report(name: &str, busy: bool) -> RunReport {
        let scenario = crate::scenario::parse(name, "# A tale.\ntitle = \"x\"\ndecides = []\n");
        let scenario = scenario.expect("the smallest scenario is valid");
        let plan = Plan::resolve(&scenario, Seed(1), "x", &Promises::all(), "none");
        let finding = Finding {
            checker: "I12".into(),
            outcome: Outcome::Unknown,
            summary: String::new(),
            evidence: Vec::new(),
            busy,
        };
        let judgement =
            Judgement { verdict: Verdict::Unknown, findings: vec![finding], recovery_ns: None };
        let played = Played { plan, history: History::default(), judgement };
        RunReport {
            scenario: name.into(),
            title: String::new(),
            subject: String::new(),
            dir: None,
            took: Duration::ZERO,
            outcome: RunOutcome::Judged(Box::new(played)),
        }
    }

    #[test]
    fn what_was_left_undecided_is_named_once_with_how_to_play_it_again() {
        let reports = [report("b", true), report("a", true), report("c", false), report("a", true)];
        let said = busy(&reports.iter().collect::<Vec<_>>()).expect("a hint");
        assert!(said.starts_with("the machine was too busy to decide 3 scenarios."), "{said}");
        assert!(said.ends_with("gauntlet run a b --jobs 2"), "{said}");
        assert_eq!(busy(&[&reports[2]]), None);
    }
}
