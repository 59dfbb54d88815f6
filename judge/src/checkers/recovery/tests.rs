//! Tests of the recovery bound: both sides of it, and what is no recovery.

use gauntlet_amqp::Args;

use super::*;
use crate::checkers::fired::aid::{cited, steps, unfinished};
use crate::checkers::testing::HistoryBuilder;
use crate::history::Waiter;
use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

const RST: &str = "[[step]]\nwhen = \"idle\"\nfault = { kind = \"rst\" }\n";

fn fires(tale: &mut HistoryBuilder, ms: f64, step: usize, conn: Option<u64>) {
    tale.at(ms).what(What::Fired { step, conn, note: "rst".into() });
}

/// Message 0 is served on connection 1, which is reset at 1000 ms; message 1 waits.
fn outage() -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    steps(&mut tale, &RST.repeat(2));
    tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).publish(1);
    fires(&mut tale, 1000.0, 0, Some(1));
    tale.rst(1).what(What::PathUsable { step: 0 });
    tale
}

/// Comes back on connection 2 and begins to handle message 1 at this time.
fn back(tale: &mut HistoryBuilder, ms: f64) -> &mut HistoryBuilder {
    tale.at(ms - 100.0)
        .connect(2, 10)
        .consume(2, 1, 8)
        .at(ms)
        .redeliver(2, 1, 1, 1)
        .handle(1, true)
        .ack(2, 1, 1)
}

#[test]
fn both_sides_of_the_bound_and_where_the_time_went() {
    // The path is usable at 1000.004 ms, the handling over 8 us after the delivery began; 2000 ms allowed.
    let said = back(&mut outage(), 2999.9).expect(&CHECKER, Pass).summary;
    assert_eq!(
        said,
        "recovered in 2000 ms of 2000 ms allowed; the worst: connect 1900 ms, \
         start 0 ms, tune 0 ms, open 0 ms, qos 0 ms, consume 0 ms, deliver 100 ms, handle 0 ms"
    );
    let mut tale = outage();
    // From its consume-ok to its first delivery, 100 ms, it was the broker's turn.
    back(&mut outage(), 3099.9).expect(&CHECKER, Pass);
    let decision = back(&mut tale, 3100.2).expect(&CHECKER, Fail);
    assert!(decision.summary.starts_with(
        "after step 1 the first message was handled 2100 ms after the path was usable (of that, 100 ms the broker's or the network's turn); 2000 ms allowed (connect 2000 ms"
    ), "{}", decision.summary);
    let cited = cited(&mut tale, &decision);
    assert_eq!(
        cited[..2],
        ["- fault c1 step 1 fired: rst", "- fault the path is usable after step 1"]
    );
    assert!(cited[2].starts_with("< subject c2 ch1 body"), "{cited:?}");
    assert_eq!(cited[3..], ["- subject handler began m1", "- subject handler ended m1: ok"]);
}

#[test]
fn the_parts_are_all_of_it() {
    let mut tale = outage();
    back(&mut tale, 2500.0);
    const PARTS: Checker = Checker { id: "", name: "", fails_when: "", decide: parts };
    fn parts(case: &Case<'_>) -> Decision {
        let all = recoveries(case);
        assert_eq!((all.len(), all[0].step, all[0].conn), (1, 0, 2));
        assert_eq!(all[0].parts.iter().map(|(_, ns)| ns).sum::<u64>(), all[0].ns());
        Decision::pass("")
    }
    tale.expect(&PARTS, Pass);
}

#[test]
fn never_back_fails_with_the_attempts() {
    let mut tale = outage();
    tale.at(2000.0).what(What::Accepted { conn: 2 }).at(5000.0).publish(2);
    let decision = tale.expect(&CHECKER, Fail);
    assert!(
        decision.summary.starts_with("after step 1 no message was handled in 4000 ms"),
        "{}",
        decision.summary
    );
    assert_eq!(cited(&mut tale, &decision)[2..], ["- link c2 accepted", "- run end"]);
    let mut tale = outage();
    tale.at(2999.0).publish(2);
    assert_eq!(
        tale.expect(&CHECKER, Unknown).summary,
        "the run ended before the subject had 2000 ms to recover from step 1"
    );
}

#[test]
fn what_was_delivered_before_the_fault_or_on_the_broken_connection_is_no_recovery() {
    let mut stale = HistoryBuilder::new();
    steps(&mut stale, RST);
    stale.connect(1, 10).consume(1, 1, 8).publish(0).publish(1).publish(2).deliver(1, 1, 1, 0);
    fires(&mut stale, 1000.0, 0, Some(1));
    stale
        .deliver(1, 1, 2, 1)
        .rst(1)
        .what(What::PathUsable { step: 0 })
        .handle(0, true)
        .handle(1, true);
    stale.at(9000.0).publish(3);
    stale.expect(&CHECKER, Fail);
}

#[test]
fn a_connection_that_outlives_the_fault_recovers_itself() {
    let mut tale = HistoryBuilder::new();
    steps(&mut tale, "[[step]]\nwhen = \"idle\"\nfault = { kind = \"stall\" }\n");
    tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0);
    fires(&mut tale, 1000.0, 0, Some(1));
    tale.at(2000.0)
        .what(What::PathUsable { step: 0 })
        .publish(1)
        .deliver(1, 1, 2, 1)
        .handle(1, true);
    tale.at(4000.0).what(What::StopRequested).rst(1);
    let said = tale.expect(&CHECKER, Pass).summary;
    assert!(said.ends_with("the worst: deliver 0 ms, handle 0 ms"), "{said}");
}

#[test]
fn what_was_delivered_before_the_fault_is_no_recovery_though_its_connection_lives() {
    for (again, expect) in [(3900.0, Pass), (4100.0, Fail)] {
        let mut tale = HistoryBuilder::new();
        steps(&mut tale, "[[step]]\nwhen = \"idle\"\nfault = { kind = \"stall\" }\n");
        tale.connect(1, 10).consume(1, 1, 8).publish(0).publish(1).deliver(1, 1, 1, 0);
        fires(&mut tale, 1000.0, 0, Some(1));
        tale.at(2000.0).what(What::PathUsable { step: 0 }).handle(0, true);
        tale.at(again).deliver(1, 1, 2, 1).handle(1, true).expect(&CHECKER, expect);
    }
}

#[test]
fn nothing_to_handle_is_unknown_and_the_clock_starts_when_there_is_something() {
    let idle = || {
        let mut tale = HistoryBuilder::new();
        steps(&mut tale, RST);
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0);
        fires(&mut tale, 1000.0, 0, Some(1));
        tale.rst(1).what(What::PathUsable { step: 0 });
        tale
    };
    let mut tale = idle();
    tale.at(9000.0).phase(crate::history::Phase::Drain);
    assert_eq!(tale.expect(&CHECKER, Unknown).summary, "nothing to handle after step 1");
    let mut tale = idle();
    tale.at(5000.0).publish(1);
    back(&mut tale, 6900.0).expect(&CHECKER, Pass);
    let mut tale = idle();
    tale.at(5000.0).publish(1);
    back(&mut tale, 7100.0).expect(&CHECKER, Fail);
}

#[test]
fn outages_that_run_into_each_other_are_judged_by_the_last() {
    let mut tale = outage();
    fires(&mut tale, 2500.0, 1, Some(3));
    tale.at(2600.0).what(What::PathUsable { step: 1 });
    let said = back(&mut tale, 4500.0).expect(&CHECKER, Pass).summary;
    assert!(said.starts_with("recovered in 1900 ms"), "{said}");
    // The next comes when the bound is already broken.
    let mut tale = outage();
    fires(&mut tale, 3001.0, 1, Some(3));
    tale.at(3100.0).what(What::PathUsable { step: 1 });
    back(&mut tale, 3500.0).expect(&CHECKER, Fail);
}

#[test]
fn a_stop_before_recovery_is_not_judged_and_one_after_the_bound_is_too_late() {
    outage()
        .at(2000.0)
        .what(What::StopRequested)
        .at(9000.0)
        .publish(2)
        .expect(&CHECKER, NotApplicable);
    outage().at(3500.0).what(What::StopRequested).at(9000.0).publish(2).expect(&CHECKER, Fail);
}

#[test]
fn without_reported_handling_acks_stand_for_it() {
    for (ms, expect) in [(2900.0, Pass), (3100.0, Fail)] {
        let mut tale = outage();
        tale.promises.reports_handling = false;
        tale.at(2000.0).connect(2, 10).consume(2, 1, 8).redeliver(2, 1, 1, 1).at(ms).ack(2, 1, 1);
        tale.at(9000.0).publish(7).expect(&CHECKER, expect);
    }
}

#[test]
fn a_fault_of_the_broker_counts_from_its_injection() {
    // Back, and everything delivered, before the step could be recorded as fired and usable.
    for (handled, expect) in [(1010.0, Pass), (1500.0, Pass), (3100.0, Fail)] {
        let mut tale = HistoryBuilder::new();
        steps(&mut tale, "[[step]]\nwhen = \"idle\"\nbroker = \"close_connections\"\n");
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).publish(1);
        tale.at(1000.0).what(What::Injected { step: 0, fault: "close".into() }).rst(1);
        tale.at(1005.0).connect(2, 10).consume(2, 1, 8).redeliver(2, 1, 1, 1);
        tale.at(handled).handle(1, true);
        fires(&mut tale, 1020.0, 0, None);
        tale.what(What::PathUsable { step: 0 }).at(9000.0).expect(&CHECKER, expect);
    }
}

#[test]
fn on_a_connection_the_broker_was_about_to_close_nothing_is_a_recovery() {
    let mut tale = HistoryBuilder::new();
    steps(&mut tale, "[[step]]\nwhen = \"idle\"\nbroker = \"close_connections\"\n");
    tale.connect(1, 10).consume(1, 1, 8).publish(0).publish(1).at(1000.0);
    tale.what(What::Injected { step: 0, fault: "close".into() }).deliver(1, 1, 1, 0);
    fires(&mut tale, 1010.0, 0, None);
    tale.what(What::PathUsable { step: 0 }).handle(0, true).rst(1).at(9000.0).publish(2);
    tale.expect(&CHECKER, Fail);
}

#[test]
fn a_failed_handling_is_no_recovery() {
    let mut tale = outage();
    tale.at(2000.0)
        .connect(2, 10)
        .consume(2, 1, 8)
        .redeliver(2, 1, 1, 1)
        .handle(1, false)
        .at(9000.0)
        .publish(2);
    tale.expect(&CHECKER, Fail);
}

#[test]
fn nothing_at_stake_or_cut_short() {
    HistoryBuilder::new().expect(&CHECKER, NotApplicable);
    let mut tale = outage();
    tale.promises.reconnects = false;
    tale.expect(&CHECKER, NotApplicable);
    assert_eq!(unfinished(back(&mut outage(), 2000.0), &CHECKER).outcome, Unknown);
    assert_eq!(unfinished(back(&mut outage(), 5000.0), &CHECKER).outcome, Fail);
}

#[test]
fn a_wait_for_a_cpu_leaves_it_open_and_a_quiet_stretch_beyond_the_bound_does_not() {
    let starved = |waited, over| What::Starved { who: Waiter::Subject, over, waited };
    for (waited, expect) in [(2_000_000, Unknown), (50_000, Fail)] {
        let mut tale = outage();
        tale.at(2000.0).what(starved(waited, 100_000_000));
        back(&mut tale, 3100.3).expect(&CHECKER, expect);
    }
    let mut tale = outage();
    tale.publish(9).at(9000.0).what(starved(8_000_000_000, 8_000_000_000));
    let said = tale.expect(&CHECKER, Unknown).summary;
    assert!(said.ends_with("the machine was too busy: waited 8000 ms of 8000 ms"), "{said}");
    // It had all the time it is allowed, and more, when the machine was quiet again.
    tale.at(11_100.0).phase(crate::history::Phase::Drain).expect(&CHECKER, Fail);
}

/// The broker takes 4 s to answer: that is not the subject's.
#[test]
fn the_brokers_turn_is_not_the_subjects() {
    for (answered, expect) in [(5000.0, Pass), (1001.0, Fail)] {
        let mut tale = outage();
        tale.what(What::Accepted { conn: 2 }).what(What::Dialed { conn: 2 });
        tale.passes(2, Direction::ToBroker, 0, "protocol-header", Args::None).at(answered);
        tale.passes(2, Direction::ToClient, 0, "connection.start", Args::None);
        let said = back(&mut tale, 5110.0).expect(&CHECKER, expect).summary;
        let told = said.contains("the broker's or the network's turn");
        assert!(told || expect == Fail, "{said}");
    }
}

/// The deletion takes a moment: what the old queue delivered meanwhile, and is handled afterwards, is no recovery.
#[test]
fn after_a_deleted_queue_only_what_was_in_the_new_one_is_a_recovery() {
    for (published, expect) in [(1001.0, Fail), (1006.0, Pass)] {
        let mut tale = HistoryBuilder::new();
        steps(&mut tale, "[[step]]\nwhen = { handled = 1 }\nbroker = \"redeclare_queue\"\n");
        tale.scenario.expect.queue_is_deleted = true;
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0);
        tale.at(1000.0).what(What::Injected { step: 0, fault: "redeclare".into() });
        let note = || "the queue was deleted and redeclared".to_owned();
        let done = |tale: &mut HistoryBuilder| {
            tale.at(1004.0).what(What::Fired { step: 0, conn: None, note: note() });
            tale.what(What::PathUsable { step: 0 });
        };
        if published < 1004.0 {
            tale.at(published).publish(1).deliver(1, 1, 2, 1);
            done(&mut tale);
            tale.at(1005.0).handle(1, true).ack(1, 1, 2);
            tale.at(1006.0).publish(2);
        } else {
            done(&mut tale);
            tale.at(published).publish(1).deliver(1, 1, 2, 1).handle(1, true).ack(1, 1, 2);
        }
        tale.at(9000.0).phase(crate::history::Phase::Drain).expect(&CHECKER, expect);
    }
}

/// Connection 1 meets a hole from 1000 to 3000 ms, and goes on with message 1 after it.
fn goes_on(fault: &str) -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    let hole = format!("[[step]]\nwhen = \"idle\"\nfault = {{ kind = \"blackhole\"{fault} }}\n");
    steps(&mut tale, &hole);
    tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0);
    tale.at(1000.0).what(What::Injected { step: 0, fault: "blackhole".into() }).publish(1);
    fires(&mut tale, 1001.0, 0, Some(1));
    tale.at(3000.0).what(What::Lifted { step: 0 }).what(What::PathUsable { step: 0 });
    tale
}

#[test]
fn a_connection_that_goes_on_when_the_cable_is_back_has_recovered() {
    let mut kept = goes_on("");
    kept.at(3100.0).deliver(1, 1, 2, 1).handle(1, true).ack(1, 1, 2).at(60_000.0).stops(1);
    kept.expect(&CHECKER, Pass);
    // A flow that was forgotten cannot.
    let mut forgotten = goes_on(", resume = false");
    forgotten.at(3100.0).deliver(1, 1, 2, 1).handle(1, true).ack(1, 1, 2).at(60_000.0).stops(1);
    forgotten.expect(&CHECKER, Fail);
    // One that was made in the hole completes when that is over, whatever became of the others.
    for fault in ["", ", resume = false"] {
        let mut made = goes_on(fault);
        made.at(2000.0).what(What::Accepted { conn: 2 });
        fires(&mut made, 2000.1, 0, Some(2));
        made.at(3001.0).connect(2, 10).consume(2, 1, 8);
        made.redeliver(2, 1, 1, 1).handle(1, true).ack(2, 1, 1).at(60_000.0).stops(2);
        made.expect(&CHECKER, Pass);
    }
}
