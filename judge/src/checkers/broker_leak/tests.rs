//! Both sides of what is a leak at the broker, from histories written by hand.

use gauntlet_amqp::Args;
use gauntlet_faults::End;

use super::super::fired::aid::{cited, steps, unfinished};
use super::super::testing::HistoryBuilder;
use super::*;
use crate::history::Ending;
use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

fn holds(
    tale: &mut HistoryBuilder,
    at: Moment,
    (connections, channels, consumers): (u32, u32, u32),
) {
    tale.what(What::BrokerHolds { connections, channels, consumers, unacked: None, at });
}

/// Steady on connection 1, which is reset; then `recovered`, told by the broker, on connection 2.
fn run(recovered: (u32, u32, u32), after: u32) -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    tale.connect(1, 10).consume(1, 1, 8);
    holds(&mut tale, Moment::Steady, (1, 2, 2));
    tale.at(100.0).rst(1).at(200.0).connect(2, 10).consume(2, 1, 8);
    holds(&mut tale, Moment::Recovered(1), recovered);
    holds(&mut tale, Moment::Drained, (1, 2, 2));
    tale.stops(2);
    holds(&mut tale, Moment::After, (after, 0, 0));
    tale
}

#[test]
fn the_same_as_in_steady_state_passes_and_one_more_or_less_of_anything_fails() {
    run((1, 2, 2), 0).expect(&CHECKER, Pass);
    for more in [(2, 2, 2), (1, 3, 2), (1, 2, 3)] {
        let mut tale = run(more, 0);
        let decision = tale.expect(&CHECKER, Fail);
        let (a, b, c) = more;
        assert_eq!(
            decision.summary,
            format!(
                "after recovery 1 the broker holds {a} connections, {b} channels, {c} consumers; \
                     in steady state it held 1 connections, 2 channels, 2 consumers"
            )
        );
        let cited = cited(&mut tale, &decision);
        assert!(
            cited[0].ends_with("(steady)")
                && cited.last().is_some_and(|l| l.ends_with("(recovery 1)")),
            "{cited:?}"
        );
    }
    run((1, 1, 1), 0).expect(&CHECKER, Fail);
}

#[test]
fn only_the_settled_answer_counts() {
    let mut tale = run((9, 9, 9), 0);
    holds(&mut tale, Moment::Recovered(1), (1, 2, 2));
    tale.expect(&CHECKER, Pass);
}

#[test]
fn held_after_the_end_fails() {
    let mut tale = run((1, 2, 2), 1);
    let decision = tale.expect(&CHECKER, Fail);
    assert_eq!(
        decision.summary,
        "after the subject ended the broker holds 1 connections, 0 channels, 0 consumers"
    );
    assert_eq!(cited(&mut tale, &decision)[0], "- subject ended");
}

#[test]
fn what_the_broker_cannot_know_to_be_dead_is_no_leak() {
    for (told, expect) in [(false, Unknown), (true, Fail)] {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10);
        holds(&mut tale, Moment::Steady, (1, 1, 1));
        tale.what(What::Ended { conn: 1, end: End::Client, how: Ending::Rst }).connect(2, 10);
        if told {
            tale.what(What::Cut { conn: 1, end: End::Broker, how: Ending::Rst });
        }
        holds(&mut tale, Moment::Drained, (2, 2, 2));
        tale.stops(2);
        holds(&mut tale, Moment::After, (0, 0, 0));
        tale.expect(&CHECKER, expect);
    }
}

#[test]
fn an_old_connection_still_open_beside_the_one_in_use_is_seen_on_the_wire() {
    let mut tale = HistoryBuilder::new();
    tale.connect(1, 10)
        .phase(Phase::Faults)
        .at(500.0)
        .connect(2, 10)
        .at(900.0)
        .what(What::StopRequested);
    let decision = tale.expect(&CHECKER, Fail);
    assert_eq!(
        decision.summary,
        "900 ms into the run the subject holds 2 connections open; 1 in steady state"
    );
    assert_eq!(
        cited(&mut tale, &decision),
        ["- link c1 accepted", "- link c2 accepted", "- run asks the subject to stop"]
    );
    // Two from the start are its way of working; one being made is none held.
    HistoryBuilder::new()
        .connect(1, 10)
        .connect(2, 10)
        .phase(Phase::Faults)
        .what(What::StopRequested)
        .expect(&CHECKER, Unknown);
    let mut making = HistoryBuilder::new();
    making
        .connect(1, 10)
        .phase(Phase::Faults)
        .what(What::Accepted { conn: 2 })
        .what(What::StopRequested);
    making.expect(&CHECKER, Unknown);
}

/// A connection that publishes and does not consume.
fn publisher(tale: &mut HistoryBuilder, conn: u64) {
    let args =
        Args::Publish { exchange: String::new(), routing_key: "results".into(), mandatory: false };
    let header = Args::Header { body_size: 0, message_id: None, delivery_mode: Some(2) };
    tale.connect(conn, 10).passes(conn, Direction::ToBroker, 1, "channel.open", Args::None);
    tale.passes(conn, Direction::ToBroker, 1, "basic.publish", args);
    tale.passes(conn, Direction::ToBroker, 1, "header", header);
}

#[test]
fn a_publisher_opened_when_it_is_first_needed_is_no_leak_and_one_more_than_workers_is() {
    for (before, since, expect) in
        [(0, 2, Pass), (0, 3, Fail), (1, 1, Pass), (1, 2, Fail), (2, 1, Fail), (3, 0, Pass)]
    {
        let mut tale = HistoryBuilder::new();
        tale.scenario.subject.workers = 2;
        tale.connect(1, 10).consume(1, 1, 8);
        (2..2 + before).for_each(|conn| publisher(&mut tale, conn.into()));
        holds(&mut tale, Moment::Steady, (1 + before, 1 + before, 1));
        tale.phase(Phase::Faults).at(100.0);
        let all = 1 + before + since;
        (2 + before..=all).for_each(|conn| publisher(&mut tale, conn.into()));
        tale.at(5000.0);
        holds(&mut tale, Moment::Drained, (all, all, 1));
        tale.what(What::StopRequested);
        (1..=all).for_each(|conn| _ = tale.close(conn.into()));
        holds(&mut tale, Moment::After, (0, 0, 0));
        tale.expect(&CHECKER, expect);
    }
    // One that does not publish is one too many.
    let mut tale = HistoryBuilder::new();
    tale.connect(1, 10).consume(1, 1, 8);
    holds(&mut tale, Moment::Steady, (1, 1, 1));
    tale.phase(Phase::Faults).at(100.0).connect(2, 10);
    tale.passes(2, Direction::ToBroker, 1, "channel.open", Args::None).at(5000.0);
    holds(&mut tale, Moment::Drained, (2, 2, 1));
    tale.stops(1);
    tale.expect(&CHECKER, Fail);
}

#[test]
fn what_was_set_up_after_the_broker_was_asked_and_before_the_faults_belongs_to_steady_state() {
    for (later, expect) in [((2, 2, 2), Pass), ((2, 2, 3), Fail), ((2, 3, 2), Fail)] {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8);
        holds(&mut tale, Moment::Steady, (1, 1, 1));
        tale.connect(2, 10).consume(2, 1, 8).phase(Phase::Faults).at(5000.0);
        holds(&mut tale, Moment::Drained, later);
        tale.what(What::StopRequested).close(1).close(2);
        holds(&mut tale, Moment::After, (0, 0, 0));
        tale.expect(&CHECKER, expect);
    }
}

#[test]
fn a_steady_state_is_one_connection_even_where_none_was_open_as_the_faults_began() {
    let mut tale = HistoryBuilder::new();
    tale.connect(1, 10).consume(1, 1, 8);
    holds(&mut tale, Moment::Steady, (1, 1, 1));
    tale.rst(1).phase(Phase::Faults).at(100.0).connect(2, 10).consume(2, 1, 8).connect(3, 10);
    tale.at(5000.0);
    holds(&mut tale, Moment::Drained, (1, 1, 1));
    tale.what(What::StopRequested).close(2).close(3);
    tale.expect(&CHECKER, Fail);
}

#[test]
fn with_nothing_before_the_faults_only_what_never_came_into_use_is_too_many() {
    let told = |abandoned: bool| {
        let mut tale = HistoryBuilder::new();
        tale.phase(Phase::Faults);
        if abandoned {
            tale.what(What::Accepted { conn: 1 });
        }
        tale.at(100.0).connect(2, 10).consume(2, 1, 8).connect(3, 10).consume(3, 1, 8);
        tale.at(5000.0);
        holds(&mut tale, Moment::Drained, (2, 2, 2));
        tale.what(What::StopRequested).close(2).close(3);
        holds(&mut tale, Moment::After, (0, 0, 0));
        tale
    };
    told(false).expect(&CHECKER, Pass);
    let decision = told(true).expect(&CHECKER, Fail);
    assert_eq!(
        decision.summary,
        "5000 ms into the run the subject holds 1 connections open that it never opened AMQP on, beside one that it uses"
    );
}

#[test]
fn a_blackholed_connection_may_be_held_until_its_bound() {
    for (ms, expect) in [(6000.0, Unknown), (7000.0, Fail)] {
        let mut tale = HistoryBuilder::new();
        steps(&mut tale, "[[step]]\nwhen = \"idle\"\nfault = { kind = \"blackhole\" }\n");
        tale.scenario.subject.heartbeat = 2;
        tale.connect(1, 2);
        holds(&mut tale, Moment::Steady, (1, 1, 1));
        tale.at(100.0).what(What::Fired { step: 0, conn: Some(1), note: "blackhole".into() });
        tale.at(200.0).connect(2, 2).at(ms);
        holds(&mut tale, Moment::Drained, (2, 2, 2));
        tale.at(8000.0).rst(1).stops(2);
        holds(&mut tale, Moment::After, (0, 0, 0));
        tale.expect(&CHECKER, expect);
    }
}

#[test]
fn what_the_link_does_not_read_may_have_been_let_go() {
    for (fault, expect) in [("ignore", Unknown), ("refuse", Fail)] {
        let mut tale = HistoryBuilder::new();
        let fault = format!("fault = {{ kind = \"{fault}\" }}");
        steps(&mut tale, &format!("[[step]]\nwhen = \"idle\"\n{fault}\n"));
        tale.connect(1, 10);
        holds(&mut tale, Moment::Steady, (1, 1, 1));
        tale.rst(1).what(What::Accepted { conn: 2 });
        tale.what(What::Fired { step: 0, conn: Some(2), note: "accepted".into() });
        tale.at(500.0).connect(3, 10);
        holds(&mut tale, Moment::Drained, (1, 1, 1));
        tale.expect(&CHECKER, expect);
    }
}

#[test]
fn not_asked_is_unknown() {
    HistoryBuilder::new().expect(&CHECKER, NotApplicable);
    for missing in [Moment::Steady, Moment::Drained, Moment::After] {
        let mut tale = HistoryBuilder::new();
        tale.phase(Phase::Steady).phase(Phase::Drain).connect(1, 10);
        for moment in [Moment::Steady, Moment::Drained, Moment::After] {
            let after = if moment == Moment::After { (0, 0, 0) } else { (1, 1, 1) };
            if moment != missing {
                holds(&mut tale, moment, after);
            }
        }
        let said = tale.expect(&CHECKER, Unknown).summary;
        assert!(said.starts_with("nobody asked the broker"), "{said}");
    }
    assert_eq!(unfinished(&mut run((1, 2, 2), 0), &CHECKER).outcome, Unknown);
    assert_eq!(unfinished(&mut run((2, 2, 2), 0), &CHECKER).outcome, Fail);
}
