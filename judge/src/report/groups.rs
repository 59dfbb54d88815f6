//! What many scenarios have in common is told once: reports grouped by what leads them.

use std::sync::Arc;

use super::summary::leading;
use crate::outcome::{RunOutcome, RunReport};
use crate::verdict::Verdict;

/// What there is to tell of: each run, and in place of those that were not played the preflight that kept them from it.
pub fn told_of(reports: &[Arc<RunReport>]) -> Vec<&RunReport> {
    let mut told: Vec<&RunReport> = Vec::new();
    for report in reports {
        let report: &RunReport = match &report.outcome {
            RunOutcome::NotPlayed(preflight) => preflight,
            _ => report,
        };
        if !told.iter().any(|known| std::ptr::eq(*known, report)) {
            told.push(report);
        }
    }
    told
}

/// Those that did not pass, in groups that have the same leading finding but for its numbers; in their order.
pub fn groups<'a>(told: &[&'a RunReport]) -> Vec<Vec<&'a RunReport>> {
    let mut groups: Vec<(String, Vec<&RunReport>)> = Vec::new();
    for report in told {
        let RunOutcome::Judged(played) = &report.outcome else { continue };
        if played.judgement.verdict == Verdict::Pass {
            continue;
        }
        let key = leading(played).map_or(String::new(), |f| {
            if played.judgement.too_busy() {
                return format!("{} was undecided, for the machine was too busy", report.subject);
            }
            let words = f.summary.chars().filter(|c| !c.is_ascii_digit());
            format!(
                "{} {} {:?} {}",
                report.subject,
                f.checker,
                f.outcome,
                words.collect::<String>()
            )
        });
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(report),
            None => groups.push((key, vec![report])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::judgement::judge;
    use crate::outcome::Played;

    fn report(scenario: &str, tale: &mut HistoryBuilder) -> RunReport {
        let (plan, history) = tale.told();
        let judgement = judge(&plan, &history);
        RunReport {
            scenario: scenario.into(),
            title: String::new(),
            subject: "worker".into(),
            dir: None,
            took: Duration::ZERO,
            outcome: RunOutcome::Judged(Box::new(Played { plan, history, judgement })),
        }
    }

    #[test]
    fn scenarios_that_fail_for_the_same_reason_are_one_group() {
        let never = report("a", &mut HistoryBuilder::new());
        let idle = report("b", HistoryBuilder::new().connect(1, 10));
        let again = report("c", &mut HistoryBuilder::new());
        let names = |groups: Vec<Vec<&RunReport>>| -> Vec<String> {
            let of = |group: Vec<&RunReport>| {
                group.iter().map(|r| r.scenario.as_str()).collect::<Vec<_>>().join(" ")
            };
            groups.into_iter().map(of).collect()
        };
        assert_eq!(names(groups(&[&never, &idle, &again])), ["a c", "b"]);
    }

    #[test]
    fn a_preflight_is_told_once_for_all_that_it_kept_from_being_played() {
        let preflight = Arc::new(report("preflight", &mut HistoryBuilder::new()));
        let kept = |name: &str| {
            let outcome = RunOutcome::NotPlayed(preflight.clone());
            Arc::new(RunReport { scenario: name.into(), outcome, ..(*preflight).clone() })
        };
        let reports = [kept("a"), kept("b"), kept("c")];
        let told: Vec<&str> = told_of(&reports).iter().map(|r| r.scenario.as_str()).collect();
        assert_eq!(told, ["preflight"]);
        assert_eq!(crate::outcome::exit_code(&reports), 2);
    }
}
