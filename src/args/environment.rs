//! Where runs take place, as the command line says it: broker, network, seed, how many at a time.

use gauntlet_harness::broker::{BrokerError, BrokerSpec};
use gauntlet_harness::network::{NetworkError, NetworkSpec};
use gauntlet_harness::suite::default_jobs;
use gauntlet_network::Seed;

/// Scenarios at a time against a command, unless somebody says otherwise.
const PROCESSES: usize = 6;

/// How runs are made.
#[derive(clap::Args, Debug, Clone)]
pub struct Environment {
    /// embedded, auto (a container, else a local process), container[:IMAGE[:TAG]], local[:PATH], or amqp://USER:PASSWORD@HOST:PORT[,http://[USER:PASSWORD@]MANAGEMENT:PORT] [default: embedded; container with --network toxiproxy]
    #[arg(long, value_name = "BROKER", env = "GAUNTLET_BROKER", hide_env_values = true)]
    broker: Option<String>,
    /// What is between the link and the broker: embedded (nothing), toxiproxy[:IMAGE[:TAG]] (a container), or http://IP:PORT of a running Toxiproxy
    #[arg(
        long,
        value_name = "NETWORK",
        default_value = "embedded",
        env = "GAUNTLET_NETWORK",
        hide_env_values = true
    )]
    network: String,
    /// Seed for the schedule of faults (decimal, or 0x...); it does not fix how processes interleave [default: random, and printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<Seed>,
    /// Scenarios at a time [default: 24 with embedded brokers, one for each scenario; 8 on a shared broker; 6 against a command]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
}

impl Environment {
    /// Which network. Parsed here and not by clap, whose errors quote what they were given, passwords and all.
    pub fn network(&self) -> Result<NetworkSpec, NetworkError> {
        match self.network.trim() {
            // An empty variable is as good as none.
            "" => Ok(NetworkSpec::Embedded),
            network => network.parse(),
        }
    }

    /// Which broker, behind this network. Parsed here for the same reason.
    pub fn broker(&self, network: &NetworkSpec) -> Result<BrokerSpec, BrokerError> {
        let contained = matches!(network, NetworkSpec::Toxiproxy { .. });
        let asked = match self.broker.as_deref().unwrap_or_default().trim() {
            // An empty variable is as good as none.
            "" if contained => BrokerSpec::container(),
            "" => BrokerSpec::Embedded,
            broker => broker.parse()?,
        };
        match asked {
            BrokerSpec::Container { .. } | BrokerSpec::Auto => Ok(asked),
            _ if contained => Err(BrokerError::Unsupported {
                what: format!("put a Toxiproxy in a container before the broker '{asked}'"),
                why: "it cannot reach that; use --broker container, or start a Toxiproxy on this machine and name it: --network http://127.0.0.1:8474".into(),
            }),
            _ => Ok(asked),
        }
    }

    /// How many scenarios at a time on this broker; processes take more to start than tasks do.
    pub fn jobs(&self, broker: &BrokerSpec, processes: bool) -> usize {
        let most = if processes { PROCESSES } else { usize::MAX };
        self.jobs.map_or_else(|| default_jobs(broker).min(most), usize::from)
    }
}
