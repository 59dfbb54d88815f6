//! The command line's words.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use gauntlet_harness::broker::{BrokerError, BrokerSpec};
use gauntlet_harness::suite::default_jobs;
use gauntlet_network::Seed;

/// Throws a RabbitMQ consumer into a broken network and says, with evidence, whether it came through.
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
  3   the environment could not be had (no broker, no Docker, no place to write)
  4   nothing was selected
  64  the command was used incorrectly
  130 interrupted by Ctrl-C";

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run suites or scenarios against a consumer
    Run(Box<Run>),
    /// List suites, scenarios, checkers, faults and mutants
    List(List),
    /// Tell a scenario: its story, its schedule in words, what it decides
    Show(Show),
    /// Decide again from a saved run, or a directory of them, alone
    Check(Check),
    /// Prove the checkers: run each consumer that is broken on purpose, and see it caught
    Mutants(Mutants),
    /// Serve the embedded broker alone, with RabbitMQ's management API, until interrupted
    Broker(Broker),
}

/// How runs are made.
#[derive(clap::Args, Debug, Clone)]
pub struct Environment {
    /// embedded, auto (a container, else a local process), container[:IMAGE[:TAG]], local[:PATH], or amqp://USER:PASSWORD@HOST:PORT[,http://MANAGEMENT:PORT]
    #[arg(
        long,
        value_name = "BROKER",
        default_value = "embedded",
        env = "GAUNTLET_BROKER",
        hide_env_values = true
    )]
    broker: String,
    /// Fixes the schedules (decimal, or 0x...); not how real processes interleave. Without it: a random one, printed
    #[arg(long, value_name = "N")]
    pub seed: Option<Seed>,
    /// Scenarios at a time [default: 24 with embedded brokers, which each has its own of; 8 on one they share]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
}

impl Environment {
    /// Which broker. Parsed here and not by clap, whose errors quote what they were given, passwords and all.
    pub fn broker(&self) -> Result<BrokerSpec, BrokerError> {
        match self.broker.trim() {
            // An empty variable is as good as none.
            "" => Ok(BrokerSpec::Embedded),
            broker => broker.parse(),
        }
    }

    /// How many scenarios at a time on this broker.
    pub fn jobs(&self, broker: &BrokerSpec) -> usize {
        self.jobs.map_or_else(|| default_jobs(broker), usize::from)
    }
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

/// `gauntlet run`
#[derive(clap::Args, Debug)]
pub struct Run {
    /// Suites or scenarios; without one, the core suite
    #[arg(value_name = "SUITE|SCENARIO")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub environment: Environment,
    /// The consumer: `reference`, `control`, or a mutant's name
    #[arg(long, value_name = "NAME", default_value = "reference")]
    pub subject: String,
    /// Runs each scenario so many times; the seed differs from round to round
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub repeat: u16,
    /// Where histories and verdicts are kept, a directory for each scenario [default: gauntlet-out/ID]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
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
    /// What is decided
    Checkers,
    /// What can go wrong on the network
    Faults,
    /// Consumers broken on purpose
    Mutants,
}

/// `gauntlet show`
#[derive(clap::Args, Debug)]
pub struct Show {
    /// A scenario
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

/// `gauntlet broker`
#[derive(clap::Args, Debug)]
pub struct Broker {
    /// The address to listen on. Whoever reaches it may log in as guest
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// For AMQP; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 5672)]
    pub port: u16,
    /// For the management API; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 15672)]
    pub management_port: u16,
}
