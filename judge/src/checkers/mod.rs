//! The checkers: pure functions from a plan and a history to a finding, one file each.
//!
//! Owns the catalogue of invariants (one table that feeds the runner, `gauntlet list`, the docs and
//! the tests). A checker sees no socket and no clock; a checker that panics is Unknown.

mod ack_scope;
mod backoff;
mod broker_leak;
mod double_settle;
mod drain;
mod duplicate_after_ack;
mod early_ack;
mod effect_once;
mod fatal_errors;
mod fired;
mod half_open;
mod health;
mod heartbeat;
mod herd;
#[cfg(test)]
mod innocents;
mod leftovers;
mod loss;
mod prefetch;
mod process_leak;
mod proof;
mod recovery;
mod reports;
mod resurrection;
mod signals;
#[cfg(test)]
pub(crate) mod testing;
mod turns;
mod wrong_message_ack;

pub(crate) use half_open::three_heartbeats;

use crate::history::History;
use crate::history::ledger::Ledger;
use crate::plan::Plan;
use crate::verdict::{Finding, Outcome};

pub use recovery::{Recovery, recoveries};

/// What a checker looks at.
pub struct Case<'a> {
    /// What was decided before the run.
    pub plan: &'a Plan,
    /// What happened, in order of time.
    pub history: &'a History,
    /// The same, folded.
    pub ledger: &'a Ledger,
}

/// A checker: decides one invariant.
pub struct Checker {
    /// Its id, as in the catalogue of invariants.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// One sentence: fails when.
    pub fails_when: &'static str,
    /// The decision.
    pub decide: fn(&Case<'_>) -> Decision,
}

/// What a checker returns; the runner adds its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it decided.
    pub outcome: Outcome,
    /// One line.
    pub summary: String,
    /// The events that prove it.
    pub evidence: Vec<u64>,
    /// Whether it could not be decided because the machine was too busy.
    pub busy: bool,
}

impl Decision {
    fn new(outcome: Outcome, summary: impl Into<String>) -> Decision {
        Decision { outcome, summary: summary.into(), evidence: Vec::new(), busy: false }
    }

    /// The invariant held; say on how much.
    pub fn pass(summary: impl Into<String>) -> Decision {
        Decision::new(Outcome::Pass, summary)
    }

    /// It was violated; `evidence` proves it, in reading order.
    pub fn fail(summary: impl Into<String>, evidence: Vec<u64>) -> Decision {
        Decision { evidence, ..Decision::new(Outcome::Fail, summary) }
    }

    /// It could not be decided; say what was missing.
    pub fn unknown(summary: impl Into<String>) -> Decision {
        Decision::new(Outcome::Unknown, summary)
    }

    /// It could not be decided because the machine was too busy; say how busy.
    pub fn too_busy(summary: impl Into<String>) -> Decision {
        Decision { busy: true, ..Decision::unknown(summary) }
    }

    /// Nothing in the run makes it apply; say why.
    pub fn not_applicable(summary: impl Into<String>) -> Decision {
        Decision::new(Outcome::NotApplicable, summary)
    }
}

/// The catalogue, in order.
pub const CHECKERS: &[Checker] = &[
    fired::CHECKER,
    reports::CHECKER,
    loss::CHECKER,
    duplicate_after_ack::CHECKER,
    wrong_message_ack::CHECKER,
    double_settle::CHECKER,
    early_ack::CHECKER,
    ack_scope::CHECKER,
    leftovers::CHECKER,
    prefetch::CHECKER,
    effect_once::CHECKER,
    recovery::CHECKER,
    backoff::CHECKER,
    herd::CHECKER,
    heartbeat::CHECKER,
    half_open::CHECKER,
    broker_leak::CHECKER,
    process_leak::CHECKER,
    drain::CHECKER,
    signals::CHECKER,
    health::CHECKER,
    fatal_errors::CHECKER,
    resurrection::CHECKER,
];

/// Runs every checker; a panic in one is its Unknown, and the others go on.
pub fn decide_all(case: &Case<'_>) -> Vec<Finding> {
    CHECKERS.iter().map(|checker| decide(checker, case)).collect()
}

fn decide(checker: &Checker, case: &Case<'_>) -> Finding {
    let guarded = std::panic::AssertUnwindSafe(|| (checker.decide)(case));
    let decision = std::panic::catch_unwind(guarded).unwrap_or_else(|_| {
        Decision::unknown(format!(
            "the checker {} panicked: this is a defect of Gauntlet",
            checker.id
        ))
    });
    let decision = only_of_whole_runs(case, decision);
    Finding {
        checker: checker.id.to_owned(),
        outcome: decision.outcome,
        summary: decision.summary,
        evidence: decision.evidence,
        busy: decision.busy,
    }
}

/// A history that stops early can prove a violation, never its absence.
fn only_of_whole_runs(case: &Case<'_>, decision: Decision) -> Decision {
    if decision.outcome != Outcome::Pass || case.history.complete() {
        return decision;
    }
    let summary =
        format!("the history stops before the end of the run; until then: {}", decision.summary);
    Decision { evidence: decision.evidence, ..Decision::unknown(summary) }
}

#[cfg(test)]
mod tests {
    use gauntlet_faults::Seed;

    use super::*;
    use crate::history::{Event, What};
    use crate::promises::Promises;

    fn decided(decide_as: fn(&Case<'_>) -> Decision, complete: bool) -> Finding {
        let checker = Checker { id: "I0", name: "any", fails_when: "never", decide: decide_as };
        let scenario = crate::scenario::parse("x", "# A tale.\ntitle = \"x\"\ndecides = []\n");
        let scenario = scenario.expect("the smallest scenario is valid");
        let plan = Plan::resolve(&scenario, Seed(1), "x", &Promises::all(), "none");
        let what = if complete { What::End } else { What::StopRequested };
        let history = History::new(vec![Event { seq: 0, ns: 0, what }]);
        let ledger = Ledger::of(history.events());
        decide(&checker, &Case { plan: &plan, history: &history, ledger: &ledger })
    }

    #[test]
    fn a_history_that_stops_early_passes_nothing_but_convicts() {
        assert_eq!(decided(|_| Decision::pass("held"), true).outcome, Outcome::Pass);
        let finding = decided(|_| Decision::pass("held"), false);
        assert_eq!(finding.outcome, Outcome::Unknown);
        assert!(finding.summary.ends_with("until then: held"), "{}", finding.summary);
        assert_eq!(decided(|_| Decision::fail("broke", vec![0]), false).outcome, Outcome::Fail);
    }

    #[test]
    fn a_checker_that_panics_is_unknown() {
        let finding = decided(|_| panic!("a defect"), true);
        assert_eq!(finding.outcome, Outcome::Unknown);
        assert!(finding.summary.contains("I0 panicked"), "{}", finding.summary);
    }
}
