//! What the broker holds for the subject: in steady state, and after everything was handled; and copies of messages
//! that the subject has put aside for a while.

use std::time::Duration;

use gauntlet_judge::history::Moment;
use gauntlet_judge::history::ledger::Ledger;

use super::bounds::FIGURES;
use super::{RunError, Stage};
use crate::conductor::alive;
use crate::probe::Holds;
use crate::recorder::Progress;

/// A copy of a message that waits in a queue of the subject's own may take so long to come back.
const COPIES_RETURN: Duration = Duration::from_secs(5);

impl Stage<'_> {
    /// A message whose copy the subject put somewhere may come back for another try. One that does not stays where the
    /// copy is, so this is no condition of the drain.
    pub(super) async fn copies_come_back(&self) {
        let back = |l: &Ledger| {
            let copies = l.may_come_back();
            alive(l, Progress::when(copies == 0, || format!("{copies} copies to come back")))
        };
        _ = self.recorder.until(COPIES_RETURN, back).await;
    }

    /// Asks the broker what it holds once the subject consumes. Its figures lag, so it is asked until they are
    /// the usual ones, or do not change any more.
    pub(super) async fn steady_state(&mut self) -> Result<(), RunError> {
        let usual = self.usual();
        let asked = self.ask(Moment::Steady, true, |h| h.same_but_unacked(&usual));
        self.steady = Some(asked.await?);
        Ok(())
    }

    /// Asks again after everything was handled, until the figures are those of steady state or the bound is over.
    pub(super) async fn drained_state(&self) -> Result<(), RunError> {
        let steady = self.steady.unwrap_or_else(|| self.usual());
        let wanted = Holds { unacked: Some(0), ..steady };
        self.ask(Moment::Drained, false, |h| *h == wanted).await?;
        Ok(())
    }

    /// One connection of each copy, with a channel and a consumer per worker.
    fn usual(&self) -> Holds {
        let told = &self.plan.scenario.subject;
        let connections = u32::from(told.copies);
        let workers = connections * u32::from(told.workers);
        Holds { connections, channels: workers, consumers: workers, unacked: Some(0) }
    }

    async fn ask(
        &self,
        at: Moment,
        settles: bool,
        wanted: impl Fn(&Holds) -> bool,
    ) -> Result<Holds, RunError> {
        let whose = (self.vhost, self.plan.queue.as_str());
        Ok(self.probe.broker_holds(whose, at, FIGURES, settles, wanted).await?)
    }
}
