//! What the embedded broker takes to start, and what it delivers beside a RabbitMQ, in one run: publish,
//! confirm, consume and ack, by one client on one connection.
//!
//! Criterion measures one after the other, so the table at the end is measured in turns, and its ratios turn
//! by turn. The messages are persistent: RabbitMQ writes them to its disk and the embedded broker has none, so
//! this is not what RabbitMQ could do in memory. RabbitMQ: `GAUNTLET_BROKER`, as for `gauntlet run`, or a
//! container or local server, if this machine has one; else that half is skipped, unless
//! `GAUNTLET_REQUIRE=all`.

mod support {
    pub mod table;
    pub mod traffic;
}

use std::{
    env,
    error::Error,
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode, Throughput};
use gauntlet_broker::{Broker as Embedded, Config};
use gauntlet_harness::broker::{Broker, BrokerSpec, RunId, choose};
use support::{table, traffic::Client};
use tokio::runtime::Runtime;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Messages of one sample's iteration.
const MESSAGES: u64 = 5_000;
/// Turns of each broker in the table.
const TURNS: usize = 20;
/// Brokers started for the table.
const STARTS: usize = 200;

fn main() -> ExitCode {
    let runtime = Runtime::new().expect("a runtime can be started");
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .nresamples(10_000)
        .configure_from_args();
    let starts = start(&mut criterion, &runtime);
    let required = env::var("GAUNTLET_REQUIRE").is_ok_and(|value| value == "all");
    let bench = Bench::open(&runtime);
    let mut bench = match bench {
        Ok(bench) => bench,
        Err(why) => {
            say(&format!("failed to {why}"));
            return ExitCode::FAILURE;
        }
    };
    let rabbitmq_is_missing = bench.skipped.is_some();
    if let Some(why) = &bench.skipped {
        say(&format!("skipped: broker/rabbitmq: {why}"));
    }
    let selected = bench.deliveries(&mut criterion);
    criterion.final_summary();
    if starts > 1 {
        print_starts(&runtime);
    }
    if selected > 1 {
        let rows = bench.compare();
        table::print("publish, confirm, deliver, ack of 100 B, one connection", &rows);
    }
    let stopped = bench.close(&runtime);
    if let Err(why) = &stopped {
        say(&format!("failed to stop a broker: {why}"));
    }
    ExitCode::from(u8::from(stopped.is_err() || (required && rabbitmq_is_missing)))
}

/// From being asked to listening; stopping is not counted. How many samples were asked for.
fn start(criterion: &mut Criterion, runtime: &Runtime) -> usize {
    let mut samples = 0;
    criterion.benchmark_group("broker").bench_function("start", |bencher| {
        samples += 1;
        bencher.iter_custom(|iterations| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..iterations {
                    took += started().await;
                }
                took
            })
        });
    });
    samples
}

async fn started() -> Duration {
    let began = Instant::now();
    let broker = Embedded::start(Config::default()).expect("loopback has a port");
    let took = began.elapsed();
    broker.stop().await;
    took
}

fn print_starts(runtime: &Runtime) {
    let mut all: Vec<Duration> = (0..STARTS).map(|_| runtime.block_on(started())).collect();
    all.sort();
    let at = |part: usize| table::time(all[(all.len() - 1) * part / 100]);
    let rows = [["", "median", "p99", "worst"], ["embedded", &at(50), &at(99), &at(100)]];
    let rows = rows.map(|row| row.map(str::to_owned).to_vec());
    table::print("start of a broker", &rows);
}

/// The brokers to be compared, connected to.
struct Bench {
    embedded: Embedded,
    rabbitmq: Option<(Broker, String)>,
    /// Why there is no RabbitMQ.
    skipped: Option<String>,
    clients: Vec<(&'static str, Client)>,
}

impl Bench {
    fn open(runtime: &Runtime) -> Result<Bench> {
        let embedded = runtime.block_on(async { Embedded::start(Config::default()) })?;
        let mut clients =
            vec![("embedded", Client::connect(embedded.addr(), "guest", "guest", "/")?)];
        let (rabbitmq, skipped) = match runtime.block_on(Box::pin(rabbitmq())) {
            Ok(Some(found)) => (Some(found), None),
            Ok(None) => (None, Some("GAUNTLET_BROKER names the embedded broker".to_owned())),
            Err(why) => (None, Some(why.to_string())),
        };
        if let Some((broker, vhost)) = &rabbitmq {
            let (addr, (user, password)): (SocketAddr, _) = (broker.addr(), broker.credentials());
            clients.push(("rabbitmq", Client::connect(addr, &user, &password, vhost)?));
        }
        Ok(Bench { embedded, rabbitmq, skipped, clients })
    }

    /// How many samples were taken of the broker that was asked for most.
    fn deliveries(&mut self, criterion: &mut Criterion) -> usize {
        let mut group = criterion.benchmark_group("broker/deliveries");
        group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(MESSAGES));
        let mut most = 0;
        for (name, client) in &mut self.clients {
            let mut samples = 0;
            group.bench_function(*name, |bencher| {
                bencher.iter_custom(|iterations| {
                    samples += 1;
                    (0..iterations).map(|_| took(client)).sum()
                });
            });
            most = most.max(samples);
        }
        group.finish();
        most
    }

    /// All in turns; each beside RabbitMQ, which is the last if it is there.
    fn compare(&mut self) -> Vec<Vec<String>> {
        let turns: Vec<Vec<f64>> = (0..TURNS)
            .map(|_| {
                self.clients.iter_mut().map(|(_, client)| took(client).as_secs_f64()).collect()
            })
            .collect();
        let middle = |values: &mut dyn Iterator<Item = f64>| table::median(values.collect());
        let has_rabbitmq = self.clients.len() > 1;
        let mut rows = vec![["", "median", "best", "x rabbitmq"].map(str::to_owned).to_vec()];
        for (at, (name, _)) in self.clients.iter().enumerate() {
            let rate = |seconds: f64| format!("{:.0} /s", MESSAGES as f64 / seconds);
            let best = turns.iter().map(|turn| turn[at]).fold(f64::INFINITY, f64::min);
            let last = self.clients.len() - 1;
            let ratio = middle(&mut turns.iter().map(|turn| turn[last] / turn[at]));
            let ratio = if has_rabbitmq { format!("{ratio:.1}") } else { "-".to_owned() };
            let median = middle(&mut turns.iter().map(|turn| turn[at]));
            rows.push(vec![(*name).to_owned(), rate(median), rate(best), ratio]);
        }
        rows
    }

    fn close(self, runtime: &Runtime) -> Result<()> {
        drop(self.clients);
        runtime.block_on(Box::pin(async {
            self.embedded.stop().await;
            if let Some((broker, vhost)) = &self.rabbitmq {
                broker.delete_vhost(vhost).await?;
                broker.stop().await?;
            }
            Ok(())
        }))
    }
}

fn took(client: &mut Client) -> Duration {
    let began = Instant::now();
    client.play(MESSAGES).expect("the broker answers");
    began.elapsed()
}

/// A RabbitMQ, and a virtual host of our own in it; none if only the embedded broker is wanted.
async fn rabbitmq() -> Result<Option<(Broker, String)>> {
    let spec = env::var("GAUNTLET_BROKER").unwrap_or_else(|_| "auto".to_owned());
    let spec = match spec.parse()? {
        BrokerSpec::Embedded => return Ok(None),
        BrokerSpec::Auto => choose().await?,
        named => named,
    };
    let run = RunId::new();
    let broker = Box::pin(Broker::start(&spec, &run)).await?;
    let vhost = format!("bench-{run}");
    broker.create_vhost(&vhost).await?;
    Ok(Some((broker, vhost)))
}

#[expect(clippy::print_stderr, reason = "what is skipped is no part of the report")]
fn say(line: &str) {
    eprintln!("{line}");
}
