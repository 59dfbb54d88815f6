//! Signals and `/health`, on a thread and a runtime of their own: they work whatever the rest of the program waits for.

use std::{
    io,
    process::exit,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use gauntlet_consumer::{Consumer, Shutdown};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::http;

/// How long the program may take to end by itself after the second signal.
const GRACE: Duration = Duration::from_millis(500);

/// The number of the second signal, 0 before there was one.
#[derive(Clone, Default)]
pub(crate) struct Second(Arc<AtomicU8>);

impl Second {
    /// The exit code it asks for.
    pub(crate) fn code(&self) -> Option<u8> {
        let number = self.0.load(Relaxed);
        (number > 0).then_some(128 + number)
    }
}

/// Listen for signals, and serve health if there is a listener. From its return on, no signal ends the program by itself.
///
/// The thread ends with the process.
pub(crate) fn start(
    shutdown: Shutdown,
    health: Option<std::net::TcpListener>,
    consumer: Arc<Consumer>,
) -> io::Result<Second> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let second = Second::default();
    let (tell, told) = mpsc::channel();
    let number = second.0.clone();
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        runtime.block_on(async {
            let ready = Signals::new().and_then(|signals| {
                let listener = health.map(TcpListener::from_std).transpose()?;
                Ok((signals, listener))
            });
            let (signals, listener) = match ready {
                Ok(ready) => ready,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let _ = tell.send(Ok(()));
            let serve = async {
                if let Some(listener) = listener {
                    http::serve(listener, &consumer).await;
                }
            };
            tokio::join!(obey(signals, shutdown, &number), serve);
        });
    })?;
    told.recv().unwrap_or_else(|_| Err(io::Error::other("the control thread has ended")))?;
    Ok(second)
}

/// The first signal asks for an orderly stop. The second ends the program: by itself, if it can.
#[expect(clippy::disallowed_methods, reason = "the main thread may be blocked")]
async fn obey(mut signals: Signals, shutdown: Shutdown, second: &AtomicU8) {
    signals.next().await;
    shutdown.stop.cancel();
    let number = signals.next().await;
    second.store(number, Relaxed);
    shutdown.abort.cancel();
    sleep_until(Instant::now() + GRACE).await;
    exit(128 + i32::from(number));
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal's number.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}
