//! The command line's words.

mod environment;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use gauntlet_harness::subject::{HealthPromise, Promised, Promises};
use gauntlet_network::Seed;

pub use environment::Environment;

/// Tests RabbitMQ consumers behind a simulated faulty network, and proves from the wire whether they recover.
#[derive(Parser, Debug)]
#[command(version, about, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Args {
    /// Without one: `run`, the core suite against the reference consumer.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0   every scenario passed
  1   at least one failed
  2   none failed, at least one could not be decided
  3   the environment failed (no broker, no Docker, no place to write), or a saved run cannot be read
  4   nothing was selected
  64  the command was used incorrectly
  130 ended by SIGINT (Ctrl-C), 143 by SIGTERM: in order by the first, at once by a second
broker and proxy end with 0 after the first.";

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run suites or scenarios against a consumer
    Run(Box<Run>),
    /// List suites, scenarios, checkers, faults, toxics and mutants
    List(List),
    /// Describe a scenario: its story, its schedule in words, what it decides; or a suite, or a checker
    Show(Show),
    /// Judge a saved run again, or a directory of them, from its files alone
    Check(Check),
    /// Test the checkers: each consumer that is broken on purpose must be caught
    Mutants(Mutants),
    /// Compare consumers: the same scenarios for each, as a table in text, Markdown and JSON
    League(League),
    /// Serve the embedded broker alone, with RabbitMQ's management API, until interrupted
    Broker(Broker),
    /// Run a Toxiproxy-compatible server, with more toxics than Toxiproxy has, until interrupted
    Proxy(Proxy),
    /// Print completions for a shell
    Completions(Completions),
    /// Print the man page, or that of one command
    Man(Man),
}

impl Command {
    /// What a bare `gauntlet` does: `gauntlet run`, read by the same parser, defaults, environment and all.
    pub fn default_run() -> Command {
        match Args::try_parse_from(["gauntlet", "run"]).map(|args| args.command) {
            Ok(Some(run)) => run,
            Ok(None) => unreachable!("`run` is a command"),
            Err(e) => e.exit(),
        }
    }
}

/// `gauntlet completions`
#[derive(clap::Args, Debug)]
pub struct Completions {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// `gauntlet man`
#[derive(clap::Args, Debug)]
pub struct Man {
    /// One of the commands, such as `run`
    pub command: Option<String>,
}

/// `gauntlet run`
#[derive(clap::Args, Debug)]
pub struct Run {
    /// Suites or scenarios; without one, the core suite
    #[arg(value_name = "SUITE|SCENARIO")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub environment: Environment,
    /// The consumer: `reference`, `control`, or a name from `gauntlet list mutants`; not with a command
    #[arg(long, value_name = "NAME", default_value = "reference", conflicts_with = "command")]
    pub subject: String,
    /// The command that starts your consumer, in any language. It finds the broker by AMQP_URL and GAUNTLET_QUEUE (docs/subjects.md)
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// Run each scenario N times, each time with another seed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub repeat: u16,
    /// Directory for histories and verdicts, one subdirectory for each scenario [default: gauntlet-out/ID]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// For this program itself: one scenario, kept in this very directory, until it or standard input ends
    #[arg(long, value_name = "DIR", hide = true, conflicts_with_all = ["out", "command"])]
    pub isolated: Option<PathBuf>,
    /// Skip the preflight, which checks that the command connects, consumes, handles a message and stops
    #[arg(long, requires = "command")]
    pub no_preflight: bool,
    #[command(flatten)]
    pub promises: Promising,
}

/// What a command is held to. By default: it reconnects, handles before it acks, drains when asked to stop, keeps to its prefetch.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Promises of a command")]
pub struct Promising {
    /// A TOML file of promises (docs/subjects.md); the flags below override it
    #[arg(long, value_name = "FILE", requires = "command")]
    promises: Option<PathBuf>,
    /// It does not reconnect by itself
    #[arg(long, requires = "command")]
    no_reconnects: bool,
    /// It may ack messages before it has handled them
    #[arg(long, requires = "command")]
    at_most_once: bool,
    /// It may abandon messages in progress when asked to stop
    #[arg(long, requires = "command")]
    no_drains: bool,
    /// It uses the prefetch in GAUNTLET_PREFETCH
    #[arg(long, requires = "command")]
    prefetch: bool,
    /// It chooses its own prefetch, even if the file of promises says otherwise [default]
    #[arg(long, requires = "command", conflicts_with = "prefetch")]
    no_prefetch: bool,
    /// It never repeats the effect of a message it has handled
    #[arg(long, requires = "command")]
    dedups: bool,
    /// It uses the heartbeat in GAUNTLET_HEARTBEAT
    #[arg(long, requires = "command")]
    heartbeats: bool,
    /// It recovers within this, like `5s` [default: 15s]
    #[arg(long, value_name = "TIME", requires = "command")]
    recovers_within: Option<Span>,
    /// It notices a broker that fell silent within this [default: three heartbeats and half a second]
    #[arg(long, value_name = "TIME", requires = "command")]
    notices_within: Option<Span>,
    /// It stops within this [default: 10s]
    #[arg(long, value_name = "TIME", requires = "command")]
    stops_within: Option<Span>,
    /// It reports its true health by HTTP at GAUNTLET_HEALTH, under this path
    #[arg(long, value_name = "PATH", requires = "command")]
    health: Option<String>,
}

/// A time as people write it.
#[derive(Clone, Copy, Debug)]
struct Span(Duration);

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let given = humantime::parse_duration(text);
        given.map(Span).map_err(|e| format!("{e}; write it like `500ms` or `5s`"))
    }
}

/// What is promised in this file; an error names it.
pub fn promised_in(path: &Path) -> Result<Promised, String> {
    let named = |e: &dyn std::fmt::Display| format!("promises {}: {e}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| named(&e))?;
    Promised::parse(&text).map_err(|e| named(&e))
}

impl Promising {
    /// All of it: the file, and the flags over it. An error says what is wrong.
    pub fn promises(&self) -> Result<Promises, String> {
        let said = self.promises.as_deref().map(promised_in).transpose()?.unwrap_or_default();
        let prefetch = self.prefetch || self.no_prefetch;
        let given = |flag: bool, says: bool, file: Option<bool>| flag.then_some(says).or(file);
        let time = |flag: Option<Span>, file: Option<Duration>| flag.map(|span| span.0).or(file);
        let path = self.health.clone();
        let health =
            path.map(|path| HealthPromise { path, ..said.health.clone().unwrap_or_default() });
        let said = Promised {
            reconnects: given(self.no_reconnects, false, said.reconnects),
            at_least_once: given(self.at_most_once, false, said.at_least_once),
            drains: given(self.no_drains, false, said.drains),
            prefetch: given(prefetch, self.prefetch, said.prefetch),
            dedups: given(self.dedups, true, said.dedups),
            heartbeats: given(self.heartbeats, true, said.heartbeats),
            recovers_within: time(self.recovers_within, said.recovers_within),
            notices_within: time(self.notices_within, said.notices_within),
            stops_within: time(self.stops_within, said.stops_within),
            health: health.or(said.health.clone()),
            ..said
        };
        Ok(said.over(Promises::of_a_process()))
    }

    /// The flags as they were given, for the command that repeats a run.
    pub fn in_words(&self) -> String {
        let file = self.promises.as_ref().map(|path| path.display().to_string());
        let given = [
            self.no_reconnects,
            self.at_most_once,
            self.no_drains,
            self.prefetch,
            self.dedups,
            self.heartbeats,
        ];
        let times = [self.recovers_within, self.notices_within, self.stops_within];
        let times = times.map(|span| span.map(|span| span.0));
        flags(file, given, times, self.health.as_deref())
    }
}

/// The flags that say what a command promised; what only a file can say stands as `--promises FILE`.
pub fn flags_of(promises: &Promises) -> String {
    let usual = Promises::of_a_process();
    let health = promises.health.as_ref();
    let beyond = promises.backoff.is_some()
        || promises.refused != usual.refused
        || promises.reports_handling
        || health.is_some_and(|health| !health.ready.is_empty());
    let given = [
        !promises.reconnects,
        !promises.at_least_once,
        !promises.drains,
        promises.prefetch,
        promises.dedups,
        promises.heartbeats,
    ];
    let times = [
        promises.recovers_within.filter(|_| promises.recovers_within != usual.recovers_within),
        promises.notices_within,
        promises.stops_within.filter(|_| promises.stops_within != usual.stops_within),
    ];
    let file = beyond.then(|| "FILE".to_owned());
    flags(file, given, times, health.map(|health| &*health.path))
}

/// A command's promises in the order of [`Promising`], each with a space behind it.
fn flags(
    file: Option<String>,
    given: [bool; 6],
    times: [Option<Duration>; 3],
    health: Option<&str>,
) -> String {
    let names = [
        "--no-reconnects",
        "--at-most-once",
        "--no-drains",
        "--prefetch",
        "--dedups",
        "--heartbeats",
    ];
    let given = names.into_iter().zip(given).filter(|(_, given)| *given);
    let mut words: Vec<String> = given.map(|(name, _)| name.to_owned()).collect();
    words.extend(file.map(|file| format!("--promises {file}")));
    let names = ["--recovers-within", "--notices-within", "--stops-within"];
    let times = names.into_iter().zip(times);
    words.extend(times.filter_map(|(name, time)| {
        Some(format!("{name} '{}'", humantime::format_duration(time?)))
    }));
    words.extend(health.map(|path| format!("--health {path}")));
    words.iter().map(|word| format!("{word} ")).collect()
}

/// `gauntlet list`
#[derive(clap::Args, Debug)]
pub struct List {
    /// What to list; everything without it
    #[arg(value_enum)]
    pub what: Option<Listed>,
}

/// What can be listed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Suites and their scenarios
    Scenarios,
    /// The checkers, and what each decides
    Checkers,
    /// Faults of the network and of the broker
    Faults,
    /// Toxics of `gauntlet proxy`
    Toxics,
    /// Consumers broken on purpose, and consumers that are odd and right
    Mutants,
}

/// `gauntlet show`
#[derive(clap::Args, Debug)]
pub struct Show {
    /// A scenario, a suite, or a checker like I12
    #[arg(value_name = "NAME")]
    pub scenario: String,
}

/// `gauntlet check`
#[derive(clap::Args, Debug)]
pub struct Check {
    /// The directory of a run (plan.json, history.jsonl), or one that holds such directories
    #[arg(value_name = "RUN-DIR")]
    pub dir: PathBuf,
    /// Show what every checker found, and all evidence of what failed
    #[arg(long)]
    pub full: bool,
}

/// `gauntlet mutants`
#[derive(clap::Args, Debug)]
pub struct Mutants {
    /// Mutants; without one, all of them
    #[arg(value_name = "MUTANT")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub environment: Environment,
}

/// `gauntlet league`
#[derive(clap::Args, Debug)]
pub struct League {
    /// A TOML file: scenarios, and subjects with name, command and promises (docs/league.md)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub environment: Environment,
    /// Where the table and the histories are kept [default: gauntlet-out/ID]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Skip the preflight of commands
    #[arg(long)]
    pub no_preflight: bool,
}

/// `gauntlet broker`
#[derive(clap::Args, Debug)]
pub struct Broker {
    /// The address to listen on. Anyone who reaches it may log in as guest
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// For AMQP; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 5672)]
    pub port: u16,
    /// For the management API; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 15672)]
    pub management_port: u16,
}

/// `gauntlet proxy`. Toxiproxy's own spelling of its flags, with one dash, works too.
#[derive(clap::Args, Debug)]
#[command(args_override_self = true)]
pub struct Proxy {
    /// The address or host name the API listens on. Anyone who reaches it can make this machine listen on any port
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    pub host: String,
    /// For the API; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 8474)]
    pub port: u16,
    /// Proxies to create at the start: a JSON array of what POST /proxies takes
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Seed for toxicity, jitter and slice sizes (decimal, or 0x...) [default: random]
    #[arg(long, value_name = "N", value_parser = any_seed, allow_negative_numbers = true)]
    pub seed: Option<Seed>,
    /// Report the bytes of each proxy at /metrics
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub proxy_metrics: bool,
    /// Report on this process at /metrics
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub runtime_metrics: bool,
    /// Print the version of Toxiproxy this is compatible with, and exit
    #[arg(long)]
    pub version: bool,
}

/// Toxiproxy's seeds may be negative.
fn any_seed(given: &str) -> Result<Seed, String> {
    match given.parse::<i64>() {
        Ok(number) => Ok(Seed(number.cast_unsigned())),
        Err(_) => {
            given.parse().map_err(|error: gauntlet_network::seed::SeedError| error.to_string())
        }
    }
}

/// What Go's flags are called.
const GO_FLAGS: &[&str] =
    &["host", "port", "config", "seed", "proxy-metrics", "runtime-metrics", "version"];

/// The arguments; behind `proxy`, flags with one dash as Go has them get the other. A program called as Toxiproxy
/// is that.
pub fn with_go_flags(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = given.collect();
    let called = all.first().and_then(|program| Path::new(program).file_stem());
    if called.is_some_and(|name| name == "toxiproxy" || name == "toxiproxy-server") {
        all.insert(1, "proxy".into());
    }
    if all.get(1).is_some_and(|command| command == "proxy") {
        for argument in all.iter_mut().skip(2) {
            let Some(flag) = argument.to_str().and_then(|text| text.strip_prefix('-')) else {
                continue;
            };
            if GO_FLAGS.contains(&flag.split('=').next().unwrap_or_default()) {
                *argument = format!("--{flag}").into();
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(words: &str) -> Proxy {
        let words = ["gauntlet", "proxy"].into_iter().chain(words.split_whitespace());
        let args = Args::try_parse_from(with_go_flags(words.map(OsString::from)));
        match args.map(|args| args.command) {
            Ok(Some(Command::Proxy(proxy))) => proxy,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_are_taken_as_go_spells_them() {
        let given = proxy("-host=0.0.0.0 -port 1 -config=a.json -seed -3 -proxy-metrics");
        assert_eq!((&*given.host, given.port), ("0.0.0.0", 1));
        assert_eq!(given.config.as_deref(), Some("a.json".as_ref()));
        assert_eq!(given.seed, Some(Seed((-3_i64).cast_unsigned())));
        assert!(given.proxy_metrics && !given.runtime_metrics);
        let given = proxy("--host 0.0.0.0 -host=::1 -proxy-metrics=false --seed 0xf");
        assert_eq!((&*given.host, given.seed), ("::1", Some(Seed(15))));
        assert!(!given.proxy_metrics);
        let called = with_go_flags(["/bin/toxiproxy", "-port=1"].into_iter().map(OsString::from));
        assert_eq!(called, ["/bin/toxiproxy", "proxy", "--port=1"]);
    }

    #[test]
    fn a_plans_promises_are_the_flags_that_made_them() {
        let given = |words: &str| {
            let words = ["gauntlet", "run", "steady"].into_iter().chain(words.split_whitespace());
            match Args::try_parse_from(words).map(|args| args.command) {
                Ok(Some(Command::Run(run))) => run.promises,
                other => panic!("{other:?}"),
            }
        };
        let all = "--no-reconnects --at-most-once --no-drains --prefetch --dedups --heartbeats --recovers-within 3s --notices-within 8s --stops-within 1m --health /up -- true";
        for words in ["-- true", "--dedups --stops-within 20s -- true", all] {
            let given = given(words);
            let flags = flags_of(&given.promises().expect("valid"));
            assert_eq!(flags, given.in_words());
            assert_eq!(flags.is_empty(), words == "-- true");
        }
        let file = Promises { reports_handling: true, ..Promises::of_a_process() };
        assert_eq!(flags_of(&file), "--promises FILE ");
    }
}
