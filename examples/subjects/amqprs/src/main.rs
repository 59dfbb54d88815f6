//! A consumer on amqprs, which leaves recovery to its user: callbacks tell of a close and of a cancel,
//! `listen_network_io_failure` of the rest, and the loop here starts another session.
//!
//! At least once: an ack whose connection is gone is dropped, and the message comes again.
//! SIGTERM: finish what has begun, ack it, cancel, close, exit 0. A second one ends it at once.

mod health;
mod session;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::session::{Session, is_refusal};

/// From the request to stop to the end.
const DRAIN: Duration = Duration::from_secs(15);

fn number(name: &str, otherwise: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text:?} is no number")),
        Err(_) => Ok(otherwise),
    }
}

/// The wait after so many failures in a row: none, then anything up to a doubling, capped ceiling.
fn backoff(failures: u32, base: Duration, cap: Duration) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(k) => base.saturating_mul(2_u32.saturating_pow(k)).min(cap).mul_f64(fastrand::f64()),
    }
}

async fn consume(session: Session, stop: CancellationToken) -> Result<()> {
    let base = Duration::from_millis(number("BACKOFF_BASE_MS", 1000)?);
    let cap = Duration::from_millis(number("BACKOFF_CAP_MS", 30_000)?);
    let mut failures = 0;
    while !stop.is_cancelled() {
        let ended = session.run(&stop).await;
        session.consuming.store(false, Ordering::Relaxed);
        let Err(error) = ended else { continue };
        if is_refusal(&error) {
            return Err(error.context("the broker refused the login or the virtual host"));
        }
        if session.progress.swap(false, Ordering::Relaxed) {
            failures = 0;
        }
        let wait = backoff(failures, base, cap);
        eprintln!("not consuming ({error:#}); next attempt in {wait:?}");
        failures += 1;
        let _ = tokio::time::timeout(wait, stop.cancelled()).await;
    }
    Ok(())
}

async fn run() -> Result<()> {
    let consuming = Arc::new(AtomicBool::new(false));
    if let Ok(address) = std::env::var("GAUNTLET_HEALTH") {
        let listener = tokio::net::TcpListener::bind(&address).await;
        let listener = listener.with_context(|| format!("cannot serve health on {address:?}"))?;
        let consuming = consuming.clone();
        let probe = Arc::new(move || consuming.load(Ordering::Relaxed));
        tokio::spawn(health::serve(listener, probe));
    }
    let session = Session {
        url: std::env::var("AMQP_URL").context("AMQP_URL is not set")?,
        queue: std::env::var("GAUNTLET_QUEUE").context("GAUNTLET_QUEUE is not set")?,
        prefetch: u16::try_from(number("GAUNTLET_PREFETCH", 10)?).context("GAUNTLET_PREFETCH")?,
        workers: number("GAUNTLET_WORKERS", 1)?,
        handler_time: Duration::from_millis(number("GAUNTLET_HANDLER_TIME_MS", 0)?),
        consuming,
        progress: AtomicBool::new(false),
    };
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let consumed = consume(session, stop.clone());
    tokio::pin!(consumed);
    tokio::select! {
        ended = &mut consumed => return ended,
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    eprintln!("asked to stop: finishing what has begun");
    stop.cancel();
    tokio::select! {
        ended = &mut consumed => ended,
        _ = term.recv() => anyhow::bail!("asked again: ending at once"),
        _ = tokio::time::sleep(DRAIN) => anyhow::bail!("work was left unfinished after {DRAIN:?}"),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
