//! What a link costs: round trips, one stream, and connections, beside a direct connection and the
//! plainest relay, in one run. Loopback only.
//!
//! The octets are AMQP frames, so that a link that reads them has work to do. A machine that does other
//! things too moves all figures; the ratios of the table at the end move least, and least of all under
//! `taskset -c 0 cargo bench --bench link`.

mod support {
    pub mod far_end;
    pub mod path;
    pub mod table;
}

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode, Throughput};
use support::{
    far_end::{BLOCK, HEARTBEAT, LARGE, SMALL, Serve, body_frame},
    path::{Path, Way},
    table,
};
use tokio::runtime::Runtime;

/// Blocks a stream may be ahead of its answers: more than the sockets hold, so that it never waits.
const AHEAD: u64 = 16;

/// Does so many iterations, and says how long they took.
type Run = Box<dyn FnMut(u64) -> io::Result<Duration>>;

/// One thing measured over several ways.
struct Measurement {
    /// Criterion's group.
    name: &'static str,
    /// Its title in the table, with the unit of an iteration.
    title: &'static str,
    serve: Serve,
    ways: &'static [Way],
    iteration: Throughput,
    /// Makes ready for iterations over a path.
    start: fn(&Path) -> io::Result<Run>,
}

const MEASUREMENTS: &[Measurement] = &[
    Measurement {
        name: "link/round-trip",
        title: "round trip of a 64 B frame",
        serve: Serve::Echo,
        ways: &Way::ALL,
        iteration: Throughput::Elements(1),
        start: round_trip,
    },
    Measurement {
        name: "link/stream-4KiB",
        title: "1 MiB of one stream, in frames of 4 KiB",
        serve: Serve::Sink,
        ways: &Way::ALL,
        iteration: Throughput::Bytes(BLOCK as u64),
        start: |path| stream(path, LARGE),
    },
    Measurement {
        name: "link/stream-64B",
        title: "1 MiB of one stream, in frames of 64 B",
        serve: Serve::Sink,
        ways: &Way::ALL,
        iteration: Throughput::Bytes(BLOCK as u64),
        start: |path| stream(path, SMALL),
    },
    Measurement {
        name: "link/connect",
        title: "connect, one round trip, close",
        serve: Serve::Once,
        ways: &[Way::Direct, Way::Relay, Way::Link, Way::Tapped],
        iteration: Throughput::Elements(1),
        start: connect,
    },
];

fn round_trip(path: &Path) -> io::Result<Run> {
    let (mut stream, frame) = (path.connect()?, body_frame(SMALL));
    let mut back = frame.clone();
    Ok(Box::new(move |iterations| {
        let started = Instant::now();
        for _ in 0..iterations {
            stream.write_all(&frame)?;
            stream.read_exact(&mut back)?;
        }
        Ok(started.elapsed())
    }))
}

fn stream(path: &Path, octets: usize) -> io::Result<Run> {
    let (mut stream, block) = (path.connect()?, body_frame(octets).repeat(BLOCK / octets));
    let mut answer = HEARTBEAT;
    Ok(Box::new(move |iterations| {
        let started = Instant::now();
        for sent in 0..iterations {
            stream.write_all(&block)?;
            if sent >= AHEAD {
                stream.read_exact(&mut answer)?;
            }
        }
        for _ in 0..iterations.min(AHEAD) {
            stream.read_exact(&mut answer)?;
        }
        Ok(started.elapsed())
    }))
}

fn connect(path: &Path) -> io::Result<Run> {
    let (path, frame) = (path.near(), body_frame(SMALL));
    let mut back = Vec::with_capacity(frame.len());
    Ok(Box::new(move |iterations| {
        let started = Instant::now();
        for _ in 0..iterations {
            let mut stream = path.connect()?;
            stream.write_all(&frame)?;
            back.clear();
            // The far end closes first: no port of this side is kept waiting.
            if stream.read_to_end(&mut back)? != frame.len() {
                return Err(io::Error::other("the far end closed before it answered"));
            }
        }
        Ok(started.elapsed())
    }))
}

fn main() {
    let runtime = Runtime::new().expect("a runtime can be started");
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1500))
        .nresamples(20_000)
        .configure_from_args();
    let tables: Vec<_> =
        MEASUREMENTS.iter().map(|m| (m, measure(m, &mut criterion, &runtime))).collect();
    criterion.final_summary();
    for (measurement, samples) in tables {
        report(measurement, &samples);
    }
}

/// Every sample of one measurement: which way, seconds an iteration, iterations.
type Samples = Vec<(Way, f64, u64)>;

fn measure(measurement: &Measurement, criterion: &mut Criterion, runtime: &Runtime) -> Samples {
    let mut samples = Samples::new();
    let mut group = criterion.benchmark_group(measurement.name);
    group.sampling_mode(SamplingMode::Flat).throughput(measurement.iteration.clone());
    for way in measurement.ways {
        // Opened by the first sample, if the command line selects any.
        let mut opened: Option<(Path, Run)> = None;
        group.bench_function(way.name(), |bencher| {
            let (_, run) = opened.get_or_insert_with(|| {
                let path = runtime.block_on(Path::open(*way, measurement.serve));
                let path = path.expect("there are ports on loopback");
                let run = (measurement.start)(&path).expect("the path can be connected to");
                (path, run)
            });
            bencher.iter_custom(|iterations| {
                let took = run(iterations).expect("nothing on the path breaks it");
                samples.push((*way, took.as_secs_f64() / iterations as f64, iterations));
                took
            });
        });
        if let Some((path, run)) = opened {
            drop(run);
            assert_eq!(path.heard() > 0, *way == Way::Tapped, "the tap is what is measured");
            path.close(runtime);
        }
    }
    group.finish();
    samples
}

/// The middle and the best of each way, beside those of a direct connection.
fn report(measurement: &Measurement, samples: &Samples) {
    // One sample is a test run, or none a filtered one: nothing to compare.
    if samples.len() < 2 * measurement.ways.len() {
        return;
    }
    let of = |way: Way| samples.iter().filter(move |sample| sample.0 == way);
    let middle = |way| table::median(of(way).map(|(_, seconds, n)| (*seconds, *n)).collect());
    let best = |way| of(way).map(|(_, seconds, _)| *seconds).fold(f64::INFINITY, f64::min);
    let direct = (middle(Way::Direct), best(Way::Direct));
    let mut rows = vec![["", "median", "rate", "x direct", "best", "x direct"].map(str::to_owned).to_vec()];
    for way in measurement.ways.iter().filter(|way| of(**way).next().is_some()) {
        let (middle, best) = (middle(*way), best(*way));
        let rate = match measurement.iteration {
            Throughput::Bytes(octets) => format!("{:.0} MB/s", octets as f64 / middle / 1e6),
            _ => format!("{:.0} /s", 1.0 / middle),
        };
        let times = |value: f64, of: f64| format!("{:.2}", value / of);
        let time = |seconds| table::time(Duration::from_secs_f64(seconds));
        let (ratio, ratio_best) = (times(middle, direct.0), times(best, direct.1));
        rows.push(vec![way.name().to_owned(), time(middle), rate, ratio, time(best), ratio_best]);
    }
    table::print(measurement.title, &rows);
}
