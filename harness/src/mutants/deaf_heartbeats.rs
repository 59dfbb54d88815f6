//! The habit of `deaf-heartbeats`: while a handler runs, the one thread that serves the connection
//! waits for it, so that neither heartbeats nor acks leave and nothing is read.
//!
//! Stands for pika#93 and php-amqplib#725: a handler on the connection's own thread.

use std::sync::mpsc;

use super::line::Line;

/// While it lives, the connection's thread is busy.
pub(super) struct Deaf {
    _handling: mpsc::Sender<()>,
}

impl Deaf {
    /// Takes the thread.
    pub(super) fn new(line: &Line) -> Deaf {
        let (handling, ended) = mpsc::channel::<()>();
        // Blocks a thread of the runtime: that is the defect. It ends with the handler.
        line.runtime().spawn(async move { _ = ended.recv() });
        Deaf { _handling: handling }
    }
}
