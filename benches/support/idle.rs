//! What many connections cost that have said something once and are silent: memory, and how long a fault
//! takes that concerns them all.

use std::{
    env,
    io::{self, Read, Write},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use gauntlet_network::Fault;
use tokio::runtime::Runtime;

use super::{
    far_end::{SMALL, Serve, body_frame},
    path::{Direction, Path},
    summary::Summary,
    table, usage,
};

/// Connections whose memory is measured.
const MANY: usize = 1_000;
/// Connections while faults are injected.
const LIVE: [usize; 2] = [1, 500];
/// Descriptors a connection needs, both ends and what lies between, and what else there is.
const DESCRIPTORS: (usize, usize) = (4, 200);
/// Names a way to the process that measures its memory: a heap that was used before has room that shows
/// nowhere.
const ASKED: &str = "GAUNTLET_BENCH_IDLE";
/// Faults injected, one after the other.
const FAULTS: usize = 50;

/// Measures all ways that have something to say.
pub fn measure(runtime: &Runtime, summary: &mut Summary) {
    let most = usize::try_from(usage::descriptors()).unwrap_or(usize::MAX);
    let many = MANY.min((most.saturating_sub(DESCRIPTORS.1)) / DESCRIPTORS.0);
    for way in Direction::all().filter(|way| *way != Direction::Direct) {
        let held = ask(way, many).expect("a process can measure its memory");
        let row = format!("memory of an idle connection ({many})");
        summary.add(&row, way.name(), format!("{:.1} KB", held / 1e3));
    }
    for live in LIVE {
        for way in Direction::all().filter(|way| way.has_faults()) {
            let took = injection(runtime, way, live).expect("faults can be injected");
            summary.add(&format!("adding latency ({live} live)"), way.name(), table::time(took));
        }
    }
}

/// Has a process of its own measure the memory of a way.
fn ask(way: Direction, connections: usize) -> io::Result<f64> {
    let asked = format!("{} {connections}", way.name());
    let answer = Command::new(env::current_exe()?).env(ASKED, asked).output()?;
    let answer = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    answer.parse().map_err(|_| io::Error::other(format!("no figure: {answer:?}")))
}

/// Measures the memory of a way if this process is there for that.
#[expect(clippy::print_stdout, reason = "stdout is the answer")]
pub fn answered(runtime: &Runtime) -> bool {
    let Ok(asked) = env::var(ASKED) else { return false };
    let (name, connections) = asked.split_once(' ').expect("as it was written");
    let connections = connections.parse().expect("as it was written");
    let way = Direction::all().find(|way| way.name() == name).expect("the name of a way");
    usage::descriptors();
    let held = memory(runtime, way, connections).expect("there are descriptors enough");
    println!("{held}");
    true
}

/// Bytes of memory a connection.
fn memory(runtime: &Runtime, way: Direction, connections: usize) -> io::Result<f64> {
    let path = runtime.block_on(Path::open(way, Serve::Hold))?;
    let mut open = Vec::with_capacity(connections);
    // Whatever is made once is made now.
    for _ in 0..connections / 20 {
        open.push(said(&path)?);
    }
    let (before, had) = (path.resident(), open.len());
    while open.len() < connections {
        open.push(said(&path)?);
    }
    let grown = path.resident().saturating_sub(before);
    let each = grown as f64 / (open.len() - had) as f64;
    drop(open);
    path.close(runtime);
    Ok(each)
}

/// Median time of an injection.
fn injection(runtime: &Runtime, way: Direction, connections: usize) -> io::Result<Duration> {
    let mut path = runtime.block_on(Path::open(way, Serve::Hold))?;
    let open = (0..connections).map(|_| said(&path)).collect::<io::Result<Vec<_>>>()?;
    let fault =
        Fault::Latency { way: None, delay: Duration::from_millis(10), jitter: Duration::ZERO };
    let mut took = Vec::with_capacity(FAULTS);
    for _ in 0..FAULTS {
        runtime.block_on(async {
            let started = Instant::now();
            let id = path.inject(&fault).await?;
            took.push(started.elapsed().as_secs_f64());
            path.lift(id).await
        })?;
    }
    drop(open);
    path.close(runtime);
    Ok(Duration::from_secs_f64(table::median(took)))
}

/// A connection after one frame each way.
fn said(path: &Path) -> io::Result<TcpStream> {
    let mut stream = path.connect()?;
    let mut frame = body_frame(SMALL);
    stream.write_all(&frame)?;
    stream.read_exact(&mut frame)?;
    Ok(stream)
}
