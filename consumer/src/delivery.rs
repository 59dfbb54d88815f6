//! One delivery, from the ledger to its settlement.
//!
//! Everything that acknowledges is here, and acknowledges only through the delivery's own channel.

use std::sync::Arc;

use lapin::{
    Acker,
    options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions},
};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    event::Event,
    handling::{Verdict, handle},
    ledger::{Claim, Running},
    message::Message,
    settings::OnFailure,
};

/// Find out what is to become of a message: ask the ledger, run the handler if need be.
pub(crate) async fn decide(
    context: &Arc<Context>,
    message: Message,
    gone: &CancellationToken,
    ending: &CancellationToken,
) -> Verdict {
    let identity = context.settings.identity.of(&message);
    let running = loop {
        match context.ledger.claim(identity.as_deref(), message.redelivered) {
            Claim::Done => return Verdict::Duplicate,
            Claim::Mine(running) => break running,
            Claim::Busy(finished) => tokio::select! {
                biased;
                () = gone.cancelled() => return Verdict::Abandon,
                () = finished.cancelled() => {}
                () = ending.cancelled() => return Verdict::Return,
            },
        }
    };
    let slot = tokio::select! {
        biased;
        () = gone.cancelled() => return Verdict::Abandon,
        () = ending.cancelled() => return Verdict::Return,
        slot = context.slots.clone().acquire_owned() => slot,
    };
    match slot {
        Ok(slot) => run(context, message, running, gone, slot).await,
        Err(_) => Verdict::Abandon,
    }
}

/// Run the handler as a task of its own: it outlives this channel, if it must.
async fn run(
    context: &Arc<Context>,
    message: Message,
    running: Running,
    gone: &CancellationToken,
    slot: OwnedSemaphorePermit,
) -> Verdict {
    let (tell, told) = oneshot::channel();
    let abort = context.abort.clone();
    let handling = handle(context.clone(), message, running, gone.clone(), slot);
    let task = async move {
        if let Some(verdict) = abort.run_until_cancelled_owned(handling).await {
            // Nobody listens when the channel has gone: the ledger knows.
            let _ = tell.send(verdict);
        }
    };
    context.runs.spawn_on(task, &context.caller);
    tokio::select! {
        verdict = told => verdict.unwrap_or(Verdict::Abandon),
        () = gone.cancelled() => Verdict::Abandon,
    }
}

/// Tell the broker, on the delivery's own channel. Anything but a written frame is not an ack. False when it could
/// not be written in time: the channel then holds a delivery that nobody will ever settle.
pub(crate) async fn settle(
    context: &Context,
    id: String,
    verdict: Verdict,
    acker: &Acker,
    gone: &CancellationToken,
) -> bool {
    let board = &context.board;
    if let Verdict::Duplicate = verdict {
        board.emit(Event::Duplicate { id: id.clone() });
    }
    let drop_failed = context.settings.on_failure == OnFailure::Drop;
    let told = async {
        match &verdict {
            Verdict::Handled | Verdict::Duplicate => acker.ack(BasicAckOptions::default()).await,
            Verdict::Failed(_) if drop_failed => acker.ack(BasicAckOptions::default()).await,
            Verdict::Failed(_) => acker.reject(BasicRejectOptions { requeue: false }).await,
            Verdict::Return => {
                acker.nack(BasicNackOptions { requeue: true, multiple: false }).await
            }
            Verdict::Abandon => Ok(false),
        }
    };
    let limit = context.settings.deadlines.ack;
    let written = tokio::select! {
        written = timeout(limit, told) => written,
        () = gone.cancelled() => Ok(Ok(false)),
    };
    let in_time = written.is_ok();
    let event = match (written, verdict) {
        (_, Verdict::Abandon) => Event::Abandoned { id },
        (Ok(Ok(true)), Verdict::Handled | Verdict::Duplicate) => Event::Acked { id },
        (Ok(Ok(true)), Verdict::Failed(why)) => Event::Rejected { id, why },
        (Ok(Ok(true)), Verdict::Return) => Event::Returned { id },
        (Ok(Ok(false)), _) => Event::AckFailed { id, why: "its channel is gone".to_owned() },
        (Ok(Err(error)), _) => Event::AckFailed { id, why: error.to_string() },
        (Err(_), _) => Event::AckFailed { id, why: format!("not written within {limit:?}") },
    };
    let rejected = matches!(event, Event::Rejected { .. });
    board.emit(event);
    if rejected && !drop_failed {
        board.warn_of_rejections(&context.settings.queue);
    }
    in_time
}
