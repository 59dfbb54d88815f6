//! What all parts of one run share.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use tokio::{runtime::Handle, sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{board::Board, clock::later, handler::AnyHandler, ledger::Ledger, settings::Settings};

/// Shared by supervisor, workers, sessions and handler runs of one [`Consumer::run`](crate::Consumer::run).
pub(crate) struct Context {
    pub(crate) settings: Arc<Settings>,
    pub(crate) board: Arc<Board>,
    pub(crate) ledger: Ledger,
    pub(crate) handler: Arc<dyn AnyHandler>,
    /// Handler runs: tasks on the caller's runtime.
    pub(crate) runs: TaskTracker,
    pub(crate) caller: Handle,
    /// One permit per message in a handler, runs that outlived their channel included.
    pub(crate) slots: Arc<Semaphore>,
    /// The one place that says stop: the caller's token, or a fatal error.
    pub(crate) stop: CancellationToken,
    /// Drop everything now.
    pub(crate) abort: CancellationToken,
    /// Handlers running.
    pub(crate) in_flight: AtomicUsize,
    channels: AtomicU64,
    stopping: OnceLock<Instant>,
    /// Whether basic.consume has ever succeeded.
    consumed: AtomicBool,
}

impl Context {
    pub(crate) fn new(
        settings: Arc<Settings>,
        board: Arc<Board>,
        ledger: Ledger,
        handler: Arc<dyn AnyHandler>,
        stop: CancellationToken,
        abort: CancellationToken,
    ) -> Self {
        let slots = settings.workers.saturating_mul(settings.concurrency);
        Self {
            settings,
            board,
            ledger,
            handler,
            runs: TaskTracker::new(),
            caller: Handle::current(),
            slots: Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS))),
            stop,
            abort,
            in_flight: AtomicUsize::new(0),
            channels: AtomicU64::new(0),
            stopping: OnceLock::new(),
            consumed: AtomicBool::new(false),
        }
    }

    pub(crate) fn next_channel(&self) -> u64 {
        self.channels.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// When the stop began: now, unless it has begun before.
    pub(crate) fn stopping_since(&self) -> Instant {
        *self.stopping.get_or_init(Instant::now)
    }

    /// When handlers must be through with their work.
    pub(crate) fn drained_by(&self) -> Instant {
        later(self.stopping_since(), self.settings.deadlines.drain)
    }

    pub(crate) fn set_consumed(&self) {
        self.consumed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_consumed(&self) -> bool {
        self.consumed.load(Ordering::Relaxed)
    }
}
