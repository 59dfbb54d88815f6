//! Every scenario against the reference consumer: it must pass, on every broker there is.

use gauntlet_harness::subject::reference;
use gauntlet_harness::verdict::Verdict;
use rstest::rstest;

use crate::support::story::story;
use crate::support::{explain, play};

#[rstest]
fn the_reference_consumer_passes(
    #[values("embedded", "container", "local")] broker: &str,
    #[values(
        "steady",
        "rst-idle",
        "rst-load",
        "cut-deliver-ack",
        "ack-then-rst",
        "cut-frame-header",
        "latency",
        "bandwidth",
        "blackhole",
        "blackhole-to-client",
        "refuse",
        "accept-then-close",
        "silent-start",
        "five-rsts",
        "broker-restart",
        "broker-closes-connections",
        "queue-redeclared",
        "wrong-password",
        "wrong-vhost",
        "stop-in-flight",
        "stop-disconnected",
        "second-stop",
        "leaks",
        "slow-handler"
    )]
    name: &str,
) {
    let scenario = gauntlet_scenarios::scenario(name).expect("listed");
    let Some(played) = play(&scenario, &reference::entrant(), broker) else { return };
    assert_eq!(played.judgement.verdict, Verdict::Pass, "\n{}", explain(&played));
    // The model in this process is to be RabbitMQ 4.0 to its clients: one snapshot for both. `local` is whatever
    // version the machine has.
    if broker != "local" {
        insta::assert_snapshot!(name, story(&played.history));
    }
}

#[test]
fn no_scenario_is_left_out() {
    let source = include_str!("scenarios.rs");
    for scenario in gauntlet_scenarios::select(&[]).expect("core") {
        assert!(
            source.contains(&format!("\"{}\"", scenario.name)),
            "{} is not in the list above",
            scenario.name
        );
    }
}
