//! How long a subject that the broker refuses is watched.

use std::time::Duration;

use gauntlet_judge::history::ledger::Ledger;

use super::{Stage, bounds};
use crate::conductor::alive;
use crate::recorder::Progress;
use crate::subject::{Host, Refused};

/// A subject that is refused and keeps trying is watched for this long from its first refusal on.
const REFUSED_WATCH: Duration = Duration::from_secs(3);
/// A subject that does not ask to be told is refused by silence, which RabbitMQ ends after 3 s.
const REFUSED_SILENTLY: Duration = Duration::from_secs(5);

impl Stage<'_> {
    /// A subject that is refused gives up on its own, or keeps trying for as long as it is watched.
    pub(super) async fn watch_refused(&self, host: &Host) {
        match self.plan.promises.refused {
            Refused::GivesUp => _ = host.ended(bounds::REFUSED).await,
            Refused::KeepsTrying | Refused::Either => {
                let over = |l: &Ledger| {
                    let over = l.connections.values().any(|c| c.client_over.is_some());
                    alive(l, Progress::when(over, || "no connection has ended".into()))
                };
                // Without one there is as much to see afterwards.
                _ = self.recorder.until(REFUSED_SILENTLY, over).await;
                _ = host.ended(REFUSED_WATCH).await;
            }
        }
    }
}
