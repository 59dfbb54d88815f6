//! What people read, as snapshots: the wire of one run around a reset, redacted at fixed width.

use std::collections::BTreeMap;

use gauntlet_harness::history::{History, What};
use gauntlet_harness::report::trace::render;
use gauntlet_harness::subject::reference;
use gauntlet_network::{End, Way};

use crate::support::play;

/// The handshake of the connection that comes after a reset: its order is the client's and the broker's
/// doing, not chance.
#[test]
fn the_recovery_after_a_reset_is_the_handshake_and_nothing_else() {
    let mut scenario = gauntlet_scenarios::scenario("rst-idle").expect("listed");
    scenario.subject.workers = 1;
    let Some(played) = play(&scenario, &reference::entrant(), "local") else { return };
    insta::assert_snapshot!(handshake(&played.history, 2));
}

/// Every frame at the subject's end of a connection up to consume-ok, without times.
fn handshake(history: &History, wanted: u64) -> String {
    let mut lines = Vec::new();
    for event in history.events() {
        if let What::Wire { conn, end: End::Client, way, frame } = &event.what
            && *conn == wanted
        {
            let arrow = if *way == Way::ToBroker { '>' } else { '<' };
            lines.push(format!("{arrow} ch{} {}", frame.channel, frame.name));
            if &*frame.name == "basic.consume-ok" {
                break;
            }
        }
    }
    lines.join("\n")
}

/// A trace keeps its columns whatever the figures are.
#[test]
fn a_trace_around_a_fault_has_fixed_columns() {
    let scenario = gauntlet_scenarios::scenario("rst-idle").expect("listed");
    let Some(played) = play(&scenario, &reference::entrant(), "local") else { return };
    let fired = played.history.events().iter().find(|e| matches!(e.what, What::Fired { .. }));
    let fired = fired.expect("the reset fired").seq;
    let trace = render(&played.history, &[fired], 0);
    let marked: Vec<&str> = trace.lines().filter(|l| l.starts_with('*')).collect();
    assert_eq!(marked.len(), 1, "{trace}");
    insta::assert_snapshot!(redacted(marked[0]));
}

/// Digits that differ from run to run become `#`, one for one.
fn redacted(line: &str) -> String {
    let mut kept: BTreeMap<usize, char> = BTreeMap::new();
    for (i, c) in line.chars().enumerate() {
        kept.insert(i, if i < 20 && c.is_ascii_digit() { '#' } else { c });
    }
    // The time's leading digits come and go with the run's speed.
    kept.into_values().collect::<String>().replace("   ###", "######").replace("  ####", "######")
}
