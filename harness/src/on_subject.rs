//! What the schedule does to the subject: asks it to stop, kills, pauses or replaces it.
//!
//! A kill at a point of the protocol is made of two: a hole swallows that frame and all after it, and once it has,
//! the process is killed. What it sent last never arrived, as if it had been killed before.

use std::time::Duration;

use gauntlet_judge::history::What;
use gauntlet_judge::scenario::{Step, SubjectFault, Trigger, describe};
use gauntlet_network::Fault;
use tokio::time::Instant;

use crate::conductor::{ConductError, Conductor, fired_times};
use crate::recorder::Progress;
use crate::subject::process::Fleet;

/// How long a subject is stopped in its tracks, where the step does not say.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);

impl Conductor<'_> {
    /// Plays a step on the subject.
    pub(crate) async fn on_subject(
        &mut self,
        index: usize,
        step: &Step,
        request: SubjectFault,
    ) -> Result<(), ConductError> {
        if !matches!(step.when, Trigger::Frame { .. }) {
            self.recorder.record(What::Injected { step: index, fault: describe(step) });
        }
        match request {
            SubjectFault::Stop => {
                self.recorder.record(What::StopRequested);
                self.stop.cancel();
                self.fired(index, "asked to stop");
                return Ok(());
            }
            SubjectFault::Abort => {
                self.recorder.record(What::AbortRequested);
                self.abort.cancel();
                self.fired(index, "asked to stop at once");
                return Ok(());
            }
            SubjectFault::Kill | SubjectFault::Pause | SubjectFault::Replace => {}
        }
        let Some(fleet) = self.fleet.clone() else {
            self.missed(index, "the subject has no process of its own".into());
            return Ok(());
        };
        match request {
            SubjectFault::Kill => self.kill(index, step, &fleet).await,
            SubjectFault::Pause => {
                self.pause(index, step, &fleet).await;
                Ok(())
            }
            _ => {
                self.replace(index, &fleet).await;
                Ok(())
            }
        }
    }

    async fn kill(&mut self, index: usize, step: &Step, fleet: &Fleet) -> Result<(), ConductError> {
        let mut hole = None;
        if let Trigger::Frame { way, .. } = &step.when {
            let swallow = Fault::Blackhole { way: Some(*way), resume: false };
            hole = Some(self.arm(index, step, &swallow).await?);
            if let Err(missing) = self.until_met(|l| fired_times(l, index, 1)).await {
                self.missed(index, missing);
            }
        }
        match fleet.kill().await {
            Ok(note) => self.fired(index, &note),
            Err(e) => self.missed(index, e.to_string()),
        }
        if let Some(hole) = hole {
            let lifted = self.link.lift(hole).await;
            lifted.map_err(|source| ConductError::Fault { step: index + 1, source })?;
        }
        self.usable(index);
        Ok(())
    }

    async fn pause(&self, index: usize, step: &Step, fleet: &Fleet) {
        let lasts = step.lasts.unwrap_or(PAUSE);
        fleet.freeze(true);
        self.fired(index, "its processes were stopped in their tracks");
        tokio::time::sleep_until(Instant::now() + lasts).await;
        fleet.freeze(false);
        self.recorder.record(What::Lifted { step: index });
        self.usable(index);
    }

    async fn replace(&self, index: usize, fleet: &Fleet) {
        let old = match fleet.replace() {
            Ok(old) => old,
            Err(e) => return self.missed(index, e.to_string()),
        };
        self.fired(index, &format!("copy {old} was asked to stop, and another one started"));
        fleet.gone_within(old, self.plan.scenario.expect.stops_within).await;
        self.usable(index);
        let copies = usize::from(self.plan.scenario.subject.copies);
        let consume = self.until_met(|l| {
            let there = l.consuming_connections();
            Progress::when(there >= copies, || format!("{there} of {copies} copies consume"))
        });
        if let Err(missing) = consume.await {
            self.missed(index, missing);
        }
    }

    fn missed(&self, step: usize, missing: String) {
        self.recorder.record(What::StepMissed { step, missing });
    }
}
