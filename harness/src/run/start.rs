//! From the subject's start to its first work: whether it consumes, handles, or is stuck for a reason that shows.
//!
//! Owns what counts as such a reason. Only what was seen does: that nothing was seen for long may be a slow start.

use std::time::Duration;

use gauntlet_judge::history::ledger::{Ledger, Mark};
use gauntlet_judge::history::{Moment, Phase, What};
use gauntlet_judge::preflight::trouble;

use super::{RunError, Stage, bounds};
use crate::conductor::alive;
use crate::recorder::Progress;
use crate::subject::Host;

/// Messages handled before the first fault (fewer when the workload is smaller).
const STEADY_MESSAGES: u32 = 20;
/// From the first sign that it is stuck, a subject has at least so long to begin to consume after all.
const GRACE: Duration = Duration::from_secs(5);
/// One that consumes another queue may have that of its own, and begin with ours later.
const ANOTHER_QUEUE: Duration = Duration::from_secs(10);

impl Stage<'_> {
    /// Whether it consumes, and does any work.
    pub(super) async fn start_and_steady(&mut self) -> Result<bool, RunError> {
        let copies = usize::from(self.plan.scenario.subject.copies);
        let consumes = |l: &Ledger| {
            let there = l.consuming_connections();
            let missing = || match copies {
                1 => "no consume-ok was seen".into(),
                _ => format!("{there} of {copies} copies consume"),
            };
            Progress::when(there >= copies, missing)
        };
        let started = self.unless_stuck(bounds::start(self.plan), consumes).await;
        let consuming = started.is_ok();
        self.bounded(Phase::Start, started);
        if !consuming {
            return Ok(false);
        }
        self.steady_state().await?;
        self.phase(Phase::Steady);
        self.publisher.go();
        let wanted = STEADY_MESSAGES.min(self.plan.scenario.workload.messages / 2);
        let handled = |l: &Ledger| {
            let missing = || format!("{} of the first {wanted} messages handled", l.done());
            Progress::when(l.done() >= wanted, missing)
        };
        let steady = self.unless_stuck(bounds::STEADY, handled).await;
        self.bounded(Phase::Steady, steady);
        self.probe.sample(Moment::Steady);
        Ok(self.recorder.look(|l| l.done() > 0))
    }

    /// The phases of a preflight: until it handled a message, and its stop.
    pub(super) async fn preflight(&mut self, host: &Host) -> Result<(), RunError> {
        self.publisher.go();
        let comes = |l: &Ledger| {
            let there = l.delivered > 0 || l.consuming();
            Progress::when(there, || "no consume-ok was seen".into())
        };
        let mut outcome = self.unless_stuck(bounds::start(self.plan), comes).await;
        if outcome.is_ok() {
            self.phase(Phase::Steady);
            let handles =
                |l: &Ledger| Progress::when(l.done() > 0, || "no message was handled".into());
            outcome = self.unless_stuck(bounds::STEADY, handles).await;
        }
        let handled = outcome.is_ok();
        self.bounded(Phase::Start, outcome);
        if handled {
            self.stop(host).await;
        } else if self.recorder.look(|l| l.subject_ended.is_none()) {
            // What it lacks is known; that it stops is not the question any more.
            self.phase(Phase::Stop);
            self.recorder.record(What::StopRequested);
            self.conductor.stop.cancel();
            _ = host.ended(bounds::STOP_GRACE).await;
        }
        Ok(())
    }

    /// Waits for a condition, and no longer once the subject has ended or is stuck.
    pub(super) async fn unless_stuck(
        &self,
        bound: Duration,
        mut condition: impl FnMut(&Ledger) -> Progress,
    ) -> Result<(), String> {
        let waits = self.recorder.until(bound, |l| alive(l, condition(l)));
        tokio::select! {
            biased;
            waited = waits => waited,
            why = self.stuck() => Err(why),
        }
    }

    /// Returns when the subject is stuck, with the reason.
    async fn stuck(&self) -> String {
        const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);
        loop {
            let sign = self.recorder.look(|l| sign(l, &self.plan.queue));
            let left = sign.as_ref().map_or(FOR_EVER, |(at, grace, _)| {
                (Duration::from_nanos(at.ns) + *grace).saturating_sub(self.recorder.elapsed())
            });
            match sign {
                Some((.., why)) if left.is_zero() => return why,
                sign => {
                    let was = sign.map(|(at, ..)| at);
                    let now = |l: &Ledger| self::sign(l, &self.plan.queue).map(|(at, ..)| at);
                    let changes = |l: &Ledger| Progress::when(now(l) != was, String::new);
                    // Either way it is looked at again.
                    _ = self.recorder.until(left, changes).await;
                }
            }
        }
    }
}

/// The first sign that a subject is stuck: when, how long it has from then on to do better, and what it is.
fn sign(l: &Ledger, queue: &str) -> Option<(Mark, Duration, String)> {
    let (at, why) = trouble(l, queue)?;
    // One that took long to connect takes long for the rest.
    let connected = l.connections.values().filter_map(|c| c.accepted).min()?;
    let consumes = l.epochs.iter().flat_map(|e| &e.consumers).any(|c| c.ok.is_some());
    let least = if consumes { ANOTHER_QUEUE } else { GRACE };
    let grace = least.max(2 * Duration::from_nanos(connected.ns));
    Some((at, grace, why))
}
