//! The reference consumer as a subject: `gauntlet-consumer`, with the figures of a run that should not take long.

use std::time::Duration;

use gauntlet_consumer::{Backoff, Consumer, Deadlines, Event, HandlerError, OnRefused, Shutdown};

use super::{BackoffPromise, Jitter, Job, Promises, Refused, Running, SubjectSpec};

/// Its name in reports.
pub const NAME: &str = "reference";

/// Delays of a run: a service would start at 1 s and end at 60 s.
const BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(50),
    factor: 2.0,
    cap: Duration::from_millis(400),
    jitter: 1.0,
    max_attempts: None,
};
/// A connection that lived this long starts its backoff over.
const STABLE: Duration = Duration::from_millis(100);
/// Deadline of every step of a recovery.
const STEP: Duration = Duration::from_secs(2);

/// The reference consumer and what it promises.
pub fn subject_spec() -> SubjectSpec {
    let backoff = BackoffPromise {
        first_at_once: true,
        base: BACKOFF.base,
        factor: BACKOFF.factor,
        cap: BACKOFF.cap,
        jitter: Jitter::Full,
        max_attempts: None,
    };
    let promises = Promises {
        reports_attempts: true,
        backoff: Some(backoff),
        refused: Refused::GivesUp,
        ..Promises::all()
    };
    SubjectSpec::new(NAME, promises, |job: Job| -> Running { Box::pin(run(job)) })
}

async fn run(job: Job) -> Result<(), String> {
    let steps = Deadlines {
        tcp: STEP,
        handshake: STEP,
        channel: STEP,
        qos: STEP,
        consume: STEP,
        drain: Duration::from_secs(20),
        ..Deadlines::default()
    };
    let told = job.clone();
    let consumer = Consumer::builder(job.url.as_str())
        .queue(job.queue.as_str())
        .workers(job.workers.into())
        .prefetch(job.prefetch)
        .heartbeat(Duration::from_secs(job.heartbeat.into()))
        .backoff(BACKOFF)
        .channel_backoff(BACKOFF)
        .start_attempts(None)
        .stable_after(STABLE)
        .deadlines(steps)
        .on_refused(OnRefused::GiveUp)
        // The harness gives every message an id of its own.
        .suppress_by_message_id()
        .observe(move |event: &Event| tell(&told, event))
        .build()
        .map_err(|e| e.to_string())?;
    let shutdown = Shutdown { stop: job.stop.clone(), abort: job.abort.clone() };
    let handler = move |message: std::sync::Arc<gauntlet_consumer::Message>| {
        let job = job.clone();
        async move {
            let done = job.handle(message.id.as_deref(), message.redelivered).await;
            done.map_err(HandlerError::reject)
        }
    };
    consumer.run(handler, shutdown).await.map(drop).map_err(|e| e.to_string())
}

/// What of its events belongs in the history: attempts to connect, and what a reader wants explained.
fn tell(job: &Job, event: &Event) {
    match event {
        Event::Dialing { attempt, .. } => job.attempt(attempt.saturating_sub(1)),
        Event::ConnectionLost { reason, .. } => job.said(format!("connection lost: {reason}")),
        Event::ChannelLost { worker, reason } => {
            job.said(format!("worker {worker} lost its channel: {reason}"))
        }
        Event::Cancelled { worker, .. } => {
            job.said(format!("worker {worker} was cancelled by the broker"))
        }
        Event::Duplicate { id } => {
            job.said(format!("{id} was handled before: acked without handling"))
        }
        Event::GaveUp { reason } => job.said(format!("gave up: {reason}")),
        _ => {}
    }
}
