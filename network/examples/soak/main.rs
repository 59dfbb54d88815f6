//! Holds a link under load for as long as is asked, faults coming and going, and says what came of it.
//!
//! `cargo run --release -p gauntlet-network --example soak -- [CONNECTIONS] [SECONDS] [SEED]`; fails when
//! a byte was lost or changed that no fault took, when something wedged, or when something leaked.

#![expect(clippy::print_stdout, reason = "stdout is the report")]

/// The soak itself.
mod soak;

/// One client.
mod client;

/// What the link tells: which connections a fault took.
mod taken;

use std::{env, process::ExitCode, time::Duration};

use gauntlet_network::Seed;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = env::args().skip(1).map(|given| given.parse::<u64>().map_err(|_| given));
    let mut number = |default| arguments.next().unwrap_or(Ok(default));
    let numbers = [1_000, 600, 0x5eed].map(&mut number);
    let [Ok(connections), Ok(seconds), Ok(seed)] = &numbers else {
        println!("three numbers at most, please: connections, seconds, seed; not {numbers:?}");
        return ExitCode::from(64);
    };
    let load = soak::Load {
        connections: usize::try_from(*connections).unwrap_or(usize::MAX),
        lasts: Duration::from_secs(*seconds),
        seed: Seed(*seed),
    };
    let report = soak::play(load).await;
    println!("{report}");
    if report.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
