//! How a link is described before it starts.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use super::{
    Link, clock::Clock, door::Listener, shared::Shared, supervisor::Supervisor, traffic::Traffic,
};
use crate::{
    event::Tap,
    fault::{FaultError, Injection, table::Table},
    seed::Seed,
    wire::CloseKind,
};

/// Commands that may wait for the supervisor.
const COMMANDS: usize = 64;

/// A link that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nowhere to connect to.
    #[error("the link {link:?} has no upstream: give it one with Builder::upstream")]
    NoUpstream {
        /// Its name.
        link: String,
    },
    /// The address cannot be listened on.
    #[error("the link {link:?} could not listen on {addr}")]
    Listen {
        /// Its name.
        link: String,
        /// The address as asked for.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// One of its faults makes no sense.
    #[error("the link {link:?} could not start with its faults: {source}")]
    Fault {
        /// Its name.
        link: String,
        /// Why.
        source: FaultError,
    },
}

/// Describes a [`Link`]; [`Builder::start`] starts it.
#[must_use = "a link exists once it is started"]
pub struct Builder {
    name: String,
    listen: SocketAddr,
    upstream: Option<SocketAddr>,
    upstream_name: Option<String>,
    undialed: CloseKind,
    taps: Vec<Arc<dyn Tap>>,
    tapped: bool,
    seed: Option<Seed>,
    faults: Vec<Injection>,
    scan: bool,
    dial_deadline: Duration,
    strangers: Option<Arc<Strangers>>,
}

/// Whether a client is a stranger, from its address and the one it connected to.
pub(super) type Strangers = dyn Fn(SocketAddr, SocketAddr) -> bool + Send + Sync;

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            upstream: None,
            upstream_name: None,
            undialed: CloseKind::Rst,
            taps: Vec::new(),
            tapped: false,
            seed: None,
            faults: Vec::new(),
            scan: true,
            dial_deadline: Duration::from_secs(5),
            strangers: None,
        }
    }

    /// The address to listen on; any free port of 127.0.0.1 without.
    pub fn listen(self, addr: SocketAddr) -> Self {
        Self { listen: addr, ..self }
    }

    /// The address connections are passed on to.
    pub fn upstream(self, addr: SocketAddr) -> Self {
        Self { upstream: Some(addr), ..self }
    }

    /// A host and port that connections are passed on to, resolved at each dial: its addresses are tried
    /// in order.
    pub fn upstream_name(self, name: impl Into<String>) -> Self {
        Self { upstream_name: Some(name.into()), ..self }
    }

    /// What a client gets when the upstream cannot be reached; RST without.
    pub fn undialed(self, how: CloseKind) -> Self {
        Self { undialed: how, ..self }
    }

    /// One more tap.
    pub fn tap(mut self, tap: Arc<dyn Tap>) -> Self {
        self.taps.push(tap);
        Self { tapped: true, ..self }
    }

    /// A tap that needs no frames: it hears of connections and faults. It does not make the link look into
    /// what passes, and costs nothing while bytes pass.
    pub fn observer(mut self, tap: Arc<dyn Tap>) -> Self {
        self.taps.push(tap);
        self
    }

    /// The seed of all chance on the link; a random one without.
    pub fn seed(self, seed: Seed) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Faults that are in force before the first connection, in this order.
    pub fn faults(mut self, faults: impl IntoIterator<Item = Injection>) -> Self {
        self.faults.extend(faults);
        self
    }

    /// Whether connections keep track of frames (they do). Without, points are refused.
    pub fn scan(self, scan: bool) -> Self {
        Self { scan, ..self }
    }

    /// Tells clients that the faults are not meant for, from a client's address and the one it connected to. Theirs are
    /// served like others, but they use up nothing that is counted: not the next so many connections, not the frames of
    /// a point, not a limit on connections. Asked once for each connection, before its [`What::Accepted`](crate::What).
    pub fn strangers(
        self,
        are: impl Fn(SocketAddr, SocketAddr) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { strangers: Some(Arc::new(are)), ..self }
    }

    /// How long reaching the upstream may take; 5 s without.
    pub fn dial_deadline(self, deadline: Duration) -> Self {
        Self { dial_deadline: deadline, ..self }
    }

    /// Listens.
    #[expect(clippy::unused_async, reason = "needs a runtime, and may come to wait")]
    pub async fn start(self) -> Result<Link, StartError> {
        let Self { name: link, listen: addr, .. } = self;
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let upstream = self.upstream.or(self.upstream_name.as_ref().map(|_| unknown));
        let Some(upstream) = upstream else { return Err(StartError::NoUpstream { link }) };
        let mut table = Table::default();
        for injection in self.faults {
            let frame = match injection.named() {
                Ok(frame) => frame,
                Err(source) => return Err(StartError::Fault { link, source }),
            };
            table.add(injection, frame);
        }
        let (door, bound) = match Listener::open(addr) {
            Ok(open) => open,
            Err(source) => return Err(StartError::Listen { link, addr, source }),
        };
        let shared = Arc::new(Shared {
            name: link.into(),
            addr: bound,
            seed: self.seed.unwrap_or_else(Seed::random),
            scan: self.scan,
            dial_deadline: self.dial_deadline,
            taps: self.taps,
            strangers: self.strangers,
            tapped: self.tapped,
            upstream: Mutex::new(upstream),
            upstream_name: self.upstream_name,
            undialed: self.undialed,
            traffic: Traffic::default(),
            table: RwLock::new(table),
            nudge: Notify::new(),
            clock: Clock::new(),
        });
        let (commander, commands) = mpsc::channel(COMMANDS);
        let (shared_too, connections) = (Arc::clone(&shared), JoinSet::new());
        let mut supervisor = Supervisor::new(shared_too, door, commands, connections);
        // It may have to refuse from the first moment on.
        supervisor.sweep();
        let mut task = JoinSet::new();
        task.spawn(supervisor.run());
        Ok(Link { shared, commander, task: tokio::sync::Mutex::new(task) })
    }
}
