//! The reference consumer as a program: flags and environment in, one JSON line per handled message out.

mod args;
mod http;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use args::Args;
use clap::Parser;
use gauntlet_consumer::{Consumer, Event, HandlerError, Message, Shutdown};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

const FATAL: u8 = 1;
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "info,lapin=off".into());
    let ansi = io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(ansi)
        .init();
    let events = args.events;
    let consumer = match args.consumer(move |event: &Event| trace(events, event)) {
        Ok(consumer) => consumer,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("failed to start: {error}");
            return ExitCode::from(FATAL);
        }
    };
    match runtime.block_on(run(&args, &consumer)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tracing::error!("failed to start: {error}");
            ExitCode::from(FATAL)
        }
    }
}

/// One event as one line on stderr.
fn trace(wanted: bool, event: &Event) {
    if wanted && let Ok(line) = serde_json::to_string(event) {
        // Nothing can be said when stderr is gone.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

async fn run(args: &Args, consumer: &Consumer) -> io::Result<u8> {
    let mut signals = Signals::new()?;
    let shutdown = Shutdown::new();
    let listener = match args.health {
        Some(address) => Some(TcpListener::bind(address).await?),
        None => None,
    };
    let health = async {
        match listener {
            Some(listener) => http::serve(listener, consumer).await,
            None => std::future::pending().await,
        }
    };
    let time = args.handler_time_ms.map_or(args.handler_time, Duration::from_millis);
    let mut running = Box::pin(consumer.run(
        move |message: Arc<Message>| async move { effect(&message, time).await },
        shutdown.clone(),
    ));
    tokio::pin!(health);
    let mut second = None;
    let result = loop {
        tokio::select! {
            result = &mut running => break result,
            () = &mut health => {}
            number = signals.next(), if second.is_none() => {
                if shutdown.stop.is_cancelled() {
                    second = Some(number);
                    shutdown.abort.cancel();
                } else {
                    shutdown.stop.cancel();
                }
            }
        }
    };
    Ok(match (result, second) {
        (_, Some(number)) => 128 + number,
        (Ok(summary), None) if summary.clean => 0,
        (Ok(_), None) => {
            tracing::error!("stopped, but not everything in flight could be finished");
            FATAL
        }
        (Err(error), None) => {
            tracing::error!("{error}");
            FATAL
        }
    })
}

/// The whole handler: take the time asked for, then write the effect.
async fn effect(message: &Message, time: Duration) -> Result<(), HandlerError> {
    if !time.is_zero() {
        sleep_until(Instant::now() + time).await;
    }
    let line = format!("{}\n", serde_json::json!({ "effect": message.label() }));
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| HandlerError::retry(format!("failed to write the effect: {error}")))
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal's number.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}
