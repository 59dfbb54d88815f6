//! The habit of `resurrects`: a thread that watches the connection outlives the consumer, takes its
//! orderly end for a loss, and dials once more.
//!
//! Stands for recovery threads that nobody told about the stop (bunny#376, lyra#75).

use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lapin::uri::AMQPUri;

/// How long after the end it dials.
const LATER: Duration = Duration::from_millis(60);

/// While it lives, the thread waits.
pub(super) struct Ghost {
    _alive: mpsc::Sender<()>,
}

impl Ghost {
    /// Starts the thread that will dial the broker of `url` once more.
    pub(super) fn new(url: &str) -> Ghost {
        let (alive, ended) = mpsc::channel::<()>();
        let uri: Option<AMQPUri> = url.parse().ok();
        std::thread::spawn(move || {
            let Some(uri) = uri else { return };
            // Nothing is ever sent: this returns when the consumer is gone.
            _ = ended.recv();
            let at = Instant::now() + LATER;
            while let Some(left) = at.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) {
                std::thread::park_timeout(left);
            }
            // It is opened and closed; whether it succeeds is nothing to anybody.
            drop(TcpStream::connect((uri.authority.host.as_str(), uri.authority.port)));
        });
        Ghost { _alive: alive }
    }
}
