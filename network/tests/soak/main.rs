//! A few seconds of the soak, in a process of its own so that its descriptors can be counted: no byte lost
//! that no fault took, nothing wedged, nothing left.

#![expect(clippy::print_stdout, reason = "what came of it is worth reading with --nocapture")]

use std::time::Duration;

use gauntlet_network::Seed;

use self::soak::Load;

#[path = "../../examples/soak/soak.rs"]
mod soak;

#[path = "../../examples/soak/client.rs"]
mod client;

#[path = "../../examples/soak/taken.rs"]
mod taken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_connections_under_faults_for_three_seconds() {
    let load = Load { connections: 100, lasts: Duration::from_secs(3), seed: Seed(7) };
    let report = soak::play(load).await;
    println!("{report}");
    assert!(report.wrong.is_empty(), "{report}");
    assert!(report.whole > 0 && report.taken > 0 && report.fired > 100, "{report}");
}
