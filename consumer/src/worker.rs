//! One worker on one connection: keeps a session open, and reopens it when only the channel failed.

use std::sync::Arc;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    Error,
    backoff::{Pace, Step},
    clock::{after, later},
    context::Context,
    event::Event,
    link::Link,
    session::{End, Session},
    settings::{OnMissingQueue, OnRefused},
    trouble::{ConsumeError, Phase, RetryClass},
};

/// Work until the connection is lost (`Ok`), a stop is done (`Ok`), or for good (`Err`).
pub(crate) async fn work(
    context: Arc<Context>,
    link: Arc<Link>,
    worker: usize,
) -> Result<(), Error> {
    let mut pace = Pace::new(context.settings.channel_backoff, 1);
    let (mut missing, mut slow) = (0, false);
    // Sessions the server cancelled: they finish their work while the next one already consumes.
    let mut leaving = JoinSet::new();
    while let Some(attempt) = next_turn(&context, &link, &mut pace, worker, slow).await? {
        let opened = Session::open(context.clone(), link.clone(), worker);
        let opened = tokio::select! {
            biased;
            opened = opened => opened,
            () = link.lost.cancelled() => return Ok(()),
            // The connection's own close is still asked for.
            () = patience(&context) => break,
        };
        let trouble = match opened {
            Err(_) if !link.connected() => return Ok(()),
            Err(trouble) => {
                // A stop closes the connection itself, once the others are through.
                if link.is_suspect() && !context.stop.is_cancelled() {
                    let text = "the broker stopped answering requests".to_owned();
                    link.condemn(ConsumeError::Network { phase: Phase::Steady, text });
                }
                trouble
            }
            Ok(None) => break,
            Ok(Some(mut session)) => {
                (missing, slow) = (0, false);
                let since = Instant::now();
                let end = session.run().await;
                if since.elapsed() >= context.settings.stable_after {
                    pace.reset();
                }
                match end {
                    End::LinkLost => return Ok(()),
                    End::Stop => {
                        session.finish(&end).await;
                        break;
                    }
                    End::Cancelled => {
                        context.board.emit(Event::Cancelled { worker, epoch: session.epoch() });
                        leaving.spawn(async move { session.finish(&End::Cancelled).await });
                        while leaving.try_join_next().is_some() {}
                        continue;
                    }
                    End::ChannelLost(trouble) => trouble,
                }
            }
        };
        slow = trouble.treatment() == RetryClass::Refusal;
        judge(&context, worker, attempt, trouble, &mut missing)?;
    }
    tokio::select! {
        _ = leaving.join_all() => {}
        () = link.lost.cancelled() => {}
    }
    Ok(())
}

/// How long a stop waits for a session that is still being opened.
async fn patience(context: &Context) {
    context.stop.cancelled().await;
    sleep_until(later(context.stopping_since(), context.settings.deadlines.close)).await;
}

/// Wait for this worker's next turn; `None` when there will be none.
async fn next_turn(
    context: &Context,
    link: &Link,
    pace: &mut Pace,
    worker: usize,
    slow: bool,
) -> Result<Option<u32>, Error> {
    let (attempt, delay) = match pace.next(None) {
        Step::Go { attempt, delay } => (attempt, if slow { pace.cap() } else { delay }),
        Step::Exhausted { attempts } => {
            let what = format!("worker {worker} could not consume");
            return Err(Error::Exhausted { what, attempts, last: None });
        }
    };
    if context.stop.is_cancelled() || !link.connected() {
        return Ok(None);
    }
    if delay.is_zero() {
        return Ok(Some(attempt));
    }
    context.board.emit(Event::ChannelBackoff { worker, attempt, delay });
    tokio::select! {
        () = sleep_until(after(delay)) => Ok(Some(attempt)),
        () = context.stop.cancelled() => Ok(None),
        () = link.lost.cancelled() => Ok(None),
    }
}

/// Report a channel's trouble, and end for good where policy says so.
fn judge(
    context: &Context,
    worker: usize,
    attempt: u32,
    trouble: ConsumeError,
    missing: &mut u32,
) -> Result<(), Error> {
    let settings = &context.settings;
    let fatal = match trouble.treatment() {
        RetryClass::Transient => false,
        RetryClass::Refusal => match settings.on_refused {
            OnRefused::GiveUp => true,
            OnRefused::GiveUpAtStart => !context.has_consumed(),
            OnRefused::KeepTrying => false,
        },
        RetryClass::MissingQueue => {
            *missing += 1;
            matches!(settings.on_missing_queue, OnMissingQueue::GiveUpAfter(n) if *missing >= n)
        }
    };
    if trouble.treatment() != RetryClass::Transient {
        context.board.emit(Event::Refused { reason: trouble.clone(), fatal });
    }
    context.board.emit(Event::ChannelLost { worker, reason: trouble.clone() });
    match (fatal, trouble.treatment()) {
        (false, _) => Ok(()),
        (true, RetryClass::MissingQueue) => {
            let what = format!("queue `{}` is missing", settings.queue);
            Err(Error::Exhausted { what, attempts: attempt, last: Some(trouble) })
        }
        (true, _) => Err(Error::Refused(trouble)),
    }
}
