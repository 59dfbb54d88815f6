//! The one place that decides: when to dial, when to give up, how to stop.
//!
//! Runs on the engine. It owns the workers, the connection, and what old connections leave behind,
//! and returns only when all of it is gone.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};

use crate::{
    Error, Summary,
    backoff::{Pace, Step},
    clock::after,
    context::Context,
    event::Event,
    link::{Attempt, Link},
    settings::OnRefused,
    trouble::{ConsumeError, RetryClass},
    worker::work,
};

/// How long workers may take to notice that their connection is gone: they only return.
const NOTICE: Duration = Duration::from_secs(1);

/// Why the connections ended.
enum Ended {
    /// A stop; whether the connection was closed in order.
    Stopped { orderly: bool },
    /// For good.
    Fatal(Error),
}

/// Why one connection ended.
enum Served {
    Lost(ConsumeError),
    Ended(Ended),
}

pub(crate) async fn supervise(context: Arc<Context>) -> Result<Summary, Error> {
    context.board.start();
    let mut remains = JoinSet::new();
    let ended = tokio::select! {
        biased;
        ended = connections(&context, &mut remains) => ended,
        () = context.abort.cancelled() => Ended::Stopped { orderly: false },
        never = watch_handlers(&context) => match never {},
    };
    context.board.disconnected();
    let (orderly, fatal) = match ended {
        Ended::Stopped { orderly } => (orderly, None),
        Ended::Fatal(error) => (false, Some(error)),
    };
    let since = context.stopping_since();
    let (clean, aborted) = finish_runs(&context).await;
    // Each is bounded by itself.
    remains.join_all().await;
    if let Some(error) = &fatal {
        context.board.emit(Event::GaveUp { reason: error.to_string() });
    }
    context.board.emit(Event::Stopped { clean, orderly, took: since.elapsed() });
    match fatal {
        Some(error) => Err(error),
        None => Ok(Summary { clean, orderly, aborted, metrics: context.board.metrics() }),
    }
}

/// Keep health informed of handlers that are stuck.
async fn watch_handlers(context: &Context) -> Infallible {
    let limit = context.settings.stuck_limit();
    let often = (limit / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
    let mut ticks = interval(often);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        context.board.look(limit);
    }
}

/// Wait for handlers that outlived their channels, within the drain deadline: whether they finished, and whether
/// somebody asked for the end at once.
async fn finish_runs(context: &Context) -> (bool, bool) {
    context.stop.cancel();
    context.runs.close();
    let done = tokio::select! {
        () = context.runs.wait() => true,
        () = context.abort.cancelled() => false,
        () = sleep_until(context.drained_by()) => false,
    };
    let aborted = context.abort.is_cancelled();
    // What is left is dropped at its next await point; a handler that never awaits is the caller's.
    context.abort.cancel();
    let _ = timeout_at(Instant::now() + NOTICE, context.runs.wait()).await;
    (done, aborted)
}

async fn connections(context: &Arc<Context>, remains: &mut JoinSet<()>) -> Ended {
    let settings = &context.settings;
    let addresses = settings.endpoints.len();
    let mut pace = Pace::new(settings.backoff, u32::try_from(addresses).unwrap_or(u32::MAX));
    let (mut number, mut dials) = (0, 0);
    let mut last = None;
    let mut slow = false;
    loop {
        let limit = if number == 0 { settings.start_attempts } else { None };
        let (attempt, delay) = match pace.next(limit) {
            Step::Go { attempt, delay } => (attempt, if slow { pace.cap() } else { delay }),
            Step::Exhausted { attempts } => {
                let what = "could not connect".to_owned();
                return Ended::Fatal(Error::Exhausted { what, attempts, last });
            }
        };
        if !pause(context, attempt, delay).await {
            return Ended::Stopped { orderly: false };
        }
        let endpoint = settings.endpoints[dials % addresses].clone();
        dials += 1;
        context.board.emit(Event::Dialing { attempt, endpoint: endpoint.to_string() });
        let started = Instant::now();
        let dial = Attempt::new(number + 1, endpoint.clone(), context.board.clone());
        remains.spawn(dial.remains().gone());
        while remains.try_join_next().is_some() {}
        let opened = tokio::select! {
            biased;
            // First: a connection that is open already is closed in order.
            opened = dial.open(settings) => opened,
            () = context.stop.cancelled() => return Ended::Stopped { orderly: false },
        };
        let link = match opened {
            Ok(link) => link,
            Err(reason) => {
                slow = false;
                if reason.treatment() == RetryClass::Refusal {
                    let fatal = gives_up(context);
                    context.board.emit(Event::Refused { reason: reason.clone(), fatal });
                    if fatal {
                        return Ended::Fatal(Error::Refused(reason));
                    }
                    slow = true;
                }
                context.board.emit(Event::ConnectFailed { attempt, reason: reason.clone() });
                last = Some(reason);
                continue;
            }
        };
        slow = false;
        number += 1;
        let (heartbeat, took) = (link.heartbeat, started.elapsed());
        let endpoint = endpoint.to_string();
        context.board.emit(Event::Connected { connection: number, endpoint, heartbeat, took });
        let since = Instant::now();
        match serve(context, Arc::new(link)).await {
            Served::Ended(ended) => return ended,
            Served::Lost(reason) => {
                context.board.disconnected();
                context
                    .board
                    .emit(Event::ConnectionLost { connection: number, reason: reason.clone() });
                last = Some(reason);
                if since.elapsed() >= settings.stable_after {
                    pace.reset();
                    // Stay with the address that worked.
                    dials -= 1;
                }
            }
        }
    }
}

fn gives_up(context: &Context) -> bool {
    match context.settings.on_refused {
        OnRefused::GiveUp => true,
        OnRefused::GiveUpAtStart => !context.has_consumed(),
        OnRefused::KeepTrying => false,
    }
}

/// Wait before an attempt; false when a stop came first.
async fn pause(context: &Context, attempt: u32, delay: Duration) -> bool {
    if delay.is_zero() {
        return !context.stop.is_cancelled();
    }
    context.board.emit(Event::Backoff { attempt, delay });
    tokio::select! {
        () = sleep_until(after(delay)) => true,
        () = context.stop.cancelled() => false,
    }
}

/// Run the workers on one connection until it is lost, a stop is done, or a worker ends for good.
async fn serve(context: &Arc<Context>, link: Arc<Link>) -> Served {
    let mut workers = JoinSet::new();
    for worker in 0..context.settings.workers {
        workers.spawn(work(context.clone(), link.clone(), worker));
    }
    let mut fatal = None;
    let mut lost = None;
    // Set once a stop begins.
    let mut deadline = None;
    let mut watch = Box::pin(link.watch());
    while !workers.is_empty() {
        tokio::select! {
            biased;
            () = context.stop.cancelled(), if deadline.is_none() => {
                deadline = Some(context.drained_by());
                let in_flight = context.in_flight.load(Ordering::Relaxed);
                context.board.emit(Event::Draining { in_flight });
            }
            reason = &mut watch, if lost.is_none() => {
                link.lost.cancel();
                lost = Some(reason);
                deadline = Some(Instant::now() + NOTICE);
            }
            Some(ended) = workers.join_next() => {
                if let Ok(Err(error)) = ended {
                    fatal.get_or_insert(error);
                    context.stop.cancel();
                }
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => break,
        }
    }
    workers.shutdown().await;
    if let Some(reason) = lost {
        return match (fatal, context.stop.is_cancelled()) {
            (Some(error), _) => Served::Ended(Ended::Fatal(error)),
            (None, true) => Served::Ended(Ended::Stopped { orderly: false }),
            (None, false) => Served::Lost(reason),
        };
    }
    if fatal.is_none() && !context.stop.is_cancelled() {
        // Every worker saw the end before the watch did.
        return Served::Lost(watch.await);
    }
    let orderly = link.close(context.settings.deadlines.close).await;
    match fatal {
        Some(error) => Served::Ended(Ended::Fatal(error)),
        None => Served::Ended(Ended::Stopped { orderly }),
    }
}
