//! One connection's life: dial, handshake, watch, close, and the proof that nothing is left of it.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use tokio::time::{sleep_until, timeout};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    altered::Altered,
    board::Board,
    clock::after,
    dial::dial,
    endpoint::Endpoint,
    event::Event,
    filter::Notice,
    kit::LapinRuntime,
    settings::Settings,
    trouble::{ConsumeError, Phase},
    wire::{Pulse, Wire},
};

/// How long a cut connection may take to be gone before its tasks are dropped by force.
const RELEASE: Duration = Duration::from_millis(500);
/// How long to wait for lapin's own account of a connection's end.
const ACCOUNT: Duration = Duration::from_millis(20);

/// An open connection. Dropping it cuts it; its [`Remains`] tell when nothing is left.
pub(crate) struct Link {
    /// Number of the connection, from 1.
    pub(crate) number: u64,
    pub(crate) connection: Connection,
    /// Cancelled when the connection is known to be gone.
    pub(crate) lost: CancellationToken,
    pub(crate) heartbeat: Duration,
    /// A request went unanswered: an orderly close is not worth waiting for.
    suspect: AtomicBool,
    condemned: CancellationToken,
    /// Why.
    sentence: OnceLock<ConsumeError>,
    pulse: Arc<Pulse>,
    pub(crate) altered: Arc<Altered>,
    _cut: DropGuard,
}

/// What a connection leaves behind, whether or not its handshake ever succeeded.
#[must_use]
pub(crate) struct Remains {
    cut: CancellationToken,
    reap: CancellationToken,
    tracker: TaskTracker,
    pulse: Arc<Pulse>,
}

impl Remains {
    /// Wait until the connection is cut and its socket, thread and tasks are gone.
    pub(crate) async fn gone(self) {
        self.cut.cancelled().await;
        self.tracker.close();
        // The io loop lets go of the socket as it ends. What is left then are lapin's timers,
        // which would sleep on for half a heartbeat.
        tokio::select! {
            () = self.tracker.wait() => return,
            _ = timeout(RELEASE, self.pulse.released().cancelled()) => {}
        }
        self.reap.cancel();
        if timeout(RELEASE, self.tracker.wait()).await.is_err() {
            tracing::error!(
                left = self.tracker.len(),
                "a closed connection did not release everything"
            );
        }
    }
}

/// A connection about to be made.
pub(crate) struct Attempt {
    number: u64,
    endpoint: Endpoint,
    board: Arc<Board>,
    cut: CancellationToken,
    guard: DropGuard,
    reap: CancellationToken,
    tracker: TaskTracker,
    pulse: Arc<Pulse>,
}

impl Attempt {
    pub(crate) fn new(number: u64, endpoint: Endpoint, board: Arc<Board>) -> Self {
        let (cut, reap) = (CancellationToken::new(), CancellationToken::new());
        let guard = cut.clone().drop_guard();
        Self {
            number,
            endpoint,
            cut,
            guard,
            board,
            reap,
            tracker: TaskTracker::new(),
            pulse: Pulse::new(),
        }
    }

    /// What this attempt will leave behind; await it whatever becomes of the attempt.
    pub(crate) fn remains(&self) -> Remains {
        Remains {
            cut: self.cut.clone(),
            reap: self.reap.clone(),
            tracker: self.tracker.clone(),
            pulse: self.pulse.clone(),
        }
    }

    /// Dial and shake hands. Runs on the engine; dropping the future cuts what there is.
    pub(crate) async fn open(self, settings: &Settings) -> Result<Link, ConsumeError> {
        let socket = dial(&self.endpoint, settings).await?;
        let (board, connection) = (self.board, self.number);
        let altered = Arc::new(Altered::default());
        let noted = altered.clone();
        let notify = Box::new(move |notice| match notice {
            Notice::Blocked(reason) => board.emit(Event::Blocked { connection, reason }),
            Notice::Unblocked => board.emit(Event::Unblocked { connection }),
            Notice::Altered { channel, tag, fields } => noted.note(channel, tag, fields),
        });
        // The builder has set it for every endpoint.
        let frame_max = self.endpoint.uri.query.frame_max.unwrap_or(settings.frame_max);
        let wire = Wire::new(socket, self.pulse.clone(), &self.cut, frame_max, notify);
        let engine = tokio::runtime::Handle::current();
        let kit = LapinRuntime::new(engine, &self.tracker, self.reap.clone());
        // lapin calls this once; a second call would mean a second connection behind our back.
        let wire = Mutex::new(Some(wire));
        let give = async move |_, _| {
            let wire = wire.lock().unwrap_or_else(PoisonError::into_inner).take();
            let spent = || lapin::Error::from(std::io::Error::other("the socket is spent"));
            wire.map(AsyncTcpStream::Plain).ok_or_else(spent)
        };
        let name = format!("{} #{}", settings.name, self.number);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let handshake =
            Connection::connector(self.endpoint.uri.clone(), kit.into(), give, properties);
        let limit = settings.deadlines.handshake;
        let connection = match timeout(limit, Box::pin(handshake)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(ConsumeError::from_lapin(&error, Phase::Handshake)),
            Err(_) => return Err(ConsumeError::Timeout { phase: Phase::Handshake, limit }),
        };
        let heartbeat = Duration::from_secs(u64::from(connection.configuration().heartbeat()));
        let lost = CancellationToken::new();
        let (suspect, condemned) = (AtomicBool::new(false), CancellationToken::new());
        Ok(Link {
            number: self.number,
            connection,
            lost,
            heartbeat,
            suspect,
            condemned,
            sentence: OnceLock::new(),
            pulse: self.pulse,
            altered,
            _cut: self.guard,
        })
    }
}

impl Link {
    /// Whether lapin still takes it for open.
    pub(crate) fn connected(&self) -> bool {
        self.connection.status().connected() && !self.lost.is_cancelled()
    }

    /// The peer did not answer a request in time.
    pub(crate) fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// The connection is of no use though nothing says that it is gone: give it up.
    pub(crate) fn condemn(&self, why: ConsumeError) {
        self.sentence.get_or_init(|| why);
        self.condemned.cancel();
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Wait until the connection is gone, and say why.
    ///
    /// Three watches: lapin's own events, the wire (an end seen before lapin makes sense of it),
    /// and silence for two heartbeats.
    pub(crate) async fn watch(&self) -> ConsumeError {
        let mut events = Box::pin(self.connection.events_listener());
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event {
                    // A channel's error comes here too; the connection's has left it disconnected.
                    Some(lapin::Event::Error(error)) if !self.connection.status().connected() => {
                        return ConsumeError::from_lapin(&error, Phase::Steady);
                    }
                    Some(_) => {}
                    None => return self.ended(),
                },
                () = self.pulse.ended().cancelled() => break,
                trouble = self.silent() => return trouble,
                () = self.condemned.cancelled() => {
                    return self.sentence.get().cloned().unwrap_or_else(|| self.ended());
                }
            }
        }
        // lapin may hold a better account: the connection.close that came before the end.
        let account = async {
            while let Some(event) = events.next().await {
                if let lapin::Event::Error(error) = event
                    && !self.connection.status().connected()
                {
                    return ConsumeError::from_lapin(&error, Phase::Steady);
                }
            }
            self.ended()
        };
        timeout(ACCOUNT, account).await.unwrap_or_else(|_| self.ended())
    }

    /// Ask for an orderly close, within a limit.
    pub(crate) async fn close(&self, limit: Duration) -> bool {
        if self.is_suspect() || !self.connected() {
            return false;
        }
        let close = self.connection.close(200, "consumer stopped".into());
        matches!(timeout(limit, close).await, Ok(Ok(())))
    }

    fn ended(&self) -> ConsumeError {
        let text = self.pulse.reason().unwrap_or("connection ended").to_owned();
        ConsumeError::Network { phase: Phase::Steady, text }
    }

    /// lapin checks for silence every half heartbeat, and only for more than two; this is exact.
    async fn silent(&self) -> ConsumeError {
        if self.heartbeat.is_zero() {
            std::future::pending::<()>().await;
        }
        let limit = self.heartbeat * 2;
        loop {
            let silence = self.pulse.silence();
            if silence > limit {
                return ConsumeError::Silent { silence, heartbeat: self.heartbeat };
            }
            let grace = Duration::from_millis(5);
            sleep_until(after(limit - silence + grace)).await;
        }
    }
}
