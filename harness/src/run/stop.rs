//! The subject is asked to stop, and waited for: as long as it has, and as long as a busy machine may keep it.

use std::time::Duration;

use gauntlet_judge::history::{Phase, SubjectEnd, What};

use super::{Stage, bounds};
use crate::subject::Host;

impl Stage<'_> {
    pub(super) async fn stop(&self, host: &Host) {
        self.phase(Phase::Stop);
        if !self.recorder.look(|l| l.stop_requested.is_some() || l.subject_ended.is_some()) {
            self.recorder.record(What::StopRequested);
            self.conductor.stop.cancel();
        }
        self.await_end(host).await;
    }

    /// Waits for its end, and tears it down where that does not come.
    pub(super) async fn await_end(&self, host: &Host) {
        let bound = bounds::stop(self.plan);
        if self.ends(host, bound).await || self.recorder.look(|l| l.subject_ended.is_some()) {
            return;
        }
        let bound = humantime::format_duration(bound);
        let missing = format!("the subject had not ended after {bound}");
        self.recorder.record(What::PhaseOverran { phase: Phase::Stop, missing });
        self.recorder.record(What::SubjectEnded { how: SubjectEnd::Overran });
        match &self.conductor.fleet {
            Some(fleet) => fleet.kill_all(),
            None => self.conductor.abort.cancel(),
        }
    }

    /// Whether it ends within the bound; on a busy machine, within as much time as shows that it is not the machine.
    async fn ends(&self, host: &Host, bound: Duration) -> bool {
        if host.ended(bound).await {
            return true;
        }
        let within = self.plan.scenario.expect.stops_within.as_nanos() as u64;
        let now = || self.recorder.elapsed().as_nanos() as u64;
        let asked = self.recorder.look(|l| l.stop_requested).map_or_else(now, |m| m.ns);
        let most = asked + bounds::torn_down(self.plan).as_nanos() as u64;
        loop {
            let at = now();
            let told = self.recorder.look(|l| l.load.unexplained(asked, at, &[]) > within);
            if told || at >= most {
                return false;
            }
            if host.ended(bounds::STOP_GRACE / 4).await {
                return true;
            }
        }
    }
}
