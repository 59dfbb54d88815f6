//! Every scenario against the reference consumer: it must pass, on every broker there is.
//!
//! Not here: those that take a broker down (`alone`).

use gauntlet_harness::subject::reference;
use gauntlet_judge::history::What;
use gauntlet_judge::verdict::Verdict;
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
        "held-work",
        "cut-frame-header",
        "latency",
        "bandwidth",
        "blackhole",
        "blackhole-to-client",
        "forgotten-flow",
        "refuse",
        "accept-then-close",
        "silent-start",
        "five-rsts",
        "broker-closes-connections",
        "queue-redeclared",
        "wrong-password",
        "wrong-vhost",
        "stop-in-flight",
        "stop-disconnected",
        "second-stop",
        "leaks",
        "slow-handler",
        "consume-unanswered",
        "handshake-silence",
        "cancelled",
        "queue-away"
    )]
    name: &str,
) {
    if broker != "local" || LOCAL.contains(&name) {
        passes(broker, name);
    }
}

/// What a process of this machine plays beside what restarts it (`alone`): in all else it is what a container is.
const LOCAL: &[&str] = &["steady", "rst-load", "wrong-password", "stop-in-flight"];

/// Plays it against the reference consumer; it must pass, and look on the wire as the snapshot says.
#[track_caller]
pub fn passes(broker: &str, name: &str) {
    let scenario = gauntlet_scenarios::scenario(name).expect("listed");
    let Some(played) = play(&scenario, &reference::subject_spec(), broker) else { return };
    assert_eq!(played.judgement.verdict, Verdict::Pass, "\n{}", explain(&played));
    // The model in this process is to be RabbitMQ 4.0 to its clients: one snapshot for both. `local` is whatever
    // version the machine has.
    if broker != "local" {
        insta::assert_snapshot!(name, story(&played.history));
    }
}

/// What the harness itself holds on the broker is behind no fault.
#[rstest]
fn the_broker_closes_the_subjects_connections_alone(#[values("embedded", "container")] kind: &str) {
    let scenario = gauntlet_scenarios::scenario("broker-closes-connections").expect("listed");
    let Some(played) = play(&scenario, &reference::subject_spec(), kind) else { return };
    let notes = played.history.events().iter().filter_map(|e| match &e.what {
        What::Fired { note, .. } => Some(note.as_str()),
        _ => None,
    });
    assert_eq!(notes.collect::<Vec<_>>(), ["the broker closed 1 connections"]);
}

#[test]
fn no_scenario_is_left_out() {
    let source = [include_str!("scenarios.rs"), include_str!("alone.rs")].concat();
    // The other suites are for commands: `processes.rs`.
    let here = ["core".to_owned(), "broker".to_owned()];
    for scenario in gauntlet_scenarios::select(&here).expect("suites") {
        assert!(
            source.contains(&format!("\"{}\"", scenario.name)),
            "{} is in neither list",
            scenario.name
        );
    }
}
