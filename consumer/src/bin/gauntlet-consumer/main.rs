//! The reference consumer as a program: flags and environment in, one JSON line per handled message out.

mod args;
mod control;
mod http;
mod output;

use std::{
    future::pending,
    io::{self, IsTerminal, Write},
    net::TcpListener,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Duration,
};

use args::Args;
use clap::Parser;
use control::Second;
use gauntlet_consumer::{Consumer, Event, HandlerError, Message, Shutdown, redact};
use output::{Effects, Log};
use tokio::time::timeout;

const FATAL: u8 = 1;
const USAGE: u8 = 64;
/// How long the end waits for a reader of the log.
const LAST_LINES: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            // A URL where none belongs is quoted: not with its password.
            let given = std::env::args_os().chain(std::env::vars_os().map(|(_, value)| value));
            let given: Vec<String> =
                given.map(|word| word.to_string_lossy().into_owned()).collect();
            let message = error.render().to_string();
            let _ = io::stderr()
                .write_all(redact::quoting(&message, given.iter().map(String::as_str)).as_bytes());
            return ExitCode::from(USAGE);
        }
    };
    let Ok(log) = Log::start(io::stderr()) else { return ExitCode::from(FATAL) };
    let lines = log.clone();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "info,lapin=off".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || lines.clone())
        .with_ansi(io::stderr().is_terminal())
        .init();
    let (events, lines) = (args.events, log.clone());
    let consumer = args.consumer(move |event: &Event| trace(events, &lines, event));
    let code = match consumer {
        Ok(consumer) => start(&args, consumer).unwrap_or_else(|error| {
            tracing::error!("failed to start: {error}");
            FATAL
        }),
        Err(error) => {
            tracing::error!("{error}");
            USAGE
        }
    };
    log.flush(LAST_LINES);
    ExitCode::from(code)
}

/// One event as one line on stderr.
fn trace(wanted: bool, log: &Log, event: &Event) {
    if wanted && let Ok(line) = serde_json::to_string(event) {
        // The log takes every line, or counts it.
        let _ = log.clone().write_all(format!("{line}\n").as_bytes());
    }
}

fn start(args: &Args, consumer: Consumer) -> io::Result<u8> {
    let (consumer, shutdown) = (Arc::new(consumer), Shutdown::new());
    let listener = args.health.map(TcpListener::bind).transpose()?;
    if let Some(listener) = &listener {
        listener.set_nonblocking(true)?;
    }
    let second = control::start(shutdown.clone(), listener, consumer.clone())?;
    let effects = Effects::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(run(args, &consumer, effects, shutdown, &second));
    // A handler that blocks is not waited for.
    runtime.shutdown_background();
    Ok(code)
}

async fn run(
    args: &Args,
    consumer: &Consumer,
    effects: Effects,
    shutdown: Shutdown,
    second: &Second,
) -> u8 {
    let time = args.handler_time_ms.map_or(args.handler_time, Duration::from_millis);
    // Why nothing can be written to stdout any more.
    let broken = Arc::new(OnceLock::new());
    let (report, stopped) = (broken.clone(), shutdown.clone());
    let handler = move |message: Arc<Message>| {
        let (effects, report, stopped) = (effects.clone(), report.clone(), stopped.clone());
        async move {
            if let Err(error) = effect(&message, time, &effects).await {
                // No message is to be blamed, and rejected, for it: all of them go back to their queue.
                report.get_or_init(|| error);
                stopped.abort.cancel();
                pending::<()>().await;
            }
            Ok::<(), HandlerError>(())
        }
    };
    let result = consumer.run(handler, shutdown).await;
    match (result, second.code(), broken.get()) {
        (_, Some(code), _) => return code,
        (_, None, Some(error)) => {
            tracing::error!(
                "failed to write an effect to stdout: {error}; what was not acknowledged is in the queue"
            );
        }
        (Ok(summary), None, None) if summary.clean => return 0,
        (Ok(_), None, None) => {
            tracing::error!("stopped, but not everything in flight could be finished");
        }
        (Err(error), None, None) => tracing::error!("{error}"),
    }
    FATAL
}

/// The whole handler: take the time asked for, then write the effect.
async fn effect(message: &Message, time: Duration, effects: &Effects) -> io::Result<()> {
    if !time.is_zero() {
        // Unlike a moment in the future, a limit may be any duration.
        let _ = timeout(time, pending::<()>()).await;
    }
    effects.write(format!("{}\n", serde_json::json!({ "effect": message.label() }))).await
}
