//! The habit of `resurrects`: a thread that watches the connection outlives the consumer, takes its
//! orderly end for a loss, and dials once more.
//!
//! Stands for recovery threads that nobody told about the stop (bunny#376, lyra#75).

use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

use super::line::Line;

/// How long after the end it dials.
const LATER: Duration = Duration::from_millis(60);
/// How long it tries.
const PATIENCE: Duration = Duration::from_secs(2);

/// While it lives, the thread waits.
pub(super) struct Ghost {
    _alive: mpsc::Sender<()>,
}

impl Ghost {
    /// Starts the thread that will dial the broker once more.
    pub(super) fn new(url: &str) -> Ghost {
        let (alive, ended) = mpsc::channel::<()>();
        let url = url.to_owned();
        std::thread::spawn(move || {
            // Nothing is ever sent: this returns when the consumer is gone.
            _ = ended.recv();
            let at = Instant::now() + LATER;
            while let Some(left) =
                at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            {
                std::thread::park_timeout(left);
            }
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            // Whether it succeeds is nothing to anybody.
            runtime.block_on(async {
                if let Ok(line) = Line::dial(&url, Some(PATIENCE)).await {
                    line.close(PATIENCE).await;
                }
            });
        });
        Ghost { _alive: alive }
    }
}
