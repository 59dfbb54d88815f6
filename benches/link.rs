//! What a link costs and how exact it is, beside a direct connection, the plainest relay, and Toxiproxy
//! where `TOXIPROXY_BIN` names its server, in one run. Loopback only; pin it to one core (`taskset -c 0`)
//! for figures that can be compared.
//!
//! The bytes are AMQP frames, so that a link that reads them has work to do. Criterion measures one way
//! after the other, so a machine that does other things too moves its figures against each other. The
//! tables at the end are measured in turns of a few milliseconds, and their ratios turn by turn; the last
//! one has everything side by side.

mod support {
    pub mod exact;
    pub mod far_end;
    pub mod idle;
    pub mod path;
    pub mod summary;
    pub mod table;
    pub mod toxiproxy;
    pub mod usage;
}

use std::{
    env,
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode, Throughput};
use support::{
    exact,
    far_end::{BLOCK, HEARTBEAT, LARGE, SMALL, Serve, body_frame},
    idle,
    path::{Direction, Path},
    summary::Summary,
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
    /// The same in the summary.
    short: &'static str,
    serve: Serve,
    /// Its rate is what counts, not its time.
    rated: bool,
    iteration: Throughput,
    /// Makes ready for iterations over a path.
    start: fn(&Path) -> io::Result<Run>,
}

const MEASUREMENTS: &[Measurement] = &[
    Measurement {
        name: "link/round-trip",
        title: "round trip of a 64 B frame",
        short: "round trip, time",
        serve: Serve::Echo,
        rated: false,
        iteration: Throughput::Elements(1),
        start: round_trip,
    },
    Measurement {
        name: "link/stream-4KiB",
        title: "1 MiB of one stream, in frames of 4 KiB",
        short: "one stream, throughput",
        serve: Serve::Sink,
        rated: true,
        iteration: Throughput::Bytes(BLOCK as u64),
        start: |path| stream(path, LARGE, 1),
    },
    Measurement {
        name: "link/streams-16",
        title: "1 MiB of each of 16 streams, in frames of 4 KiB",
        short: "16 streams, throughput",
        serve: Serve::Sink,
        rated: true,
        iteration: Throughput::Bytes(16 * BLOCK as u64),
        start: |path| stream(path, LARGE, 16),
    },
    Measurement {
        name: "link/stream-64B",
        title: "1 MiB of one stream, in frames of 64 B",
        short: "the same in 64 B frames",
        serve: Serve::Sink,
        rated: true,
        iteration: Throughput::Bytes(BLOCK as u64),
        start: |path| stream(path, SMALL, 1),
    },
    Measurement {
        name: "link/connect",
        title: "connect, one round trip, close",
        short: "connects, rate",
        serve: Serve::Once,
        rated: true,
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

/// One iteration is a block of each stream.
fn stream(path: &Path, bytes: usize, streams: usize) -> io::Result<Run> {
    let mut streams = (0..streams).map(|_| path.connect()).collect::<io::Result<Vec<_>>>()?;
    let (block, mut answer) = (body_frame(bytes).repeat(BLOCK / bytes), HEARTBEAT);
    Ok(Box::new(move |iterations| {
        let started = Instant::now();
        for sent in 0..iterations {
            for stream in &mut streams {
                stream.write_all(&block)?;
                if sent >= AHEAD {
                    stream.read_exact(&mut answer)?;
                }
            }
        }
        for stream in &mut streams {
            for _ in 0..iterations.min(AHEAD) {
                stream.read_exact(&mut answer)?;
            }
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
    if idle::answered(&runtime) {
        return;
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .nresamples(5_000)
        .configure_from_args();
    let mut summary = Summary::new(Direction::all().map(Direction::name));
    let tables: Vec<_> = MEASUREMENTS
        .iter()
        .filter_map(|m| measure(m, &mut criterion, &runtime, &mut summary))
        .collect();
    criterion.final_summary();
    for (title, rows) in &tables {
        table::print(title, rows);
    }
    if selected("link/idle") {
        idle::measure(&runtime, &mut summary);
    }
    if selected("link/exact") {
        exact::measure(&runtime, &mut summary);
    }
    summary.print();
}

/// Whether the command line asks for what criterion knows nothing of, and to measure rather than to try.
fn selected(name: &str) -> bool {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-'));
    let measures = arguments.iter().any(|argument| argument == "--bench");
    measures && filters.next().is_none_or(|filter| name.contains(filter))
}

/// Turns of each way in a table, and about how long one takes.
const TURNS: (usize, Duration) = (100, Duration::from_millis(4));

/// A title and rows.
type Table = (&'static str, Vec<Vec<String>>);

/// A way that was measured, and is ready for more.
struct Opened {
    way: Direction,
    path: Path,
    run: Run,
    samples: usize,
    /// By its last sample.
    iteration: Duration,
    /// The same, of CPU time.
    cpu: Duration,
}

impl Opened {
    fn open(measurement: &Measurement, way: Direction, runtime: &Runtime) -> Self {
        let path = runtime.block_on(Path::open(way, measurement.serve));
        let path = path.expect("there are ports on loopback");
        let run = (measurement.start)(&path).expect("the path can be connected to");
        Self { way, path, run, samples: 0, iteration: Duration::ZERO, cpu: Duration::ZERO }
    }

    fn sample(&mut self, iterations: u64) -> Duration {
        let before = self.path.cpu();
        let took = (self.run)(iterations).expect("nothing on the path breaks it");
        self.cpu = self.path.cpu().saturating_sub(before).div_f64(iterations as f64);
        self.samples += 1;
        self.iteration = took.div_f64(iterations as f64);
        took
    }

    /// Seconds an iteration takes, from a sample that takes about so long.
    fn turn(&mut self, about: Duration) -> (f64, f64) {
        let iterations = about.as_secs_f64() / self.iteration.as_secs_f64().max(1e-9);
        self.sample((iterations as u64).max(1));
        (self.iteration.as_secs_f64(), self.cpu.as_secs_f64())
    }

    fn close(self, runtime: &Runtime) {
        drop(self.run);
        assert_eq!(
            self.path.heard() > 0,
            self.way == Direction::Tapped,
            "the tap is what is measured"
        );
        self.path.close(runtime);
    }
}

fn measure(
    m: &Measurement,
    criterion: &mut Criterion,
    runtime: &Runtime,
    summary: &mut Summary,
) -> Option<Table> {
    let mut group = criterion.benchmark_group(m.name);
    group.sampling_mode(SamplingMode::Flat).throughput(m.iteration.clone());
    let mut all: Vec<Opened> = Vec::new();
    for way in Direction::all() {
        // Opened by the first sample, if the command line selects any.
        let mut opened = None;
        group.bench_function(way.name(), |bencher| {
            let opened = opened.get_or_insert_with(|| Opened::open(m, way, runtime));
            bencher.iter_custom(|iterations| opened.sample(iterations));
        });
        all.extend(opened);
    }
    group.finish();
    // A single sample is a test run; without a direct connection there is nothing to compare with.
    let direct =
        all.first().is_some_and(|first| first.way == Direction::Direct && first.samples > 1);
    let table = direct.then(|| (m.title, compare(m, &mut all, summary)));
    all.into_iter().for_each(|opened| opened.close(runtime));
    table
}

/// All ways in turns; each beside the direct connection, which is the first.
fn compare(m: &Measurement, all: &mut [Opened], summary: &mut Summary) -> Vec<Vec<String>> {
    let (turns, about) = TURNS;
    let taken: Vec<Vec<(f64, f64)>> =
        (0..turns).map(|_| all.iter_mut().map(|opened| opened.turn(about)).collect()).collect();
    let middle = |values: &mut dyn Iterator<Item = f64>| table::median(values.collect());
    let mut rows =
        vec![["", "median", "rate", "x direct", "CPU", "x direct"].map(str::to_owned).to_vec()];
    for (at, opened) in all.iter().enumerate() {
        let seconds = middle(&mut taken.iter().map(|turn| turn[at].0));
        let ratio = middle(&mut taken.iter().map(|turn| turn[at].0 / turn[0].0));
        let cpu = middle(&mut taken.iter().map(|turn| turn[at].1));
        let cpu_ratio = middle(&mut taken.iter().map(|turn| turn[at].1 / turn[0].1));
        let rate = match m.iteration {
            Throughput::Bytes(bytes) => format!("{:.0} MB/s", bytes as f64 / seconds / 1e6),
            _ => format!("{:.0} /s", 1.0 / seconds),
        };
        let time = |seconds| table::time(Duration::from_secs_f64(seconds));
        let name = opened.way.name();
        let shown = if m.rated { 1.0 / ratio } else { ratio };
        summary.add(m.short, name, format!("{shown:.2}x"));
        let (ratio, cpu_ratio) = (format!("{ratio:.2}"), format!("{cpu_ratio:.2}"));
        rows.push(vec![name.to_owned(), time(seconds), rate, ratio, time(cpu), cpu_ratio]);
    }
    rows
}
