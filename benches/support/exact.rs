//! How exact latency and bandwidth are. Beside it, in the direct connection's place: by how much the
//! machine is late to wake a thread that waits so long.

use std::{
    io::{self, Read, Write},
    thread,
    time::{Duration, Instant},
};

use gauntlet_network::Fault;
use tokio::runtime::Runtime;

use super::{
    far_end::{BLOCK, HEARTBEAT, LARGE, SMALL, Serve, body_frame},
    path::{Direction, Path},
    summary::Summary,
    table,
};

/// Delays in milliseconds, and frames sent at each.
const DELAYS: [(u64, usize); 3] = [(10, 40), (30, 20), (100, 10)];
/// Round trips without a fault that are subtracted.
const BASE: usize = 200;
/// Paces in bytes a second, and blocks sent at each.
const PACES: [(u64, u64); 2] = [(2_000_000, 1), (20_000_000, 8)];

/// Measures all ways with faults.
pub fn measure(runtime: &Runtime, summary: &mut Summary) {
    for (delay, times) in DELAYS {
        let late = signed(woken(Duration::from_millis(delay), times));
        summary.add(&format!("latency {delay} ms, mean error"), Direction::Direct.name(), late);
    }
    for way in Direction::all().filter(|way| way.has_faults()) {
        for (delay, frames) in DELAYS {
            let late = latency(runtime, way, delay, frames).expect("latency can be injected");
            summary.add(&format!("latency {delay} ms, mean error"), way.name(), signed(late));
        }
        for (pace, blocks) in PACES {
            let off = bandwidth(runtime, way, pace, blocks).expect("bandwidth can be injected");
            let row = format!("bandwidth {} MB/s, error", pace / 1_000_000);
            summary.add(&row, way.name(), format!("{:+.1} %", off * 100.0));
        }
    }
}

fn signed(seconds: f64) -> String {
    format!("{:+.2} ms", seconds * 1e3)
}

/// Seconds by which a thread is woken late, on average.
fn woken(after: Duration, times: usize) -> f64 {
    let late = (0..times).map(|_| {
        let started = Instant::now();
        while started.elapsed() < after {
            thread::park_timeout(after.saturating_sub(started.elapsed()));
        }
        (started.elapsed() - after).as_secs_f64()
    });
    late.sum::<f64>() / times as f64
}

/// Seconds by which frames are later than they should be, on average.
fn latency(runtime: &Runtime, way: Direction, delay: u64, frames: usize) -> io::Result<f64> {
    let mut path = runtime.block_on(Path::open(way, Serve::Echo))?;
    let (mut stream, frame) = (path.connect()?, body_frame(SMALL));
    let mut back = frame.clone();
    let mut trip = || {
        let started = Instant::now();
        stream.write_all(&frame)?;
        stream.read_exact(&mut back)?;
        io::Result::Ok(started.elapsed().as_secs_f64())
    };
    let base = table::median((0..BASE).map(|_| trip()).collect::<io::Result<_>>()?);
    let delay = Duration::from_millis(delay);
    let way = Some(gauntlet_network::Direction::ToBroker);
    runtime.block_on(path.inject(&Fault::Latency { way, delay, jitter: Duration::ZERO }))?;
    let taken = (0..frames).map(|_| trip()).collect::<io::Result<Vec<_>>>()?;
    drop(stream);
    path.close(runtime);
    Ok(taken.iter().sum::<f64>() / frames as f64 - delay.as_secs_f64() - base)
}

/// By what share of it a pace is too fast.
fn bandwidth(runtime: &Runtime, way: Direction, pace: u64, blocks: u64) -> io::Result<f64> {
    let mut path = runtime.block_on(Path::open(way, Serve::Sink))?;
    let (mut stream, block) = (path.connect()?, body_frame(LARGE).repeat(BLOCK / LARGE));
    let way = Some(gauntlet_network::Direction::ToBroker);
    runtime.block_on(path.inject(&Fault::Bandwidth { way, bytes_per_second: pace }))?;
    let started = Instant::now();
    for _ in 0..blocks {
        stream.write_all(&block)?;
    }
    let mut answer = HEARTBEAT;
    for _ in 0..blocks {
        stream.read_exact(&mut answer)?;
    }
    let took = started.elapsed().as_secs_f64();
    drop(stream);
    path.close(runtime);
    Ok((blocks * BLOCK as u64) as f64 / took / pace as f64 - 1.0)
}
