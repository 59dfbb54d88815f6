//! What a subject is told, and the simulated work it does for each message.
//!
//! Every in-process subject handles messages through [`Job::handle`], so that handlings and effects
//! are recorded the same way for all of them.

use std::time::Duration;

use gauntlet_judge::history::What;
use gauntlet_judge::history::ledger::parse_id;
use gauntlet_judge::scenario::Slow;
use tokio_util::sync::CancellationToken;

use crate::recorder::Recorder;

/// A subject's orders.
#[derive(Clone)]
pub struct Job {
    /// Where to connect: the faulty link, with credentials, virtual host and `?heartbeat=`.
    pub url: String,
    /// The queue to consume; it exists.
    pub queue: String,
    /// Workers, each with a channel of its own.
    pub workers: u16,
    /// Unsettled deliveries a worker may hold.
    pub prefetch: u16,
    /// The heartbeat to ask for, seconds.
    pub heartbeat: u16,
    /// Stop gracefully: SIGTERM's equivalent.
    pub stop: CancellationToken,
    /// Stop at once: a second SIGTERM's equivalent.
    pub abort: CancellationToken,
    /// The work to do for each message.
    pub work: Work,
}

/// The simulated work.
#[derive(Clone)]
pub struct Work {
    recorder: Recorder,
    time: Duration,
    slow: Option<Slow>,
}

impl Work {
    /// Work that takes `time`, except for the message in `slow`.
    pub fn new(recorder: Recorder, time: Duration, slow: Option<Slow>) -> Work {
        Work { recorder, time, slow }
    }
}

impl Job {
    /// Handles one message: takes as long as the scenario says, then commits its effect. A handling
    /// that is dropped before its end counts as failed.
    pub async fn handle(&self, message_id: Option<&str>, redelivered: bool) -> Result<(), String> {
        let Some(id) = message_id.and_then(parse_id) else {
            self.said(format!("a message without an id of the harness: {message_id:?}"));
            return Err(format!("not a message of the harness: {message_id:?}"));
        };
        let work = &self.work;
        work.recorder.record(What::HandlerStarted { id, redelivered });
        let mut handling = Handling { recorder: &work.recorder, id, ok: false };
        let time = work.slow.as_ref().filter(|s| s.message == id).map_or(work.time, |s| s.time);
        if !time.is_zero() {
            tokio::time::sleep_until(tokio::time::Instant::now() + time).await;
        }
        work.recorder.record(What::Effect { id });
        handling.ok = true;
        Ok(())
    }

    /// How long handling a message is to take.
    pub fn handler_time(&self) -> Duration {
        self.work.time
    }

    /// Where everything is recorded.
    pub(super) fn recorder(&self) -> &Recorder {
        &self.work.recorder
    }

    /// Reports an attempt to connect, after so many in a row without success.
    pub fn attempt(&self, failures: u32) {
        self.work.recorder.record(What::Attempt { failures });
    }

    /// Reports something a reader of the history should know.
    pub fn said(&self, text: impl Into<String>) {
        self.work.recorder.record(What::Said { text: text.into() });
    }
}

struct Handling<'a> {
    recorder: &'a Recorder,
    id: u32,
    ok: bool,
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        self.recorder.record(What::HandlerEnded { id: self.id, ok: self.ok });
    }
}
