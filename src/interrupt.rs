//! SIGINT and SIGTERM: the first ends a command in order, the second at once.
//!
//! A thread of its own listens, so that both are heard whatever the rest of the program waits for: a full pipe, a broker
//! that does not answer.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::commands::Failure;

/// What was begun is removed within this, or the program ends without: what is left then the next run sweeps.
const IN_ORDER: Duration = Duration::from_secs(20);

/// 128 and the number of the signal, as a shell has it.
const SIGINT: u8 = 130;
const SIGTERM: u8 = 143;

/// Whether and how this program was told to end.
#[derive(Clone)]
pub struct Interrupt {
    halt: CancellationToken,
    code: Arc<AtomicU8>,
}

impl Interrupt {
    /// Listens from now on, before there is anything to remove. With `stdin`, its end is a SIGTERM: whoever holds the
    /// other end is gone, or wants this to end.
    pub fn listen(stdin: bool) -> Result<Interrupt, Failure> {
        let this = Interrupt { halt: CancellationToken::new(), code: Arc::default() };
        let (ready, is_ready) = sync_channel(1);
        let listener = this.clone();
        // It ends with the program.
        let thread = std::thread::Builder::new().name("signals".into());
        let started = thread.spawn(move || listener.watch(stdin, &ready)).and_then(|_thread| {
            is_ready.recv().unwrap_or_else(|_| Err(std::io::Error::other("its thread ended")))
        });
        match started {
            Ok(()) => Ok(this),
            Err(e) => Err(Failure::environment(format!("failed to listen for signals: {e}"))),
        }
    }

    /// Cancelled by the first signal.
    pub fn halt(&self) -> CancellationToken {
        self.halt.clone()
    }

    /// The exit code, once there was a signal.
    pub fn code(&self) -> Option<u8> {
        Some(self.code.load(Ordering::SeqCst)).filter(|code| *code != 0)
    }

    fn watch(&self, stdin: bool, ready: &SyncSender<std::io::Result<()>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = runtime.and_then(|runtime| {
            let signals = {
                let _inside = runtime.enter();
                Signals::listen()?
            };
            Ok((runtime, signals))
        });
        let (runtime, mut signals) = match outcome {
            Ok(both) => both,
            // Whoever started this thread waits for it.
            Err(e) => {
                _ = ready.send(Err(e));
                return;
            }
        };
        _ = ready.send(Ok(()));
        runtime.block_on(async {
            let first = tokio::select! {
                signal = signals.next() => signal,
                () = ends(), if stdin => SIGTERM,
            };
            self.code.store(first, Ordering::SeqCst);
            self.halt.cancel();
            let deadline = Instant::now() + IN_ORDER;
            let code = tokio::select! {
                second = signals.next() => second,
                () = sleep_until(deadline) => first,
            };
            #[expect(clippy::disallowed_methods, reason = "a second signal asks for just that")]
            std::process::exit(code.into());
        });
    }
}

/// Waits for the end of standard input.
async fn ends() {
    let read_all = || {
        let mut bytes = [0; 64];
        while matches!(std::io::stdin().read(&mut bytes), Ok(read) if read > 0) {}
    };
    // It cannot be cancelled: it ends with the program.
    _ = tokio::task::spawn_blocking(read_all).await;
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Signals { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => SIGINT,
            _ = self.terminate.recv() => SIGTERM,
        }
    }
}
