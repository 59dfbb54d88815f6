//! The faults recoveries are measured after, one row each, and how each is brought about.
//!
//! What a fault itself lasts is not part of a recovery: [`Outage::strike`] says when it was over.

use std::time::{Duration, Instant};

use gauntlet_harness::broker::Restart;
use gauntlet_network::{CloseKind, Fault, Side};
use tokio::time::{interval, sleep_until, timeout};

use super::stage::{Result, Stage};

/// How long the door stays shut.
const SHUT: Duration = Duration::from_millis(300);
/// The broker lists a new connection within a second, and this is asked how often.
const LISTED: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(20));

/// What happens to the path, or to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// The connection is reset, both ends; the path is usable at once.
    Rst,
    /// The same, and new connections are refused for a while.
    Refuse,
    /// The same, and new connections are accepted and closed for a while.
    AcceptThenClose,
    /// The broker closes the connection in order, with a reason.
    ServerClose,
    /// The broker's application stops and starts.
    Restart,
}

impl Outage {
    pub const ALL: [Self; 5] =
        [Self::Rst, Self::Refuse, Self::AcceptThenClose, Self::ServerClose, Self::Restart];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rst => "rst",
            Self::Refuse => "refuse-300ms",
            Self::AcceptThenClose => "accept-then-close-300ms",
            Self::ServerClose => "server-close",
            Self::Restart => "broker-restart",
        }
    }

    /// Samples, and the most recoveries in each.
    pub fn effort(self) -> (usize, u64) {
        match self {
            Self::Rst => (20, 5),
            Self::Refuse | Self::AcceptThenClose => (10, 2),
            Self::ServerClose | Self::Restart => (10, 1),
        }
    }

    /// Whether whoever else is connected to the broker loses the connection too.
    pub fn closes_every_connection(self) -> bool {
        matches!(self, Self::ServerClose | Self::Restart)
    }

    /// Brings it about, has the message in hand let go of when it has struck, and says when it was over.
    pub async fn strike(self, stage: &Stage) -> Result<Instant> {
        match self {
            Self::Rst => {
                stage.link.inject(Fault::Rst { side: Side::Both }).await?;
                let over = Instant::now();
                stage.let_go();
                Ok(over)
            }
            Self::Refuse => shut(stage, Fault::Refuse).await,
            Self::AcceptThenClose => {
                shut(stage, Fault::AcceptThenClose { how: CloseKind::Fin }).await
            }
            Self::ServerClose => server_close(stage).await,
            Self::Restart => restart(stage).await,
        }
    }
}

async fn shut(stage: &Stage, door: Fault) -> Result<Instant> {
    let until = tokio::time::Instant::now() + SHUT;
    let shut = stage.link.inject(door).await?;
    stage.link.inject(Fault::Rst { side: Side::Both }).await?;
    stage.let_go();
    sleep_until(until).await;
    stage.link.lift(shut).await?;
    Ok(Instant::now())
}

/// Over when the broker's `connection.close` has left the link.
async fn server_close(stage: &Stage) -> Result<Instant> {
    let mut ticks = interval(LISTED.1);
    let closed = async {
        while stage.broker.close_connections(&stage.vhost, "closed by a bench").await? == 0 {
            ticks.tick().await;
        }
        Result::Ok(stage.wire.closed().await)
    };
    let over = timeout(LISTED.0, closed).await;
    let over = over.map_err(|_| "the broker did not close the consumer's connection in time")??;
    stage.let_go();
    Ok(over)
}

/// Over when AMQP answers.
async fn restart(stage: &Stage) -> Result<Instant> {
    Box::pin(stage.broker.down(Restart::App)).await?;
    stage.let_go();
    Ok(Box::pin(stage.broker.up()).await?.into_std())
}
