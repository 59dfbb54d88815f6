//! The `gauntlet` command: words in, a plan out, a report, an exit code.
//!
//! Owns arguments, live progress and exit codes. Everything else is the harness's.

mod args;
mod commands;
mod interrupt;
mod output;
mod progress;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// sysexits.h EX_USAGE: the command was used incorrectly.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match Args::try_parse_from(args::with_go_flags(std::env::args_os())) {
        Ok(args) => args,
        Err(e) => {
            output::usage(&e);
            return if e.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    log_to_stderr(matches!(args.command, Some(Command::Proxy(_))));
    output::let_subjects_panic_quietly();
    gauntlet_harness::limits::raise_open_files();
    match execute(args) {
        Ok(code) => code.into(),
        Err(e) => {
            output::error(&e.message);
            e.code.into()
        }
    }
}

fn execute(args: Args) -> Result<u8, commands::Failure> {
    match args.command.unwrap_or_else(Command::default_run) {
        Command::Run(run) => commands::run::execute(&run),
        Command::List(list) => commands::list::execute(&list),
        Command::Show(show) => commands::show::execute(&show),
        Command::Check(check) => commands::check::execute(&check),
        Command::Mutants(mutants) => commands::mutants::execute(&mutants),
        Command::League(league) => commands::league::execute(&league),
        Command::Broker(broker) => commands::broker::execute(&broker),
        Command::Proxy(proxy) => commands::proxy::execute(&proxy),
        Command::Completions(completions) => commands::completions::execute(&completions),
        Command::Man(man) => commands::completions::man(man.command.as_deref()),
    }
}

/// Logs go to stderr, warnings and worse by default; `RUST_LOG` says otherwise, and `LOG_LEVEL` for the proxy,
/// as Toxiproxy has it.
fn log_to_stderr(is_proxy: bool) {
    use tracing_subscriber::EnvFilter;
    // Consumers and their library report every fault this tool makes; the histories have all of that.
    let quiet = "warn,lapin=off,async_rs=off,gauntlet_consumer=off";
    let level = std::env::var("LOG_LEVEL").ok().filter(|_| is_proxy);
    let otherwise = level.map_or_else(|| quiet.to_owned(), |level| filter_of(&level).to_owned());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(otherwise));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| output::Logs)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .init();
}

/// Toxiproxy's names of levels.
fn filter_of(level: &str) -> &'static str {
    match level.to_ascii_lowercase().as_str() {
        "trace" => "trace",
        "debug" => "debug",
        "info" => "info",
        "error" | "fatal" | "panic" => "error",
        "disabled" => "off",
        _ => "warn",
    }
}
