//! One message through the handler: deadline, panic, retries, and what is to become of the message.
//!
//! Runs on the caller's runtime. It never settles anything: the session that received the message
//! does, if its channel still lives; if not, the outcome stays in the ledger.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
};

use futures_util::FutureExt;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::after,
    context::Context,
    event::{Event, HandlerOutcome},
    ledger::Running,
    message::Message,
};

/// What is to become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its handler succeeded.
    Handled,
    /// Its handler had succeeded before.
    Duplicate,
    /// Its handler failed for good.
    Failed(String),
    /// It is to be given back: a stop came first.
    Return,
    /// Its channel is gone; the broker redelivers it.
    Abandon,
}

/// Counts itself in flight while it lives.
struct InFlight(Arc<Context>);

impl InFlight {
    fn new(context: Arc<Context>) -> Self {
        context.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(context)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Run the handler until it succeeds, fails for good, or the message's channel is gone.
pub(crate) async fn handle(
    context: Arc<Context>,
    message: Message,
    running: Running,
    gone: CancellationToken,
    _slot: OwnedSemaphorePermit,
) -> Verdict {
    let in_flight = InFlight::new(context.clone());
    let retry = context.settings.retry;
    let mut message = Arc::new(message);
    loop {
        // Never start work for a channel that is known to be gone.
        if gone.is_cancelled() {
            return Verdict::Abandon;
        }
        let failure = match run_once(&context, &message).await {
            HandlerOutcome::Ok => {
                running.succeeded();
                return Verdict::Handled;
            }
            HandlerOutcome::Retryable(why) if message.attempt < retry.attempts => why,
            HandlerOutcome::TimedOut if message.attempt < retry.attempts => "timed out".to_owned(),
            HandlerOutcome::Retryable(why) | HandlerOutcome::Failed(why) => {
                return Verdict::Failed(why);
            }
            HandlerOutcome::TimedOut => return Verdict::Failed("timed out".to_owned()),
            HandlerOutcome::Panicked(why) => return Verdict::Failed(format!("panicked: {why}")),
        };
        let wait = retry.backoff.wait(message.attempt - 1, rand::random());
        tracing::debug!(id = message.label(), ?wait, "the handler is run again: {failure}");
        tokio::select! {
            () = sleep_until(after(wait)) => {}
            () = gone.cancelled() => return Verdict::Abandon,
            () = context.stop.cancelled() => return Verdict::Return,
        }
        let again = message.attempt + 1;
        message = Arc::new(Message { attempt: again, ..Arc::unwrap_or_clone(message) });
        let _ = &in_flight;
    }
}

async fn run_once(context: &Context, message: &Arc<Message>) -> HandlerOutcome {
    context.board.emit(Event::HandlerStarted {
        id: message.label(),
        redelivered: message.redelivered,
        attempt: message.attempt,
        delivery_tag: message.delivery_tag,
        epoch: message.epoch,
        worker: message.worker,
    });
    let at_work = context.board.progress.begin(message.worker, message.label());
    let started = Instant::now();
    let call = async { context.handler.call(message.clone()).await };
    let call = AssertUnwindSafe(call).catch_unwind();
    let result = match context.settings.handler_deadline {
        Some(limit) => timeout(limit, call).await.ok(),
        None => Some(call.await),
    };
    drop(at_work);
    let outcome = match result {
        Some(Ok(Ok(()))) => HandlerOutcome::Ok,
        Some(Ok(Err(error))) if error.is_retryable() => {
            HandlerOutcome::Retryable(error.to_string())
        }
        Some(Ok(Err(error))) => HandlerOutcome::Failed(error.to_string()),
        Some(Err(panic)) => HandlerOutcome::Panicked(panic_text(panic.as_ref())),
        None => HandlerOutcome::TimedOut,
    };
    let (id, took) = (message.label(), started.elapsed());
    context.board.emit(Event::HandlerFinished { id, outcome: outcome.clone(), took });
    outcome
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicU32, time::Duration};

    use super::*;
    use crate::{
        board::Board,
        handler::{Handler, HandlerError},
        ledger::{Claim, Ledger},
        message::Epoch,
        settings::{Retry, Settings},
    };

    fn context(handler: impl Handler, deadline: Option<Duration>) -> Arc<Context> {
        let mut settings = Settings::with_endpoints(Vec::new());
        settings.handler_deadline = deadline;
        settings.retry = Retry { attempts: 3, ..Retry::default() };
        let board = Arc::new(Board::new(1, 1, None));
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let ledger = Ledger::new(10);
        let handler = Arc::new(handler);
        Arc::new(Context::new(Arc::new(settings), board, ledger, handler, stop, abort))
    }

    fn message() -> Message {
        Message {
            id: Some("m".into()),
            body: Vec::new(),
            headers: lapin::types::FieldTable::default(),
            properties: lapin::BasicProperties::default(),
            redelivered: false,
            exchange: String::new(),
            routing_key: String::new(),
            delivery_tag: 1,
            epoch: Epoch { connection: 1, channel: 1 },
            worker: 0,
            attempt: 1,
            altered: Vec::new(),
        }
    }

    async fn check(context: &Arc<Context>, gone: &CancellationToken, expect: Verdict) {
        let Claim::Mine(running) = context.ledger.claim(Some("m"), true) else { panic!("fresh") };
        let slot = context.slots.clone().acquire_owned().await.expect("open");
        let verdict = handle(context.clone(), message(), running, gone.clone(), slot).await;
        assert_eq!(verdict, expect);
        let done = matches!(context.ledger.claim(Some("m"), true), Claim::Done);
        assert_eq!(done, expect == Verdict::Handled, "only a success is remembered");
        assert_eq!(context.in_flight.load(Ordering::Relaxed), 0);
        assert_eq!(context.slots.available_permits(), 1);
    }

    /// Fails until its `n`th run.
    fn nth(n: u32, runs: Arc<AtomicU32>) -> impl Handler {
        move |message: Arc<Message>| {
            let run = runs.fetch_add(1, Ordering::Relaxed) + 1;
            assert_eq!(message.attempt, run);
            std::future::ready(if run < n { Err(HandlerError::retry("busy")) } else { Ok(()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retried_within_the_limit_and_not_beyond() {
        let gone = CancellationToken::new();
        check(&context(nth(3, Arc::default()), None), &gone, Verdict::Handled).await;
        let failed = Verdict::Failed("busy".to_owned());
        check(&context(nth(4, Arc::default()), None), &gone, failed).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejection_is_not_retried() {
        let reject = |_| std::future::ready(Err(HandlerError::reject("bad")));
        let failed = Verdict::Failed("bad".to_owned());
        let context = context(reject, None);
        check(&context, &CancellationToken::new(), failed).await;
        assert_eq!(context.board.metrics().handled_failed, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_failure() {
        let failed = Verdict::Failed("panicked: ouch".to_owned());
        let panics = |_| async { panic!("ouch") };
        check(&context(panics, None), &CancellationToken::new(), failed).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_a_bound() {
        let takes = |_| async {
            sleep_until(Instant::now() + Duration::from_secs(10)).await;
            Ok(())
        };
        let gone = CancellationToken::new();
        let longer = Some(Duration::from_millis(10_001));
        check(&context(takes, longer), &gone, Verdict::Handled).await;
        let shorter = context(takes, Some(Duration::from_millis(9_999)));
        check(&shorter, &gone, Verdict::Failed("timed out".to_owned())).await;
        assert_eq!(shorter.board.metrics().handled_failed, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn no_run_starts_for_a_channel_that_is_gone() {
        let gone = CancellationToken::new();
        gone.cancel();
        let runs = Arc::new(AtomicU32::new(0));
        check(&context(nth(1, runs.clone()), None), &gone, Verdict::Abandon).await;
        assert_eq!(runs.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait_between_runs() {
        let context = context(nth(3, Arc::default()), None);
        context.stop.cancel();
        check(&context, &CancellationToken::new(), Verdict::Return).await;
        assert_eq!(context.board.metrics().handled_failed, 1);
    }
}
