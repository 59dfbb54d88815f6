//! How long the reference consumer takes to come back, by fault: from the end of the outage to the first
//! message in its handler, through a link, from a RabbitMQ of its own.
//!
//! The consumer's backoff is that of the scenarios, so what follows an outage that lasts is mostly the wait
//! it happens to be in. Broker: `GAUNTLET_BROKER`, as for `gauntlet run`; without one this is skipped,
//! unless `GAUNTLET_REQUIRE=all`. The restart takes a minute: `GAUNTLET_BENCH_RESTART=1`. A recovery that
//! took longer than `GAUNTLET_BENCH_TRACE` milliseconds is told step by step.

mod support {
    pub mod outage;
    pub mod stage;
    pub mod table;
    pub mod wire;
}

use std::{env, process::ExitCode, time::Duration};

use criterion::{Criterion, SamplingMode};
use gauntlet_harness::broker::{BrokerSpec, available};
use support::{
    outage::Outage,
    stage::{Recovery, Stage},
    table,
    wire::LEGS,
};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let runtime = Runtime::new().expect("a runtime can be started");
    let spec = match runtime.block_on(broker()) {
        Ok(spec) => spec,
        Err(why) => {
            say(&format!("skipped: recovery: no broker: {why}"));
            let required = env::var("GAUNTLET_REQUIRE").is_ok_and(|value| value == "all");
            return ExitCode::from(u8::from(required));
        }
    };
    let restarts = env::var("GAUNTLET_BENCH_RESTART").is_ok_and(|value| value == "1");
    if !restarts {
        say("skipped: recovery/broker-restart: set GAUNTLET_BENCH_RESTART=1 (takes a minute)");
    }
    let trace = env::var("GAUNTLET_BENCH_TRACE").ok().and_then(|ms| ms.parse().ok());
    let mut bench = Bench { runtime, spec, trace: trace.map(Duration::from_millis), stage: None };
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_nanos(1))
        .nresamples(10_000)
        .configure_from_args();
    let outages = Outage::ALL.into_iter().filter(|outage| restarts || *outage != Outage::Restart);
    let found: Vec<_> = outages.map(|o| (o, measure(o, &mut criterion, &mut bench))).collect();
    criterion.final_summary();
    if let Some(stage) = bench.stage.take() {
        bench.runtime.block_on(stage.stop()).expect("the broker can be stopped");
        report(&found);
    }
    ExitCode::SUCCESS
}

/// What all measurements share.
struct Bench {
    runtime: Runtime,
    spec: BrokerSpec,
    /// Recoveries that take longer are told step by step.
    trace: Option<Duration>,
    /// Started by the first sample, if the command line selects any.
    stage: Option<Stage>,
}

impl Bench {
    fn stage(&mut self) -> (&Runtime, &mut Stage) {
        let Self { runtime, spec, stage, .. } = self;
        let start = || runtime.block_on(Box::pin(Stage::start(spec)));
        let stage = stage.get_or_insert_with(|| start().expect("the broker that is here starts"));
        (runtime, stage)
    }

    fn recover(&mut self, outage: Outage) -> Recovery {
        let trace = self.trace;
        let (runtime, stage) = self.stage();
        let recovery = runtime.block_on(Box::pin(stage.recover(outage)));
        let recovery = recovery.expect("the consumer recovers");
        if trace.is_some_and(|trace| recovery.took > trace) {
            let took = table::time(recovery.took);
            say(&format!("\n{}: {took}\n{}", outage.name(), recovery.story));
        }
        recovery
    }
}

/// The broker asked for, or any that can be started here; or why there is none.
async fn broker() -> Result<BrokerSpec, String> {
    let spec = env::var("GAUNTLET_BROKER").unwrap_or_else(|_| "auto".to_owned());
    let spec: BrokerSpec = spec.parse().map_err(|error| format!("failed to {error}"))?;
    if spec == BrokerSpec::Auto {
        let all = available().await;
        if all.iter().all(|(_, result)| result.is_err()) {
            let why =
                all.iter().filter_map(|(kind, r)| Some(format!("{kind}: {}", r.as_ref().err()?)));
            return Err(why.collect::<Vec<_>>().join("; "));
        }
    }
    Ok(spec)
}

fn measure(outage: Outage, criterion: &mut Criterion, bench: &mut Bench) -> Vec<Recovery> {
    let mut found = Vec::new();
    let mut group = criterion.benchmark_group("recovery");
    let (samples, most) = outage.effort();
    group.sampling_mode(SamplingMode::Flat).sample_size(samples);
    group.bench_function(outage.name(), |bencher| {
        // Not part of a sample.
        bench.stage();
        bencher.iter_custom(|rounds| {
            // Criterion plans by what a recovery takes, not by what the fault around it takes: a sample is a
            // few recoveries, and stands for as many as were asked for.
            let done = rounds.min(most);
            let mut took = Duration::ZERO;
            for _ in 0..done {
                let recovery = bench.recover(outage);
                // Back before the bench saw the broker answer: criterion takes no zero.
                took += recovery.took.max(Duration::from_micros(1));
                found.push(recovery);
            }
            took.mul_f64(rounds as f64 / done as f64)
        });
    });
    group.finish();
    found
}

/// Every recovery on its own, not the means of criterion's samples; and where the time went.
fn report(recoveries: &[(Outage, Vec<Recovery>)]) {
    let median = |values: &mut dyn Iterator<Item = Duration>| {
        table::median(values.map(|value| value.as_secs_f64()).collect())
    };
    let time = |seconds| table::time(Duration::from_secs_f64(seconds));
    let head = ["", "n", "best", "median", "worst"].into_iter().chain(LEGS);
    let mut rows = vec![head.map(str::to_owned).collect::<Vec<_>>()];
    for (outage, found) in recoveries.iter().filter(|(_, found)| !found.is_empty()) {
        let took = || found.iter().map(|recovery| recovery.took);
        let (best, worst) = (took().min().unwrap_or_default(), took().max().unwrap_or_default());
        let mut row = vec![outage.name().to_owned(), found.len().to_string(), table::time(best)];
        row.extend([time(median(&mut took())), table::time(worst)]);
        for leg in 0..LEGS.len() {
            let mut of_leg = found.iter().filter_map(|recovery| Some(recovery.legs?[leg]));
            row.push(format!("+{}", time(median(&mut of_leg))));
        }
        rows.push(row);
    }
    table::print("recovery: outage over -> first message handled; legs are medians", &rows);
}

#[expect(clippy::print_stdout, reason = "stdout is the report")]
fn say(line: &str) {
    // Whoever asks for the list reads nothing else.
    if !env::args().any(|arg| arg == "--list") {
        println!("{line}");
    }
}
