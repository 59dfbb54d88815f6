//! Tests of I8: both sides of each bound, for one that is told its prefetch and for one that chooses it.

use gauntlet_amqp::Args;
use gauntlet_faults::Direction;

use super::*;
use crate::checkers::testing::HistoryBuilder;
use crate::history::What;
use crate::verdict::Outcome::{Fail, NotApplicable, Pass};

fn told(prefetch: u16) -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    tale.scenario.subject.prefetch = prefetch;
    tale.connect(1, 10);
    tale
}

fn ask() -> Args {
    Args::Consume {
        queue: "work".into(),
        consumer_tag: "c1".into(),
        no_ack: false,
        exclusive: false,
    }
}

#[test]
fn as_many_as_told_pass_and_one_more_fails() {
    let mut tale = told(2);
    tale.consume(1, 1, 2).deliver(1, 1, 1, 0).deliver(1, 1, 2, 1).ack(1, 1, 1).deliver(1, 1, 3, 2);
    let decision = tale.expect(&CHECKER, Pass);
    assert_eq!(
        decision.summary,
        "prefetch 2 before each of 1 consumers; at most 2 unsettled at once"
    );
    let decision = tale_without_end(3).expect(&CHECKER, Fail);
    assert!(
        decision
            .summary
            .starts_with("3 deliveries were unsettled at once on connection 1, channel 1"),
        "{}",
        decision.summary
    );
    let e = &decision.evidence;
    assert_eq!((e.len(), e[1] - e[0], e[2] - e[1]), (3, 6, 6), "the arrivals");
}

#[test]
fn an_ack_ahead_of_its_delivery_does_not_count_against_the_prefetch() {
    let mut tale = told(2);
    tale.consume(1, 1, 2).deliver(1, 1, 1, 1);
    tale.deliver_at(gauntlet_faults::End::Broker, 1, 1, 2, 2, false).ack(1, 1, 2).ack(1, 1, 3);
    tale.deliver_at(gauntlet_faults::End::Client, 1, 1, 2, 2, false).deliver(1, 1, 3, 3);
    tale.ack(1, 1, 3).deliver(1, 1, 4, 4).expect(&CHECKER, Pass);
    tale.deliver(1, 1, 5, 5).expect(&CHECKER, Fail);
}

fn tale_without_end(deliveries: u64) -> HistoryBuilder {
    let mut tale = told(2);
    tale.consume(1, 1, 2);
    for tag in 1..=deliveries {
        tale.deliver(1, 1, tag, tag as u32);
    }
    tale
}

#[test]
fn consume_before_qos_fails() {
    let mut tale = told(2);
    let qos = Args::Qos { prefetch_count: 2, global: false };
    tale.passes(1, Direction::ToBroker, 1, "channel.open", Args::None).at(5.0);
    tale.passes(1, Direction::ToBroker, 1, "basic.consume", ask());
    tale.passes(1, Direction::ToBroker, 1, "basic.qos", qos);
    let decision = tale.expect(&CHECKER, Fail);
    assert!(
        decision.summary.contains("consumed at 5.0 ms with no prefetch until"),
        "{}",
        decision.summary
    );
    assert_eq!(decision.evidence.len(), 2, "consume, qos");
    assert_eq!(decision.evidence[1], decision.evidence[0] + 2);
}

#[test]
fn another_prefetch_after_recovery_fails() {
    for (second, outcome) in [(8, Pass), (9, Fail), (0, Fail)] {
        let mut tale = told(8);
        tale.consume(1, 1, 8).rst(1).connect(2, 10).consume(2, 1, second).expect(&CHECKER, outcome);
    }
    let mut tale = told(8);
    tale.consume(1, 1, 8).rst(1).connect(2, 10).passes(
        2,
        Direction::ToBroker,
        1,
        "channel.open",
        Args::None,
    );
    let decision =
        tale.passes(2, Direction::ToBroker, 1, "basic.consume", ask()).expect(&CHECKER, Fail);
    assert!(
        decision.summary.contains("after a recovery with no prefetch instead of 8"),
        "{}",
        decision.summary
    );
}

fn consume_again(tale: &mut HistoryBuilder) {
    let ok = Args::ConsumeOk { consumer_tag: "c1".into() };
    tale.passes(1, Direction::ToBroker, 1, "basic.consume", ask());
    tale.passes(1, Direction::ToClient, 1, "basic.consume-ok", ok);
}

#[test]
fn a_consumer_that_follows_a_cancelled_one_counts_for_itself() {
    let after = |deliveries: u64| {
        let mut tale = tale_without_end(2);
        let cancel = Args::Cancel { consumer_tag: "c1".into() };
        tale.passes(1, Direction::ToClient, 1, "basic.cancel", cancel);
        consume_again(&mut tale);
        for tag in 3..3 + deliveries {
            tale.deliver(1, 1, tag, tag as u32);
        }
        tale.ack(1, 1, 1).ack(1, 1, 2).ack(1, 1, 3);
        tale
    };
    after(2).expect(&CHECKER, Pass);
    after(3).expect(&CHECKER, Fail);
}

#[test]
fn each_cancel_is_of_the_consumer_it_meets() {
    let mut tale = tale_without_end(2);
    let cancel = || Args::Cancel { consumer_tag: "c1".into() };
    tale.scenario.subject.workers = 1;
    for _ in 0..2 {
        tale.passes(1, Direction::ToClient, 1, "basic.cancel", cancel());
        consume_again(&mut tale);
    }
    // Deliveries of the first and the second are left over; only the third is asked for still.
    tale.deliver(1, 1, 3, 3).deliver(1, 1, 4, 4).ack(1, 1, 4).expect(&CHECKER, Pass);
}

/// Channels of one connection, with so many deliveries on each at once, one after the other settled.
fn channels(prefetch: u16, deliveries: &[u64]) -> HistoryBuilder {
    let mut tale = told(prefetch);
    tale.scenario.subject.workers = 2;
    for channel in (1..).take(deliveries.len()) {
        tale.consume(1, channel, prefetch);
    }
    for (channel, n) in (1..).zip(deliveries) {
        for tag in 1..=*n {
            tale.deliver(1, channel, tag, u32::from(channel) * 100 + tag as u32);
        }
    }
    tale
}

#[test]
fn all_channels_together_hold_no_more_than_all_workers_may() {
    channels(2, &[2, 2]).ack(1, 1, 1).expect(&CHECKER, Pass);
    channels(2, &[2, 1, 1]).ack(1, 1, 1).expect(&CHECKER, Pass);
    let decision = channels(2, &[2, 1, 2]).ack(1, 1, 1).expect(&CHECKER, Fail);
    assert_eq!(
        decision.summary,
        "5 deliveries were unsettled at once on connection 1, where 2 workers may hold 2 each"
    );
    assert_eq!(decision.evidence.len(), 5, "the arrivals");
}

#[test]
fn what_a_connection_held_that_the_subject_let_go_of_is_nobody_s() {
    let replaced = |speaks: bool, faulty: bool| {
        let mut tale = channels(2, &[2, 2]);
        if faulty {
            tale.what(What::Injected { step: 0, fault: "blackhole".into() });
        }
        tale.connect(2, 10).consume(2, 1, 2).deliver(2, 1, 1, 31);
        if speaks {
            tale.passes(1, Direction::ToBroker, 0, "heartbeat", Args::None);
        }
        tale.ack(2, 1, 1);
        tale
    };
    replaced(false, false).expect(&CHECKER, Pass);
    let decision = replaced(true, false).expect(&CHECKER, Fail);
    assert!(decision.summary.contains("on all its connections"), "{}", decision.summary);
    replaced(true, true).expect(&CHECKER, Pass);
}

#[test]
fn each_channel_counts_for_itself() {
    let mut tale = told(1);
    tale.consume(1, 1, 1).consume(1, 2, 1).deliver(1, 1, 1, 0).deliver(1, 2, 1, 1);
    tale.expect(&CHECKER, Pass);
}

#[test]
fn not_applicable() {
    told(8).expect(&CHECKER, NotApplicable);
    let mut tale = told(8);
    tale.promises.prefetch = false;
    tale.consume(1, 1, 3).deliver(1, 1, 1, 0).expect(&CHECKER, NotApplicable);
}

/// A subject that chooses its own prefetch, in force for one consumer on each of these connections; 0 is none.
fn own(prefetches: &[u16], lost: bool) -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    tale.promises.prefetch = false;
    for (conn, n) in (1..).zip(prefetches) {
        tale.connect(conn, 10);
        if *n > 0 {
            tale.consume(conn, 1, *n);
        } else {
            tale.passes(conn, Direction::ToBroker, 1, "channel.open", Args::None);
            tale.passes(conn, Direction::ToBroker, 1, "basic.consume", ask());
        }
        if lost {
            tale.rst(conn);
        }
    }
    tale
}

#[test]
fn a_prefetch_of_its_own_is_the_same_after_a_recovery() {
    own(&[3, 3, 3], true).expect(&CHECKER, NotApplicable);
    own(&[0, 0], true).expect(&CHECKER, NotApplicable);
    let decision = own(&[3, 0], true).expect(&CHECKER, Fail);
    let said = "after a recovery with no prefetch instead of its own before, a prefetch of 3";
    assert!(decision.summary.contains(said), "{}", decision.summary);
    own(&[0, 3], true).expect(&CHECKER, Fail);
    own(&[3, 4, 3], true).expect(&CHECKER, Fail);
    // A second connection beside the first is no recovery, whatever its prefetch.
    own(&[3, 4], false).expect(&CHECKER, NotApplicable);
    let beside = |tale: &mut HistoryBuilder| {
        tale.rst(1).connect(3, 10).consume(3, 1, 5).connect(4, 10).consume(4, 1, 3);
    };
    let mut tale = own(&[3], false);
    beside(&mut tale);
    tale.expect(&CHECKER, NotApplicable);
}

#[test]
fn a_prefetch_of_its_own_binds_too() {
    let mut tale = own(&[2], false);
    tale.deliver(1, 1, 1, 0).deliver(1, 1, 2, 1).expect(&CHECKER, NotApplicable);
    tale.deliver(1, 1, 3, 2).expect(&CHECKER, Fail);
    let mut tale = own(&[0], false);
    let qos = Args::Qos { prefetch_count: 2, global: false };
    tale.passes(1, Direction::ToBroker, 1, "basic.qos", qos).expect(&CHECKER, Fail);
}

#[test]
fn another_connection_is_no_recovery() {
    let mut tale = told(8);
    tale.consume(1, 1, 8).connect(2, 10).consume(2, 1, 4);
    let decision = tale.expect(&CHECKER, Fail);
    assert!(!decision.summary.contains("recovery"), "{}", decision.summary);
}

#[test]
fn a_queue_of_its_own_has_the_prefetch_it_likes() {
    let mut tale = told(8);
    let queue = || "control".to_owned();
    let ask = Args::Consume {
        queue: queue(),
        consumer_tag: "ctl".into(),
        no_ack: false,
        exclusive: true,
    };
    tale.passes(1, Direction::ToBroker, 2, "channel.open", Args::None);
    tale.passes(1, Direction::ToBroker, 2, "basic.consume", ask);
    tale.consume(1, 1, 8).expect(&CHECKER, Pass);
}
