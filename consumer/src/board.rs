//! One place every event goes through: metrics, health, the log, the observer, in that order.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    event::{Event, HandlerOutcome, Observer},
    health::{Health, now_ms},
    metrics::{Counters, Metrics},
    progress::Progress,
};

/// Where events go.
pub(crate) struct Board {
    counters: Counters,
    health: watch::Sender<Health>,
    observer: Option<Arc<dyn Observer>>,
    pub(crate) progress: Progress,
    /// Whether it was said what a rejection may cost.
    warned: AtomicBool,
}

impl Board {
    pub(crate) fn new(
        workers: usize,
        handlers: usize,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        let health = Health { workers, handlers, since_ms: now_ms(), ..Health::default() };
        Self {
            counters: Counters::default(),
            health: watch::Sender::new(health),
            observer,
            progress: Progress::default(),
            warned: AtomicBool::new(false),
        }
    }

    /// Look which handlers have been at work for at least so long.
    pub(crate) fn look(&self, limit: Duration) {
        let (stuck, new) = self.progress.stuck(limit);
        for it in new {
            let took = Duration::from_millis(it.for_ms);
            self.emit(Event::HandlerStuck { id: it.id, worker: it.worker, took });
        }
        self.health.send_if_modified(|health| {
            let changed = health.stuck != stuck;
            health.stuck = stuck;
            changed
        });
    }

    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.counters.snapshot()
    }

    /// Forget what an earlier run left behind.
    pub(crate) fn start(&self) {
        self.health.send_modify(|health| {
            health.stopping = false;
            health.connected = false;
            health.consuming = 0;
            health.stuck.clear();
        });
    }

    /// A worker stopped consuming for a reason no event of its own tells (a drain, a lost link).
    pub(crate) fn not_consuming(&self) {
        self.health.send_modify(|health| health.consuming = health.consuming.saturating_sub(1));
    }

    pub(crate) fn disconnected(&self) {
        self.health.send_modify(|health| {
            if std::mem::take(&mut health.connected) {
                health.since_ms = now_ms();
            }
        });
    }

    pub(crate) fn emit(&self, event: Event) {
        self.count(&event);
        self.update_health(&event);
        log(&event);
        if let Some(observer) = &self.observer {
            // An observer's panic is its own bug: it must not take the connection down.
            if catch_unwind(AssertUnwindSafe(|| observer.observe(&event))).is_err() {
                tracing::error!(?event, "the observer panicked");
            }
        }
    }

    /// Say once that a rejection may be a loss: AMQP does not tell whether a queue has a dead-letter exchange.
    pub(crate) fn warn_of_rejections(&self, queue: &str) {
        if !self.warned.swap(true, Relaxed) {
            tracing::error!(
                "a message was rejected: it is kept only if queue `{queue}` has a dead-letter exchange; \
                 without one, the broker drops each rejected message"
            );
        }
    }

    fn count(&self, event: &Event) {
        let counters = &self.counters;
        Counters::add(match event {
            Event::Dialing { .. } => &counters.attempts,
            Event::Connected { .. } => &counters.connections,
            Event::ConnectionLost { .. } => &counters.connections_lost,
            Event::ChannelLost { .. } => &counters.channels_lost,
            Event::Cancelled { .. } => &counters.cancelled,
            Event::Refused { .. } => &counters.refused,
            Event::HandlerStuck { .. } => &counters.stuck,
            Event::HandlerFinished { outcome, took, .. } => {
                counters.latency(*took);
                match outcome {
                    HandlerOutcome::Ok => &counters.handled_ok,
                    _ => &counters.handled_failed,
                }
            }
            Event::Altered { .. } => &counters.altered,
            Event::Duplicate { .. } => &counters.duplicates,
            Event::Acked { .. } => &counters.acks,
            Event::AckFailed { .. } => &counters.ack_failures,
            Event::Rejected { .. } => &counters.rejected,
            Event::Returned { .. } => &counters.returned,
            Event::Abandoned { .. } => &counters.abandoned,
            _ => return,
        });
    }

    fn update_health(&self, event: &Event) {
        let change: &dyn Fn(&mut Health) = match event {
            Event::Connected { connection, .. } => &|health: &mut Health| {
                health.connected = true;
                health.since_ms = now_ms();
                health.reconnects = connection.saturating_sub(1);
            },
            Event::Consuming { .. } => &|health: &mut Health| health.consuming += 1,
            Event::Acked { .. } | Event::HandlerFinished { outcome: HandlerOutcome::Ok, .. } => {
                &|health: &mut Health| health.last_progress_ms = Some(now_ms())
            }
            Event::Draining { .. } | Event::Stopped { .. } => {
                &|health: &mut Health| health.stopping = true
            }
            Event::ConnectionLost { reason, .. }
            | Event::ConnectFailed { reason, .. }
            | Event::Refused { reason, .. }
            | Event::ChannelLost { reason, .. } => {
                &|health: &mut Health| health.last_error = Some(reason.to_string())
            }
            Event::GaveUp { reason } => &|health: &mut Health| {
                health.last_error = Some(reason.clone());
                health.stopping = true;
            },
            _ => return,
        };
        self.health.send_modify(change);
    }
}

fn log(event: &Event) {
    match event {
        Event::GaveUp { reason } => tracing::error!("giving up: {reason}"),
        Event::Refused { reason, fatal } => tracing::error!(fatal, "{reason}"),
        Event::ConnectionLost { connection, reason } => {
            tracing::warn!(connection, "connection lost: {reason}");
        }
        Event::ConnectFailed { attempt, reason } => {
            tracing::warn!(attempt, "failed to connect: {reason}");
        }
        Event::ChannelLost { worker, reason } => {
            tracing::warn!(worker, "channel lost: {reason}");
        }
        Event::Cancelled { worker, .. } => {
            tracing::warn!(worker, "consumer cancelled by the broker")
        }
        Event::Altered { id, fields } => {
            tracing::warn!(id, "not as it was published: {}", fields.join(", "));
        }
        Event::HandlerStuck { id, worker, took } => {
            tracing::warn!(id, worker, "its handler has been running for {took:?}");
        }
        Event::AckFailed { id, why } => tracing::warn!(id, "failed to settle: {why}"),
        Event::Rejected { id, why } => tracing::warn!(id, "rejected: {why}"),
        Event::Blocked { connection, reason } => {
            tracing::warn!(connection, "publishers blocked by the broker: {reason}");
        }
        Event::Dialing { .. }
        | Event::Unblocked { .. }
        | Event::Connected { .. }
        | Event::Backoff { .. }
        | Event::ChannelBackoff { .. }
        | Event::Consuming { .. }
        | Event::Draining { .. }
        | Event::Stopped { .. } => tracing::info!("{event:?}"),
        _ => tracing::debug!("{event:?}"),
    }
}
