//! Tests of the backoff: both sides of every bound, and what is no hot loop.

use std::time::Duration;

use gauntlet_amqp::Args;
use gauntlet_faults::{Direction, End};

use super::*;
use crate::checkers::fired::aid::{cited, steps, unfinished};
use crate::checkers::testing::HistoryBuilder;
use crate::history::Waiter;
use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

fn promise(jitter: Jitter) -> BackoffPromise {
    BackoffPromise {
        first_at_once: false,
        base: Duration::from_millis(1000),
        factor: 2.0,
        cap: Duration::from_secs(8),
        jitter,
        max_attempts: None,
    }
}

/// Attempts that fail at once, after these pauses in milliseconds.
fn failing(jitter: Jitter, pauses: &[f64]) -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    tale.promises.backoff = Some(promise(jitter));
    let mut at = 0.0;
    for (conn, pause) in (1..).zip(std::iter::once(&0.0).chain(pauses)) {
        at += pause;
        tale.at(at).what(What::Accepted { conn }).rst(conn);
    }
    tale
}

#[test]
fn without_jitter_both_sides_of_the_bound() {
    failing(Jitter::None, &[1000.0, 2000.0, 4000.0, 8000.0, 8000.0]).expect(&CHECKER, Pass);
    failing(Jitter::None, &[905.0, 2249.0]).expect(&CHECKER, Pass);
    let mut tale = failing(Jitter::None, &[1000.0, 2252.0]);
    let decision = tale.expect(&CHECKER, Fail);
    assert_eq!(
        decision.summary,
        "the retry after a failed attempt came 2252 ms later; 2000 ms promised at most, and 250 ms of slack"
    );
    assert_eq!(
        cited(&mut tale, &decision),
        ["- link c2 accepted", "- link c2 closed towards the subject: RST", "- link c3 accepted"]
    );
    let said = failing(Jitter::None, &[1000.0, 1700.0]).expect(&CHECKER, Fail).summary;
    assert_eq!(
        said,
        "the retry after a failed attempt came 1700 ms later; 2000 ms promised, without jitter"
    );
    failing(Jitter::None, &[890.0]).expect(&CHECKER, Fail);
    failing(Jitter::None, &[1000.0, 2000.0, 4000.0, 8000.0, 8252.0]).expect(&CHECKER, Fail);
}

#[test]
fn an_end_recorded_late_takes_nothing_from_a_pause() {
    for (next, expect) in [(1100.0, Pass), (1040.0, Fail)] {
        let mut tale = HistoryBuilder::new();
        tale.promises.backoff = Some(promise(Jitter::None));
        tale.what(What::Accepted { conn: 1 }).at(400.0).rst(1);
        tale.at(next).what(What::Accepted { conn: 2 }).expect(&CHECKER, expect);
    }
}

#[test]
fn with_full_jitter_a_short_pause_is_luck_and_a_long_one_is_not() {
    failing(Jitter::Full, &[60.0, 60.0, 60.0, 60.0, 60.0]).expect(&CHECKER, Pass);
    failing(Jitter::Full, &[1249.0]).expect(&CHECKER, Pass);
    failing(Jitter::Full, &[1252.0]).expect(&CHECKER, Fail);
}

#[test]
fn a_row_of_short_pauses_is_a_hot_loop() {
    // Expected of 1, 2, 4, 8, 8, 8 s is 15.5 s; an eighth is 1937 ms.
    let mut tale = failing(Jitter::Full, &[60.0; 6]);
    let decision = tale.expect(&CHECKER, Fail);
    assert_eq!(
        decision.summary,
        "6 retries in a row waited 360 ms together; 15500 ms is to be expected of what is promised"
    );
    assert_eq!(cited(&mut tale, &decision).len(), 7);
    failing(Jitter::Full, &[330.0; 6]).expect(&CHECKER, Pass);
    // Below an eighth, and yet not unlikely enough to prove anything.
    failing(Jitter::Full, &[320.0; 6]).expect(&CHECKER, Pass);
}

#[test]
fn more_than_twenty_retries_a_second_fail_without_any_promise() {
    for (pause, expect) in [(51.0, Pass), (49.0, Fail)] {
        let mut tale = failing(Jitter::Full, &[pause; 40]);
        tale.promises.backoff = None;
        tale.expect(&CHECKER, expect);
    }
    let mut tale = failing(Jitter::None, &[0.1; 21]);
    let decision = tale.expect(&CHECKER, Fail);
    assert!(
        decision.summary.starts_with("21 retries of failed attempts to connect in 2 ms"),
        "{}",
        decision.summary
    );
    assert_eq!(decision.evidence.len(), 11);
}

#[test]
fn fast_reconnects_after_connections_that_worked_are_no_hot_loop() {
    let mut tale = HistoryBuilder::new();
    for conn in 1..40 {
        tale.at(conn as f64 * 10.0).connect(conn, 10).consume(conn, 1, 8).rst(conn);
    }
    tale.expect(&CHECKER, NotApplicable);
    tale.promises.backoff = Some(BackoffPromise { first_at_once: true, ..promise(Jitter::Full) });
    tale.expect(&CHECKER, NotApplicable);
}

#[test]
fn after_a_connection_that_worked_it_starts_again() {
    for (once, lived, pause, expect) in [
        // Stable: at once, or from the base.
        (true, 11_000.0, 240.0, Pass),
        (true, 11_000.0, 260.0, Fail),
        (false, 11_000.0, 1240.0, Pass),
        (false, 11_000.0, 1260.0, Fail),
        // Not stable: it may remember the failure before.
        (true, 1000.0, 2200.0, Pass),
        (true, 1000.0, 2260.0, Fail),
    ] {
        let mut tale = failing(Jitter::Full, &[]);
        tale.promises.backoff =
            Some(BackoffPromise { first_at_once: once, ..promise(Jitter::Full) });
        tale.at(500.0).connect(2, 10).consume(2, 1, 8).at(500.0 + lived).rst(2);
        tale.at(500.0 + lived + pause).connect(3, 10).consume(3, 1, 8);
        let decision = tale.judge(&CHECKER);
        assert_eq!(decision.outcome, expect, "{once} {lived} {pause}: {}", decision.summary);
    }
}

#[test]
fn a_handler_left_running_puts_the_pause_off_until_it_ends() {
    for (ended, expect) in [(12_900.0, NotApplicable), (12_500.0, Fail)] {
        let mut tale = HistoryBuilder::new();
        tale.promises.backoff =
            Some(BackoffPromise { first_at_once: true, ..promise(Jitter::Full) });
        tale.connect(1, 10).consume(1, 1, 8).publish(0).deliver(1, 1, 1, 0);
        tale.what(What::HandlerStarted { id: 0, redelivered: false }).at(12_000.0).rst(1);
        tale.at(ended).what(What::HandlerEnded { id: 0, ok: false });
        tale.at(13_000.0).connect(2, 10).consume(2, 1, 8).expect(&CHECKER, expect);
    }
}

#[test]
fn it_gives_up_after_as_many_attempts_as_it_promises() {
    for (failures, expect) in [(2, Pass), (3, Fail)] {
        let mut tale = failing(Jitter::Full, &vec![500.0; failures]);
        tale.promises.backoff =
            Some(BackoffPromise { max_attempts: Some(3), ..promise(Jitter::Full) });
        let decision = tale.expect(&CHECKER, expect);
        if expect == Fail {
            assert_eq!(
                decision.summary,
                "an attempt to connect came after 3 failures in a row; it promises to give up after 3"
            );
            assert_eq!(cited(&mut tale, &decision).len(), 4);
        }
    }
}

#[test]
fn reported_attempts_show_what_a_refused_port_hides() {
    let refused = |reports: bool| {
        let mut tale = HistoryBuilder::new();
        steps(&mut tale, "[[step]]\nwhen = \"start\"\nfault = { kind = \"refuse\" }\n");
        tale.promises.backoff = Some(promise(Jitter::Full));
        tale.promises.reports_attempts = reports;
        tale.what(What::Attempt { failures: 0 }).what(What::Accepted { conn: 1 }).rst(1);
        tale.what(What::Injected { step: 0, fault: "refuse".into() });
        for (failures, ms) in [(1, 900.0), (2, 2700.0)] {
            tale.at(ms).what(What::Attempt { failures });
        }
        tale.what(What::Lifted { step: 0 })
            .at(6000.0)
            .what(What::Attempt { failures: 3 })
            .connect(2, 10);
        tale
    };
    assert!(
        refused(true).expect(&CHECKER, Pass).summary.starts_with("3 pauses after failed attempts")
    );
    refused(false).expect(&CHECKER, NotApplicable);
}

#[test]
fn attempts_it_does_not_report_are_counted_all_the_same() {
    let mut tale = failing(Jitter::None, &[1000.0, 100.0]);
    tale.promises.reports_attempts = true;
    tale.what(What::Attempt { failures: 0 }).expect(&CHECKER, Fail);
}

#[test]
fn refused_it_may_wait_as_long_as_its_cap() {
    for (refused, expect) in [(true, Pass), (false, Fail)] {
        let mut tale = failing(Jitter::Full, &[]);
        tale.at(100.0).what(What::Accepted { conn: 2 });
        let args = Args::Close { code: 403, text: "ACCESS_REFUSED".into(), class: 0, method: 0 };
        if refused {
            tale.frame(2, End::Broker, Direction::ToClient, 0, "connection.close", args);
        }
        tale.rst(2).at(7900.0).what(What::Accepted { conn: 3 });
        tale.expect(&CHECKER, expect);
    }
}

#[test]
fn nothing_at_stake_or_not_to_be_measured() {
    let mut tale = HistoryBuilder::new();
    tale.promises.backoff = Some(promise(Jitter::Full));
    tale.connect(1, 10).consume(1, 1, 8).expect(&CHECKER, NotApplicable);
    let said = failing(Jitter::Full, &[]).expect(&CHECKER, NotApplicable).summary;
    assert_eq!(said, "no retry followed a failed attempt");
    let mut overlapping = HistoryBuilder::new();
    overlapping.promises.backoff = Some(promise(Jitter::None));
    overlapping.what(What::Accepted { conn: 1 }).at(100.0).what(What::Accepted { conn: 2 });
    overlapping.expect(&CHECKER, NotApplicable);
    assert_eq!(unfinished(&mut failing(Jitter::None, &[1000.0]), &CHECKER).outcome, Unknown);
    assert_eq!(unfinished(&mut failing(Jitter::None, &[100.0]), &CHECKER).outcome, Fail);
}

/// A busy link accepts in a burst what came spread out.
#[test]
fn a_burst_after_a_wait_for_a_cpu_is_no_hot_loop() {
    for (waited, expect) in [(0, Fail), (500_000_000, Fail), (1_000_000_000, Unknown)] {
        let mut tale = HistoryBuilder::new();
        let (who, over) = (Waiter::Harness, 1_000_000_000);
        tale.at(2000.0).what(What::Starved { who, over, waited });
        for conn in 0..30 {
            tale.what(What::Accepted { conn }).rst(conn);
        }
        tale.expect(&CHECKER, expect);
    }
}

#[test]
fn a_wait_for_a_cpu_is_not_the_subjects() {
    for (waited, expect) in [(3.0, Unknown), (0.5, Fail)] {
        let mut tale = failing(Jitter::None, &[1000.0]);
        let waited = (waited * 1e6) as u64;
        let (who, over) = (Waiter::Subject, 100_000_000);
        tale.at(2900.0).what(What::Starved { who, over, waited });
        tale.at(3252.0).what(What::Accepted { conn: 3 }).rst(3).expect(&CHECKER, expect);
    }
}

/// So many copies lose their connections at once, and try again after these pauses, each of them.
fn copies(n: u16, pauses: &[f64]) -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    tale.promises.backoff = Some(promise(Jitter::None));
    tale.scenario.subject.copies = n;
    let mut at = 0.0;
    for (round, pause) in std::iter::once(&0.0).chain(pauses).enumerate() {
        at += pause;
        for copy in 0..n {
            let conn = round as u64 * u64::from(n) + u64::from(copy);
            tale.at(at + f64::from(copy)).what(What::Accepted { conn }).rst(conn);
        }
    }
    tale
}

#[test]
fn attempts_of_several_copies_are_not_those_of_one() {
    copies(6, &[1000.0, 2000.0, 4000.0]).expect(&CHECKER, NotApplicable);
    // Each as fast as one may, and all together faster than all may.
    copies(6, &[60.0; 30]).expect(&CHECKER, NotApplicable);
    copies(6, &[45.0; 30]).expect(&CHECKER, Fail);
    copies(1, &[45.0; 30]).expect(&CHECKER, Fail);
}

#[test]
fn a_process_that_takes_another_s_place_starts_from_the_beginning() {
    let told = |replaced: bool| {
        let mut tale = HistoryBuilder::new();
        tale.promises.backoff = Some(promise(Jitter::None));
        tale.what(What::ProcessStarted { copy: 1, pid: 7 }).connect(1, 10).consume(1, 1, 8);
        tale.at(1000.0).rst(1);
        if replaced {
            tale.what(What::ProcessStarted { copy: 2, pid: 8 });
        }
        tale.at(4000.0).connect(2, 10).consume(2, 1, 8);
        tale
    };
    told(true).expect(&CHECKER, NotApplicable);
    told(false).expect(&CHECKER, Fail);
}
