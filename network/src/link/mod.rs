//! A link: one listener, one upstream, and the faults between them.
//!
//! In reading order: what its owner does with it (here), how it is described ([`mod@builder`]), its own
//! task ([`mod@supervisor`]) and listening socket ([`mod@door`]), one connection ([`mod@connection`]),
//! one direction of it ([`mod@lane`]) with its place in the frames ([`mod@plan`]) and what it holds back
//! ([`mod@queue`]), one end ([`mod@peer`]), its record ([`mod@notes`]), the time they wait for
//! ([`mod@clock`]), who gets the last descriptors ([`mod@descriptors`]), what they all share ([`mod@shared`]), and what is counted ([`mod@traffic`]).
//!
//! The pipeline knows no fault by name; it asks them all the same questions.

mod builder;

mod supervisor;

mod door;

mod connection;

mod lane;

mod plan;

mod queue;

mod peer;

mod notes;

mod clock;

mod descriptors;

mod shared;

mod traffic;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

pub use builder::{Builder, StartError};

use self::{shared::Shared, supervisor::Command};
use crate::fault::play::Play;
use crate::{
    event::What,
    fault::{Active, Fault, FaultError, FaultId, Injection},
    seed::Seed,
    wire::Direction,
};

/// How long connections may take to confirm a cut. They never wait for a peer, so only a runtime
/// that is starved comes near it.
const CONFIRMED: Duration = Duration::from_secs(5);

/// A running link. Dropping it ends it without waiting; [`Link::stop`] waits.
pub struct Link {
    shared: Arc<Shared>,
    commander: mpsc::Sender<Command>,
    task: tokio::sync::Mutex<JoinSet<()>>,
}

/// An open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Counted from 1 on its link.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// Since when.
    pub since: Instant,
}

impl Link {
    /// Describes a link. The name is for events and messages.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The address it listens on, with its port.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// The seed of its chance.
    pub fn seed(&self) -> Seed {
        self.shared.seed
    }

    /// Bytes of one way so far, over all connections: read from their source, written to their sink.
    pub fn traffic(&self, way: Direction) -> (u64, u64) {
        self.shared.traffic.so_far(way)
    }

    /// Where new connections are passed on to; with a name to resolve, the address dialed last.
    pub fn upstream(&self) -> SocketAddr {
        self.shared.upstream()
    }

    /// Passes new connections on to another address. Open ones stay where they are.
    pub fn set_upstream(&self, addr: SocketAddr) {
        self.shared.set_upstream(addr);
    }

    /// The open connections, oldest first.
    pub fn connections(&self) -> Vec<Connection> {
        let table = self.shared.read();
        let live = table.live.iter();
        live.map(|(id, live)| Connection { id: *id, peer: live.peer, since: live.since }).collect()
    }

    /// Puts a fault in force, or arms it. When this returns, the next byte is subject to it; cuts
    /// without a point are done, and a refusing port refuses.
    pub async fn inject(&self, injection: impl Into<Injection>) -> Result<FaultId, FaultError> {
        self.put(injection.into(), None).await
    }

    /// Changes a fault in force, at one moment: every byte is subject to it as it was or as it is. It
    /// keeps its place among the others and what it has counted, is drawn anew for each connection, and
    /// has another id from now on.
    pub async fn replace(
        &self,
        id: FaultId,
        injection: impl Into<Injection>,
    ) -> Result<FaultId, FaultError> {
        self.put(injection.into(), Some(id)).await
    }

    async fn put(&self, injection: Injection, old: Option<FaultId>) -> Result<FaultId, FaultError> {
        if injection.at.is_some() && !self.shared.scan {
            injection.check()?;
            return Err(FaultError::NotScanning { link: self.name().to_owned() });
        }
        let frame = injection.named()?;
        let once = self.acts_once(&injection);
        let mut refuses = injection.fault == Fault::Refuse;
        let (confirmed, mut confirmations) = mpsc::channel(1);
        let id = {
            let mut table = self.shared.write();
            if table.stopped {
                return Err(self.stopped());
            }
            let entry = match old {
                None => table.add(injection, frame),
                Some(id) => {
                    let Some((old, entry)) = table.replace(id, injection, frame) else {
                        return Err(FaultError::Unknown { id, link: self.name().to_owned() });
                    };
                    refuses |= old.injection.fault == Fault::Refuse;
                    self.shared.record(None, Instant::now(), What::Lifted { fault: id });
                    entry
                }
            };
            let Injection { fault, at, .. } = &entry.injection;
            let injected = What::Injected {
                fault: entry.id,
                name: fault.name(),
                injection: Box::new(entry.injection.clone()),
            };
            self.shared.record(None, Instant::now(), injected);
            if fault.single() && at.is_none() {
                for (conn, live) in &table.live {
                    if entry.concerns(self.shared.seed, *conn, &live.orders.grants) {
                        live.orders.expect(entry.id, confirmed.clone());
                    }
                }
            }
            table.wake(fault.stirs());
            entry.id
        };
        drop(confirmed);
        self.shared.nudge.notify_one();
        if timeout(CONFIRMED, confirmations.recv()).await.is_err() {
            return Err(FaultError::Unconfirmed { id, after: CONFIRMED });
        }
        if once {
            retire(&self.shared, id);
        }
        if refuses {
            self.see_to_door().await?;
        }
        Ok(id)
    }

    /// Takes a fault out of force. One that ended by itself is lifted already: that is no error.
    pub async fn lift(&self, id: FaultId) -> Result<(), FaultError> {
        if !self.shared.read().knows(id) {
            return Err(FaultError::Unknown { id, link: self.name().to_owned() });
        }
        match retire(&self.shared, id) {
            Some(Fault::Refuse) => self.see_to_door().await,
            _ => Ok(()),
        }
    }

    /// Takes every fault out of force.
    pub async fn lift_all(&self) -> Result<(), FaultError> {
        for active in self.active() {
            self.lift(active.id).await?;
        }
        Ok(())
    }

    /// The faults in force or armed, in the order of injection.
    pub fn active(&self) -> Vec<Active> {
        self.shared.read().active()
    }

    /// Whether a fault is in force or armed, and not over.
    pub fn has(&self, id: FaultId) -> bool {
        self.shared.read().has(id)
    }

    /// How often a fault fired, also after it was lifted; 0 for one never injected.
    pub fn fired(&self, id: FaultId) -> u64 {
        self.shared.read().counters(id).map_or(0, |counters| counters.fired.load(Relaxed))
    }

    /// Ends every connection, lets go of the port, and waits until that is done. Again: nothing.
    pub async fn stop(&self) {
        let mut task = self.task.lock().await;
        let _ = self.commander.send(Command::Stop).await;
        while task.join_next().await.is_some() {}
    }

    /// A cut without a point, a time or a number has nothing left to do once it is confirmed.
    fn acts_once(&self, injection: &Injection) -> bool {
        let Injection { fault, at, lasts, connections, .. } = injection;
        fault.single() && at.is_none() && lasts.is_none() && connections.is_none()
    }

    /// Has the supervisor open or close the port as the table says, and waits for it.
    async fn see_to_door(&self) -> Result<(), FaultError> {
        let (done, answer) = oneshot::channel();
        self.commander.send(Command::Listener(done)).await.map_err(|_| self.stopped())?;
        answer.await.map_err(|_| self.stopped())?.map_err(|error| FaultError::Listen {
            link: self.name().to_owned(),
            addr: self.addr(),
            error,
        })
    }

    fn stopped(&self) -> FaultError {
        FaultError::Stopped { link: self.name().to_owned() }
    }
}

/// Takes a fault out of force; which it was, if it was in force.
fn retire(shared: &Shared, id: FaultId) -> Option<Fault> {
    let mut table = shared.write();
    let entry = table.remove(id)?;
    shared.record(None, Instant::now(), What::Lifted { fault: id });
    table.wake(false);
    Some(entry.injection.fault.clone())
}
