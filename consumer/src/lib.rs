//! A RabbitMQ consumer that survives a broken network.
//!
//! # How it works
//!
//! ```text
//! Builder -> Consumer --run(handler, shutdown)--> engine (a thread of its own)
//!                                                 supervisor: dial, watch, back off, stop
//!                                                   link: one connection and proof of its end
//!                                                     worker: keeps one session open
//!                                                       session: channel, qos, consume, settle
//!                                                         handling: the handler, on your runtime
//! ```
//!
//! - A message is acknowledged only on the channel that delivered it, after its handler succeeded.
//! - Every step has a deadline; retries start at once, then back off with jitter.
//! - A message may be handled more than once. A redelivery is recognised and acknowledged without handling it only
//!   on request: [`Builder::suppress_by`].
//! - When [`Consumer::run`] returns, no task, thread or socket of it is left.
//!
//! # Example
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use gauntlet_consumer::{Consumer, HandlerError, Message, Shutdown};
//!
//! let consumer = Consumer::builder("amqp://127.0.0.1:5672/%2f").queue("orders").workers(4).build()?;
//! let shutdown = Shutdown::new();
//! let handler = |message: Arc<Message>| async move {
//!     let text = str::from_utf8(&message.body).map_err(|e| HandlerError::reject(e.to_string()))?;
//!     println!("{text}");
//!     Ok(())
//! };
//! let summary = consumer.run(handler, shutdown).await?;
//! # Ok(()) }
//! ```

mod builder;
mod checks;
mod settings;

mod clock;
mod endpoint;
pub mod redact;

mod handler;
mod message;
mod shutdown;

mod event;
mod health;
mod metrics;
mod progress;

mod board;

mod context;
mod supervisor;

mod backoff;
mod trouble;

mod link;

mod dial;
mod engine;
mod kit;

mod wire;

mod blocked;
mod filter;
mod readable;

mod altered;

mod worker;

mod session;

mod delivery;

mod handling;
mod identity;
mod ledger;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use backoff::{Backoff, Pace, Step};
pub use builder::{Builder, ConfigError};
pub use endpoint::Endpoint;
pub use event::{Event, HandlerOutcome, Observer};
pub use handler::{Handler, HandlerError};
pub use health::Health;
pub use message::{Epoch, Message};
pub use metrics::{LATENCY_BOUNDS_MS, Metrics};
pub use progress::Stuck;
pub use settings::{Deadlines, OnFailure, OnMissingQueue, OnRefused, Retry, Settings};
pub use shutdown::Shutdown;
pub use trouble::{ConsumeError, Phase, RetryClass};

use board::Board;
use context::Context;
use engine::Engine;
use ledger::Ledger;

/// Why a run ended for good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A limit on attempts is reached.
    #[error("{what} after {attempts} attempts{}", last.as_ref().map(|last| format!("; last: {last}")).unwrap_or_default())]
    Exhausted {
        /// What did not work.
        what: String,
        /// Attempts in a row.
        attempts: u32,
        /// The last trouble.
        last: Option<ConsumeError>,
    },
    /// The broker refuses, and policy is to give up on that.
    #[error("refused: {0}")]
    Refused(ConsumeError),
    /// The engine's thread could not be started, or ended early.
    #[error("failed to run the engine thread: {0}")]
    Engine(std::io::Error),
}

/// How a run ended that was asked to end.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Every handler in flight was finished within the drain deadline.
    pub clean: bool,
    /// The connection was closed in order; false when there was none, or its peer did not answer.
    pub orderly: bool,
    /// The abort token ended it.
    pub aborted: bool,
    /// The counters at the end.
    pub metrics: Metrics,
}

/// A configured consumer. One [`Consumer::run`] at a time; what [`Builder::suppress_by`] remembers outlives a run.
pub struct Consumer {
    settings: Arc<Settings>,
    board: Arc<Board>,
    ledger: Ledger,
}

impl Consumer {
    /// Start configuring: one `amqp://` or `amqps://` URL, or several separated by commas.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url)
    }

    pub(crate) fn new(settings: Settings, observer: Option<Arc<dyn Observer>>) -> Self {
        let handlers = settings.workers.saturating_mul(settings.concurrency);
        let board = Arc::new(Board::new(settings.workers, handlers, observer));
        let ledger = Ledger::new(settings.dedup_window);
        Self { settings: Arc::new(settings), board, ledger }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The health snapshot, and its changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.board.health()
    }

    /// The counters now.
    pub fn metrics(&self) -> Metrics {
        self.board.metrics()
    }

    /// Consume until asked to stop, or for good.
    ///
    /// Handlers run on the current tokio runtime, everything else on a thread of its own. Dropping
    /// the future aborts.
    pub async fn run(&self, handler: impl Handler, shutdown: Shutdown) -> Result<Summary, Error> {
        let engine = Engine::start().map_err(Error::Engine)?;
        // Children: the run may stop and abort itself without touching the caller's tokens.
        let (stop, abort) = (shutdown.stop.child_token(), shutdown.abort.child_token());
        let dropped = abort.clone().drop_guard();
        let context = Context::new(
            self.settings.clone(),
            self.board.clone(),
            self.ledger.clone(),
            Arc::new(handler),
            stop,
            abort,
        );
        let supervisor = engine.handle().spawn(supervisor::supervise(Arc::new(context)));
        let result = supervisor.await;
        dropped.disarm();
        engine.stop().await;
        result.unwrap_or_else(|error| Err(Error::Engine(std::io::Error::other(error))))
    }
}

/// Keeps the token type in reach of users without a dependency of their own.
pub type Token = CancellationToken;
