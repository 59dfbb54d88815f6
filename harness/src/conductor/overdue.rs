//! When a wait is pointless: the subject has ended, or its recovery is overdue.
//!
//! Owns how long a recovery is awaited. A subject that has not come back by then is not waited for again in
//! the same run: the schedule ends there, and what follows is awaited no longer either.

use std::time::Duration;

use gauntlet_judge::history::ledger::{Ledger, Mark};
use gauntlet_judge::plan::Plan;

use super::{Conductor, TRIGGER_BOUND, alive, recovered};
use crate::recorder::Progress;

/// At least so long, beyond its bound, a recovery is awaited: a late one can then be told from none at all.
const MARGIN: Duration = Duration::from_secs(5);
/// Longer than any run.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a recovery is awaited: twice its bound, and never less than the margin beyond it.
pub fn patience(plan: &Plan) -> Duration {
    let bound = plan.scenario.expect.recovers_within;
    bound + bound.max(MARGIN)
}

/// How long a step's condition may take to come true.
pub fn trigger_bound(plan: &Plan) -> Duration {
    TRIGGER_BOUND.max(patience(plan))
}

impl Conductor<'_> {
    /// Waits like [`Recorder::until`](gauntlet_judge::history::Recorder::until), and not once the subject has ended or its
    /// recovery is overdue.
    pub(crate) async fn until(
        &self,
        bound: Duration,
        mut condition: impl FnMut(&Ledger) -> Progress,
    ) -> Result<(), String> {
        let waits = self.recorder.until(bound, |l| alive(l, condition(l)));
        tokio::select! {
            biased;
            waited = waits => waited,
            why = self.overdue() => Err(why),
        }
    }

    /// Waits for a step's condition.
    pub(crate) async fn until_met(
        &self,
        condition: impl FnMut(&Ledger) -> Progress,
    ) -> Result<(), String> {
        self.until(trigger_bound(self.plan), condition).await
    }

    /// Whether a step's condition did not come true: the schedule is over.
    pub(crate) fn over(&self) -> bool {
        self.recorder.look(|l| l.missed.is_some())
    }

    /// Returns when a recovery is overdue, with that in words.
    async fn overdue(&self) -> String {
        loop {
            let (since, left) = self.recorder.look(|l| {
                let since = self.recovering(l);
                (since, since.map_or(FOR_EVER, |since| self.left(l, since)))
            });
            if left.is_zero() {
                let patience = humantime::format_duration(patience(self.plan));
                return format!(
                    "nothing was handled in {patience} since the path was usable again: the subject is not waited for any longer"
                );
            }
            // Either way it is looked at again.
            let changes = |l: &Ledger| Progress::when(self.recovering(l) != since, String::new);
            _ = self.recorder.until(left, changes).await;
        }
    }

    /// What is left of the patience. Time without a CPU does not count.
    fn left(&self, l: &Ledger, since: Mark) -> Duration {
        let now = self.recorder.elapsed();
        let starved = Duration::from_nanos(l.load.waited(since.ns, now.as_nanos() as u64));
        let deadline = Duration::from_nanos(since.ns) + patience(self.plan) + starved;
        deadline.saturating_sub(now)
    }

    /// Since when the subject could have recovered and has not, with something to handle and no other fault in
    /// its way.
    fn recovering(&self, l: &Ledger) -> Option<Mark> {
        let scenario = &self.plan.scenario;
        // What such a scenario leaves undone is not the subject's to do.
        if scenario.expect.queue_is_deleted || scenario.hazard.is_some() {
            return None;
        }
        let usable = l.steps.values().flat_map(|s| &s.usable).max().copied()?;
        let later = |mark: Option<&Mark>| mark.is_some_and(|mark| *mark > usable);
        let faulted = |s: &gauntlet_judge::history::ledger::Step| {
            later(s.injected.as_ref()) || later(s.fired.last())
        };
        let works = !l.undone().is_empty() || !l.unsettled.is_empty();
        let waits = works
            && l.subject_ended.is_none()
            && !l.steps.values().any(faulted)
            && recovered(l) != Progress::Done;
        waits.then_some(usable)
    }
}
