//! What people read, as snapshots: the wire of one run around a reset, redacted at fixed width.

use gauntlet_harness::subject::reference;
use gauntlet_judge::history::{History, What};
use gauntlet_judge::report::trace::render;
use gauntlet_network::{Direction, End};

use crate::support::play;

/// The handshake of the connection that comes after a reset: its order is the client's and the broker's
/// doing, not chance.
#[test]
fn the_recovery_after_a_reset_is_the_handshake_and_nothing_else() {
    let mut scenario = gauntlet_scenarios::scenario("rst-idle").expect("listed");
    scenario.subject.workers = 1;
    let Some(played) = play(&scenario, &reference::subject_spec(), "local") else { return };
    insta::assert_snapshot!(handshake(&played.history, 2));
}

/// Every frame at the subject's end of a connection up to consume-ok, without times.
fn handshake(history: &History, wanted: u64) -> String {
    let mut lines = Vec::new();
    for event in history.events() {
        if let What::Wire { conn, end: End::Client, way, frame } = &event.what
            && *conn == wanted
        {
            let arrow = if *way == Direction::ToBroker { '>' } else { '<' };
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
    let Some(played) = play(&scenario, &reference::subject_spec(), "local") else { return };
    let fired = played.history.events().iter().find(|e| matches!(e.what, What::Fired { .. }));
    let fired = fired.expect("the reset fired").seq;
    let trace = render(&played.history, &[fired], 0);
    let marked: Vec<&str> = trace.lines().filter(|l| l.starts_with('*')).collect();
    assert_eq!(marked.len(), 1, "{trace}");
    insta::assert_snapshot!(redacted(marked[0]));
}

/// The time becomes `#`, digits and the spaces before them alike, one for one: its width is the column's, however late it is.
fn redacted(line: &str) -> String {
    let (time, rest) = line.split_once("  - ").expect("a trace has columns");
    let (mark, time) = time.split_at(1);
    let time: String = time.chars().map(|c| if c == '.' { c } else { '#' }).collect();
    format!("{mark}{time}  - {rest}")
}
