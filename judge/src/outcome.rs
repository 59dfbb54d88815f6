//! What came of each run of a suite, and the exit code that says the worst of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::history::History;
use crate::judgement::Judgement;
use crate::plan::Plan;
use crate::verdict::Verdict;

/// One scenario's outcome.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Its name.
    pub scenario: String,
    /// Its title.
    pub title: String,
    /// The consumer's name.
    pub subject: String,
    /// Where its plan and history are.
    pub dir: Option<PathBuf>,
    /// How long it ran.
    pub took: Duration,
    /// What came of it.
    pub outcome: RunOutcome,
}

/// What came of a scenario.
#[derive(Clone, Debug)]
pub enum RunOutcome {
    /// It was played and judged.
    Judged(Box<Played>),
    /// It does not apply here.
    Skipped(String),
    /// The environment failed under it; nothing is said of the subject.
    Broken(String),
    /// The suite was told to halt before it was over, or before it began.
    Interrupted,
    /// It was not played, for the subject did not pass its preflight: this one.
    NotPlayed(Arc<RunReport>),
}

/// A played scenario.
#[derive(Clone, Debug)]
pub struct Played {
    /// Its plan.
    pub plan: Plan,
    /// Its history; after a pass in a suite only who else came (the whole of it is on disk).
    pub history: History,
    /// The verdict.
    pub judgement: Judgement,
}

impl RunReport {
    /// The verdict, when there is one.
    pub fn verdict(&self) -> Option<Verdict> {
        match &self.outcome {
            RunOutcome::Judged(played) => Some(played.judgement.verdict),
            RunOutcome::NotPlayed(preflight) => preflight.verdict(),
            _ => None,
        }
    }

    fn is_broken(&self) -> bool {
        match &self.outcome {
            RunOutcome::Broken(_) => true,
            RunOutcome::NotPlayed(preflight) => preflight.is_broken(),
            _ => false,
        }
    }
}

/// The exit code of a suite: the worst verdict, or what kept it from having one.
pub fn exit_code(reports: &[Arc<RunReport>]) -> u8 {
    let verdicts: Vec<Verdict> = reports.iter().filter_map(|r| r.verdict()).collect();
    let broken = reports.iter().any(|r| r.is_broken());
    match (verdicts.contains(&Verdict::Fail), broken, verdicts.is_empty()) {
        (true, _, _) => Verdict::Fail.exit_code(),
        (false, true, _) => 3,
        (false, false, true) => 4,
        (false, false, false) => Verdict::merge(verdicts).exit_code(),
    }
}
