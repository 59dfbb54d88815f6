//! The link's own task: it accepts, owns the connections' tasks, keeps the door as the faults say, and
//! lifts what has expired.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{
    connection::Connection,
    descriptors::{self, Reserved},
    door::Listener,
    shared::Shared,
};
use crate::{
    event::What,
    fault::{FaultId, refuse::refusing},
};

/// After an error that accepting may repeat at once (no descriptors left, say).
const PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to close when the link stops; then they are dropped.
const CLOSING: Duration = Duration::from_secs(5);

/// What the link's owner asks of it.
pub(super) enum Command {
    /// Bring the door in line with the table; says how that went.
    Listener(oneshot::Sender<Result<(), String>>),
    Stop,
}

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    door: Listener,
    commands: mpsc::Receiver<Command>,
    connections: JoinSet<()>,
    /// No accepting until then.
    pause: Option<Instant>,
    /// Accepting fails, and that was recorded.
    failing: bool,
    /// For the dial of the next connection.
    reserved: Option<Reserved>,
    /// How many dials of this process wait for a descriptor.
    waiting: watch::Receiver<usize>,
}

impl Supervisor {
    pub(super) fn new(
        shared: Arc<Shared>,
        door: Listener,
        commands: mpsc::Receiver<Command>,
        connections: JoinSet<()>,
    ) -> Self {
        let waiting = descriptors::waiting();
        let (pause, failing, reserved) = (None, false, None);
        Self { shared, door, commands, connections, pause, failing, reserved, waiting }
    }

    pub(super) async fn run(mut self) {
        let clock = Arc::clone(&self.shared);
        let mut ticking = JoinSet::new();
        ticking.spawn(async move { clock.clock.run().await });
        loop {
            let alarm = self.expires();
            let dials_wait = *self.waiting.borrow_and_update() > 0;
            if dials_wait {
                self.reserved = None;
            }
            let accepts = !dials_wait && self.pause.is_none();
            let upstream = self.shared.upstream();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Listener(done)) => {
                        let _ = done.send(self.keep_door());
                    }
                    Some(Command::Stop) | None => break,
                },
                () = self.shared.nudge.notified() => {}
                Some(ended) = self.connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(link = %self.shared.name, %error, "a connection's task failed");
                    }
                }
                () = until(alarm) => {}
                _ = self.waiting.changed() => {}
                accepted = accept(&self.door, &mut self.reserved, upstream), if accepts => {
                    self.accepted(accepted);
                }
            }
            self.sweep();
        }
        self.stop().await;
        ticking.shutdown().await;
    }

    /// When something is to be done that nobody will ask for.
    fn expires(&self) -> Option<Instant> {
        let table = self.shared.read();
        table.entries.iter().filter_map(|entry| entry.expires()).chain(self.pause).min()
    }

    /// Lifts what has expired or is spent, and sees to the door.
    pub(super) fn sweep(&mut self) {
        let now = Instant::now();
        self.pause = self.pause.filter(|until| *until > now);
        let over: Vec<FaultId> = {
            let table = self.shared.read();
            let entries = table.entries.iter();
            entries
                .filter(|e| e.spent.load(Relaxed) || e.expires().is_some_and(|at| at <= now))
                .map(|entry| entry.id)
                .collect()
        };
        for id in over {
            super::retire(&self.shared, id);
        }
        if let Err(error) = self.keep_door() {
            tracing::error!(link = %self.shared.name, error, "failed to keep the door");
        }
    }

    /// Refuses or listens, as the table says.
    fn keep_door(&mut self) -> Result<(), String> {
        let refuse = refusing(&self.shared.read());
        let done = match (&self.door, refuse) {
            (Listener::Open(_), Some(entry)) => {
                self.shared.fire(None, &entry, None, "refuse".to_owned());
                self.door.refuse()
            }
            (Listener::Refusing(_), None) => self.door.reopen(),
            (Listener::Broken, None) => {
                Listener::open(self.shared.addr).map(|(door, _)| self.door = door)
            }
            _ => Ok(()),
        };
        done.map_err(|error| error.to_string())
    }

    fn accepted(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let now = Instant::now();
        let (client, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                self.pause = Some(now + PAUSE);
                // The first of a series says it for all: the next attempt follows at once.
                if !std::mem::replace(&mut self.failing, true) {
                    self.shared.record(None, now, What::AcceptFailed { error: error.to_string() });
                }
                return;
            }
        };
        self.failing = false;
        let shared = Arc::clone(&self.shared);
        let local = client.local_addr().unwrap_or(shared.addr);
        let stranger = shared.strangers.as_ref().is_some_and(|are| are(peer, local));
        let admitted = shared.write().admit(shared.seed, peer, stranger);
        shared.record(Some(admitted.conn), now, What::Accepted { peer });
        let connection = Connection::new(shared, client, admitted, self.reserved.take());
        self.connections.spawn(connection.run());
    }

    /// Ends every connection and waits for it.
    async fn stop(mut self) {
        self.door = Listener::Broken;
        {
            let mut table = self.shared.write();
            table.stopped = true;
            for live in std::mem::take(&mut table.live).into_values() {
                live.orders.end();
            }
        }
        let all = async { while self.connections.join_next().await.is_some() {} };
        if timeout(CLOSING, all).await.is_err() {
            self.connections.shutdown().await;
        }
    }
}

/// Accepts, with a socket in reserve to dial with.
async fn accept(
    door: &Listener,
    reserved: &mut Option<Reserved>,
    upstream: SocketAddr,
) -> io::Result<(TcpStream, SocketAddr)> {
    match door {
        Listener::Open(listener) => {
            if reserved.is_none() {
                *reserved = Some(Reserved::new(upstream)?);
            }
            TcpListener::accept(listener).await
        }
        Listener::Refusing(_) | Listener::Broken => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
